"""`say` with markup and a lexicon: the samples of the parts, pauses between them, voices, errors before any audio."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import numpy as np
import pytest
import standin
from helpers import CHECKPOINTS, DATA

from qwen3tts_cli import Synthesizer, UsageError
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.speech.synthesizer import SpeakOptions
from qwen3tts_cli.spoken_text.lexicon import Entry, Lexicon

SEED = 20260401
LEXICON = Lexicon([Entry("nginx", "Engine X.", "english", True, True)])


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def tiny():
    """A model with several preset voices; its speech ends at no place of the text, so there is a limit of frames."""
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", threads=1, precision="bf16") as opened:
        yield opened


def spoken(synthesizer, text, **options):
    """The samples and the codes of a text."""
    with synthesizer.speak(text, SpeakOptions(**{"seed": SEED, "markup": True, **options})) as speech:
        pcm = np.concatenate([np.empty(0, np.float32), *speech])
        assert speech.samples == len(pcm)
    return pcm, speech.codes


def silence(samples):
    return np.zeros(samples, np.float32)


@pytest.mark.parametrize("text", ["Wait.", " [12] Wait. [x] ", "It was late.\n\nThey came."])
@pytest.mark.parametrize("split", [True, False])
def test_a_text_without_markup_has_the_same_bytes(voice, text, split):
    want, codes = spoken(voice, text, markup=False, split=split)
    got, same_codes = spoken(voice, text, lexicon=LEXICON, split=split)
    assert got.tobytes() == want.tobytes()
    assert np.array_equal(codes, same_codes)


@pytest.mark.parametrize("options", [{}, {"live": True}, {"batch": 1}, {"live": True, "batch": 1}])
def test_a_pause_is_silence_between_the_parts(voice, options):
    one, two = (spoken(voice, text)[0] for text in ("A.", "B."))
    text = "[pause:10ms]A. [pause:500ms] \u2026 [pause:0s] B.<break time='.1s'/><break time='1ms'/>"
    got, codes = spoken(voice, text, **options)
    want = np.concatenate([silence(240), one, silence(12_000), two, silence(2400), silence(24)])
    assert got.tobytes() == want.tobytes()
    assert len(codes) * 1920 == len(one) + len(two)


def test_a_text_that_comes_twice_is_another_utterance_the_second_time(voice):
    first, pause, second = voice.speak("Wait. [pause:1s] Wait.", SpeakOptions(seed=SEED, markup=True)).utterances()
    assert pause[1].samples == 24_000
    assert first[1].text == second[1].text == "Wait."
    assert first[1].key != second[1].key


def test_a_pause_keeps_its_length_at_other_speeds_and_rates(voice):
    parts = [spoken(voice, text)[0] for text in ("A.", "B.")]
    got = spoken(voice, "A. [pause:2s] B.", speed=1.5, rate=8000)[0]
    assert len(got) == round((sum(map(len, parts)) / 1.5 + 48_000) / 3)
    quiet = np.flatnonzero(np.abs(got) > 1e-4)
    assert np.max(np.diff(quiet)) > 0.95 * 2 * 8000


def test_limits_count_speech_and_pauses(voice):
    got, codes = spoken(voice, "[pause:1s] A. [pause:1s] B.", max_frames=2)
    assert len(codes) == 2
    assert len(got) == 24_000 + 2 * 1920
    assert len(spoken(voice, "A. [pause:10s] B.", max_seconds=2)[0]) == 48_000


def jobs(synthesizer, text, **options):
    """What decides the samples of each utterance of a text: key, seed, ids of the prompt."""
    with synthesizer.speak(text, SpeakOptions(seed=SEED, **options)) as speech:
        found = [job for _, job, _ in speech.utterances()]
    return [(job.text, job.key, job.seed, job.prompt.text_ids.tolist(), job.prompt.codec_ids.tolist()) for job in found]


def test_voices_change(tiny):
    first, second, third = [*tiny.config.speakers][:3]
    text = (
        f"One. [voice:{second.upper()}] One. [voice: {third} ] Two. [voice:] Two.\n[voice:{second}][voice:{first}] Six."
    )
    got = jobs(tiny, text, voice=first, markup=True)
    parts = [("One.", first), ("One.", second), ("Two.", third), ("Two.", first), ("Six.", first)]
    assert got == [job for part, name in parts for job in jobs(tiny, part, voice=name)]
    assert len({key for _, key, *_ in got}) == 5
    with pytest.raises(UsageError, match="line 2: unknown voice"):
        tiny.speak("One.\n[voice:nobody] Two.", SpeakOptions(markup=True))


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_kept_voice_brings_its_speaker_and_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1, precision="bf16") as base:
        recording = DATA / "wavs" / "ref24k.wav"
        plain, full = base.clone(recording, name="anna"), base.clone(recording, "Hello there.", name="bert")
        voice_store.save(full)
        options = SpeakOptions(voice=plain, seed=SEED, markup=True)
        (_, one, _), (_, two, _) = base.speak("One. [voice:bert] Two.", options).utterances()
        assert (one.reference_codes, two.reference_codes.tolist()) == (None, full.codes.tolist())
        assert np.array_equal(two.speaker, full.embedding)
        ((_, alone, _),) = base.speak("Two.", SpeakOptions(voice=full, seed=SEED)).utterances()
        assert (two.key, two.prompt.codec_ids.tolist()) == (alone.key, alone.prompt.codec_ids.tolist())


def test_a_changed_voice_is_heard(tiny):
    first, second = [*tiny.config.speakers][:2]
    want = spoken(tiny, "One.", voice=second, max_frames=4)[0]
    assert spoken(tiny, f"[voice:{second}] One.", voice=first, max_frames=4)[0].tobytes() == want.tobytes()
    assert spoken(tiny, "One.", voice=first, max_frames=4)[0].tobytes() != want.tobytes()


def test_a_drawn_seed_is_that_of_all_voices(tiny):
    first, second = [*tiny.config.speakers][:2]
    with tiny.speak(f"One. [voice:{second}] Two.", SpeakOptions(voice=first, markup=True)) as speech:
        assert {job.seed for _, job, _ in speech.utterances()} == {speech.seed}


def test_many_texts(voice):
    items = ["[pause:1s]A.", {"text": "nginx[pause:1ms]", "lexicon": LEXICON}, "B."]
    got = voice.say_many(items, seed=SEED, markup=True)
    want = (
        [silence(24_000), spoken(voice, "A.")[0]],
        [spoken(voice, "Engine X.")[0], silence(24)],
        [spoken(voice, "B.")[0]],
    )
    for samples, parts in zip(got, want, strict=True):
        assert samples.tobytes() == np.concatenate(parts).tobytes()


def test_a_lexicon_is_applied_before_the_text_is_read(voice, tmp_path):
    want = spoken(voice, "Engine X.")[0]
    assert voice.say("NGINX", seed=SEED, lexicon=LEXICON).tobytes() == want.tobytes()
    path = tmp_path / "words.tsv"
    path.write_text("b\tEngine X.\n", encoding="utf-8")
    assert voice.say("b", seed=SEED, lexicon=path).tobytes() == want.tobytes()
    options = SpeakOptions(lexicon=path)
    path.unlink()
    assert replace(options, seed=1).lexicon.entries == (Entry("b", "Engine X."),)
    with pytest.raises(UsageError, match=r"lexicon .*words\.tsv: No such file"):
        voice.say_many(["b"], lexicon=path)
    with pytest.raises(UsageError, match="lexicon: found"):
        SpeakOptions(lexicon="words.tsv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("One.\n[pause:2]", r"line 2: '\[pause:2\]': expected a length"),
        ("One.\n\n[voice:slt] two [voice:nobody] three", "line 3: unknown voice 'nobody'"),
        ("[pause:1s]", "nothing to speak"),
        ("[voice:slt] \u2026 [pause:1s] !", "nothing to speak"),
        ("One. [pause:1s] \u4f60", "speaks English only"),
    ],
)
def test_errors_come_before_any_audio(voice, text, message):
    with pytest.raises(UsageError, match=message):
        voice.speak(text, SpeakOptions(markup=True))


def test_a_text_that_is_still_coming_has_no_markup(voice):
    with pytest.raises(UsageError, match=r"^markup: not with a text that is still coming"):
        voice.stream(iter(["One."]), markup=True)
    with pytest.raises(UsageError, match="still coming"):
        asyncio.run(voice.asay(iter(["One."]), markup=True))


def test_a_lexicon_is_applied_to_each_sentence_of_a_text_that_is_still_coming(voice):
    def live(pieces, **options):
        with voice.stream(iter(pieces), seed=SEED, idle_ms=0, **options) as speech:
            return np.concatenate(list(speech)), [each.text for each in speech.spoken]

    words = Lexicon([Entry("nginx", "engine axe", any_case=True)])
    got, spoken_texts = live([*"Hello NGINX. It is here."], lexicon=words)
    assert spoken_texts == ["Hello NGINX.", "It is here."]
    np.testing.assert_array_equal(got, live(["Hello engine axe. It is here."])[0])
    assert len(got) != len(live(["Hello NGINX. It is here."])[0])


def test_pauses_that_are_cut_are_warned_of(voice):
    warnings = []
    got = spoken(voice, "[pause:11s] A. [pause:12s]", on_warning=warnings.append)[0]
    assert len(got) == 480_000 + len(spoken(voice, "A.")[0])
    assert len(warnings) == 1


@pytest.fixture
def run_say(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        assert cli.run(["say", "--seed", "5", *arguments]) == code
        return capfd.readouterr().err

    return run


def test_the_command_line(run_say, tmp_path):
    import soundfile

    (tmp_path / "words.tsv").write_text("B\tA\n", encoding="utf-8")
    run_say("A. [pause:500ms] A.", "--markup", "-o", "one.wav")
    err = run_say("B. [pause:500ms] B.[pause:11s]", "--markup", "--lexicon", "words.tsv", "-o", "two.wav")
    assert "warning: a pause has at most 10 s" in err
    one, two = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("one.wav", "two.wav"))
    assert np.array_equal(two[: len(one)], one)
    assert len(two) == len(one) + 240_000
    (tmp_path / "words.tsv").write_text("B\n", encoding="utf-8")
    assert "words.tsv, line 1: found 1 column" in run_say("B.", "--lexicon", "words.tsv", "-o", "x.wav", code=1)
    assert "line 1: unknown voice 'x'" in run_say("[voice:x] B.", "--markup", "-o", "x.wav", code=2)
    assert not (tmp_path / "x.wav").exists()


def test_a_live_text_may_have_a_lexicon_and_no_markup(run_say, tmp_path):
    (tmp_path / "text").write_text("B.", encoding="utf-8")
    (tmp_path / "words.tsv").write_text("B\tA\n", encoding="utf-8")
    assert "error: --markup: not with --live" in run_say("--live", "-f", "text", "--markup", "-o", "x.wav", code=2)
    run_say("--live", "-f", "text", "--lexicon", "words.tsv", "-o", "one.wav")
    (tmp_path / "text").write_text("A.", encoding="utf-8")
    run_say("--live", "-f", "text", "-o", "two.wav")
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()


def test_without_the_options_nothing_reaches_the_engine(run_say, monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    standin.Synthesizer.opened.calls.clear()
    run_say("One.", "-o", "x.wav")
    ((_, options),) = standin.Synthesizer.opened.calls
    assert (options.markup, options.lexicon, options.on_warning) == (False, None, None)
