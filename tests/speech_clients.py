"""What the tests of the OpenAI API share: the bytes of `say`, and readers of events and parts."""

from __future__ import annotations

import base64
import json
import os
import threading

from qwen3tts_cli.cli import main as cli


def bytes_of_say(tmp_path, *arguments):
    """What `say --stream` with these arguments writes into a pipe."""
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert cli.run(["say", "-q", "--stream", "-o", str(pipe), *arguments]) == 0
    reader.join(60)
    pipe.unlink()
    return found[0]


def events(body):
    """The (name or None, object) of each server-sent event of a body."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if lines:
            found.append((lines.get("event"), json.loads(lines["data"])))
    return found


def audio_of(found):
    """The audio of all events, as `events` returns them."""
    return b"".join(base64.b64decode(event["audio"]) for _, event in found if event["type"] == "speech.audio.delta")


def parts(body):
    """The (kind, content) of each part of an answer of /v1/speak."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "little")
        found.append((body[:1], body[5 : 5 + size]))
        assert len(found[-1][1]) == size
        body = body[5 + size :]
    return found
