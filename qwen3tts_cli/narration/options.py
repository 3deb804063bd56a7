"""NarrateOptions: the options of a narration, besides how a text is spoken."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio.levelling import LUFS_RANGE
from ..common import arguments
from ..common.audio_constants import FINISHED_FORMATS, RATES, SAMPLE_RATE
from ..errors import UsageError
from ..scheduling.policy import MAX_BATCH
from ..speech.speak_options import SpeakOptions

if TYPE_CHECKING:
    from ..hearing.word_errors import Verifier
    from ..spoken_text.lexicon import Lexicon

INPUT_FORMATS = ("txt", "md", "html", "epub")
CUES = ("segment", "sentence")
ON_ERROR = ("stop", "skip")
MAX_PAUSE_SECONDS = 10
_CHOICES = {"input_format": INPUT_FORMATS, "audio_format": FINISHED_FORMATS, "cue": CUES, "on_error": ON_ERROR}
_NUMBERS = {
    "pause_sentence": (0, MAX_PAUSE_SECONDS),
    "pause_paragraph": (0, MAX_PAUSE_SECONDS),
    "pause_chapter": (0, MAX_PAUSE_SECONDS),
    "lufs": LUFS_RANGE,
    "max_wer": (0, 10),
    "speed": (0.25, 4),
}
_SWITCHES = ("markup", "alt", "code", "steady", "keep", "preview", "align")
_FILES = ("lexicon", "cover", "srt", "vtt", "timings", "chapter_vtt", "cue_sheet")
_TEXTS = ("subtype", "chapters", "title", "author", "album")
# Fields of SpeakOptions that a narration sets itself, or that have no meaning for it.
_NOT_SPEAK = (
    "seed", "live", "split", "idle_ms", "lines", "key", "max_frames", "max_seconds", "batch", "speed", "rate",
    "chunk_frames", "pipeline", "markup", "lexicon",
)  # fmt: skip
_SPEAK = tuple(each.name for each in fields(SpeakOptions) if each.name not in _NOT_SPEAK)


@dataclass(frozen=True)
class NarrateOptions:
    """How to narrate. Lengths and pauses are seconds.

    input_format: "txt", "md", "html" or "epub"; None: by the extension. markup: whether `[pause:1s]`, `[voice:NAME]`
    and `[chapter:TITLE]` are tags, in txt and md. alt, code: whether descriptions of images and blocks of code are
    spoken. lexicon: a file of replacements. chapters: which to speak, such as "2-5,9"; None: all. preview: only the
    first minute of them.
    audio_format: for an output that is a folder; None: opus. subtype: see output.formats. rate: sample rate in Hz.
    speed: 0.25 to 4. lufs: integrated loudness of a chapter; None: that of the voice. title, author, album: tags that
    replace those of the input. cover: a JPEG or PNG file; None: that of the input.
    pause_sentence, pause_paragraph, pause_chapter: 0 to 10. cue: "segment", or "sentence" for segments of one sentence.
    steady: whether all segments begin with the same random draws, or follow one of them as a recording.
    seed: None: drawn and recorded. batch: segments generated together, 0 to 64; 0: automatic. retries: new attempts for
    a segment that fails its checks. on_error: "stop" makes no file if a segment has failed, "skip" has a second of
    silence in its place. redo: segments to speak with a new seed, such as "3.17". keep: whether the folder of segments
    stays. verify: a model of faster-whisper that hears each segment; max_wer: its greatest word error rate. align:
    whether timings have the times of words. srt, vtt, timings, chapter_vtt, cue_sheet: files to write.
    speak: fields of SpeakOptions: voice, language, instruct, sampling and so on.

    Raises UsageError for a value of another type or out of range.
    """

    input_format: str | None = None
    markup: bool = True
    alt: bool = False
    code: bool = False
    lexicon: str | os.PathLike[str] | None = None
    chapters: str | None = None
    preview: bool = False
    audio_format: str | None = None
    subtype: str | None = None
    rate: int = SAMPLE_RATE
    speed: float = 1.0
    lufs: float | None = None
    title: str | None = None
    author: str | None = None
    album: str | None = None
    cover: str | os.PathLike[str] | None = None
    pause_sentence: float = 0.25
    pause_paragraph: float = 0.6
    pause_chapter: float = 1.5
    cue: str = "segment"
    steady: bool = False
    seed: int | None = None
    batch: int = 0
    retries: int = 2
    on_error: str = "stop"
    redo: tuple[str, ...] = ()
    keep: bool = False
    verify: str | os.PathLike[str] | None = None
    max_wer: float = 0.3
    align: bool = False
    srt: str | os.PathLike[str] | None = None
    vtt: str | os.PathLike[str] | None = None
    timings: str | os.PathLike[str] | None = None
    chapter_vtt: str | os.PathLike[str] | None = None
    cue_sheet: str | os.PathLike[str] | None = None
    speak: SpeakOptions = field(default_factory=SpeakOptions)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                arguments.refuse(name, value, f"one of {', '.join(choices)}")
        for name, (low, high) in _NUMBERS.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, arguments.number(name, value, low, high))
        for name in _SWITCHES:
            object.__setattr__(self, name, arguments.boolean(name, getattr(self, name)))
        for name in _TEXTS:
            if (value := getattr(self, name)) is not None:
                arguments.text(name, value)
        for name in _FILES:
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                arguments.refuse(name, value, "the path of a file")
        if self.seed is not None:
            object.__setattr__(self, "seed", arguments.integer("seed", self.seed, 0, (1 << 64) - 1))
        object.__setattr__(self, "batch", arguments.integer("batch", self.batch, 0, MAX_BATCH))
        object.__setattr__(self, "retries", arguments.integer("retries", self.retries, 0, 1000))
        if arguments.integer("rate", self.rate, RATES[0], RATES[-1]) not in RATES:
            arguments.refuse("rate", self.rate, f"one of {', '.join(map(str, RATES))}")
        redo = (self.redo,) if isinstance(self.redo, str) else tuple(self.redo)
        for each in redo:
            if not isinstance(each, str) or not re.fullmatch(r"[1-9][0-9]{0,8}\.[1-9][0-9]{0,8}", each):
                arguments.refuse("redo", each, "CHAPTER.SEGMENT, such as 3.17")
        object.__setattr__(self, "redo", redo)


def read_lexicon(options: NarrateOptions) -> Lexicon | None:
    """The lexicon that the options name, or None. Raises as Lexicon.read does."""
    if options.lexicon is None:
        return None
    from ..spoken_text.lexicon import Lexicon

    return Lexicon.read(Path(options.lexicon))


def open_verifier(options: NarrateOptions) -> Verifier | None:
    """The recogniser that the options name, or None. Raises as Verifier.open does."""
    if options.verify is None:
        return None
    from ..hearing.word_errors import Verifier

    return Verifier.open(os.fspath(options.verify))


def make_narrate_options(given: Mapping[str, Any]) -> NarrateOptions:
    """NarrateOptions from keyword arguments, those of SpeakOptions among them. Raises UsageError for unknown names."""
    own = {each.name for each in fields(NarrateOptions)} - {"speak"}
    for name in given:
        if name not in own and name not in _SPEAK:
            known = ", ".join(sorted((*own, *_SPEAK)))
            raise UsageError(f"{arguments.describe_name(name)}: no such option; there are {known}")
    speak = {name: value for name, value in given.items() if name in _SPEAK}
    retries = given.get("retries", NarrateOptions.retries)
    return NarrateOptions(
        **{name: value for name, value in given.items() if name in own},
        speak=SpeakOptions(**{**speak, "retries": retries}),
    )


def is_folder(output: str | os.PathLike[str]) -> bool:
    """Whether an output names a folder: it ends with a slash, or a folder is there."""
    return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()
