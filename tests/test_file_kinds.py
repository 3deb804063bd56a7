"""Files with other contents than expected: Git LFS pointers, web pages, recordings in other formats."""

from __future__ import annotations

import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS

from qwen3tts_cli.audio import recording
from qwen3tts_cli.audio.codec import Codec, read_codes
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning.voice_file import read_voice
from qwen3tts_cli.errors import CheckpointError, InputError
from qwen3tts_cli.models import hub_cache
from qwen3tts_cli.models.checkpoint import open_checkpoint

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 1811628800\n"
PAGES = {
    "page": b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
    "plain": b"<html><body>502 Bad Gateway</body></html>",
    "marked": b"\xef\xbb\xbf\r\n<!-- cached -->\n<!doctype HTML>" + b" " * 50_000,
}
MODEL_FILES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
]


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "my model")
    return tmp_path / "my model"


def refusal(folder):
    with pytest.raises(CheckpointError) as caught, open_checkpoint(folder) as checkpoint:
        assert checkpoint.tokenizer
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_git_lfs_pointer_in_a_model_is_named_with_a_command(folder, name):
    (folder / name).write_bytes(POINTER)
    line = refusal(folder)
    assert line.startswith(f"{folder / name}: a Git LFS pointer, not the file itself; fetch it with: cd ")
    command = line.split("fetch it with: ")[1]
    assert command == f"cd '{(folder / name).parent}' && git lfs pull"


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_git_lfs_pointer_in_the_cache_names_models_pull(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = hub_cache.repo_folder("org/voice--model.x") / "snapshots" / ("0" * 40)
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    (folder / name).write_bytes(POINTER)
    assert refusal(folder).endswith("fetch it with: qwen3tts models pull org/voice--model.x")


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_instead_of_a_file_is_named(folder, name, page):
    (folder / name).write_bytes(PAGES[page])
    line = refusal(folder)
    assert line.startswith(f"{folder / name}: a web page (HTML), not the file itself")
    assert "download it again" in line


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Entry not found", "found the text 'Entry not found', expected a safetensors file"),
        (b"PK\x03\x04" + b"\0" * 100, "a zip archive, expected a safetensors file"),
        (b"\x1f\x8b\x08" + b"\xff" * 100, "a gzip file, expected a safetensors file"),
    ],
)
def test_other_contents_of_a_weight_file_are_named(folder, data, message):
    (folder / "model.safetensors").write_bytes(data)
    assert refusal(folder).endswith(message)


@pytest.mark.parametrize("data", [POINTER, PAGES["page"]])
def test_the_kind_of_a_wrong_voice_or_codes_file_is_named(tmp_path, data):
    kind = "Git LFS pointer" if data is POINTER else "web page"
    for name, read in (("a.safetensors", read_voice), ("a.safetensors", read_codes), ("a.npy", read_codes)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=kind):
            read(str(tmp_path / name))


def test_a_codec_that_is_a_pointer_is_named(folder):
    (folder / "speech_tokenizer" / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(CheckpointError, match="git lfs pull"):
        Codec.open(folder)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("my in.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0", "convert it: ffmpeg -i 'my in.m4a' 'my in.wav'"),
        ("in.webm", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", "convert it: ffmpeg -i in.webm in.wav"),
        ("in.aac", b"\xff\xf1\x50\x80\x00\x1f\xfc", "convert it: ffmpeg -i in.aac in.wav"),
        ("in.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "convert it: ffmpeg -i in.wma in.wav"),
        ("in.amr", b"#!AMR\n", "convert it: ffmpeg -i in.amr in.wav"),
        ("in.APE", b"MAC \x96\x0f", "convert it: ffmpeg -i in.APE in.wav"),
        ("recording", b"\0\0\0\x18ftypisom", "convert it: ffmpeg -i recording recording.wav"),
        ("-in.mp4", b"\0\0\0\x18ftypisom", "convert it: ffmpeg -i ./-in.mp4 ./-in.wav"),
        ("in.wav", POINTER, "a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
        ("in.wav", PAGES["page"], "a web page (HTML)"),
        ("in.wav", b"%PDF-1.4", "a PDF file, expected a recording"),
        ("in.wav", b"RIFF\0\0\0\0WAVE", "not audio that libsndfile reads"),
        ("in.txt", b"Hello.", "not audio that libsndfile reads"),
    ],
)
def test_a_recording_that_libsndfile_does_not_read_is_one_line(tmp_path, monkeypatch, name, data, message):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        recording.load_recording(name)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_recording_over_ten_minutes_is_one_clear_line(tmp_path, monkeypatch, capfd, rate):
    monkeypatch.chdir(tmp_path)
    with wave.open("a talk.wav", "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", "NONE"))
        file.writeframes(np.full(rate * 601, 127, np.uint8).tobytes())
    base = str(CHECKPOINTS / "tiny-base")
    for arguments in (
        ("codec", "encode", "a talk.wav", "-o", "a.safetensors", "-m", base),
        ("say", "-m", base, "--ref", "a talk.wav", "Hello.", "-o", "a.raw", "--raw"),
    ):
        assert cli.run(arguments) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: a talk.wav: 601 s of audio, the limit is 600 s (10 minutes)")
        assert line.endswith("for a part of it: ffmpeg -ss 0 -t 30 -i 'a talk.wav' part.wav")


def test_valid_files_do_not_import_file_kinds():
    code = (
        "import sys\nfrom pathlib import Path\nfrom qwen3tts_cli.models.checkpoint import open_checkpoint\n"
        f"open_checkpoint(Path({str(CHECKPOINTS / 'tiny-customvoice')!r})).tokenizer\n"
        "print('qwen3tts_cli.common.file_kinds' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
