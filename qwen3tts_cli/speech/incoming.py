"""Speak a text that is still coming: make a job of each utterance as soon as its first token is certain, and hand the
tokens that follow to the engine while the utterance is generated."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from contextlib import suppress
from io import IncrementalNewlineDecoder
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..scheduling.job import OpenText
from ..scheduling.seeds import live_key
from ..text.incoming_tokens import IncomingTokens
from ..text.incoming_utterances import IncomingUtterances
from ..text.prompt import build_open_prompt, can_be_open
from ..text.script_check import IncomingScriptCheck
from ..text.utterances import NothingToSpeakError
from .reader import Pending
from .utterance_prompts import DEFAULT_UTTERANCE_CHARACTERS, make_prompt, utterance_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..common.lifetime import Lifetime
    from ..engine.model import Model
    from ..scheduling.job import Job
    from ..text.incoming_utterances import UtteranceText
    from .plan import SpeechPlan
    from .speak_options import SpeakOptions

_WAITING_UTTERANCES = 16  # utterances that were made and not submitted, with which the text is not read on
_WAITING_TEXTS = 64  # texts that were read and not yet given
POLL_SECONDS = 0.05  # between two looks of a thread or task that waits for room


def _nothing() -> None:
    pass


class Idle:
    """Stands in an iterable of texts for the time in which no text came; see `with_idle`."""


class Flush:
    """Stands in an iterable of texts where the utterance ends now, also inside a word. The class itself is the item."""


class IncomingSpeech:
    """The utterances of a text that is still coming.

    One thread or task gives the text by `feed`, `idle`, `flush`, `finish` and `fail`. The reader takes jobs by
    `next_job`.
    With open text a job begins when its first token is certain. Where the model needs the whole text of an utterance,
    the text mode is "full", or there is a lexicon, a job is one complete sentence.

    on_change: is called when the reader may find something new, and the engine new text; the Speech that reads sets it.
    within: the lifetime of the synthesizer, inside which the tokenizer is used. options: those that the plan was made
    of.
    """

    def __init__(self, model: Model, within: Lifetime, plan: SpeechPlan, options: SpeakOptions) -> None:
        self._model, self._within, self._plan = model, within, plan
        self.on_change: Callable[[], None] = _nothing
        self._lexicon, self._split = options.lexicon, options.split
        self._open = is_open(model, plan) and self._lexicon is None
        manifest = model.config.voice
        limit = manifest.max_characters if manifest else DEFAULT_UTTERANCE_CHARACTERS
        self._utterances = IncomingUtterances(
            limit,
            plan.language,
            lines=options.lines,
            split=self._split,
            sentences=self._split and not self._open,
        )
        self._newlines = IncrementalNewlineDecoder(None, translate=True)
        self._check = IncomingScriptCheck(model.config)
        self._current: _OpenUtterance | None = None
        self._text = ""  # of the utterance that is not yet complete, where a job needs the whole text
        self._number = 0  # of the next job
        self._jobs: deque[Job] = deque()
        self._error: Exception | None = None
        self._ended = self.closed = False

    def feed(self, text: str) -> None:
        """Take the next piece of the text. Raises UsageError for another type, or a script that the model lacks."""
        if not isinstance(text, str):
            raise UsageError(f"text: found a {type(text).__name__} in the iterable, expected texts")
        text = self._newlines.decode(text)
        try:
            self._check.feed(text)
        finally:
            self._take(self._utterances.feed(text))

    def idle(self) -> None:
        """End the utterance, because no text has come for a while, unless it ends inside a word or number."""
        self._take(self._utterances.idle())

    def flush(self) -> None:
        """End the utterance now, even inside a word."""
        self._take(self._utterances.flush())

    def finish(self) -> None:
        """End the text. Raises UsageError if it had nothing to speak."""
        self._take(self._utterances.feed(self._newlines.decode("", final=True)))
        self._take(self._utterances.finish())
        if not self._number and self._error is None:
            self._error = UsageError("nothing to speak")
        self._ended = True
        self.on_change()

    def fail(self, error: Exception) -> None:
        """End the text with an error, which is raised after the speech of the text before it."""
        self._error = error
        try:
            self.finish()
        except Exception:  # the synthesizer is closed
            self._ended = True
            self.on_change()

    def _take(self, events: list[UtteranceText]) -> None:
        if not events:
            return
        with self._within.alone():
            for event in events:
                if self._open:
                    self._add_open(event)
                else:
                    self._text += event.text
                    if event.ends:
                        self._add_whole(self._text)
                        self._text = ""
        self.on_change()

    def _add_open(self, event: UtteranceText) -> None:
        if self._current is None:
            self._current = _OpenUtterance(self._model, self._plan)
        if (start := self._current.add(event.text, event.ends)) is not None:
            self._add_job(*start, open_text=self._current.text)
        if event.ends:
            self._current = None

    def _add_whole(self, text: str) -> None:
        spoken = text if self._lexicon is None else self._lexicon.apply(text, self._plan.language)
        try:
            texts = list(utterance_texts(self._model, spoken, self._plan, self._split))
        except NothingToSpeakError:  # nothing but markup
            return
        for left, each in zip(range(len(texts) - 1, -1, -1), texts, strict=True):
            prompt = make_prompt(self._model, self._model.checkpoint.tokenizer, each, self._plan)
            self._add_job(each, prompt, source=text, goes_on=left > 0)

    def _add_job(self, text: str, prompt: object, **more: object) -> None:
        key = live_key(self._plan.settings, self._number)
        self._number += 1
        self._jobs.append(self._plan.job(self._model, text, prompt, key, self._plan.max_frames, **more))

    # ---------------------------------------------------------------- the reader's side
    def next_job(self) -> Job | None:
        """The job of the next utterance; None at the end. Raises Pending if there is none yet, and the text's error."""
        ended = self._ended
        if self._jobs:
            return self._jobs.popleft()
        if not ended:
            raise Pending
        if self._error is not None:
            raise self._error
        return None

    def wait_for_room(self) -> bool:
        """Wait while many utterances were made and not submitted. Returns False once the reader has closed."""
        while self.is_full and not self.closed:
            time.sleep(POLL_SECONDS)
        return not self.closed

    @property
    def is_full(self) -> bool:
        """Whether many utterances were made and not submitted."""
        return len(self._jobs) >= _WAITING_UTTERANCES


class _OpenUtterance:
    """The tokens of one utterance with open text. Tokens that come before the first frame are in `text` as well."""

    def __init__(self, model: Model, plan: SpeechPlan) -> None:
        self._model, self._plan = model, plan
        self._tokens = IncomingTokens(model.checkpoint.tokenizer)
        self._begun = False
        self.text = OpenText()

    def add(self, text: str, ends: bool) -> tuple[str, object] | None:
        """Add text. Returns (text, prompt) once the first token is certain, else None."""
        ids = self._tokens.feed(text)
        if ends:
            ids += [*self._tokens.finish(), self._model.config.tts_eos_id]
        start = None
        if ids and not self._begun:
            self._begun = True
            cloned = self._plan.cloned
            start = "", build_open_prompt(
                self._model.config, self._model.checkpoint.tokenizer, ids.pop(0), language=self._plan.language,
                speaker=None if cloned else self._plan.voice, instruct=self._plan.instruct,
                speaker_row=cloned is not None,
            )  # fmt: skip
        self.text.put(text, np.array(ids, np.int32), ends)
        return start


def is_open(model: Model, plan: SpeechPlan) -> bool:
    """Whether an utterance of the plan can be generated while its text is still coming."""
    has_codes = plan.cloned is not None and plan.cloned.codes is not None
    return plan.text_mode == "streaming" and can_be_open(model.config, has_codes)


def with_idle(
    texts: Iterable[str | type[Flush]], seconds: float, stopped: Callable[[], bool]
) -> Iterator[str | type[Flush] | type[Idle]]:
    """Yield the texts; yield Idle where none came for so many seconds. A thread waits for the texts.

    stopped: whether the thread may end, because nobody reads the texts any more.
    """
    items: queue.Queue[tuple[str | type[Flush] | None, Exception | None]] = queue.Queue(_WAITING_TEXTS)

    def put(text: str | type[Flush] | None, error: Exception | None = None) -> bool:
        while not stopped():
            with suppress(queue.Full):
                items.put((text, error), timeout=POLL_SECONDS)
                return True
        with suppress(queue.Full):  # the thread that waits for texts must learn that none comes
            items.put_nowait((None, None))
        return False

    def read() -> None:
        try:
            for text in texts:
                if not put(text):
                    return
            put(None)
        except Exception as error:
            put(None, error)

    threading.Thread(target=read, name="qwen3tts text", daemon=True).start()
    wait: float | None = None
    while True:
        try:
            text, error = items.get(timeout=wait)
        except queue.Empty:
            wait = None
            yield Idle
            continue
        if error is not None:
            raise error
        if text is None:
            return
        wait = seconds
        yield text


def give(texts: Iterable[str | type[Flush] | type[Idle]], speech: IncomingSpeech) -> None:
    """Give all texts to `speech`, until its reader closes."""
    try:
        for text in texts:
            if not speech.wait_for_room():
                return
            if text is Idle:
                speech.idle()
            elif text is Flush:
                speech.flush()
            else:
                speech.feed(text)
    except Exception as error:
        speech.fail(error)
    else:
        speech.finish()


def start_giving(texts: Iterable[str | type[Flush]], idle_seconds: float, speech: IncomingSpeech) -> None:
    """Give the texts of an iterable to `speech` on a thread. idle_seconds: 0 means that time ends no utterance."""
    given = with_idle(texts, idle_seconds, lambda: speech.closed) if idle_seconds else texts
    threading.Thread(target=give, args=(given, speech), name="qwen3tts text", daemon=True).start()
