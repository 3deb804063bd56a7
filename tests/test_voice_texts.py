"""The fields of a voice: what a voice file can hold reads back, and anything else is refused before any work."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, DATA

from qwen3tts_cli import Synthesizer, UsageError, Voice
from qwen3tts_cli.audio.array_file import array_file_bytes
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning import clone, voice_store
from qwen3tts_cli.cloning.voice_file import FORMAT, read_voice, voice_bytes
from qwen3tts_cli.errors import InputError

BASE, DESIGN = str(CHECKPOINTS / "tiny-base"), str(CHECKPOINTS / "tiny-voicedesign")
WAV = str(DATA / "wavs" / "ref24k.wav")
TEXT = "The quick brown fox jumps over the lazy dog."
VOICE = Voice("anna", np.linspace(-1, 1, 64, dtype=np.float32), np.ones((2, 16), np.int32), TEXT, "english")
SPACES = [chr(n) for n in range(0x3001) if chr(n).isspace() and not 0x1C <= n <= 0x1F]
TAKEN = {
    "no-break space": "a\u00a0b",
    "ideographic space": "你\u3000好",
    "zero width space": "a\u200bb",
    "joiners": "می\u200cخواهم \u200d",
    "byte order mark": "\ufeffa",
    "soft hyphen": "a\u00adb",
    "lines": "a\r\nb\n\tc\r",
    "every space": "".join(SPACES),
    "astral": "😀🫩\U0010ffff",
    "private": "\ue000",
    "unassigned": "\u0378",
    "quotes": "\"'\\,[{",
    "most": "x" * 4096,
    "most of the longest": "\U0001f600" * 4096,
    "nothing": "",
}
REFUSED = {
    "escape": "a\x1b[31mb",
    "zero": "a\0",
    "bell": "\a",
    "backspace": "a\b",
    "delete": "\x7f",
    "C1": "\x9b31m",
    "turned round": "a\u202eb",
    "isolate": "\u2066a",
    "half a character": "\ud83d",
    "bytes that are not UTF-8": b"a\xff".decode("utf-8", "surrogateescape"),
    "too long": "x" * 4097,
}
NO_TEXTS = [5, 1.5, True, b"bytes", ["a"], {"a": 1}, Path("a"), np.ones(9)]


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def same(one: Voice, two: Voice) -> bool:
    return all(
        np.array_equal(getattr(one, f.name), getattr(two, f.name))
        if f.name in ("embedding", "codes")
        else getattr(one, f.name) == getattr(two, f.name)
        for f in fields(Voice)
    )


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("key", ["note", "description", "transcript"])
def test_a_text_reads_back_as_it_was_written(key, text):
    voice = replace(VOICE, **{key: text}) if text or key != "transcript" else VOICE
    voice_store.save(voice)
    assert same(voice_store.load("anna"), voice)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("key", ["note", "description", "transcript"])
def test_a_text_that_would_not_read_back_is_not_written(key, text):
    if key == "transcript" and len(text) > 4096:
        text = "x" * 16385
    with pytest.raises(UsageError, match=f"{key}: ") as caught:
        voice_store.save(replace(VOICE, **{key: text}))
    assert str(caught.value).isprintable()
    assert voice_store.names() == []


@pytest.mark.parametrize("value", NO_TEXTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("key", ["name", "language", "model", "description", "note", "sha256", "transcript"])
def test_a_field_that_is_no_text_is_refused_by_its_type(key, value):
    with pytest.raises(UsageError, match=f"{key}: found ") as caught:
        voice_bytes(replace(VOICE, **{key: value}))
    assert len(str(caught.value)) < 200


_NO_SECONDS = ["1", True, float("nan"), float("inf"), -1, 601, 10**400, 10**5000, [1], np.ones(2)]


@pytest.mark.parametrize("seconds", _NO_SECONDS, ids=range(len(_NO_SECONDS)))
def test_seconds_out_of_range_are_refused(seconds):
    with pytest.raises(UsageError, match="seconds: found "):
        voice_bytes(replace(VOICE, seconds=seconds))


@pytest.mark.parametrize("seconds", [0, 5, 0.25, 600, np.float32(0.5), np.int64(3), np.float64(1.5)])
def test_seconds_of_any_number_type_are_written(seconds):
    voice_store.save(replace(VOICE, seconds=seconds))
    assert voice_store.load("anna").seconds == seconds


@pytest.mark.parametrize(
    "arrays",
    [
        {"embedding": np.array([1, np.nan], np.float32)},
        {"embedding": np.array([np.inf], np.float32)},
        {"embedding": np.array([1e300])},
        {"embedding": np.zeros(0, np.float32)},
        {"embedding": np.zeros(16385, np.float32)},
        {"embedding": np.zeros((2, 2), np.float32)},
        {"embedding": np.float32(1)},
        {"codes": np.zeros(16, np.int32)},
        {"codes": np.zeros((0, 16), np.int32)},
        {"codes": np.zeros((2, 1), np.int32)},
        {"codes": np.zeros((2, 65), np.int32)},
        {"codes": np.zeros((7508, 2), np.int32)},
        {"codes": np.full((2, 16), -1)},
        {"codes": np.full((2, 16), 65536)},
        {"codes": None},
        {"transcript": None},
    ],
    ids=lambda arrays: " ".join(f"{key} {getattr(value, 'shape', value)}" for key, value in arrays.items()),
)
def test_arrays_that_would_not_read_back_are_not_written(arrays):
    with pytest.raises(UsageError):
        voice_store.save(replace(VOICE, **arrays))
    assert voice_store.names() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("codes", np.full((2, 16), 1.5)),
        ("codes", np.full((2, 16), 1 << 40)),
        ("codes", "codes"),
        ("embedding", "text"),
        ("embedding", [[1], [1, 2]]),
        ("embedding", np.array([1j])),
        ("embedding", None),
    ],
)
def test_a_value_that_is_no_array_makes_no_voice(key, value):
    with pytest.raises(UsageError, match=f"voice: {key}: "):
        replace(VOICE, **{key: value})


def test_the_largest_voice_can_be_read():
    texts = {name: "\U0001f600" * most for name, most in (("description", 4096), ("note", 4096), ("transcript", 16384))}
    voice_store.save(Voice("anna", np.ones(16384), np.full((7507, 64), 65535), language="\u2028" * 64, **texts))
    assert voice_store.load("anna").codes.shape == (7507, 64)


_ALPHABET = 'aZ0 \n\t\r\v\f\0\x1b\x1c\x7f\x85\x9b\u00a0\u200b\u2028\u202e\u2069\u3000\ufeff\ud800\udcff\U0001f600"\\'


def test_random_voices_read_back_or_are_refused_by_writer_and_reader(tmp_path):
    """Most of the random voices are invalid: each raises UsageError, or reads back as the same voice."""
    draw = random.Random(7)
    path = tmp_path / "voice.safetensors"

    def text(most):
        length = draw.choice([0, 1, 3, most, most + 1])
        return "".join(draw.choices(_ALPHABET if draw.random() < 0.3 else "a \u00a0\u200b", k=length))

    def value(key):
        if key == "seconds":
            return draw.choice([0, 1.5, 600, 600.1, -1, float("nan"), float("inf"), True, None, "1", np.float32(2)])
        if key == "embedding":
            return draw.choice([np.ones(64), np.zeros(0), np.full(3, np.nan), np.ones((2, 2)), np.full(2, 1e39)])
        if key == "codes":
            return draw.choice([None, np.ones((2, 16), int), np.full((1, 2), 65536), np.ones(3, int)])
        most = {"name": 64, "language": 64, "model": 256, "sha256": 64, "transcript": 16384}.get(key, 4096)
        return draw.choice([text(most), text(most), text(most), None, 5, b"a", ["a"]])

    kept = 0
    for _ in range(600):
        chosen = draw.sample([f.name for f in fields(Voice)], k=draw.randint(1, 3))
        with np.errstate(over="ignore"):
            voice = replace(VOICE, **{key: value(key) for key in chosen})
        try:
            data = voice_bytes(voice)
        except UsageError:
            # the reader refuses the voice as well, if it can be written as JSON
            try:
                plain = {f.name: getattr(voice, f.name) for f in fields(Voice) if f.name not in ("embedding", "codes")}
                arrays = {"embedding": voice.embedding} | ({} if voice.codes is None else {"codes": voice.codes})
                data = array_file_bytes({"format": FORMAT, "voice": json.dumps(plain, allow_nan=False)}, arrays)
            except (TypeError, ValueError):
                continue
            path.write_bytes(data)
            with pytest.raises(InputError):
                read_voice(path)
            continue
        path.write_bytes(data)
        assert same(read_voice(path), voice)
        assert voice_bytes(read_voice(path)) == data
        kept += 1
    assert 50 < kept < 500


# ---- refused before any work


@pytest.fixture
def no_work(monkeypatch):
    """Fail if a model is opened or a recording is read."""

    def fail(*_, **__):
        raise AssertionError("work was begun")

    monkeypatch.setattr(Synthesizer, "open", fail)
    monkeypatch.setattr("qwen3tts_cli.audio.recording.load_recording", fail)


def run(capfd, *arguments):
    code = cli.run(arguments)
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("text", [text for text in REFUSED.values() if "\0" not in text])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("voices", "create", "anna", "--from", WAV, "--x-vector", "--note"), "note"),
        (("voices", "design", "anna", "an old man", "--note"), "note"),
        (("voices", "design", "anna"), "description"),
    ],
)
def test_the_command_refuses_before_any_work(no_work, capfd, command, option, text):
    code, out, err = run(capfd, *command, text)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {option}: ")
    assert line.isprintable()
    assert voice_store.names() == []


@pytest.mark.parametrize("command", ["create", "design"])
def test_the_command_refuses_a_transcript_before_any_work(no_work, capfd, command):
    first = ("--from", WAV) if command == "create" else ("an old man",)
    code, _, err = run(capfd, "voices", command, "anna", *first, "--text", "a\x1b[31m")
    assert code == 2
    assert "transcript: found U+001B" in err


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_a_name_and_a_folder_are_checked_before_any_work(no_work, capfd, monkeypatch, more):
    for command in (("create", "a/b", "--from", WAV, "--x-vector"), ("design", "ryan", "an old man")):
        assert run(capfd, "voices", *command, *more)[0] == 2
    monkeypatch.setattr("qwen3tts_cli.common.user_folders.voices_folder", lambda: None)
    code, _, err = run(capfd, "voices", "create", "anna", "--from", WAV, "--x-vector", *more)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "there is no folder for voices" in err


@pytest.mark.parametrize("text", ["with\u00a0her\u3000consent\u200b", "Zeile eins\r\nZeile zwei", "x" * 4096])
def test_a_note_given_to_the_command_reads_back(capfd, text):
    arguments = ("voices", "create", "anna", "--from", WAV, "--x-vector", "-m", BASE, "--note", text)
    assert run(capfd, *arguments, "-q") == (0, "", "")
    assert voice_store.load("anna").note == text
    code, out, err = run(capfd, "voices", "show", "anna", "--json")
    assert (code, json.loads(out)["note"], err) == (0, text, "")
    code, out, err = run(capfd, "voices", "list")
    assert (code, err) == (0, "")
    assert len([line for line in out.splitlines() if line.startswith("anna")]) == 1
    assert run(capfd, "voices", "rename", "anna", "bea")[0] == 0
    assert run(capfd, "voices", "export", "bea", "bea.safetensors")[0] == 0
    assert run(capfd, "voices", "import", "bea.safetensors", "carla")[0] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, value) for key in ("note", "description") for value in (*REFUSED.values(), *NO_TEXTS)],
        *[("name", value) for value in ("x" * 65, "\x1b", 5, None, b"anna")],
        *[("text", value) for value in ("a\x1b", "x" * 16385, 5, b"text", ["a"])],
        *[("language", value) for value in (5, b"en", ["en"])],
    ],
    ids=lambda value: str(value)[:12] if isinstance(value, str) else type(value).__name__,
)
def test_the_api_refuses_before_the_recording_is_read(base, monkeypatch, key, value):
    def fail(*_, **__):
        raise AssertionError("the recording was read")

    monkeypatch.setattr("qwen3tts_cli.audio.recording.load_recording", fail)
    monkeypatch.setattr(clone, "_speaker_vector", fail)
    with pytest.raises(UsageError, match="(text|transcript): " if key == "text" else f"{key}: "):
        base.clone(Path(WAV), **{key: value})


@pytest.fixture(scope="module")
def base():
    with Synthesizer.open(Path(BASE), threads=1) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_fields_that_the_api_accepts_can_be_written(base):
    voice = base.clone(Path(WAV), TEXT, name="anna", note="a\u00a0b\u3000", description="\u200b")
    voice_store.save(voice)
    assert same(voice_store.load("anna"), voice)
    assert base.clone(Path(WAV), note=None, description=None).note == ""


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are Unicode there")
def test_a_model_in_a_folder_of_any_name_makes_voices_that_can_be_written(capfd):
    folder = os.fsdecode(b"m\x1b\xff" + b"o" * 100)
    shutil.copytree(BASE, folder)
    arguments = ("voices", "create", "anna", "--from", WAV, "--x-vector", "-m", f"./{folder}", "-q")
    assert run(capfd, *arguments)[0] == 0
    assert voice_store.load("anna").model == "m??" + "o" * 100


def test_the_longest_recording_with_appended_silence_can_be_kept(base, monkeypatch):
    """10 minutes and 0.5 s. One frame more is refused before the encoders are opened."""
    from qwen3tts_cli.audio.recording import Recording

    def embed(checkpoint, recording, *_):
        return np.ones(64, np.float32)

    def encode(checkpoint, recording, *_):
        return np.zeros((-(-len(recording.samples) // 1920), 16), np.int32)

    monkeypatch.setattr(clone, "_speaker_vector", embed)
    monkeypatch.setattr(clone, "_reference_codes", encode)
    text = "word " * 1600
    longest = Recording(np.zeros(600 * 24000 + 12000, np.float32), "long.wav", 600.0, "0" * 64)
    voice_store.save(base.clone(longest, text, name="anna"))
    assert len(voice_store.load("anna").codes) == 7507
    monkeypatch.setattr(clone, "_speaker_vector", None)
    with pytest.raises(InputError, match=r"long\.wav: 7508 frames"):
        base.clone(replace(longest, samples=np.zeros(7508 * 1920, np.float32)), text)


@pytest.mark.parametrize("name", [5, None, b"anna", ["anna"]])
def test_a_voice_name_that_is_no_text_is_refused(name):
    for action in (voice_store.load, voice_store.find, voice_store.remove, voice_store.path_of, voice_store.check_name):
        with pytest.raises(UsageError, match=f"voice name: found {type(name).__name__}, expected a text"):
            action(name)


def test_of_two_writers_of_one_voice_name_one_fails(monkeypatch):
    """Also if both checked the name before either wrote the file."""
    first = replace(VOICE, note="first")
    link = os.link

    def late(*names):
        monkeypatch.setattr(os, "link", link)
        voice_store.save(first)
        link(*names)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(UsageError, match="exists already"):
        voice_store.save(replace(VOICE, note="second"))
    assert voice_store.load("anna").note == "first"
    assert [path.name for path in voice_store.path_of("anna").parent.iterdir()] == ["anna.safetensors"]
