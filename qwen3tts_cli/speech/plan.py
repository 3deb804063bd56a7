"""The plan of a text's speech: all options, resolved for the model before the first utterance."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

from ..audio.output_chain import samples_needed
from ..cloning.resolve_voice import resolve_instruct, resolve_voice
from ..common import arguments
from ..common.audio_constants import SAMPLE_RATE
from ..engine.session import Sampling
from ..errors import UsageError
from ..scheduling.job import Job
from ..text.languages_and_voices import resolve_language, resolve_speaker
from ..text.prompt import can_be_open, default_text_mode
from .speak_options import resolve_sampling

if TYPE_CHECKING:
    from ..cloning.resolve_voice import Cloner
    from ..cloning.voice_file import Voice
    from ..engine.model import Model
    from ..models.config.codec import CodecConfig
    from ..text.prompt import Prompt
    from .speak_options import SpeakOptions


class SpeechPlan(NamedTuple):
    """The resolved options of one text. See SpeakOptions for the fields of the same names.

    voice: the name of the preset or cloned voice; None for the model's own voice. language: a language of the model.
    settings: the settings that utterance keys are hashed from; see seeds.utterance_key. talker, predictor: how the
    talker and the code predictor choose codes. live_number: of an utterance whose key does not depend on its text; None
    for the usual keys. cloned: the cloned voice; None for a preset voice or the model's own. max_frames: that of
    SpeakOptions, or as many frames as max_seconds needs, if they are fewer.
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
    speed: float = 1.0
    rate: int = SAMPLE_RATE
    max_seconds: float | None = None

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


def make_plan(cloner: Cloner, options: SpeakOptions, incoming: bool = False, voiceless: bool = False) -> SpeechPlan:
    """Resolve the options of one text for a model; clones options.ref_audio. cloner: the Synthesizer.

    incoming: whether the text is still coming. The text mode is then "streaming" unless the options say another one or
    the voice needs the whole text. voiceless: whether a base model speaks without a voice.

    Raises UsageError for options that do not suit the model, and as Synthesizer.clone does.
    """
    o, config = options, cloner.config
    if incoming and o.markup:
        raise UsageError("markup: not with a text that is still coming")
    text_mode = o.text_mode or default_text_mode(config)
    if text_mode not in ("full", "streaming"):
        arguments.refuse("text_mode", text_mode, "full or streaming")
    instruct = resolve_instruct(config, cloner.name, o.instruct, o.design)
    cloned = None if voiceless else resolve_voice(cloner, o.voice, o.ref_audio, o.ref_text, o.on_warning)
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
            "talker": talker._asdict(),
            "predictor": predictor._asdict(),
        },
        talker=talker,
        predictor=predictor,
        seed=int.from_bytes(os.urandom(8), "little") if o.seed is None else o.seed,
        max_frames=_frame_limit(o, config.codec),
        retries=o.retries,
        live=o.live or incoming,
        chunk_frames=o.chunk_frames,
        pipeline=o.pipeline,
        batch=o.batch,
        instruct=instruct,
        text_mode=text_mode,
        live_number=live_number,
        cloned=cloned,
        speed=o.speed,
        rate=o.rate,
        max_seconds=o.max_seconds,
    )


def _frame_limit(options: SpeakOptions, codec: CodecConfig) -> int | None:
    """The most frames of the speech; None: no limit. With max_seconds: all frames that the output depends on."""
    if options.max_seconds is None:
        return options.max_frames
    samples = samples_needed(options.speed, options.rate, options.max_seconds)
    frames = max(1, math.ceil(samples / codec.samples_per_frame))
    return frames if options.max_frames is None else min(frames, options.max_frames)
