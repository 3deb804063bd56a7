"""The user's folders: where they are, which variables are ignored, and commands without any folder."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKPOINTS, DATA

from qwen3tts_cli.cli import settings
from qwen3tts_cli.common import user_folders
from qwen3tts_cli.models import hub_cache, local_models

FUNCTIONS = {
    "XDG_CONFIG_HOME": (user_folders.config_file, ".config/qwen3tts/config.toml", "qwen3tts/config.toml"),
    "XDG_DATA_HOME": (user_folders.voices_folder, ".local/share/qwen3tts/voices", "qwen3tts/voices"),
    "XDG_STATE_HOME": (user_folders.state_folder, ".local/state/qwen3tts", "qwen3tts"),
    "XDG_CACHE_HOME": (user_folders.cache_folder, ".cache/qwen3tts", "qwen3tts"),
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*FUNCTIONS, "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def nobody(monkeypatch):
    """A user without an entry in the user database and without HOME."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_a_folder_is_in_its_variable_or_in_the_home_folder(variable, home, tmp_path, monkeypatch):
    function, below_home, below_variable = FUNCTIONS[variable]
    assert function() == home / below_home
    monkeypatch.setenv(variable, str(tmp_path / "xdg"))
    assert function() == tmp_path / "xdg" / below_variable


@pytest.mark.parametrize("value", ["", "relative", "./a", "~/a", "../b"])
@pytest.mark.parametrize("variable", FUNCTIONS)
def test_a_relative_variable_is_ignored(variable, value, home, monkeypatch):
    function, below_home, _ = FUNCTIONS[variable]
    monkeypatch.setenv(variable, value)
    assert function() == home / below_home
    assert hub_cache.cache_folder() == home / ".cache/huggingface/hub"


@pytest.mark.parametrize("value", [None, "", "relative", "."])
def test_a_relative_home_is_ignored(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", value)
    entry = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert user_folders.home_folder() == entry
    assert user_folders.cache_folder() == entry / ".cache/qwen3tts"
    assert hub_cache.cache_folder() == entry / ".cache/huggingface/hub"
    assert user_folders.expand_home("~/a") == str(entry / "a")


def test_without_a_home_there_are_no_folders(nobody):
    assert {function() for function, _, _ in FUNCTIONS.values()} == {None}
    assert (hub_cache.cache_folder(), local_models.cached_repos(), hub_cache.snapshot("a/b")) == (None, [], None)
    assert settings.load() == {}
    assert (user_folders.expand_home("~/a"), user_folders.expand_home("a~")) == (None, "a~")


def test_a_relative_home_of_the_entry_is_ignored(nobody, monkeypatch):
    monkeypatch.setattr(pwd, "getpwuid", lambda _: type("", (), {"pw_dir": ""}))
    assert user_folders.home_folder() is None


def test_without_a_home_the_variables_still_name_folders(nobody, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert user_folders.voices_folder() == tmp_path / "qwen3tts/voices"
    assert hub_cache.cache_folder() == tmp_path / "hf/hub"


# ---- the command, run by a user without an entry and without HOME

_STRANGER = 54321
_AS_STRANGER = """
import os, sys
os.setgroups([])
os.setresgid({uid}, {uid}, {uid})
os.setresuid({uid}, {effective}, {effective})
sys.argv[0] = "qwen3tts"
from qwen3tts_cli.cli.main import main
main()
"""


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="module")
def effective():
    """The effective user of these commands: root if no other user can read Python or this checkout."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if _known(_STRANGER):
        pytest.skip(f"the user {_STRANGER} has an entry here")
    reachable = all(os.stat(folder).st_mode & stat.S_IXOTH for folder in [CHECKPOINTS, *CHECKPOINTS.parents])
    return _STRANGER if reachable and _reaches_python() else 0


@pytest.fixture
def stranger(effective, monkeypatch):
    """Run the command as a user without an entry and without a home folder."""
    monkeypatch.delenv("HOME")

    def run(*arguments, code=0, **environment):
        done = subprocess.run(
            [sys.executable, "-c", _AS_STRANGER.format(uid=_STRANGER, effective=effective), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            cwd="/",
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr.decode()

    return run


def _reaches_python() -> bool:
    probe = f"import os; os.setgid({_STRANGER}); os.setuid({_STRANGER}); import numpy, qwen3tts_cli"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=60).returncode == 0


def test_a_user_without_an_entry_and_without_home_speaks(stranger):
    wanted = stranger("say", "Hello.", "--seed", "1", "-q", "-o", "-", HOME="/nonexistent")[0]
    out, err = stranger("say", "Hello.", "--seed", "1", "-o", "-")
    assert out == wanted
    assert len(out) > 1000
    assert "warning" not in err


def test_a_user_without_a_home_speaks_with_a_model_that_is_packed(stranger):
    arguments = ("say", "Hello.", "--seed", "1", "--max-frames", "4", "--precision", "int8", "-o", "-")
    out, err = stranger(*arguments, "-m", str(CHECKPOINTS / "tiny-customvoice"))
    assert len(out) > 1000
    assert "error" not in err


@pytest.mark.parametrize("home", ["relative", "", "/nonexistent", "/root"])
def test_a_user_with_an_unusable_home_speaks(stranger, effective, home):
    if home == "/root" and effective == 0:
        pytest.skip("other users cannot read Python or this checkout")
    assert stranger("say", "Hello.", "--max-frames", "4", "-o", "-", HOME=home)[0]


@pytest.mark.parametrize("command", [("voices",), ("models", "list"), ("doctor",), ("voices", "list", "--json")])
def test_a_user_without_a_home_has_lists(stranger, command):
    out, err = stranger(*command)
    assert b"pocket" in out
    assert err == ""


def test_a_command_that_needs_a_folder_fails_with_one_line(stranger):
    wav, base = str(DATA / "wavs" / "ref24k.wav"), str(CHECKPOINTS / "tiny-base")
    create = ("voices", "create", "anna", "--from", wav, "--x-vector", "-m", base)
    for arguments, code, words in (
        (create, 1, "there is no folder for voices: neither XDG_DATA_HOME nor HOME names one"),
        (("voices", "show", "anna"), 2, "no voice 'anna' is kept"),
        (("models", "pull", "0.6b"), 1, "set HF_HOME"),
        (("models", "rm", "-y", "0.6b"), 3, "no cache folder"),
        (("say", "Hello.", "-m", "0.6b", "-o", "-"), 3, "models pull 0.6b"),
        (("say", "Hello.", "-m", "~/model", "-o", "-"), 3, "~/model"),
    ):
        out, err = stranger(*arguments, code=code)
        assert out == b""
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert words in line


def test_a_file_instead_of_a_folder_gives_a_one_line_error(stranger):
    wav, base = str(DATA / "wavs" / "ref24k.wav"), str(CHECKPOINTS / "tiny-base")
    create = ("voices", "create", "anna", "--from", wav, "--x-vector", "-m", base, "-q")
    (line,) = stranger(*create, code=1, XDG_DATA_HOME="/dev/null")[1].splitlines()
    assert line.startswith("error: /dev/null")


def test_doctor_shows_that_there_are_no_folders(stranger):
    facts = json.loads(stranger("doctor", "--json")[0])
    assert facts["cache"] is None
    assert facts["config"]["path"] is None
