"""Shell completion: with the protocol of the printed scripts, and in a real bash."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
from helpers import CHECKPOINTS

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models import local_models

FILE, FOLDER = ["file:"], ["dir:"]
ALIASES = list(local_models.ALIASES)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with kept voices and two cached models, one of which has an alias."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    voices = tmp_path / "data" / "qwen3tts" / "voices"
    voices.mkdir(parents=True)
    for name in ("anna.safetensors", "bob-2.safetensors", ".part.safetensors", "notes.txt", "Not A Name.safetensors"):
        (voices / name).touch()
    for repo in (local_models.ALIASES["0.6b"], "org/tuned"):
        folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / ("0" * 40)
        shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    return tmp_path


@pytest.fixture
def completed(capfd, monkeypatch):
    """A function that returns the completions of the last word: values, or "file:" and "dir:" for the shell's own."""

    def completed(words, shell="bash", **env):
        index = words.split(" ")[-1] if shell == "fish" else str(len(words.split(" ")) - 1)
        variables = {"_QWEN3TTS_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": index, **env}
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            code = cli.run([])
        out, err = capfd.readouterr()
        assert (code, err) == (0, "")
        lines = out.splitlines()
        if shell == "zsh":
            pairs = list(zip(lines[::3], lines[1::3], strict=False))
        else:
            pairs = [tuple(line.split("\t")[0].split(",", 1)) for line in lines if line]
        return [value if kind == "plain" else f"{kind}:" for kind, value in pairs]

    return completed


PRESETS = ["slt", "serena", "vivian", "uncle_fu", "ryan", "aiden", "ono_anna", "sohee", "eric", "dylan"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("qwen3tts s", ["say", "serve"]),
        ("qwen3tts ", ["say", "narrate", "batch", "serve", "mcp", "voices", "codec", "models", "bench", "doctor"]),
        ("qwen3tts voices sh", ["show"]),
        ("qwen3tts models p", ["pack", "path", "pull"]),
        ("qwen3tts say --ou", ["--output"]),
        ("qwen3tts say -f ", FILE),
        ("qwen3tts say --file no", FILE),
        ("qwen3tts say -q -o ", FILE),
        ("qwen3tts say --output=a", FILE),
        ("qwen3tts say --ref ", FILE),
        ("qwen3tts say --codes ", FILE),
        ("qwen3tts say --json ", FILE),
        ("qwen3tts bench --json ", FILE),
        ("qwen3tts narrate ", FILE),
        ("qwen3tts narrate book.epub -o ", FILE),
        ("qwen3tts narrate book.epub --on-error ", ["stop", "skip"]),
        ("qwen3tts narrate book.epub -v an", ["anna"]),
        ("qwen3tts batch ", FILE),
        ("qwen3tts codec encode ", FILE),
        ("qwen3tts codec encode a.wav -o ", FILE),
        ("qwen3tts codec decode ", FILE),
        ("qwen3tts codec decode a.npy -o ", FILE),
        ("qwen3tts codec info ", FILE),
        ("qwen3tts voices import ", FILE),
        ("qwen3tts voices export anna ", FILE),
        ("qwen3tts voices create bob --from ", FILE),
        ("qwen3tts voices preview anna -o ", FILE),
        ("qwen3tts say --rate ", ["8000", "16000", "22050", "24000", "44100", "48000"]),
        ("qwen3tts say --rate 4", ["44100", "48000"]),
        ("qwen3tts say -v an", ["anna"]),
        ("qwen3tts say -m 0.6b -v ", [*PRESETS[1:], "anna", "bob-2", "none"]),
        ("qwen3tts say -m pocket -v ", ["slt", "anna", "bob-2", "none"]),
        ("qwen3tts say -v ry", ["ryan"]),
        ("qwen3tts say --voice=RY", ["ryan"]),
        ("qwen3tts say -v ./an", FILE),
        ("qwen3tts voices show ", [*PRESETS, "anna", "bob-2"]),
        ("qwen3tts voices show ./", FILE),
        ("qwen3tts voices preview sl", ["slt"]),
        (f"qwen3tts say -m {CHECKPOINTS / 'tiny-customvoice'} -v se", ["serena"]),
        ("qwen3tts voices preview b", ["bob-2"]),
        ("qwen3tts voices rm ", ["anna", "bob-2"]),
        ("qwen3tts voices rm anna ", ["bob-2"]),
        ("qwen3tts voices rename a", ["anna"]),
        ("qwen3tts voices export a", ["anna"]),
        ("qwen3tts say -m ", ["pocket", *ALIASES, "org/tuned"]),
        ("qwen3tts say -m 1.7b-", ["1.7b-base", "1.7b-design"]),
        ("qwen3tts say -m ./", FOLDER),
        ("qwen3tts say --model o", ["org/tuned"]),
        ("qwen3tts voices list -m po", ["pocket"]),
        ("qwen3tts voices -m po", ["pocket"]),
        ("qwen3tts voices create bob -m 0.6b-", ["0.6b-base"]),
        ("qwen3tts voices design bob --base 1.7b-b", ["1.7b-base"]),
        ("qwen3tts bench -m 1.7b-d", ["1.7b-design"]),
        ("qwen3tts codec info -m Q", ["Qwen/Qwen3-TTS-Tokenizer-12Hz"]),
        ("qwen3tts models pull ", [*ALIASES, "org/tuned"]),
        ("qwen3tts models rm ", ["0.6b", "org/tuned"]),
        ("qwen3tts models verify o", ["org/tuned"]),
        ("qwen3tts models path /", FOLDER),
        ("qwen3tts models pack 0", ["0.6b", "0.6b-base"]),
        ("qwen3tts models unpack 0", ["0.6b", "0.6b-base"]),
        ("qwen3tts say -l ger", ["german"]),
        ("qwen3tts say --language=z", ["zh"]),
        ("qwen3tts voices create bob -l it", ["italian", "it"]),
        ("qwen3tts say --precision i", ["int8", "int4", "int4-calibrated"]),
        ("qwen3tts bench --precision bf16,int", ["bf16,int8", "bf16,int4"]),
        ("qwen3tts say --batch ", ["auto"]),
        ("qwen3tts say --subtype F", ["FLOAT"]),
        ("qwen3tts say ", []),
    ],
)
def test_completions_of_bash(completed, home, words, offered):
    assert completed(words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("qwen3tts models p", ["pack", "path", "pull"]),
        ("qwen3tts say -f no", FILE),
        ("qwen3tts say -v an", ["anna"]),
        ("qwen3tts say -m ./my", FOLDER),
        ("qwen3tts say -l ger", ["german"]),
    ],
)
def test_completions_of_zsh_and_fish(completed, home, shell, words, offered):
    assert completed(words, shell) == offered


NOWHERE = {"HOME": None, "XDG_DATA_HOME": None, "XDG_CONFIG_HOME": None, "XDG_CACHE_HOME": None, "HF_HUB_CACHE": None}


@pytest.mark.parametrize(
    "env",
    [
        {"XDG_CONFIG_HOME": "broken"},
        {"XDG_DATA_HOME": "/dev/null", "HF_HUB_CACHE": "/dev/null"},
        {"HOME": "relative", "XDG_DATA_HOME": "relative"},
        NOWHERE,
        {"QWEN3TTS_MODEL": "\x01", "QWEN3TTS_THREADS": "many"},
        {"COMP_CWORD": "99"},
    ],
)
@pytest.mark.parametrize(
    "words", ["qwen3tts say -v ", "qwen3tts say --thr", "qwen3tts voices rm ", "qwen3tts say -m x"]
)
def test_errors_are_silent_while_the_shell_completes(completed, home, monkeypatch, env, words):
    file = home / "broken" / "qwen3tts" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("voice = [")
    monkeypatch.chdir(home)
    completed(words, **env)


@pytest.mark.parametrize("env", [{"COMP_CWORD": "x"}, {"COMP_WORDS": None}])
def test_an_invalid_request_prints_nothing(completed, env):
    completed("qwen3tts say", **env)


def test_options_are_completed_with_an_invalid_configuration(completed, home, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "broken"))
    file = home / "broken" / "qwen3tts" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("voice = [")
    assert completed("qwen3tts say --thr") == ["--threads"]
    assert completed("qwen3tts say -v an") == ["anna"]


@pytest.mark.parametrize("typed", ["tuned", "./tuned", "~/tuned", "my\\ model"])
def test_voices_of_the_model_in_a_folder_are_completed(completed, home, monkeypatch, typed):
    monkeypatch.chdir(home)
    for name in ("tuned", "my model"):
        shutil.copytree(CHECKPOINTS / "tiny-customvoice", home / name)
    assert completed(f"qwen3tts say -m {typed} -v ry", COMP_CWORD="5") == ["ryan"]  # a word with a space


def test_voices_of_the_configured_model_are_completed(completed, home, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    file = home / "config" / "qwen3tts" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('model = "pocket"')
    assert completed("qwen3tts say -v ") == ["slt", "anna", "bob-2", "none"]
    assert completed("qwen3tts say -v ", QWEN3TTS_MODEL="org/tuned")[0] == "serena"


@pytest.mark.parametrize("words", ["say -v ", "say -m ", "voices rm ", "", "models pull ", "codec encode "])
def test_completion_imports_nothing_heavy(home, words):
    code = (
        "import sys, atexit\nfrom qwen3tts_cli.cli import main as cli\n"
        "heavy = {'numpy', 'soundfile', 'huggingface_hub', 'regex', 'cffi', 'sentencex', 'qwen3tts_cli._native'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "cli.main()"
    )
    words = f"qwen3tts {words}"
    index = str(len(words.split(" ")) - 1)
    env = {**os.environ, "_QWEN3TTS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"
    assert done.stdout.strip()


class Bash:
    """A bash on a pseudo-terminal, with the printed script loaded."""

    def __init__(self, folder, bin_folder):
        self.master, slave = pty.openpty()
        env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
        command = ["bash", "--norc", "--noprofile", "-i"]
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **streams)
        os.close(slave)

    def type(self, text, until, seconds=30):
        """Type keys, and read until the terminal shows `until`."""
        os.write(self.master, text.encode())
        shown, end = "", time.monotonic() + seconds
        while until not in shown and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                shown += os.read(self.master, 4096).decode(errors="replace")
        assert until in shown, shown
        return shown

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def bash(home):
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    folder = home / "bin"
    folder.mkdir()
    (folder / "qwen3tts").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qwen3tts_cli "$@"\n')
    (folder / "qwen3tts").chmod(0o755)
    (home / "my-notes.txt").touch()
    (home / "my-model").mkdir()
    opened = Bash(home, folder)
    try:
        opened.type("bind 'set enable-bracketed-paste off'; bind 'set bell-style none'\n", "$ ")
        opened.type('eval "$(_QWEN3TTS_COMPLETE=bash_source qwen3tts)"; echo rea""dy\n', "ready")
        yield opened
    finally:
        opened.close()


def test_a_real_bash_completes(bash):
    for typed, completed_to in (
        ("qwen3tts sa\t", "say "),
        ("qwen3tts say -f my-n\t", "my-notes.txt"),
        ("qwen3tts say -o my-n\t", "my-notes.txt"),
        ("qwen3tts say -v an\t", "anna"),
        ("qwen3tts say -m ./my-m\t", "./my-model"),
        ("qwen3tts say -m org\t", "org/tuned"),
        ("qwen3tts say --voice=an\t", "anna"),
        ("qwen3tts voices rm bo\t", "bob-2"),
        ("qwen3tts models rm 0\t", "0.6b"),
        ("qwen3tts codec encode my-n\t", "my-notes.txt"),
    ):
        bash.type(typed, completed_to)
        bash.type("\x15\n", "$ ")


def test_a_broken_configuration_prints_nothing_into_a_real_bash(bash, home, monkeypatch):
    file = home / ".config" / "qwen3tts" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("voice = [")
    bash.type("unset XDG_CONFIG_HOME; clear; echo do''ne\n", "done")
    shown = bash.type("qwen3tts say --thr\t", "--threads")
    assert "error" not in shown
    assert "TOML" not in shown


def test_the_script_of_every_shell_is_printed():
    for shell, word in (("bash", "complete -o"), ("zsh", "#compdef qwen3tts"), ("fish", "complete --no-files")):
        env = {**os.environ, "_QWEN3TTS_COMPLETE": f"{shell}_source"}
        done = subprocess.run([sys.executable, "-m", "qwen3tts_cli"], env=env, capture_output=True, text=True)
        assert word in done.stdout
