"""When each word of a segment is spoken: the extra `[align]`, pocketsphinx, English.

The words are aligned with the samples by a graph of the words of the text in their order, with optional silence between
them. A word that the dictionary does not have, or that is written with digits, is a loop of any phones in this
graph, so that it takes its time without moving the words beside it; its own times are None. Times are never guessed: a
segment that cannot be aligned, that has a word where there is silence, or whose samples fit any phones much better than
its words, has none.
"""

from __future__ import annotations

import math
import re
import threading
from typing import TYPE_CHECKING, Any

from ..common.audio_constants import SAMPLE_RATE
from ..errors import UsageError
from .segment_checks import speech_windows

if TYPE_CHECKING:
    import numpy as np

    WordTime = tuple[str, float, float] | tuple[str, None, None]

_RECOGNISER_RATE = 16_000
_FRAMES_PER_SECOND = 100
_SHORTEST_SECONDS = 0.1
_WIDE_BEAM = 1e-120  # the words are known: prune little, or the end of the text is lost
_PHONE_CHANCE = 1e-3  # of each phone in a loop, so that a loop does not take the phones of the words beside it
# By how much, per frame, the best path through any phones may be better than that through the words; in the scaled
# logarithms of pocketsphinx. 150 segments of the embedded voice: at most 0.003 with their own text; with another text
# of the same length 0.005 at the median, where there is a path at all.
_MISFIT = 0.0035
_LEAST_SCORE = 1e-300
_ALL_PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
_PHONES = tuple(_ALL_PHONES.split())
_MARK = "+phone-"
_SIBILANTS = ("S", "Z", "SH", "ZH", "CH", "JH")
_VOICELESS = ("P", "T", "K", "F", "TH")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")


class Aligner:
    """Finds the times of words. Any thread may use it; one at a time computes. The result depends on the call alone."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._lock = threading.Lock()
        for phone in _PHONES:
            decoder.add_word(_MARK + phone, phone, phone == _PHONES[-1])

    @classmethod
    def open(cls) -> Aligner:
        """Open the English acoustic model and dictionary of pocketsphinx. Raises UsageError if it is not installed."""
        try:
            import pocketsphinx
        except (ImportError, OSError) as error:
            raise UsageError(f"word times need pocketsphinx ({error}): pip install 'qwen3tts-cli[align]'") from None
        return cls(
            pocketsphinx.Decoder(
                lm=None,
                samprate=_RECOGNISER_RATE,
                frate=_FRAMES_PER_SECOND,
                cmn="batch",  # the mean of this segment alone, so that the order of segments does not matter
                beam=_WIDE_BEAM,
                pbeam=_WIDE_BEAM,
                wbeam=_WIDE_BEAM,
                maxhmmpf=-1,
                compallsen=True,  # else scores of different graphs cannot be compared
                bestpath=False,
                loglevel="FATAL",
            )
        )

    def align(self, samples: np.ndarray, text: str) -> list[WordTime] | None:
        """The words of an English text with the seconds in `samples` where each begins and ends.

        samples: float32 of shape (n,), full scale 1, 24 kHz. text: what they say. Returns for each word, which is a run
        of characters without whitespace that has a letter or digit, (word, start, end), or (word, None, None) if its
        sound is not known; starts and ends ascend, in steps of 10 ms. None: the segment cannot be aligned.
        """
        words = [word for word in text.split() if any(map(str.isalnum, word))]
        seconds = samples.size / SAMPLE_RATE
        if not words or seconds < _SHORTEST_SECONDS:
            return None
        with self._lock:
            spoken = [self._spoken(word) for word in words]
            spans = self._search(samples, spoken)
        if spans is None:
            return None
        times: list[WordTime] = []
        for word, parts in zip(words, spoken, strict=True):
            taken, spans = spans[: len(parts)], spans[len(parts) :]
            times.append((word, taken[0][0], min(taken[-1][1], seconds)) if taken else (word, None, None))
        return times

    def _spoken(self, word: str) -> list[str]:
        """The dictionary words of a word of the text; empty if one of them is not known."""
        parts = re.split(r"[-–—/]+", word.lower().replace("’", "'"))
        parts = [part for part in (re.sub(r"^[^a-z0-9]+|[^a-z0-9']+$", "", part) for part in parts) if part]
        return parts if all(self._is_known(part) for part in parts) else []

    def _is_known(self, part: str) -> bool:
        if _WORD.fullmatch(part) is None:
            return False
        if self._decoder.lookup_word(part) is not None:
            return True
        phones = self._decoder.lookup_word(part[:-2]) if part.endswith("'s") else None
        if phones is None:
            return False
        last = phones.split()[-1]
        ending = "IH Z" if last in _SIBILANTS else "S" if last in _VOICELESS else "Z"
        self._decoder.add_word(part, f"{phones} {ending}", True)
        return True

    def _search(self, samples: np.ndarray, spoken: list[list[str]]) -> list[tuple[float, float]] | None:
        """The seconds of each dictionary word, in order; None if they do not fit the samples."""
        state, transitions, known = 0, [], []
        for parts, before in zip(spoken, [["first"], *spoken], strict=False):
            if not parts and before:  # one loop for neighbours of which none is known
                transitions += _loop(state, state + 1)
                state += 1
            for part in parts:
                transitions.append((state, state + 1, 1.0, part))
                state += 1
                known.append(part)
        if not known:
            return None
        data = _integers(samples)
        free = self._decode(data, 1, _loop(0, 1))
        found = self._decode(data, state, transitions)
        if found is None or free is None:
            return None
        segments, score = found
        if free[1] - score > _MISFIT * _FRAMES_PER_SECOND * samples.size / SAMPLE_RATE:
            return None
        words = [each for each in segments if each[0][0].isalpha()]
        if [re.sub(r"\(\d+\)$", "", word) for word, _, _ in words] != known:
            return None
        loud = speech_windows(samples)  # as long as the frames
        if any(loud.searchsorted(first) == loud.searchsorted(last, "right") for _, first, last in words):
            return None  # a word in silence
        return [(first / _FRAMES_PER_SECOND, (last + 1) / _FRAMES_PER_SECOND) for _, first, last in words]

    def _decode(
        self, data: bytes, final: int, transitions: list[tuple[Any, ...]]
    ) -> tuple[list[tuple[str, int, int]], float] | None:
        """The best path through a graph: its (word, first frame, last frame), and the sum of acoustic scores."""
        decoder = self._decoder
        decoder.add_fsg("segment", decoder.create_fsg("segment", 0, final, transitions))
        decoder.activate_search("segment")
        decoder.start_utt()
        try:
            decoder.process_raw(data, full_utt=True)
        except RuntimeError:  # no frames that it can use
            return None
        finally:
            decoder.end_utt()
        if decoder.hyp() is None:  # the end of the graph was not reached
            return None
        segments = list(decoder.seg())
        score = sum(math.log(max(each.ascore, _LEAST_SCORE)) for each in segments)
        return [(each.word, each.start_frame, each.end_frame) for each in segments], score


def _loop(first: int, last: int) -> list[tuple[Any, ...]]:
    return [(state, last, _PHONE_CHANCE, _MARK + phone) for phone in _PHONES for state in (first, last)]


def _integers(samples: np.ndarray) -> bytes:
    import numpy as np
    import soxr

    audio = soxr.resample(samples, SAMPLE_RATE, _RECOGNISER_RATE)
    return np.clip(np.rint(audio * 32767), -32768, 32767).astype("<i2").tobytes()
