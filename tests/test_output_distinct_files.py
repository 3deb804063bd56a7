"""An output never overwrites an input or another output, whatever path names it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import standin
from helpers import CHECKPOINTS, DATA, TESTS
from test_voice_file import VOICE

from qwen3tts_cli import UsageError
from qwen3tts_cli.audio.codec import codes_bytes
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import voice_bytes
from qwen3tts_cli.output.distinct_files import check_outputs

BASE = str(CHECKPOINTS / "tiny-base")
CODES = codes_bytes(np.zeros((5, 16), np.int32), {})
PROGRAM = [sys.executable, str(TESTS / "standin.py")]

# other paths of the file `name`, from its folder
SPELLINGS = {
    "same": lambda name: name,
    "dotted": lambda name: f"folder/../{name}",
    "doubled": lambda name: f".//{name}",
    "absolute": os.path.abspath,
    "symlink": lambda name: linked(os.symlink, name),
    "link of a link": lambda name: linked(os.symlink, linked(os.symlink, name, "first"), "second"),
    "hard link": lambda name: linked(os.link, name),
    "linked folder": lambda name: f"here/{name}",
    "descriptor": lambda name: f"/dev/fd/{os.open(name, os.O_RDONLY)}",
}


def linked(link, name, kind="link"):
    other = f"{kind}{Path(name).suffix}"
    link(name, other)
    return other


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    os.mkdir("folder")
    os.symlink(".", "here")
    opened = set(os.listdir("/dev/fd"))
    yield tmp_path
    for descriptor in set(os.listdir("/dev/fd")) - opened:
        with contextlib.suppress(OSError):
            os.close(int(descriptor))


@pytest.fixture
def refused(capfd):
    """A function that runs a command, which must fail with code 2 and one line and change no file; returns it."""

    def refused(*arguments):
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        code = cli.run(arguments)
        out, err = capfd.readouterr()
        assert (code, out) == (2, ""), err
        (line,) = err.splitlines()
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
        return line

    return refused


@pytest.fixture
def _standin(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.speech.synthesizer", standin.module())
    monkeypatch.setattr(
        "qwen3tts_cli.speech.synthesizer", sys.modules["qwen3tts_cli.speech.synthesizer"], raising=False
    )


@pytest.mark.usefixtures("_standin")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("given", "name", "written"),
    [
        (("Hello.", "--ref"), "a.wav", ("-o",)),
        (("Hello.", "--ref"), "a.wav", ("-o", "b.wav", "--json")),
        (("Hello.", "--ref"), "a.wav", ("-o", "b.wav", "--codes")),
        (("-f",), "a.txt", ("--raw", "-o")),
        (("-f",), "a.txt", ("-o", "b.wav", "--json")),
        (("-f",), "a.txt", ("-o", "b.wav", "--codes")),
        (("Hello.", "-v"), "./a.safetensors", ("--raw", "-o")),
        (("Hello.", "-v"), "./a.safetensors", ("-o", "b.wav", "--codes")),
    ],
)
def test_output_that_is_the_input_is_refused(refused, spelling, given, name, written):
    Path(name).write_text("Hello.")
    line = refused("say", *given, name, *written, SPELLINGS[spelling](name))
    assert f"is the same file as {'--file' if given[-1] == '-f' else '--voice' if '-v' in given else '--ref'} " in line
    assert "name another file" in line


@pytest.mark.parametrize("spelling", ["same", "link of a link", "hard link", "descriptor"])
def test_output_that_is_the_input_of_a_standard_stream_is_refused(spelling):
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("Hello.")
    other = SPELLINGS[spelling]("a.txt")
    descriptors = [int(other[8:])] if spelling == "descriptor" else []
    for arguments in (
        ("--raw", "-o", other),
        ("-o", "b.wav", "--json", other),
        ("-f", "-", "-o", "b.wav", "--json", other),
    ):
        with open("a.txt") as file:
            done = subprocess.run(
                [*PROGRAM, "say", *arguments], stdin=file, capture_output=True, timeout=60, pass_fds=descriptors
            )
        assert done.returncode == 2
        assert b"same file as standard input" in done.stderr
        assert Path("a.txt").read_text() == "Hello."
    with open("a.txt") as text, open("a.txt", "ab") as appended:
        done = subprocess.run([*PROGRAM, "say"], stdin=text, stdout=appended, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    assert Path("a.txt").read_text() == "Hello."


@pytest.mark.usefixtures("_standin")
@pytest.mark.parametrize("spelling", [*SPELLINGS, "to come"])
@pytest.mark.parametrize(
    ("first", "second"), [("-o", "--json"), ("-o", "--codes"), ("--codes", "--json"), ("--json", "-o")]
)
def test_two_outputs_onto_one_file_are_refused(refused, spelling, first, second):
    if spelling == "to come":  # neither the file nor the target of the link exists yet
        os.symlink("folder/a.wav", "b.wav")
        names = "here/folder/a.wav", "b.wav"
    else:
        Path("a.wav").write_text("old")
        names = "a.wav", SPELLINGS[spelling]("a.wav")
    rest = () if "-o" in (first, second) else ("-o", "c.wav")
    assert "is the same file as" in refused("say", "Hello.", first, names[0], second, names[1], *rest)


@pytest.mark.usefixtures("_standin")
def test_a_file_of_the_model_is_not_overwritten(refused):
    import shutil

    shutil.copytree(BASE, "model")
    for name in ("config.json", "speech_tokenizer/model.safetensors", "vocab.json", "model.safetensors"):
        line = refused("say", "Hello.", "-m", "model", "-o", "a.wav", "--json", f"model/{name}")
        assert f"file of the model model/{name}" in line
    assert cli.run(["say", "-q", "Hello.", "-m", "model", "-o", "model/a.wav", "--json", "model/a.json"]) == 0
    assert cli.run(["say", "-q", "Hello.", "-m", "model", "-o", "model/a.wav", "--json", "model/a.json"]) == 0


@pytest.mark.usefixtures("_standin")
def test_a_kept_voice_is_not_overwritten(refused):
    path = voice_store.save(VOICE)
    assert "same file as --voice" in refused("say", "Hello.", "-v", "Anna", "-o", str(path), "--raw")
    for link in (os.symlink, os.link):
        link(path, f"{link.__name__}.wav")
        assert "same file as --voice" in refused("say", "Hello.", "-v", "Anna", "-o", f"{link.__name__}.wav")


@pytest.mark.usefixtures("_standin")
def test_the_configuration_is_not_overwritten(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    os.mkdir("qwen3tts")
    Path("qwen3tts/config.toml").write_text("seed = 1")
    assert "same file as configuration file" in refused("say", "Hello.", "-o", "qwen3tts/config.toml", "--raw")


@pytest.mark.usefixtures("_standin")
@pytest.mark.parametrize("option", ["-o", "--json", "--codes"])
def test_a_folder_is_no_output(refused, option):
    rest = () if option == "-o" else ("-o", "a.wav")
    assert "folder: a folder; name a file" in refused("say", "Hello.", option, "folder", *rest)


@pytest.mark.usefixtures("_standin")
def test_devices_take_any_number_of_outputs():
    assert cli.run(["say", "-q", "Hello.", "-o", "/dev/null", "--codes", "/dev/null", "--json", "/dev/null"]) == 0
    with open(os.devnull, "r+b") as null:
        done = subprocess.run(
            [*PROGRAM, "say", "Hello.", "-q", "--json", "-"], stdin=null, stdout=null, stderr=null, timeout=60
        )
    assert done.returncode == 0


@pytest.mark.usefixtures("_standin")
def test_two_outputs_into_one_fifo_are_refused(refused):
    os.mkfifo("fifo")
    assert "is the same file as" in refused("say", "Hello.", "-o", "fifo", "--json", "here/fifo")


STDOUT = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev//stdout", "link"]


@pytest.mark.parametrize(
    ("option", "name", "where", "audio"),
    [
        *(("--json", name, "pipe", ()) for name in STDOUT),
        *(("--codes", name, "pipe", ()) for name in STDOUT),
        *(("--json", "/dev/stdout", where, ("-o", "-")) for where in ("pipe", "file", "appended")),
        ("--json", "link", "file", ()),
        ("--json", "/dev/fd/1", "pipe", ("--stream", "--raw")),
        ("--json", "/dev/fd/1", "appended", ("-o", "/dev/stdout", "--audio-format", "flac")),
    ],
)
def test_nothing_else_goes_to_stdout_beside_audio(option, name, where, audio):
    os.symlink("/dev/stdout", "link")
    mode = "ab" if where == "appended" else "wb"
    with open("out", mode) if where != "pipe" else contextlib.nullcontext(subprocess.PIPE) as out:
        command = [*PROGRAM, "say", "Hello.", *audio, option, name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    assert option.encode() in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (done.stdout or b"") == (b"" if where == "pipe" else Path("out").read_bytes())


def run(*arguments, **how):
    return subprocess.run([*PROGRAM, *arguments], stdin=subprocess.DEVNULL, timeout=60, **how).returncode


def test_the_file_of_stdout_is_no_other_output():
    for option in ("--json", "--codes"):
        with open("out", "wb") as out:
            assert run("say", "Hello.", option, "here/out", stdout=out, stderr=subprocess.DEVNULL) == 2
    with open("out", "wb") as out:
        assert run("say", "Hello.", "-q", "--json", "-", stdout=out, stderr=out) == 2
    assert b"RIFF" not in Path("out").read_bytes()
    with open("out", "wb") as out:  # where the audio goes to another file, it may
        assert run("say", "Hello.", "-q", "-o", "a.wav", "--json", "/dev/stdout", stdout=out) == 0
    assert Path("out").read_bytes().startswith(b"{")
    assert soundfile.info("a.wav").frames == 19200


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_codec_output_that_is_the_input_is_refused(refused, spelling):
    soundfile.write("a.wav", np.ones(9600) / 2, 24000)
    assert "same file as RECORDING a.wav" in refused(
        "codec", "encode", "a.wav", "-o", SPELLINGS[spelling]("a.wav"), "-m", BASE
    )
    Path("b.wav").write_bytes(CODES)
    for name in ("first.wav", "second.wav", "link.wav"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    assert "same file as CODES b.wav" in refused(
        "codec", "decode", "b.wav", "-o", SPELLINGS[spelling]("b.wav"), "-m", BASE
    )


def test_codec_files_of_the_model_are_not_overwritten(refused):
    import shutil

    shutil.copytree(f"{BASE}/speech_tokenizer", "codec")
    line = refused("codec", "encode", str(DATA / "wavs/ref24k.wav"), "-o", "codec/model.safetensors", "-m", "codec")
    assert "file of the model" in line
    shutil.copytree(BASE, "model")
    for name in ("config.json", "model.safetensors", "speech_tokenizer/config.json"):
        recording = str(DATA / "wavs/ref24k.wav")
        assert "file of the model" in refused("codec", "encode", recording, "-o", f"model/{name}", "-m", "model")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_voice_that_is_its_own_recording_is_refused(refused, spelling):
    """The file of the kept voice is the recording, or a link to it."""
    kept = voice_store.path_of("anna")
    kept.parent.mkdir(parents=True)
    os.chdir(kept.parent)
    os.mkdir("folder")
    os.symlink(".", "here")
    Path("anna.safetensors").write_bytes((DATA / "wavs/ref24k.wav").read_bytes())
    recording = SPELLINGS[spelling]("anna.safetensors")
    how = ("--x-vector", "-m", BASE, "--force")
    assert "same file as --from" in refused("voices", "create", "Anna", "--from", recording, *how)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_voice_exported_onto_itself_is_refused(refused, spelling):
    kept = voice_store.save(VOICE)
    os.chdir(kept.parent)
    os.mkdir("folder")
    os.symlink(".", "here")
    other = SPELLINGS[spelling]("anna.safetensors")
    assert "same file as voice" in refused("voices", "export", "anna", other, "--force")
    for names in ((), ("anna",), ("Anna",)):
        assert "same file as FILE" in refused("voices", "import", other, *names, "--force")
    assert kept.read_bytes() == voice_bytes(VOICE)


def test_the_function_itself():
    Path("a").touch()
    check_outputs([("x", "a"), ("y", None), ("z", "b")], [("i", "c"), ("j", None), ("k", "folder")])
    check_outputs([("x", "c")], [("i", "c")])  # the command that reads an input reports that it is missing
    check_outputs([("x", "no/a"), ("y", "no/b")])
    for names in (("no/a", "no/../no/a"), ("b", "./b"), ("b", "folder/../b"), ("b", "here/b")):
        with pytest.raises(UsageError, match=r"y .*: is the same file as x "):
            check_outputs([("x", names[0]), ("y", names[1])])
    for name, words in (("", "empty name"), ("a\0b", "NUL"), ("new/", "no such folder"), ("folder/", "a folder")):
        with pytest.raises(UsageError, match=words):
            check_outputs([("x", name)])
