"""The configuration of docs/screen-readers.md in speech-dispatcher, asked by spd-say; the ALSA device is a file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
from canned_server import Canned
from helpers import ROOT, allowed
from serving import Running, need_server

need_server()
PROGRAMS = ("speech-dispatcher", "spd-say", "aplay", "awk")
if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{', '.join(missing)} missing: nothing may be skipped under CI=true", pytrace=False)
    pytest.skip(f"needs {', '.join(missing)} (Debian: speech-dispatcher, alsa-utils)", allow_module_level=True)

MODULE, LINES = re.findall(
    r"```conf\n(.*?)```", (ROOT / "docs" / "screen-readers.md").read_text(encoding="utf-8"), re.DOTALL
)
URL = "http://127.0.0.1:8000"
SETTINGS = """AudioOutputMethod "alsa"
AddModule "held" "sd_generic" "held.conf"
"""
ALSA = """</usr/share/alsa/alsa.conf>
pcm.!default {{ type file slave.pcm {{ type null }} file "{}" format raw }}
"""
SEED = "7"


class Dispatcher:
    """speech-dispatcher with the module of the page, and `held`: the same for a server that never ends a message."""

    def __init__(self, folder, url, held):
        (folder / "modules").mkdir()
        (folder / "modules" / "qwen3tts.conf").write_text(MODULE.replace(URL, url))
        (folder / "modules" / "held.conf").write_text(MODULE.replace(URL, held))
        (folder / "speechd.conf").write_text(SETTINGS + LINES)
        (folder / "asound.conf").write_text(ALSA.format(folder / "heard"))
        (folder / "qwen3tts").write_text(f'#!/bin/sh\nexec {sys.executable} -m qwen3tts_cli "$@"\n')
        (folder / "qwen3tts").chmod(0o755)
        self._heard, self._socket = folder / "heard", folder / "socket"
        self._environment = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "SPEECHD_ADDRESS": f"unix_socket:{self._socket}",
            "QWEN3TTS_SEED": SEED,
            "LC_ALL": "C.UTF-8",
        }
        command = ["speech-dispatcher", "--run-single", "-c", "unix_socket", "-S", self._socket, "-C", folder]
        command += ["-L", folder, "-P", folder / "pid", "-t", "0"]
        self._log = folder / "log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def __enter__(self):
        end = time.monotonic() + allowed(20)
        while not self._socket.exists():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        return self

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(allowed(20))

    def ask(self, *arguments):
        """Run spd-say."""
        subprocess.run(["spd-say", *arguments], env=self._environment, timeout=allowed(60), check=True)

    def heard(self, *arguments):
        """The bytes that the audio device gets while a message is spoken."""
        self._heard.unlink(missing_ok=True)
        self.ask("-w", *arguments)
        return self._heard.read_bytes()


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory):
    held = Canned(b"HTTP/1.1 200 OK\r\n", hold=True)
    folder = tmp_path_factory.mktemp("speechd")
    with held, Running() as server, Dispatcher(folder, server.url, held.url) as running:
        running.held = held
        yield running


def said(tmp_path, speed, text):
    from qwen3tts_cli.cli import main as cli

    assert cli.run(["say", "-q", "--raw", "--seed", SEED, "--speed", speed, text, "-o", str(tmp_path / "a")]) == 0
    return (tmp_path / "a").read_bytes()


@pytest.mark.parametrize(("rate", "speed"), [("0", "1"), ("100", "2"), ("-100", "0.5")])
def test_a_message_is_heard_at_its_rate(dispatcher, tmp_path, rate, speed):
    text = """It's "nine" & a half, $HOME `id`"""
    heard = dispatcher.heard("-r", rate, "-l", "de", text)
    whole = said(tmp_path, speed, text)
    assert heard[: len(whole)] == whole
    assert not any(heard[len(whole) :])  # the device is given whole periods


def test_stopping_ends_the_request(dispatcher):
    asking = threading.Thread(target=dispatcher.ask, args=("-w", "-o", "held", "Hello."))
    asking.start()
    end = time.monotonic() + allowed(20)
    while not dispatcher.held.requests:
        assert time.monotonic() < end
        time.sleep(0.02)
    dispatcher.ask("-S")
    assert dispatcher.held.left.wait(allowed(10))
    asking.join(allowed(20))
    assert not asking.is_alive()
