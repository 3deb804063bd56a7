"""How to speak: the options of the Python API, and what they mean for a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..cloning.clone import check_on_warning
from ..common import arguments
from ..engine.session import Sampling
from ..errors import UsageError
from .scheduler import MOST

if TYPE_CHECKING:
    import os

    from ..cloning.clone import Audio, OnWarning
    from ..cloning.voice_file import Voice
    from ..models.config.model import ModelConfig


_MOST_CODES = 1 << 20  # as many as a vocabulary can have
_INTEGERS = {
    "seed": (0, (1 << 64) - 1),
    "top_k": (0, (1 << 31) - 1),
    "subtalker_top_k": (0, (1 << 31) - 1),
    "max_frames": (1, 1 << 31),
    "retries": (0, 1000),
    "chunk_frames": (0, 64),
    "batch": (0, MOST),
}
_NUMBERS = {
    "temperature": (0, 100),
    "top_p": (1e-6, 1),
    "repetition_penalty": (1e-3, 1e3),
    "subtalker_temperature": (0, 100),
    "subtalker_top_p": (1e-6, 1),
}
_SWITCHES = ("greedy", "split", "live", "pipeline")
_TEXTS = ("ref_text", "design", "language", "instruct", "text_mode")
_ALWAYS = ("retries", "chunk_frames", "batch", *_SWITCHES)  # None is no value of these
_FACTS = ("name", "language", "description", "note")


@dataclass(frozen=True)
class SpeakOptions:
    """How to speak. None takes the default of the checkpoint (generation_config.json, voice.json) or of the reference.

    seed: 0 <= seed < 2**64; drawn when None. max_frames: of the whole output, 12.5 a second. split: long texts at
    sentence ends. retries: new attempts when an utterance runs away; 0 turns the guard off. live: yield audio as it is
    made rather than an utterance at a time. chunk_frames and pipeline: how the decoder runs; never what it makes.
    voice: a preset, the name of a kept voice, a pathlib.Path of a voice file, or a Voice. ref_audio: speak with the
    voice of a recording, as Synthesizer.clone takes it; ref_text: what it says; on_warning: called with each line on
    what may spoil that voice, None: that of Synthesizer.open. design: the description of a voice, for a model that
    makes them. batch: utterances made at a time, 0: what suits the machine; never what they are.
    NumPy's scalars are taken for Python's. Raises UsageError for a value of another type or out of range.
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
    on_warning: OnWarning = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name in _ALWAYS:
                object.__setattr__(self, field.name, _checked(field.name, value))


def _checked(name: str, value: Any) -> Any:
    """The value of an option, as Python's own type. Raises UsageError."""
    if name in _INTEGERS:
        return arguments.integer(name, value, *_INTEGERS[name])
    if name in _NUMBERS:
        return arguments.number(name, value, *_NUMBERS[name])
    if name in _SWITCHES:
        return arguments.switch(name, value)
    if name in _TEXTS:
        return arguments.text(name, value)
    if name == "on_warning":
        check_on_warning(value)
        return value
    return audio_of(name, value) if name == "ref_audio" else _voice(name, value)


def _voice(name: str, value: Any) -> str | os.PathLike[str] | Voice:
    if isinstance(value, (str, os.PathLike)):
        return arguments.name_or_path(name, value)
    from ..cloning.voice_file import Voice

    if not isinstance(value, Voice):
        arguments.refuse(name, value, "a name, a Voice, or a pathlib.Path of a voice file")
    return value


def audio_of(name: str, value: Any) -> Audio:
    """A recording as Synthesizer.clone takes it: a pathlib.Path, (samples, rate), or a Recording. Raises UsageError."""
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


def facts_of(text: Any, facts: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The transcript, and what is kept with a cloned voice. Raises UsageError for an unknown name or another type."""
    for name, value in {"text": text, **facts}.items():
        if name not in ("text", *_FACTS):
            raise UsageError(f"{arguments.named(name)}: no such argument; there are {', '.join(_FACTS)}")
        if not isinstance(value, str) and (value is not None or name == "name"):
            arguments.refuse(name, value, "a text")
    return text, dict(facts)


def iterator_of(items: Any) -> Iterator[Any]:
    """An iterator over texts and mappings. Raises UsageError for one text, one mapping, and what is not iterable."""
    if isinstance(items, (str, bytes, bytearray, Mapping)) or not isinstance(items, Iterable):
        arguments.refuse("items", items, "an iterable of texts or mappings")
    try:
        return iter(items)
    except TypeError:
        arguments.refuse("items", items, "an iterable of texts or mappings")


def text_and_options(item: Any, options: Mapping[str, Any]) -> tuple[str, SpeakOptions]:
    """One of `items`: its text, and its options before those for all. Raises UsageError."""
    if not isinstance(item, (str, Mapping)):
        raise UsageError(f"found {arguments.described(item)}, expected a text or a mapping")
    given = {"text": item} if isinstance(item, str) else dict(item)
    if given.get("text") is None:
        raise UsageError("no text")
    text = arguments.text("text", given.pop("text"))
    return text, options_of({**options, **given, "live": options["live"]})


def sampling_of(options: SpeakOptions, config: ModelConfig) -> tuple[Sampling, Sampling]:
    """How talker and code predictor choose their codes."""
    g, o = config.generation, options
    temperature = g.temperature if o.temperature is None else o.temperature
    sub_temperature = g.subtalker_temperature if o.subtalker_temperature is None else o.subtalker_temperature
    talker_greedy = o.greedy or temperature == 0 or (o.temperature is None and not g.do_sample)
    sub_greedy = o.greedy or sub_temperature == 0 or (o.subtalker_temperature is None and not g.subtalker_dosample)
    talker = Sampling(
        greedy=talker_greedy,
        temperature=temperature or 1.0,
        top_k=min(g.top_k if o.top_k is None else o.top_k, _MOST_CODES),
        top_p=g.top_p if o.top_p is None else o.top_p,
        repetition_penalty=g.repetition_penalty if o.repetition_penalty is None else o.repetition_penalty,
    )
    predictor = Sampling(
        greedy=sub_greedy,
        temperature=sub_temperature or 1.0,
        top_k=min(g.subtalker_top_k if o.subtalker_top_k is None else o.subtalker_top_k, _MOST_CODES),
        top_p=g.subtalker_top_p if o.subtalker_top_p is None else o.subtalker_top_p,
    )
    return talker, predictor


def options_of(options: Mapping[str, Any]) -> SpeakOptions:
    """SpeakOptions of keyword arguments. Raises UsageError for an unknown name."""
    known = {f.name for f in fields(SpeakOptions)}
    for name in options:
        if name not in known:
            raise UsageError(f"{arguments.named(name)}: no such option; there are {', '.join(sorted(known))}")
    return SpeakOptions(**options)  # type: ignore[arg-type]
