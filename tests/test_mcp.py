"""`qwen3tts mcp` with the client of the package mcp: tools, cancelling, and a stdout that holds only the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
import soundfile
from helpers import allowed

if find_spec("mcp") is None:
    if os.environ.get("CI") == "true":
        pytest.fail("the package mcp is missing: pip install '.[mcp]'", pytrace=False)
    pytest.skip("needs the package mcp: pip install '.[mcp]'", allow_module_level=True)

from mcp import Client, StdioServerParameters, stdio_client

from qwen3tts_cli.cli.serving.mcp_tools import confined
from qwen3tts_cli.errors import UsageError

# A package sounddevice whose device writes what happens to a file, and which also prints, as some libraries do.
DEVICE = """
import os, sys, time
print("a line that is not of the protocol")
os.write(1, b"another one\\n")
def query_devices(kind):
    if os.environ["DEVICE"] == "none":
        raise ValueError("no output device")
class OutputStream:
    def __init__(self, samplerate, channels, dtype):
        self.log("open")
    def log(self, event):
        with open(os.environ["DEVICE"], "a") as file:
            print(event, file=file)
    def start(self):
        self.log("start")
    def write(self, samples):
        self.log(len(samples))
        time.sleep(min(len(samples) / 24000 / 8, 0.1))
    def stop(self):
        self.log("stop")
    def close(self):
        self.log("close")
    def abort(self):
        self.log("abort")
"""
LONG = "One two three four five six seven eight nine ten. " * 40


class Session:
    """A client and the server that it started. events: what happened to the audio device. wire: the server's stdout."""

    def __init__(self, folder, device, *arguments):
        (folder / "sounddevice.py").write_text(DEVICE)
        self._log, self._wire = folder / "device", folder / "wire"
        path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
        environment = {**os.environ, "PYTHONPATH": path, "DEVICE": str(self._log) if device else "none"}
        environment["TMPDIR"] = str(folder)
        words = [str(self._wire), sys.executable, "-m", "qwen3tts_cli", "mcp", *arguments]
        self.parameters = StdioServerParameters(command="sh", args=["-c", '"$@" | tee "$0"', *words], env=environment)

    @property
    def events(self):
        return self._log.read_text().split() if self._log.exists() else []

    @property
    def wire(self):
        return [json.loads(line) for line in self._wire.read_text().splitlines()]

    async def __aenter__(self):
        self._client = Client(stdio_client(self.parameters))
        self.client = await self._client.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._client.__aexit__(*error)

    async def call(self, tool, failed=False, **arguments):
        """The text of a result, or of an error."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error == failed, result
        return result.content[0].text if result.content else None


def test_without_a_device(tmp_path):
    async def session():
        async with Session(tmp_path, False, "--out-dir", str(tmp_path / "out")) as mcp:
            tools = {tool.name: tool for tool in (await mcp.client.list_tools()).tools}
            assert sorted(tools) == ["list_voices", "save", "speak"]
            assert all(tool.description for tool in tools.values())
            assert set(tools["speak"].input_schema["properties"]) == {"text", "voice", "language", "speed"}
            assert tools["speak"].input_schema["required"] == ["text"]
            voice = json.loads(await mcp.call("list_voices"))
            assert (voice["name"], voice["language"]) == ("slt", "english")
            path = await mcp.call("speak", text="Hello there.", voice="slt", language="en", speed=1.5)
            assert Path(path).parent == tmp_path / "out"
            assert 0.2 < soundfile.info(path).duration < 2
            assert await mcp.call("save", text="Hello.", path="new/a.opus") == str(tmp_path / "out" / "new" / "a.opus")
            assert soundfile.info(tmp_path / "out" / "new" / "a.opus").format == "OGG"
            assert "not inside" in await mcp.call("save", failed=True, text="Hello.", path="../b.wav")
            assert ".mp3" in await mcp.call("save", failed=True, text="Hello.", path="b.txt")
            assert "nobody" in await mcp.call("speak", failed=True, text="Hello.", voice="nobody")
            assert "speed" in await mcp.call("speak", failed=True, text="Hello.", speed=9)
            assert "nothing to speak" in await mcp.call("speak", failed=True, text=" ")
            with anyio.move_on_after(0.3):
                await mcp.call("save", text=LONG * 20, path="long.wav")
            assert await mcp.call("save", text="Hello.", path="b.wav")  # the place of the cancelled call is free
            assert sorted(each.name for each in (tmp_path / "out").iterdir() if each.name[0] != ".") == sorted(
                ["b.wav", "new", Path(path).name]
            )
            assert all(message["jsonrpc"] == "2.0" for message in mcp.wire)

    anyio.run(session)


def test_with_a_device(tmp_path):
    async def session():
        async with Session(tmp_path, True) as mcp:
            assert await mcp.call("speak", text="Hello there.") == f"{sum(heard(mcp.events)) / 24000:.1f} s"
            assert mcp.events[:2] == ["open", "start"]
            assert mcp.events[-2:] == ["stop", "close"]
            with anyio.move_on_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: mcp.call("speak", text=LONG))
                    while mcp.events.count("start") < 2 or not mcp.events[-1].isdigit():
                        await anyio.sleep(0.05)
                    group.cancel_scope.cancel()
            cancelled = time.monotonic()
            while "abort" not in mcp.events:
                assert time.monotonic() - cancelled < allowed(5)
                await anyio.sleep(0.05)
            await mcp.call("speak", text="Hello.")
            after = mcp.events[mcp.events.index("abort") :]
            assert len(heard(after[: after.index("open")])) <= 1  # the write that was under way
            assert "no output folder" in await mcp.call("save", failed=True, text="Hello.", path="a.wav")
            assert all(message["jsonrpc"] == "2.0" for message in mcp.wire)

    anyio.run(session)


def heard(events):
    return [int(event) for event in events if event.isdigit()]


def test_paths_stay_in_the_folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "inner").symlink_to(folder)
    os.mkfifo(folder / "pipe.wav")
    assert confined(folder, "a.wav") == folder / "a.wav"
    assert confined(folder, "inner/b/../a.wav") == folder / "a.wav"
    assert confined(folder, str(folder / "a.wav")) == folder / "a.wav"
    for path in ("../a.wav", "link/a.wav", "/a.wav", ".", "", "inner", "pipe.wav", "a\0.wav", f"{folder}.wav"):
        with pytest.raises(UsageError, match="path"):
            confined(folder, path)


@pytest.mark.parametrize(("arguments", "code", "message"), [(["-m", "9b"], 3, "9b"), (["--out-dir", "a/b"], 1, "a/b")])
def test_errors_at_the_start(tmp_path, arguments, code, message):
    (tmp_path / "a").write_text("")
    command = [sys.executable, "-m", "qwen3tts_cli", "mcp", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
