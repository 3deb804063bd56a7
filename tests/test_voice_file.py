"""Voice files and kept voices: equal bytes everywhere, invalid files refused in one line, names that are no paths."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from qwen3tts_cli import UsageError
from qwen3tts_cli.audio.array_file import array_file_bytes
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import FORMAT, Voice, parse_voice, read_voice, voice_bytes
from qwen3tts_cli.errors import InputError

VOICE = Voice(
    name="anna",
    embedding=np.linspace(-1, 1, 64, dtype=np.float32),
    codes=np.arange(32, dtype=np.int32).reshape(2, 16),
    transcript="Grüße, 你好.",
    language="english",
    model="0.6b-base",
    description="a friend",
    note="with her consent",
    seconds=0.16,
    sha256="0" * 64,
)


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "qwen3tts" / "voices"


def same(one: Voice, two: Voice) -> bool:
    return voice_bytes(one) == voice_bytes(two)


def make_file(tmp_path, metadata=None, arrays=None, **values):
    """Write a voice file with some of its parts replaced; returns its path."""
    header, _ = split(voice_bytes(VOICE))
    plain = {**json.loads(header["__metadata__"]["voice"]), **values}
    metadata = {"format": FORMAT, "voice": json.dumps(plain)} if metadata is None else metadata
    path = tmp_path / "voice.safetensors"
    path.write_bytes(
        array_file_bytes(metadata, {"embedding": VOICE.embedding, "codes": VOICE.codes} if arrays is None else arrays)
    )
    return path


def split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_a_voice_file_reads_back_as_the_voice(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(voice_bytes(VOICE))
    read = read_voice(path)
    assert same(read, VOICE)
    assert same(parse_voice(path.read_bytes(), path), VOICE)
    assert voice_bytes(read) == voice_bytes(VOICE)
    assert read.digest == VOICE.digest == replace(VOICE, name="bea", note="", model="").digest
    vector = replace(VOICE, codes=None, transcript=None, language=None)
    path.write_bytes(voice_bytes(vector))
    assert read_voice(path).codes is None
    assert read_voice(path).language is None
    assert vector.digest != VOICE.digest


@pytest.mark.parametrize(
    ("new", "message"), [("bea", "kept already; .* qwen3tts voices rm bea"), ("Anna", "has that name already")]
)
def test_renaming_to_a_kept_voice_is_refused(data_folder, new, message):
    for name in ("anna", "bea"):
        voice_store.save(replace(VOICE, name=name))
    with pytest.raises(UsageError, match=message):
        voice_store.rename("anna", new)
    assert voice_store.names() == ["anna", "bea"]


def test_keep_rename_export_import(tmp_path, data_folder):
    path = voice_store.save(VOICE)
    assert path == data_folder / "anna.safetensors"
    assert voice_store.names() == ["anna"]
    assert same(voice_store.load("Anna"), VOICE)
    with pytest.raises(UsageError, match="exists already"):
        voice_store.save(VOICE)
    exported = voice_store.export("anna", str(tmp_path))
    assert exported == tmp_path / "anna.safetensors"
    assert exported.read_bytes() == path.read_bytes()
    voice_store.rename("anna", "bea")
    assert voice_store.names() == ["bea"]
    assert voice_store.load("bea").name == "bea"
    voice_store.rename("bea", "Bea-2")
    voice_store.remove("bea-2")
    assert voice_store.names() == []
    assert voice_store.import_file(str(exported)).name == "anna"
    assert (data_folder / "anna.safetensors").read_bytes() == exported.read_bytes()
    assert voice_store.import_file(str(exported), "carla").name == "carla"
    assert same(replace(voice_store.load("carla"), name="anna"), VOICE)
    assert voice_store.find("anna").name == voice_store.find(" Anna ").name == "anna"
    assert voice_store.find(str(exported)) is None
    assert voice_store.find("ryan") is None
    with pytest.raises(UsageError, match=r"no voice 'anne' is kept, did you mean 'anna'\?"):
        voice_store.load("anne")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../anna", "a/b", "a\\b", "a.b", "-a", "Ä", "a" * 65, "a b", "a\0b", "~", "none", "ryan", "slt"],
)
def test_names_that_are_paths_are_refused(name, data_folder):
    for action in (lambda: voice_store.save(replace(VOICE, name=name)), lambda: voice_store.remove(name)):
        with pytest.raises(UsageError, match="voice name"):
            action()
    assert not data_folder.exists()


def test_a_name_inside_an_imported_file_cannot_leave_the_folder(tmp_path, data_folder):
    path = make_file(tmp_path, name="../../evil")
    with pytest.raises(UsageError, match="voice name"):
        voice_store.import_file(str(path))
    assert not data_folder.exists()
    assert voice_store.import_file(str(path), "good").name == "good"


def test_invalid_files_in_the_folder_are_listed_and_can_be_removed(data_folder):
    voice_store.save(VOICE)
    (data_folder / "bad.safetensors").write_bytes(b"nonsense")
    (data_folder / "notes.txt").write_text("not a voice")
    found = dict(voice_store.entries())
    assert set(found) == {"anna", "bad"}
    assert isinstance(found["bad"], InputError)
    voice_store.remove("bad")
    assert voice_store.names() == ["anna"]


BAD = {
    "no format": ({"metadata": {}}, "expected 'qwen3tts-voice 1'"),
    "later": ({"metadata": {"format": "qwen3tts-voice 2", "voice": "{}"}}, "later version"),
    "no voice": ({"metadata": {"format": FORMAT}}, "not valid JSON"),
    "list": ({"metadata": {"format": FORMAT, "voice": "[]"}}, "expected an object"),
    "number": ({"name": 5}, "voice.name"),
    "long": ({"note": "x" * 5000}, "at most 4096"),
    "escape": ({"note": "\x1b[2J"}, "printable"),
    "transcript": ({"transcript": "x" * 20000}, "voice.transcript"),
    "seconds": ({"seconds": -1}, "voice.seconds"),
    "no transcript": ({"transcript": None}, "codes but no transcript"),
    "no embedding": ({"arrays": {"codes": VOICE.codes}}, "tensor embedding"),
    "integer embedding": ({"arrays": {"embedding": VOICE.codes, "codes": VOICE.codes}}, "tensor embedding"),
    "NaN": ({"arrays": {"embedding": VOICE.embedding * np.float32("nan"), "codes": VOICE.codes}}, "not finite"),
    "negative code": ({"arrays": {"embedding": VOICE.embedding, "codes": -1 - VOICE.codes}}, "tensor codes"),
    "flat codes": ({"arrays": {"embedding": VOICE.embedding, "codes": VOICE.codes[0]}}, "tensor codes"),
    "other tensor": ({"arrays": {"embedding": VOICE.embedding, "code": VOICE.codes}}, "'code': unknown"),
    "huge": ({"arrays": {"embedding": np.zeros(2_000_000, np.float32)}}, "the limit is"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_voices_are_refused(tmp_path, case):
    parts, words = BAD[case]
    path = make_file(tmp_path, **parts)
    for read in (read_voice, lambda path: parse_voice(path.read_bytes(), path)):
        with pytest.raises(InputError) as caught:
            read(path)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        b"PK\3\4",
    ],
)
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, data):
    path = tmp_path / "voice.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_voice(path)


def test_paths_that_are_no_regular_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_voice(tmp_path / "missing.safetensors")
    with pytest.raises(InputError, match="a directory"):
        read_voice(tmp_path)
    os.mkfifo(tmp_path / "fifo.safetensors")
    with pytest.raises(InputError, match="not a regular file"):
        read_voice(tmp_path / "fifo.safetensors")


def test_every_flipped_bit_is_refused_or_harmless(tmp_path):
    data, path = voice_bytes(VOICE), tmp_path / "voice.safetensors"
    header = 8 + int.from_bytes(data[:8], "little")
    for bit in range(0, 8 * header, 5):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with contextlib.suppress(InputError):
            voice = read_voice(path)
            assert voice.codes is None or voice.codes.min() >= 0
