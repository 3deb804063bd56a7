"""`batch`: rows with voices, recordings and descriptions; the command line; options that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from batch_runs import SEED, Run
from helpers import CHECKPOINTS, DATA

from qwen3tts_cli import OutputError, Synthesizer, UsageError
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning.voice_file import voice_bytes
from qwen3tts_cli.narration import speaking
from qwen3tts_cli.speech.plan import SpeechPlan

ROWS = [{"text": "Yes."}]


@pytest.fixture(scope="module")
def voice():
    with Synthesizer.open(threads=1) as opened:
        yield opened


@pytest.fixture
def short(monkeypatch):
    """Speech of the tiny checkpoints ends after eight frames, and may be anything."""
    job = SpeechPlan.job
    monkeypatch.setattr(SpeechPlan, "job", lambda *arguments, **more: job(*arguments, **more)._replace(max_frames=8))
    monkeypatch.setattr(speaking, "check_segment", lambda samples, text: None)


def test_rows_with_recordings_and_voice_files(tmp_path, short, monkeypatch):
    shutil.copy(DATA / "wavs" / "ref24k.wav", tmp_path / "r.wav")
    (tmp_path / "bad.wav").write_text("no recording")
    with Synthesizer.open(CHECKPOINTS / "tiny-base", threads=1) as model:
        anna = model.clone(DATA / "wavs" / "ref16k.wav", name="anna", on_warning=lambda _: None)
        (tmp_path / "anna.safetensors").write_bytes(voice_bytes(anna))
        clone, cloned, warnings = Synthesizer.clone, [], []

        def note(self, audio, *arguments, **facts):
            cloned.append(audio)
            return clone(self, audio, *arguments, **facts)

        monkeypatch.setattr(Synthesizer, "clone", note)
        recording = {"text": "Yes.", "ref": "r.wav"}
        rows = [
            *(recording, {**recording, "ref_text": "A text."}, {"text": "Yes.", "voice": "anna.safetensors"}),
            *({"text": "Yes."}, {**recording, "ref": "bad.wav"}, {**recording, "instruct": "Loud."}),
            *({"text": "Yes.", "voice": "m.jsonl.safetensors"}, {**recording, "text": "No.", "language": "fr"}),
        ]
        (tmp_path / "m.jsonl.safetensors").write_text("no voice")
        found = Run(tmp_path, rows, model, on_warning=warnings.append)
        same = Run(tmp_path / "given", rows[3:4], model, ref_audio=tmp_path / "r.wav", on_warning=warnings.append)
    errors = [row["error"] or "" for row in found.rows]
    fine = [0, 1, 2, 7]
    assert [index for index, error in enumerate(errors) if not error] == fine
    for index, part in {3: "has no voice of its own", 4: "bad.wav", 5: "instruct", 6: "m.jsonl.safetensors"}.items():
        assert part in errors[index]
    assert len({found.bytes[found.rows[index]["path"]] for index in fine}) == 4
    assert found.rows[6]["voice"] == str(tmp_path / "m.jsonl.safetensors")
    assert found.rows[7]["language"] == "french"
    assert same.bytes["0.wav"] == found.bytes["0.wav"]
    assert any("r.wav: 2.5 s is too short" in line for line in warnings)
    assert len(cloned) == 4  # each recording once, with and without its transcript; the bad one


@pytest.mark.parametrize(("name", "fine"), [("tiny-customvoice", [0, 1]), ("tiny-voicedesign", [2, 3])])
def test_rows_of_other_models(tmp_path, short, name, fine):
    with Synthesizer.open(CHECKPOINTS / name, threads=1) as model:
        speakers = sorted(model.config.speakers) or ["x", "y"]
        rows = [{"text": "Yes.", "voice": voice} for voice in speakers[:2]]
        rows += [{"text": "Yes.", "design": design, "language": "german"} for design in ("Deep.", "High.")]
        found = Run(tmp_path, rows, model)
    assert [index for index, row in enumerate(found.rows) if not row["error"]] == fine
    assert len(set(found.bytes.values())) == 2


def test_options_that_no_row_can_be_spoken_with(tmp_path):
    """They are the caller's mistake, not that of each row."""
    recording = DATA / "wavs" / "ref24k.wav"
    for name, options, message in (
        ("tiny-base", {}, "has no voice of its own"),
        ("tiny-base", {"ref_audio": recording, "voice": "anna"}, "leave out either the voice"),
        ("tiny-base", {"ref_audio": recording, "instruct": "Loud."}, "instruct: a base model ignores it"),
        ("tiny-customvoice", {"design": "Deep."}, "design: "),
    ):
        with Synthesizer.open(CHECKPOINTS / name, threads=1) as model, pytest.raises(UsageError, match=message):
            Run(tmp_path, ROWS, model, on_warning=lambda _: None, **options)


# -------------------------------------------------------------------- options and messages
def test_the_command_line(voice, tmp_path, monkeypatch, capsys):
    want = Run(tmp_path / "api", ROWS, voice).bytes["0.wav"]
    monkeypatch.chdir(tmp_path)
    Path("m.csv").write_text('text,out,voice\n"Yes.",yes,\nNo.,no,nobody\n')
    arguments = ["batch", "m.csv", "-o", "out", "--seed", str(SEED), "--threads", "1"]
    assert cli.run([*arguments, "--progress", "json"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: 1 of 2 rows failed; out/manifest.jsonl says why"
    facts = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(each["stage"], each["segments"], each["all_segments"]) for each in facts] == [
        ("speaking", 0, 1), ("speaking", 1, 1), ("writing", 1, 1)
    ]  # fmt: skip
    assert facts[-1]["seconds"] > 0.3
    assert 0.1 < facts[0]["all_seconds"] < 5  # an estimate
    assert Path("out/yes.wav").read_bytes() == want


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": "2/2"}, "shard: found the str '2/2'"),
        ({"shard": 1}, "shard: found the int 1"),
        ({"chapters": "1"}, "chapters: batch does not have"),
        ({"colour": "red"}, "colour: no such option"),
        ({"subtype": "MP3"}, "line 1: "),
        ({"voice": "nobody"}, "unknown voice 'nobody'"),
        ({"ref_text": "Yes."}, "there is no reference recording"),
        ({"ref_audio": Path("r.wav"), "voice": "slt"}, "cannot clone a voice"),
        ({"lexicon": "none.tsv"}, "lexicon none.tsv"),
    ],
)
def test_options_that_are_refused(voice, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        Run(tmp_path, ROWS, voice, **options)
    assert not list(tmp_path.rglob("manifest.jsonl"))


def test_what_cannot_be_written_is_said_before_anything_is_spoken(voice, tmp_path, monkeypatch):
    monkeypatch.setattr(speaking.Speaking, "_submit", None)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(OutputError, match="ffmpeg"):
        Run(tmp_path, [*ROWS, {"text": "Yes.", "out": "a.m4b"}], voice)
    (tmp_path / "out" / "manifest.jsonl").mkdir(parents=True)
    with pytest.raises(OutputError, match="is a folder"):
        Run(tmp_path, ROWS, voice)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").touch()
    with pytest.raises((OutputError, UsageError), match="not a folder"):
        Run(tmp_path, ROWS, voice)
