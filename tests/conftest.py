"""Options, default signals, and an environment without the user's files and without a network."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--full-size", metavar="DIR", help="folder with the 0.6B checkpoints, for tests/parity")
    parser.addoption("--fuzz-seconds", type=float, default=1.0, help="time for each fuzz test")


def pytest_configure(config):
    """Children start with the default signals also where this process ignores them (nohup, a background job of a
    script): exec resets a handler and keeps SIG_IGN. The handler does nothing, so that this process goes on."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory):
    """No test reads or writes the user's cache, configuration or tokens; subprocesses inherit that."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("HF_", "QWEN3TTS_", "XDG_")) or name in ("NO_COLOR", "FORCE_COLOR"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("HF_HOME", str(home / "huggingface"))
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))  # for subprocesses in another folder
        yield


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """A connection to another machine is a failure, not a slow test."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"the test connects to {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def run(capfd):
    """Run a command in this process, and return what it wrote to stdout and stderr. code: its exit code; None: any."""
    from qwen3tts_cli.cli import main as cli

    def run(*arguments, code=0):
        returned = cli.run(arguments)
        out, err = capfd.readouterr()
        assert code in (None, returned), err
        return out, err

    return run


@pytest.fixture(scope="session")
def full_size(request):
    """Folder of the full-size checkpoints; without it the test is left out."""
    folder = request.config.getoption("--full-size")
    if folder is None:
        pytest.skip("needs the full-size checkpoints: make parity")
    return folder
