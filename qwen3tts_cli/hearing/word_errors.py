"""How many words of a segment a speech recogniser hears otherwise: `--verify`, with the extra `[verify]`.

The recogniser is a Whisper model in the format of faster-whisper. Nothing is downloaded.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING, Any

from ..common.audio_constants import SAMPLE_RATE
from ..errors import GenerationError, UsageError
from ..text.character_folding import fold
from ..text.languages_and_voices import CODES, language_name

if TYPE_CHECKING:
    import numpy as np

_RECOGNISER_RATE = 16_000
_FILES = ("model.bin", "config.json", "tokenizer.json")  # faster-whisper would download a tokenizer that is missing
# Languages that put no spaces between words, or, as Korean, not where listeners agree: compared by characters.
_BY_CHARACTERS = frozenset({"chinese", "japanese", "korean", "thai"})
_BY_CHARACTER_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI")
_LANGUAGE_CODES = {name: code for code, name in CODES.items()}
_ASCII = frozenset(map(chr, range(0x20, 0x7F)))
_SPELLED_SIGNS = frozenset("¢£¥€₹₩₽°²³×÷±≈≤≥≠§©√∞‰")


class Verifier:
    """A speech recogniser that checks segments. One thread at a time may use it.

    >>> verifier = Verifier.open("Systran/faster-whisper-base")
    >>> verifier.check(samples, "It is late.", "english")
    0.0
    """

    def __init__(self, model: Any) -> None:
        """model: an object with the method `transcribe` of faster_whisper.WhisperModel."""
        self._model = model

    @classmethod
    def open(cls, model: str, *, threads: int = 0) -> Verifier:
        """Open a recogniser on this machine.

        model: a folder with model.bin, config.json and tokenizer.json, or the id or size name of a model in the cache
        of Hugging Face ("Systran/faster-whisper-base", "base"). threads: 0: those that the library chooses.
        Raises UsageError if faster-whisper is not installed or the model is not on this machine.
        """
        try:
            import faster_whisper
        except (ImportError, OSError) as error:
            raise UsageError(f"--verify needs faster-whisper ({error}): pip install 'qwen3tts-cli[verify]'") from None
        folder = model
        if not os.path.isdir(model):
            try:
                folder = faster_whisper.download_model(model, local_files_only=True)
            except Exception as error:  # of huggingface_hub and of faster-whisper, which document no classes
                line = " ".join(str(error).split())[:120]
                raise UsageError(
                    f"--verify {model}: neither a folder nor a model in the cache; nothing is downloaded ({line})"
                ) from None
        for name in _FILES:
            if not os.path.isfile(os.path.join(folder, name)):
                raise UsageError(f"--verify {model}: {folder} has no {name}, expected a model of faster-whisper")
        try:
            return cls(
                faster_whisper.WhisperModel(
                    folder, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
                )
            )
        except Exception as error:  # of CTranslate2 and tokenizers, for any fault of the files
            line = " ".join(str(error).split())[:120]
            raise UsageError(f"--verify {model}: {folder} cannot be opened ({line})") from None

    def hear(self, samples: np.ndarray, language: str) -> str:
        """The text that the recogniser hears.

        samples: float32 of shape (n,), full scale 1, 24 kHz. language: a name or code; "auto" and languages that
        Qwen3-TTS does not speak: the recogniser decides. Raises GenerationError if the recogniser fails.
        """
        import soxr

        audio = soxr.resample(samples, SAMPLE_RATE, _RECOGNISER_RATE)
        try:
            # Greedy, and nothing from earlier segments: the result depends on this segment alone.
            segments, _ = self._model.transcribe(
                audio,
                language=_LANGUAGE_CODES.get(_language(language)),
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            return " ".join(segment.text.strip() for segment in segments)
        except (RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:120]
            raise GenerationError(f"--verify: the recogniser failed ({line})") from None

    def check(self, samples: np.ndarray, text: str, language: str) -> float:
        """The word error rate of a segment. samples, language, errors: as in `hear`. text: what is to be spoken."""
        return word_error_rate(text, self.hear(samples, language), language)


def word_error_rate(expected: str, heard: str, language: str) -> float:
    """Words that are wrong, missing or too many, divided by the words of `expected`; may exceed 1.

    language: a name or code, or "auto". Both texts are folded: in English numbers, signs and abbreviations become
    words; letters become lower case; marks of punctuation and apostrophes are dropped. In Chinese, Japanese, Korean and
    Thai, and with "auto" where most letters are of their scripts, characters count as words. If `expected` has no word
    the rate is 0 if `heard` has none, else 1.
    """
    name = _language(language)
    by_characters = name in _BY_CHARACTERS or (name not in _LANGUAGE_CODES and _is_by_characters(expected))
    want, got = (_words(text, name, by_characters) for text in (expected, heard))
    if not want:
        return float(bool(got))
    return _distance(want, got) / len(want)


def _language(language: str) -> str:
    name = language_name(language)
    return "chinese" if name.endswith("_dialect") else {"th": "thai"}.get(name, name)


def _is_by_characters(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return 2 * sum(unicodedata.name(char, "").startswith(_BY_CHARACTER_SCRIPTS) for char in letters) > len(letters)


def _words(text: str, language: str, by_characters: bool) -> list[str]:
    text = unicodedata.normalize("NFKC", text)
    if language == "english":
        from ..text.english.spell_out import Speller

        text = Speller(-1).spell(fold(text, _ASCII | _SPELLED_SIGNS))
    text = text.casefold().replace("'", "").replace("’", "")
    kept = "".join(char if char.isalnum() or unicodedata.category(char).startswith("M") else " " for char in text)
    return list("".join(kept.split())) if by_characters else kept.split()


def _distance(want: list[str], got: list[str]) -> int:
    """The Levenshtein distance: the fewest words to replace, remove or add."""
    row = list(range(len(got) + 1))
    for number, word in enumerate(want, 1):
        diagonal, row[0] = row[0], number
        for index, other in enumerate(got, 1):
            cost = min(row[index] + 1, row[index - 1] + 1, diagonal + (word != other))
            diagonal, row[index] = row[index], cost
    return row[-1]
