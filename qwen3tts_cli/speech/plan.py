"""The plan of a text's speech: all options, resolved for the model before the first utterance."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..cloning.resolve_voice import resolve_instruct, resolve_voice
from ..common import arguments
from ..engine.session import Sampling
from ..scheduling.job import Job
from ..text.languages_and_voices import resolve_language, resolve_speaker
from ..text.prompt import can_be_open, default_text_mode
from .speak_options import resolve_sampling

if TYPE_CHECKING:
    from ..cloning.resolve_voice import Cloner
    from ..cloning.voice_file import Voice
    from ..engine.model import Model
    from ..text.prompt import Prompt
    from .speak_options import SpeakOptions


@dataclass(frozen=True)
class SpeechPlan:
    """The resolved options of one text. See SpeakOptions for the fields of the same names.

    voice: the name of the preset or cloned voice; None for the model's own voice. language: a language of the model.
    settings: the settings that utterance keys are hashed from; see seeds.utterance_key. talker, predictor: how the
    talker and the code predictor choose codes. live_number: of an utterance whose key does not depend on its text; None
    for the usual keys. cloned: the cloned voice; None for a preset voice or the model's own.
    """

    voice: str | None
    language: str
    settings: dict[str, object]
    talker: Sampling
    predictor: Sampling
    seed: int
    max_frames: int | None
    retries: int
    live: bool
    chunk_frames: int
    pipeline: bool
    batch: int
    instruct: str | None = None
    text_mode: str = "full"
    live_number: int | None = None
    cloned: Voice | None = None

    def job(self, model: Model, text: str, prompt: Prompt, key: int, max_frames: int | None, **more: object) -> Job:
        """The job of one utterance. max_frames: the frames that are left of the whole speech, as far as known.

        more: further fields of Job.
        """
        cloned = self.cloned
        return Job(
            model, prompt, text, self.talker, self.predictor, self.seed, key,
            speaker=cloned.embedding if cloned else None, reference_codes=cloned.codes if cloned else None,
            max_frames=max_frames, retries=self.retries, live=self.live, chunk_frames=self.chunk_frames,
            pipeline=self.pipeline, **more,
        )  # fmt: skip


def make_plan(cloner: Cloner, options: SpeakOptions, incoming: bool = False) -> SpeechPlan:
    """Resolve the options of one text for a model; clones options.ref_audio. cloner: the Synthesizer.

    incoming: whether the text is still coming. The text mode is then "streaming" unless the options say another one or
    the voice needs the whole text.

    Raises UsageError for options that do not suit the model, and as Synthesizer.clone does.
    """
    o, config = options, cloner.config
    text_mode = o.text_mode or default_text_mode(config)
    if text_mode not in ("full", "streaming"):
        arguments.refuse("text_mode", text_mode, "full or streaming")
    instruct = resolve_instruct(config, cloner.name, o.instruct, o.design)
    cloned = resolve_voice(cloner, o.voice, o.ref_audio, o.ref_text, o.on_warning)
    live_number = None if o.key is None else int(o.key.removeprefix("live:"))
    if o.text_mode is None and (incoming or live_number is not None):
        has_codes = cloned is not None and cloned.codes is not None
        text_mode = "streaming" if can_be_open(config, has_codes) else text_mode
    voice = cloned.name if cloned else resolve_speaker(config, o.voice)
    language = resolve_language(config, o.language if o.language or not cloned else cloned.language)
    talker, predictor = resolve_sampling(o, config)
    return SpeechPlan(
        voice=voice,
        language=language,
        settings={
            "voice": cloned.digest if cloned else voice,
            "language": language,
            "instruct": instruct,
            "text_mode": text_mode,
            "talker": asdict(talker),
            "predictor": asdict(predictor),
        },
        talker=talker,
        predictor=predictor,
        seed=int.from_bytes(os.urandom(8), "little") if o.seed is None else o.seed,
        max_frames=o.max_frames,
        retries=o.retries,
        live=o.live or incoming,
        chunk_frames=o.chunk_frames,
        pipeline=o.pipeline,
        batch=o.batch,
        instruct=instruct,
        text_mode=text_mode,
        live_number=live_number,
        cloned=cloned,
    )
