"""narrate: how texts are spoken: voices, lexicon, markup, steady voices; and what becomes of segments that fail."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import srt
import webvtt
from helpers import CHECKPOINTS

from qwen3tts_cli import GenerationError, InputError, Synthesizer, UsageError, narrate
from qwen3tts_cli.books.document import Chapter, Document, Paragraph
from qwen3tts_cli.hearing import word_errors
from qwen3tts_cli.narration import speaking
from qwen3tts_cli.narration.options import make_narrate_options
from qwen3tts_cli.narration.segments import Segmenter
from qwen3tts_cli.narration.steady_voice import choose_reference
from qwen3tts_cli.speech.plan import SpeechPlan

TEXT = "It was late. The rain had stopped. They went home."


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as synthesizer:
        yield synthesizer


@pytest.fixture(scope="module")
def presets():
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", threads=1) as synthesizer:
        yield synthesizer


@pytest.fixture
def run(tmp_path):
    """Narrate into a.wav. Returns the result, the facts of its segments, and how many segments were spoken."""

    def run(synthesizer, text: str = TEXT, **options):
        seen = []
        options = {"seed": 1, "cue": "sentence", "keep": True, "timings": tmp_path / "a.json", **options}
        result = narrate(text.encode(), tmp_path / "a.wav", model=synthesizer, progress=seen.append, **options)
        (facts,) = json.loads((tmp_path / "a.json").read_text())["files"]
        return result, facts["segments"], seen[-1].segments - seen[0].segments

    return run


def segments_of(synthesizer, text: str, markup: bool = True, **options) -> list:
    """The segments of a text of one chapter; nothing is spoken."""
    paragraphs = [Paragraph(part, 2 * i + 1) for i, part in enumerate(text.split("\n\n"))]
    document = Document([Chapter("", paragraphs)], has_markup=markup)
    maker = Segmenter(synthesizer, make_narrate_options(options), 1, {}, None, pytest.fail)
    return maker.chapters(document, [0])[0].segments


# ---------------------------------------------------------------- voices
def test_voices_by_markup(presets):
    text = "Hello. [voice:Vivian]Good night. [voice:]Good morning.\n\n[voice:ryan]It rains.\n\nIt stopped."
    found = [(each.text, each.plan.voice) for each in segments_of(presets, text, voice="serena")]
    want = ["serena", "vivian", "serena", "ryan", "ryan"]
    assert found == list(zip(["Hello.", "Good night.", "Good morning.", "It rains.", "It stopped."], want, strict=True))
    assert segments_of(presets, "[voice:x]", False, voice="serena")[0].text == "[voice:x]"


@pytest.mark.parametrize(
    "text",
    ["Hello.\n\nGood\nmorning. [voice:nobody]Good night.", "Hello.\n\nGood night.\n[voice:nobody]"],
    ids=["spoken", "with nothing behind it"],
)
def test_an_unknown_voice_is_an_error_with_its_line_before_anything_is_spoken(presets, run, tmp_path, text):
    with pytest.raises(UsageError, match=r"^line 4: .*nobody"):
        run(presets, text, voice="serena")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", " \n\n... !\n", "[chapter:One]\n\n[pause:1s]", "* * *"])
def test_a_text_without_words(voice, tmp_path, text):
    for output in (tmp_path / "a.opus", f"{tmp_path}/book/"):
        with pytest.raises(UsageError, match="nothing to speak"):
            narrate(text.encode(), output, model=voice)
    assert not list(tmp_path.iterdir())


def test_a_word_of_a_megabyte(voice):
    assert sum(len(each.text) for each in segments_of(voice, "a" * 1_000_000)) >= 1_000_000


# ---------------------------------------------------------------- texts
def test_the_lexicon_is_a_part_of_the_key(voice, run, tmp_path):
    lexicon = tmp_path / "lexicon.tsv"
    lexicon.write_text("rain\tsnow\n", encoding="utf-8")
    run(voice)
    _, facts, spoken = run(voice, lexicon=lexicon)
    assert ([each["spoken"] for each in facts], spoken) == (
        ["It was late.", "The snow had stopped.", "They went home."],
        1,
    )
    lexicon.write_text("rain\tsnow\nsun\tmoon\n", encoding="utf-8")
    assert run(voice, lexicon=lexicon)[2] == 0
    lexicon.write_text("no tab\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"lexicon\.tsv, line 1"):
        run(voice, lexicon=lexicon)


def test_cues_show_the_text_as_it_is_written(voice, run, tmp_path):
    """Before the lexicon, and with its figures. Two that are spoken alike are spoken once."""
    lexicon = tmp_path / "lexicon.tsv"
    lexicon.write_text("Smith\tSmythe\n👋\twave\n", encoding="utf-8")
    text = "Dr. Smith paid $5. It was 9 p.m.\n\n👋 Yes.\n\nDoctor Smith paid five dollars. It was 9 p.m."
    spoken = ["Doctor Smythe paid five dollars.", "It was nine p m.", "wave Yes."]
    written = ["Dr. Smith paid $5.", "It was 9 p.m.", "Yes.", "Doctor Smith paid five dollars.", "It was 9 p.m."]
    files = {"srt": tmp_path / "a.srt", "vtt": tmp_path / "a.vtt", "lexicon": lexicon}
    _, facts, count = run(voice, text, **files)
    assert [each["spoken"] for each in facts] == [*spoken, *spoken[:2]]
    assert [each["text"] for each in facts] == written
    assert [cue.content for cue in srt.parse((tmp_path / "a.srt").read_text(encoding="utf-8"))] == written
    assert [cue.text for cue in webvtt.read(tmp_path / "a.vtt")] == written
    assert (count, len(list((tmp_path / "a.wav.segments").glob("*.flac")))) == (5, 3)
    _, facts, _ = run(voice, text, cue="segment", **files)
    assert [each["text"] for each in facts] == [" ".join(written[:2]), "Yes.", " ".join(written[3:])]


def test_settings_are_a_part_of_the_key(presets):
    keys = [
        segments_of(presets, "Hello.", voice="ryan", **more)[0].digest
        for more in ({}, {"text_mode": "streaming"}, {"temperature": 0.5}, {"language": "german"}, {"steady": True})
    ]
    assert len(set(keys)) == len(keys)
    same = [{"batch": 3}, {"retries": 5}, {"speed": 2}, {"lufs": -20}, {"pause_sentence": 1}, {"rate": 48000}]
    assert {segments_of(presets, "Hello.", voice="ryan", **more)[0].digest for more in same} == {keys[0]}


def test_steady_segments_begin_with_the_same_draws(presets):
    text = "It was late. The rain had stopped. It was late."
    assert len({each.key for each in segments_of(presets, text, voice="ryan", cue="sentence")}) == 3
    assert len({each.key for each in segments_of(presets, text, voice="ryan", cue="sentence", steady=True)}) == 1


# ---------------------------------------------------------------- segments that fail
@pytest.fixture
def broken(monkeypatch):
    """Segments of the second sentence fail their check. Returns the seeds of their attempts; and how many may fail."""
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: next(failures) if "rain" in text else None)
    failures = iter(())

    def fail(*whys: str | None) -> None:
        nonlocal failures
        failures = iter(whys)

    return fail


def test_a_failed_segment_is_spoken_again_with_another_seed(voice, run, broken):
    broken("silence: 2.0 s inside", None)
    _, facts, _ = run(voice)
    assert [each["attempts"] for each in facts] == [1, 2, 1]
    assert facts[0]["seed"] == facts[2]["seed"] != facts[1]["seed"]
    _, again, spoken = run(voice)  # from the log
    assert (again, spoken) == (facts, 0)


def test_stop_at_a_failed_segment(voice, run, broken, tmp_path):
    broken(*["silence: 2.0 s inside"] * 3)
    with pytest.raises(GenerationError) as caught:
        run(voice, f"{TEXT} {TEXT.replace('rain', 'sun') * 4}", batch=1)
    line = str(caught.value)
    assert "1 segment failed: 1.2: silence: 2.0 s inside" in line
    assert "--redo 1.2" in line
    assert not (tmp_path / "a.wav").exists()
    assert len(list((tmp_path / "a.wav.segments").glob("*.flac"))) < 4
    broken(None)
    assert run(voice, redo="1.2")[1][1]["attempts"] == 1


def test_skip_leaves_a_second_of_silence(voice, run, broken, tmp_path):
    broken(*["silence: 2.0 s inside"] * 3)
    result, facts, spoken = run(voice, on_error="skip", srt=tmp_path / "a.srt", keep=False)
    assert (result.failed, spoken) == ([("1.2", "silence: 2.0 s inside")], 2)
    assert [each["error"] for each in facts] == [None, "silence: 2.0 s inside", None]
    assert [each["attempts"] for each in facts] == [1, 3, 1]
    start, end = (round(24000 * facts[1][name]) for name in ("start", "end"))
    assert end - start == 24000
    assert not soundfile.read(tmp_path / "a.wav")[0][start:end].any()
    cues = list(srt.parse((tmp_path / "a.srt").read_text()))
    assert [cue.content for cue in cues] == ["It was late.", "They went home."]
    assert (tmp_path / "a.wav.segments").is_dir()
    broken(None)
    result, facts, spoken = run(voice, on_error="skip", keep=False)
    assert (result.failed, spoken) == ([], 1)
    assert not (tmp_path / "a.wav.segments").exists()


def test_all_segments_fail(voice, run, monkeypatch, tmp_path):
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: "clipping")
    result, _, _ = run(voice, on_error="skip", retries=0, srt=tmp_path / "a.srt")
    assert len(result.failed) == 3
    assert (tmp_path / "a.srt").read_text() == ""
    assert result.seconds == 3 + 2 * 0.25


def test_segments_are_heard(voice, run, monkeypatch):
    class Ear:
        """Hears the second sentence wrongly, once."""

        def __init__(self):
            self.heard = []

        @classmethod
        def open(cls, model):
            assert model == "base"
            return cls()

        def check(self, samples, text, language):
            assert (samples.dtype, language) == (np.float32, "english")
            self.heard.append(text)
            return 0.5 if "rain" in text and self.heard.count(text) == 1 else 0.1

    monkeypatch.setattr(word_errors, "Verifier", Ear)
    result, facts, _ = run(voice, verify="base")
    assert [each["word_error_rate"] for each in facts] == [0.1] * 3
    assert result.heard == [("1.1", 0.1), ("1.2", 0.1), ("1.3", 0.1)]
    assert [each["attempts"] for each in facts] == [1, 2, 1]
    _, again, spoken = run(voice, verify="base")
    assert (again, spoken) == (facts, 0)
    other = TEXT.replace("home", "away")
    run(voice, other.replace("rain", "rainy"))
    # those that nobody has heard are heard
    _, facts, spoken = run(voice, other.replace("rain", "rainy"), verify="base")
    assert ([each["word_error_rate"] for each in facts], spoken) == ([0.1] * 3, 1)
    with pytest.raises(GenerationError, match=r"word error rate 0\.10, 0\.05 is allowed"):
        run(voice, verify="base", max_wer=0.05)


# ---------------------------------------------------------------- a base model without a recording
@pytest.fixture
def base(monkeypatch):
    """A base model of random weights, whose speech is cut after 25 frames and passes all checks."""
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: None)
    job = SpeechPlan.job
    monkeypatch.setattr(SpeechPlan, "job", lambda *arguments, **more: job(*arguments, **more)._replace(max_frames=25))
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1) as synthesizer:
        yield synthesizer


@pytest.mark.parametrize(
    ("chapters", "name"),
    [
        ([f"{'a' * 39}.", f"{'b' * 50}."], "1.1"),
        (["One.", f"It was {'very ' * 5}late. It was {'so ' * 11}late."], "2.2"),
        (["One.", f"It was {'very ' * 5}late. It was {'so ' * 9}late."], "1.1"),
        (["It rained. It stopped. They went."], "1.2"),
        (["", "... !", "It rained. They talked."], "3.2"),
        ([""], None),
    ],
)
def test_the_first_segment_that_is_long_enough_is_the_recording(base, chapters, name):
    document = Document([Chapter("", [Paragraph(text)]) for text in chapters])
    options = make_narrate_options({"cue": "sentence"})
    segmented = Segmenter(base, options, 1, {}, None, pytest.fail, voiceless=True).chapters(
        document, range(len(chapters))
    )
    chosen = choose_reference(segmented)
    assert (chosen and chosen.name) == name


def test_one_segment_is_the_recording_of_all_others(base, run, tmp_path, monkeypatch):
    events, submit = [], speaking.Speaking._submit
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: events.append(("checked", text)))

    def note(self, segment, *more) -> None:
        events.append(("begun", segment.text))
        submit(self, segment, *more)

    monkeypatch.setattr(speaking.Speaking, "_submit", note)

    def reference() -> dict:
        return json.loads((tmp_path / "a.wav.segments" / "run.json").read_text())["run"]["reference"]

    def narrated(text: str = "The harbour.\n\nIt was late. Two lamps were burning on the hill.", **options) -> int:
        _, facts, spoken = run(base, text, steady=True, **options)
        assert [each["voice"] for each in facts] == [
            None if each["text"] == reference()["text"] else "steady" for each in facts
        ]
        return spoken

    with pytest.raises(UsageError):
        run(base)  # without --steady it needs a voice
    assert narrated() == 2  # after the reference, which was made alone
    first, whole = reference(), (tmp_path / "a.wav").read_bytes()
    assert first["text"] == "Two lamps were burning on the hill."
    assert events[:2] == [("begun", first["text"]), ("checked", first["text"])]
    assert len(events) == 6
    assert narrated() == 0
    assert (tmp_path / "a.wav").read_bytes() == whole
    # its sentence has changed, and another one is long enough now: it stays
    assert narrated("The harbour was full of ships from all over the world.\n\nIt was late. Two lamps burned.") == 2
    assert reference() == first
    assert narrated(redo="1.3") == 2  # all segments follow it
    assert reference()["text"] == first["text"]
    assert reference()["digest"] != first["digest"]
    second = reference()
    assert narrated() == 0
    assert reference() == second
    narrated(seed=2)
    assert reference()["digest"] not in (first["digest"], second["digest"])


def test_a_recording_that_fails_can_be_redone(base, run, monkeypatch):
    tried, warned = [], []
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: tried.append(samples) or "clipping")
    for options in ({}, {}, {"redo": "1.2"}, {"redo": "1.2"}):
        with pytest.raises(
            GenerationError, match=r"segment 1\.2, the voice of all others, failed: clipping \(--redo 1\.2"
        ):
            run(base, steady=True, retries=0, on_warning=warned.append, **options)
    assert len(warned) == 1  # there is no segment yet
    assert np.array_equal(tried[0], tried[1])
    assert len({samples.tobytes() for samples in tried}) == 3
