"""`say --ref`, `--design` and `-v`, and the commands that make, keep, export and import voices."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, DATA, load_golden, snr_db

from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import read_voice

BASE, DESIGN, PRESETS = (str(CHECKPOINTS / f"tiny-{kind}") for kind in ("base", "voicedesign", "customvoice"))
TEXT = "The quick brown fox jumps over the lazy dog."
WAV = str(DATA / "wavs" / "ref24k.wav")
SPEAK = ("Hello.", "--seed", "5", "--max-frames", "6", "-q")


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def refused(run):
    """A function that runs a command, which must fail with one line that has the words, and leave no file."""

    def refused(words, *arguments, code=2):
        before = sorted(os.listdir())
        out, err = run(*arguments, code=code)
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        assert words in err
        assert sorted(os.listdir()) == before

    return refused


def create(run, name="anna", *more):
    return run("voices", "create", name, "--from", WAV, "--text", TEXT, "-m", BASE, "-l", "en", *more)[1]


def test_say_with_a_recording_equals_the_reference(run):
    golden = load_golden("tiny-base", "icl_textshort_st")
    how = ("-m", BASE, "-l", "en", "--greedy", "--max-frames", "24", "--subtype", "FLOAT", "-o", "a.wav")
    _, err = run("say", "Hello world.", "--ref", WAV, "--ref-text", TEXT, *how)
    assert "warning: " in err
    assert "2.5 s is too short" in err
    assert snr_db(soundfile.read("a.wav")[0], golden["wav"]) >= 80
    golden = load_golden("tiny-base", "xvec_en_st")
    text = "Hello world. This is a test of the speech engine, isn't it?"
    run("say", text, "--ref", WAV, *how, "--no-split", "-q")
    assert snr_db(soundfile.read("a.wav")[0], golden["wav"]) >= 80


def test_a_voice_exported_and_imported_is_the_same(run):
    note = create(run, "anna", "--note", "with her consent")
    assert f"anna.safetensors; qwen3tts say -m {BASE} -v anna Hello." in note
    run("say", *SPEAK, "-m", BASE, "-v", "anna", "-o", "1.wav")
    run("say", *SPEAK, "-m", BASE, "-l", "en", "--ref", WAV, "--ref-text", TEXT, "-o", "2.wav")
    run("voices", "export", "anna", "exported.safetensors")
    run("voices", "rename", "anna", "bea")
    run("say", *SPEAK, "-m", BASE, "-v", "Bea", "-o", "3.wav")
    run("voices", "rm", "bea")
    run("say", *SPEAK, "-m", BASE, "-v", "./exported.safetensors", "-o", "4.wav")
    assert "anna: kept" in run("voices", "import", "exported.safetensors")[1]
    run("say", *SPEAK, "-m", BASE, "-v", "anna", "-o", "5.wav")
    files = {Path(f"{number}.wav").read_bytes() for number in range(1, 6)}
    assert len(files) == 1
    run("voices", "import", "exported.safetensors", "carla", "-q")
    assert voice_store.names() == ["anna", "carla"]
    out, _ = run("voices", "show", "anna")
    assert TEXT in out
    assert "with her consent" in out
    facts = json.loads(run("voices", "show", "exported.safetensors", "--json")[0])
    assert (facts["frames"], facts["language"], facts["made_with"]) == (32, "english", "tiny-base")
    assert WAV not in json.dumps(facts)


def test_x_vector_voices_and_previews(run):
    run("voices", "create", "anna", "--from", WAV, "--x-vector", "-m", BASE, "--trim-silence", "--append-silence", "-q")
    voice = voice_store.load("anna")
    assert voice.codes is None
    run("voices", "preview", "anna", "-m", BASE, "-o", "a.wav", "--text", "Hi.", "-q")
    run("voices", "preview", "anna", "-m", BASE, "-o", "b.wav", "--text", "Hi.", "-q")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    preview = ("voices", "preview", "-m", BASE, "--text", "Hi.", "-q", "--audio-format", "flac")
    run(*preview, "anna", "-o", "speech")
    assert soundfile.info("speech").format == "FLAC"
    run("voices", "export", "anna", "anna.safetensors")
    assert "same file as --voice" in run(*preview, "./anna.safetensors", "-o", "anna.safetensors", code=2)[1]


def test_a_designed_voice_is_kept(run):
    how = ("-m", DESIGN, "--base", BASE, "--text", "Hello there, how are you?", "--seed", "7")
    _, err = run("voices", "design", "captain", "an old man, gravelly", *how, "-l", "en")
    assert "seed 7" in err
    voice = voice_store.load("captain")
    assert (voice.description, voice.transcript) == ("an old man, gravelly", "Hello there, how are you?")
    run("voices", "design", "again", "an old man, gravelly", *how, "-l", "en", "-q")
    assert voice_store.load("again").digest == voice.digest
    run("say", *SPEAK, "-m", BASE, "-v", "captain", "-o", "a.wav")
    run("say", *SPEAK, "-m", DESIGN, "--design", "an old man, gravelly", "-o", "b.wav")


def test_lists(run):
    create(run)
    (voice_store.path_of("bad")).write_bytes(b"nonsense")
    out, err = run("voices")
    assert "anna" in out
    assert "slt" in out
    assert "bad: left out: " in err
    assert run("voices", "list", "-q")[0] == out
    rows = json.loads(run("voices", "list", "-m", PRESETS, "--json", "-q")[0])
    assert "anna" not in [row["voice"] for row in rows]
    dylan = next(row for row in rows if row["voice"] == "dylan")
    assert (dylan["kind"], dylan["dialect"]) == ("preset", "beijing_dialect")
    assert "german" in dylan["languages"]
    assert not any("dialect" in name for name in dylan["languages"])
    rows = json.loads(run("voices", "-m", BASE, "--json", "-q")[0])
    assert [(row["voice"], row["kind"], row["model"]) for row in rows] == [("anna", "kept", "tiny-base")]


def test_what_a_model_cannot_do_names_one_that_can(run, refused):
    create(run)
    refused(
        "tiny-customvoice cannot clone a voice; 0.6b-base and 1.7b-base can", "say", *SPEAK, "-m", PRESETS, "--ref", WAV
    )
    refused("voice anna: pocket cannot clone; it needs tiny-base", "say", *SPEAK, "-v", "anna")
    refused("1.7b-design can", "say", *SPEAK, "-m", BASE, "--design", "an old man")
    refused("no voice 'ryan' is kept", "say", *SPEAK, "-m", BASE, "-v", "ryan")
    refused("it needs a recording (--ref) or a kept voice (-v)", "say", *SPEAK, "-m", BASE)
    refused("instruct: a base model ignores it; 1.7b", "say", *SPEAK, "-m", BASE, "-v", "anna", "--instruct", "sad")
    refused("--ref-text: needs a recording", "say", *SPEAK, "-m", BASE, "--ref-text", TEXT)
    refused("--trim-silence: needs a recording", "say", *SPEAK, "--trim-silence")
    refused("leave one out", "say", *SPEAK, "-m", BASE, "--ref", WAV, "-v", "anna")
    refused("cannot clone", "voices", "create", "bea", "--from", WAV, "--x-vector", "-m", PRESETS)
    refused("1.7b-design can", "voices", "design", "bea", "old", "-m", BASE, "--base", BASE)
    refused("0.6b-base and 1.7b-base can", "voices", "design", "bea", "old", "-m", DESIGN, "--base", DESIGN)
    refused("models pull 0.6b-base", "voices", "create", "bea", "--from", WAV, "--x-vector", code=3)


def test_a_recording_overrides_the_default_voice(run, monkeypatch):
    monkeypatch.setenv("QWEN3TTS_VOICE", "nobody")
    run("say", *SPEAK, "-m", BASE, "--ref", WAV, "-o", "a.wav")


def test_bad_requests(run, refused):
    create(run)
    refused("--text and --x-vector are missing", "voices", "create", "bea", "--from", WAV, "-m", BASE)
    refused("are both given", "voices", "create", "bea", "--from", WAV, "--text", TEXT, "--x-vector", "-m", BASE)
    refused("kept already (--force", "voices", "create", "anna", "--from", WAV, "--x-vector", "-m", BASE)
    refused("voice name '../bea'", "voices", "create", "../bea", "--from", WAV, "--x-vector", "-m", BASE)
    refused("taken, it is a preset", "voices", "rename", "anna", "ryan")
    refused("no voice 'ann' is kept, did you mean 'anna'?", "voices", "rm", "ann")
    refused("no voice 'bea' is kept", "voices", "show", "bea")
    refused("no such file", "voices", "import", "none.safetensors")
    refused("no such file", "say", *SPEAK, "-m", BASE, "--ref", "none.wav")
    refused("no such file", "say", *SPEAK, "-m", BASE, "-v", "./none.safetensors")
    refused("give --text", "voices", "design", "bea", "old", "-l", "de", "-m", DESIGN, "--base", BASE)
    Path("text.wav").write_text("not audio")
    refused("not audio that libsndfile reads", "say", *SPEAK, "-m", BASE, "--ref", "text.wav", code=1)
    refused("a folder", "say", *SPEAK, "-m", BASE, "--ref", ".", code=1)
    refused("text.wav", "voices", "import", "text.wav", code=1)
    create(run, "anna", "--force")


def test_fine_tuned_models_clone_with_their_own_ids(run):
    """Token ids, languages and the name differ from the released models: everything is read from the files."""
    shutil.copytree(BASE, "tuned")
    config = json.loads(Path("tuned/config.json").read_text())
    talker = config["talker_config"]
    talker["codec_language_id"] = {"klingon": talker["codec_language_id"]["russian"]}
    talker["codec_think_id"], talker["codec_nothink_id"] = talker["codec_nothink_id"], talker["codec_think_id"]
    Path("tuned/config.json").write_text(json.dumps(config))
    run("say", *SPEAK, "-m", "tuned", "--ref", WAV, "--ref-text", TEXT, "-l", "klingon", "-o", "a.wav")
    run("voices", "create", "anna", "--from", WAV, "--text", TEXT, "-m", "tuned", "-q")
    run("say", *SPEAK, "-m", "tuned", "-v", "anna", "-o", "b.wav")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    assert voice_store.load("anna").model == "tuned"


def test_a_voice_file_holds_only_numbers_and_text(run):
    create(run)
    voice = read_voice(voice_store.path_of("anna"))
    data = voice_store.path_of("anna").read_bytes()
    assert len(data) < 16384
    assert voice.embedding.tobytes() in data
    assert np.ascontiguousarray(voice.codes, "<i4").tobytes() in data
