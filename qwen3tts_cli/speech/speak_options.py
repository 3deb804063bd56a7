"""SpeakOptions, the options of the Python API: their checks, and their defaults from a checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..cloning.clone import check_on_warning
from ..common import arguments
from ..common.audio_constants import RATES, SAMPLE_RATE
from ..engine.session import Sampling
from ..errors import UsageError
from ..scheduling.policy import MAX_BATCH

if TYPE_CHECKING:
    from ..cloning.clone import Audio, OnWarning
    from ..cloning.voice_file import Voice
    from ..models.config.model import ModelConfig
    from ..spoken_text.lexicon import Lexicon


_MAX_VOCABULARY = 1 << 20  # more than any vocabulary has
_INTEGERS = {
    "seed": (0, (1 << 64) - 1),
    "top_k": (0, (1 << 31) - 1),
    "subtalker_top_k": (0, (1 << 31) - 1),
    "max_frames": (1, 1 << 31),
    "retries": (0, 1000),
    "chunk_frames": (0, 64),
    "batch": (0, MAX_BATCH),
    "idle_ms": (0, 3_600_000),
    "rate": (RATES[0], RATES[-1]),
}
_NUMBERS = {
    "temperature": (0, 100),
    "top_p": (1e-6, 1),
    "repetition_penalty": (1e-3, 1e3),
    "subtalker_temperature": (0, 100),
    "subtalker_top_p": (1e-6, 1),
    "max_seconds": (1e-3, 1e7),
    "speed": (0.25, 4),
}
_SWITCHES = ("greedy", "split", "live", "pipeline", "lines", "markup")
_TEXTS = ("key", "ref_text", "design", "language", "instruct", "text_mode")
_NEVER_NONE = ("retries", "chunk_frames", "batch", "idle_ms", "speed", "rate", *_SWITCHES)
_VOICE_FIELDS = ("name", "language", "description", "note")


@dataclass(frozen=True)
class SpeakOptions:
    """How to speak a text. None means the default of the checkpoint, or of the reference implementation.

    voice: the name of a preset or of a kept voice, a pathlib.Path of a voice file, or a Voice.
    ref_audio: a recording to clone for this speech; see Synthesizer.clone. ref_text: the text that the recording says.
    design: the description of a voice, for a model that makes voices from descriptions.
    language: a name or code that the model knows, or "auto". instruct: how to speak, for models that take instructions.
    seed: 0 to 2**64 - 1; the same seed gives the same samples on one machine; None: random.
    greedy: take the most likely code instead of a random one. temperature, top_k, top_p, repetition_penalty: sampling
    of the talker. subtalker_temperature, subtalker_top_k, subtalker_top_p: sampling of the code predictor.
    max_frames: the most frames of the whole output, 12.5 a second. text_mode: "full" or "streaming", how the prompt
    presents the text. split: whether to split a long text into utterances at the ends of sentences.
    retries: how often an utterance that runs away is generated again; 0 turns the runaway guard off.
    live: True yields samples as they are decoded; False yields each utterance once it is complete and good.
    chunk_frames: frames decoded at a time, 0 to 64; 0: automatic. pipeline: whether to decode on a separate thread.
    batch: utterances generated together, 0 to 64; 0: automatic. These three options do not change the samples.
    idle_ms, lines: for a text that is still coming: the milliseconds without text after which an utterance ends, 0 for
    never, and whether each line end ends one. key: "live:N" speaks the text, which must be one utterance, with the
    random draws of utterance N, from 0, of a text that is still coming.
    on_warning: called with one line for each property of ref_audio that makes a worse voice, and for pauses that are
    cut; None: the function given to Synthesizer.open.
    speed: 0.25 to 4; 2 makes speech half as long, at the same pitch; 1 changes no sample. rate: the sample rate of the
    output: 8000, 16000, 22050, 24000, 44100 or 48000 Hz. max_seconds: the output ends after max_seconds * rate samples.
    These three are applied to the generated samples: codes, frames and draws do not depend on speed and rate.
    markup: whether the text has pauses and changes of the voice, such as [pause:500ms] and [voice:ryan]; see
    spoken_text/markup_tags.py. lexicon: what to say in place of words; a pathlib.Path of a file is read at once, with
    the errors of Lexicon.read. A text that is still coming cannot have markup; with a lexicon it is spoken sentence by
    sentence.

    >>> options = SpeakOptions(voice="ryan", language="english", seed=1, max_frames=125)

    NumPy's scalars are taken as Python's. Raises UsageError for a value of another type or out of range.
    """

    voice: str | os.PathLike[str] | Voice | None = None
    ref_audio: Audio | None = None
    ref_text: str | None = None
    design: str | None = None
    language: str | None = None
    instruct: str | None = None
    seed: int | None = None
    greedy: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    subtalker_temperature: float | None = None
    subtalker_top_k: int | None = None
    subtalker_top_p: float | None = None
    max_frames: int | None = None
    text_mode: str | None = None
    split: bool = True
    retries: int = 2
    live: bool = False
    chunk_frames: int = 0
    pipeline: bool = False
    batch: int = 0
    idle_ms: int = 700
    lines: bool = False
    key: str | None = None
    on_warning: OnWarning = None
    speed: float = 1.0
    rate: int = SAMPLE_RATE
    max_seconds: float | None = None
    markup: bool = False
    lexicon: Lexicon | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name in _NEVER_NONE:
                object.__setattr__(self, field.name, _checked(field.name, value))


def _checked(name: str, value: Any) -> Any:
    """The value of an option as a Python type. Raises UsageError."""
    if name in _INTEGERS:
        number = arguments.integer(name, value, *_INTEGERS[name])
        if name == "rate" and number not in RATES:
            arguments.refuse(name, number, f"one of {', '.join(map(str, RATES))}")
        return number
    if name in _NUMBERS:
        return arguments.number(name, value, *_NUMBERS[name])
    if name in _SWITCHES:
        return arguments.boolean(name, value)
    if name == "key":
        if not re.fullmatch(r"live:(0|[1-9][0-9]{0,17})", arguments.text(name, value)):
            arguments.refuse(name, value, "live:N, N being a number from 0")
        return value
    if name in _TEXTS:
        return arguments.text(name, value)
    if name == "on_warning":
        check_on_warning(value)
        return value
    if name == "lexicon":
        return _check_lexicon(value)
    return check_audio(name, value) if name == "ref_audio" else _check_voice(name, value)


def _check_lexicon(value: Any) -> Lexicon:
    from ..spoken_text.lexicon import Lexicon

    if isinstance(value, os.PathLike):
        return Lexicon.read(arguments.name_or_path("lexicon", value))
    if not isinstance(value, Lexicon):
        arguments.refuse("lexicon", value, "a Lexicon, or a pathlib.Path of a file")
    return value


def _check_voice(name: str, value: Any) -> str | os.PathLike[str] | Voice:
    if isinstance(value, (str, os.PathLike)):
        return arguments.name_or_path(name, value)
    from ..cloning.voice_file import Voice

    if not isinstance(value, Voice):
        arguments.refuse(name, value, "a name, a Voice, or a pathlib.Path of a voice file")
    return value


def check_audio(name: str, value: Any) -> Audio:
    """A recording argument: a pathlib.Path, (samples, rate), or a Recording. Raises UsageError for anything else."""
    expected = "a pathlib.Path of a file, (samples, rate), or a Recording"
    if isinstance(value, os.PathLike):
        return arguments.name_or_path(name, value)
    if isinstance(value, tuple):
        if len(value) != 2:
            raise UsageError(f"{name}: found a tuple of {len(value)}, expected {expected}")
        return value
    from ..audio.recording import Recording

    if not isinstance(value, Recording):
        arguments.refuse(name, value, expected)
    return value


def check_voice_fields(text: Any, given: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The transcript and the text fields of a voice to be cloned. Raises UsageError for an unknown name or type."""
    for name, value in {"text": text, **given}.items():
        if name not in ("text", *_VOICE_FIELDS):
            raise UsageError(f"{arguments.describe_name(name)}: no such argument; there are {', '.join(_VOICE_FIELDS)}")
        if not isinstance(value, str) and (value is not None or name == "name"):
            arguments.refuse(name, value, "a text")
    return text, dict(given)


def iterate_items(items: Any) -> Iterator[Any]:
    """An iterator over texts and mappings. Raises UsageError for a single text or mapping, or anything not iterable."""
    if isinstance(items, (str, bytes, bytearray, Mapping)) or not isinstance(items, Iterable):
        arguments.refuse("items", items, "an iterable of texts or mappings")
    try:
        return iter(items)
    except TypeError:
        arguments.refuse("items", items, "an iterable of texts or mappings")


def parse_item(item: Any, options: Mapping[str, Any]) -> tuple[str, SpeakOptions]:
    """The text of an item, and its options, which override `options`. Raises UsageError."""
    if not isinstance(item, (str, Mapping)):
        raise UsageError(f"found {arguments.describe(item)}, expected a text or a mapping")
    given = {"text": item} if isinstance(item, str) else dict(item)
    if given.get("text") is None:
        raise UsageError("no text")
    text = arguments.text("text", given.pop("text"))
    return text, make_options({**options, **given, "live": options["live"]})


def resolve_sampling(options: SpeakOptions, config: ModelConfig) -> tuple[Sampling, Sampling]:
    """How the talker and the code predictor choose codes: the options, with the checkpoint's defaults.

    Source: qwen3_tts_model.py, Qwen3TTSModel._merge_generate_kwargs.
    """
    g, o = config.generation, options
    temperature = g.temperature if o.temperature is None else o.temperature
    sub_temperature = g.subtalker_temperature if o.subtalker_temperature is None else o.subtalker_temperature
    talker_greedy = o.greedy or temperature == 0 or (o.temperature is None and not g.do_sample)
    sub_greedy = o.greedy or sub_temperature == 0 or (o.subtalker_temperature is None and not g.subtalker_dosample)
    talker = Sampling(
        greedy=talker_greedy,
        temperature=temperature or 1.0,
        top_k=min(g.top_k if o.top_k is None else o.top_k, _MAX_VOCABULARY),
        top_p=g.top_p if o.top_p is None else o.top_p,
        repetition_penalty=g.repetition_penalty if o.repetition_penalty is None else o.repetition_penalty,
    )
    predictor = Sampling(
        greedy=sub_greedy,
        temperature=sub_temperature or 1.0,
        top_k=min(g.subtalker_top_k if o.subtalker_top_k is None else o.subtalker_top_k, _MAX_VOCABULARY),
        top_p=g.subtalker_top_p if o.subtalker_top_p is None else o.subtalker_top_p,
    )
    return talker, predictor


def make_options(options: Mapping[str, Any]) -> SpeakOptions:
    """SpeakOptions from keyword arguments. Raises UsageError for an unknown name."""
    known = {f.name for f in fields(SpeakOptions)}
    for name in options:
        if name not in known:
            raise UsageError(f"{arguments.describe_name(name)}: no such option; there are {', '.join(sorted(known))}")
    return SpeakOptions(**options)  # type: ignore[arg-type]
