"""The segments of a text: what is spoken in one piece, kept in one file, and shown as one cue."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..scheduling.seeds import retry_seed, steady_key, utterance_key
from ..speech.plan import make_plan
from ..speech.utterance_prompts import texts_with_written
from ..spoken_text.listening_rules import for_listening, language_of
from ..spoken_text.markup_tags import Pause, PauseBudget, Text, VoiceChange, parse_markup
from ..text.long_text import segment as split_sentences
from ..text.speakable import SPEAKABLE
from ..text.utterances import NothingToSpeakError, language_code
from ..text.written_parts import cut_alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..books.document import Chapter, Document, Paragraph
    from ..speech.plan import SpeechPlan
    from ..speech.synthesizer import Synthesizer
    from ..spoken_text.lexicon import Lexicon
    from .options import NarrateOptions

_FORMAT = 1  # of the digests; changes when the same inputs would give other samples


@dataclass(frozen=True)
class Segment:
    """A text that is spoken in one piece.

    chapter: the number of its chapter in the input, from 1. number: in its chapter, from 1. text: what the model reads.
    written: the part of the input that it says, before the lexicon and without numbers in words. gap: seconds of
    silence behind it. plan: how it is spoken. key: of its random draws. line: in the source, or 0. base: the hash of
    what makes its samples. redone: how often it was asked to be spoken with a new seed.
    """

    chapter: int
    number: int
    text: str
    written: str
    gap: float
    plan: SpeechPlan
    key: int
    line: int
    base: str
    redone: int = 0

    @property
    def name(self) -> str:
        """Its name in messages and for --redo, such as "3.17"."""
        return f"{self.chapter}.{self.number}"

    @property
    def digest(self) -> str:
        """The name of its file: the hash of what makes its samples."""
        return self.base if not self.redone else hashlib.sha256(f"{self.base} {self.redone}".encode()).hexdigest()[:32]

    def seed(self, round_number: int) -> int:
        """The seed of a round of attempts, from 0."""
        seed = self.plan.seed if not self.redone else retry_seed(self.plan.seed, 1_000_000 + self.redone)
        return retry_seed(seed, 0 if round_number == 0 else 1000 + round_number)


@dataclass(frozen=True)
class SpokenChapter:
    """The segments of a chapter. number: in the input, from 1. lead: seconds of silence before the first segment."""

    number: int
    title: str
    lead: float
    segments: list[Segment] = field(default_factory=list)


class Segmenter:
    """Makes the segments of a document for a model, all before the first is spoken, so that errors come first.

    seed: of all segments. fixed: the facts of model and machine that the samples depend on, for the digests. warn:
    called with each warning. voiceless: whether a base model speaks without a voice.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        options: NarrateOptions,
        seed: int,
        fixed: dict[str, object],
        lexicon: Lexicon | None,
        warn: Callable[[str], None],
        voiceless: bool = False,
    ) -> None:
        self._voiceless = voiceless
        self._synthesizer, self._options, self._seed = synthesizer, options, seed
        self._fixed, self._lexicon = fixed, lexicon
        self._plans: dict[tuple[str | None, str | None], SpeechPlan] = {}
        self._budget = PauseBudget(warn)

    def chapters(self, document: Document, numbers: list[int]) -> list[SpokenChapter]:
        """The chapters with the given indices, from 0. Raises UsageError for text or tags that cannot be spoken."""
        found, voice, chosen = [], None, set(numbers)
        for index, chapter in enumerate(document.chapters):
            if index in chosen:
                spoken, voice = self._chapter(index + 1, chapter, document, voice)
                found.append(spoken)
            elif document.has_markup:
                voice = self._voice_after(index + 1, chapter.paragraphs, voice)
        return found

    def _voice_after(self, chapter: int, paragraphs: list[Paragraph], voice: str | None) -> str | None:
        for paragraph in paragraphs:
            for piece in parse_markup(paragraph.text, paragraph.line):
                if isinstance(piece, VoiceChange):
                    voice = self._checked(piece, chapter)
        return voice

    def _checked(self, change: VoiceChange, chapter: int) -> str | None:
        """The name of the voice of a tag, None for that of the options. Raises UsageError for an unknown one."""
        if change.name is not None:
            try:
                self._plan(change.name, None)
            except UsageError as error:
                raise UsageError(f"{_place(change.line, chapter)}: {error}") from None
        return change.name

    def _chapter(
        self, number: int, chapter: Chapter, document: Document, voice: str | None
    ) -> tuple[SpokenChapter, str | None]:
        segments: list[Segment] = []
        lead, asked, o = 0.0, None, self._options  # asked: seconds of the tags since the last segment; None: no tag
        self._budget.begin_chapter()
        for paragraph in chapter.paragraphs:
            seen: Counter[tuple[str, int]] = Counter()
            begins = True
            marked = document.has_markup
            for piece in (
                parse_markup(paragraph.text, paragraph.line, self._budget) if marked else [Text(paragraph.text)]
            ):
                if isinstance(piece, Pause):
                    asked = (asked or 0.0) + piece.seconds
                    continue
                if isinstance(piece, VoiceChange):
                    voice = self._checked(piece, number)
                    continue
                for text, written, plan in self._texts(piece.text, voice, number, paragraph):
                    if segments:
                        pause = o.pause_paragraph if begins else o.pause_sentence
                        segments[-1] = replace(segments[-1], gap=pause if asked is None else asked)
                    elif asked is not None:
                        lead = asked
                    asked, begins = None, False
                    place = seen[text, id(plan)]
                    seen[text, id(plan)] += 1
                    base, key = self._base_and_key(text, plan, place)
                    name = number, len(segments) + 1
                    segments.append(Segment(*name, text, written, 0.0, plan, key, paragraph.line, base))
        if segments:
            segments[-1] = replace(segments[-1], gap=asked or 0.0)
        return SpokenChapter(number, chapter.title, lead, segments), voice

    def _base_and_key(self, text: str, plan: SpeechPlan, place: int) -> tuple[str, int]:
        """See Segment. place: how many segments before it in the paragraph have the same text and plan."""
        key = steady_key(plan.settings) if self._options.steady else utterance_key(text, plan.settings, place)
        made_of = [_FORMAT, self._fixed, plan.settings, plan.seed, key, plan.retries > 0, text]
        hashed = json.dumps(made_of, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(hashed.encode("utf-8", "surrogatepass")).hexdigest()[:32], key

    def _texts(
        self, text: str, voice: str | None, chapter: int, paragraph: Paragraph
    ) -> Iterator[tuple[str, str, SpeechPlan]]:
        """The texts of the segments of a piece of a paragraph, as spoken and as written, and how each is spoken.
        Raises UsageError."""
        language = language_of(text, self._options.speak.language or "auto") if self._detects() else None
        try:
            plan = self._plan(voice, language)
            # the lexicon comes first, because the rules drop pictures and capitals
            said = text if self._lexicon is None else self._lexicon.apply(text, plan.language)
            found: list[tuple[str, str]] = []
            for part in self._parts(for_listening(said, plan.language), plan.language):
                with suppress(NothingToSpeakError):
                    found += texts_with_written(self._synthesizer.model, part, plan)
            if said != text and found:
                found = _without_lexicon(found, for_listening(text, plan.language))
            for spoken, written in found:
                yield spoken, spoken if written == spoken else written, plan
        except UsageError as error:
            raise UsageError(f"{_place(paragraph.line, chapter)}: {error}") from None

    def _parts(self, text: str, language: str) -> list[str]:
        if self._options.cue == "segment":
            return [text] if text else []
        return [part.strip() for part in split_sentences(text, language_code(language)) if part.strip()]

    def _detects(self) -> bool:
        return (self._options.speak.language or "").lower() == "auto"

    def _plan(self, voice: str | None, language: str | None) -> SpeechPlan:
        """How a text is spoken. voice: of a tag; None: that of the options. language: None: that of the options."""
        if (voice, language) not in self._plans:
            speak = replace(self._options.speak, seed=self._seed)
            if voice is not None:
                speak = replace(speak, voice=voice, ref_audio=None, ref_text=None)
            if language is not None:
                speak = replace(speak, language=language)
            self._plans[voice, language] = make_plan(
                self._synthesizer, speak, voiceless=self._voiceless and voice is None
            )
        return self._plans[voice, language]


def _without_lexicon(found: list[tuple[str, str]], text: str) -> list[tuple[str, str]]:
    """Pairs of what is spoken and written, as written before the lexicon. text: all of it, as written."""
    parts = cut_alike(text, [f"{written} " for _, written in found])
    # what a lexicon speaks in place of signs alone is shown as it is spoken
    return [
        (spoken, part.strip() if SPEAKABLE.search(part) else written)
        for (spoken, written), part in zip(found, parts, strict=True)
    ]


def _place(line: int, chapter: int) -> str:
    """Where something is, for messages."""
    return f"line {line}" if line else f"chapter {chapter}"
