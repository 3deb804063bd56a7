"""The WebSocket of a server, with the client of the package websockets: speech, cancelling, errors, keys, limits."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
import time
from dataclasses import replace

import pytest
from helpers import ROOT, allowed
from serving import Running, need_server

need_server()

import websockets  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from qwen3tts_cli.cli import main as cli  # noqa: E402
from qwen3tts_cli.serve import run as server_run  # noqa: E402
from qwen3tts_cli.serve.handling.connections import Connection  # noqa: E402
from qwen3tts_cli.serve.live import session  # noqa: E402

PATH = "/v1/audio/speech/stream"
PIECES = ["Good mor", "ning. It is ", "", "late", ", and the last train has gone."]
TEXT = "".join(PIECES)
LONG = "It is late, and the last train has gone. " * 60
SECONDS = allowed(30)
KEY = "a-secret-key"


@pytest.fixture(scope="module")
def server():
    with Running(max_batch=4) as running:
        yield running


@pytest.fixture(scope="module")
def with_key():
    with Running(api_keys=("another", KEY)) as running:
        yield running


class Client:
    """A connection to a server. audio: the bytes so far. messages: the JSON messages so far, `ready` left out."""

    def __init__(self, running, **options):
        self._connect = websockets.connect(f"ws://127.0.0.1:{running.port}{PATH}", **options)
        self.audio, self.messages = b"", []

    async def __aenter__(self):
        self.socket = await self._connect.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._connect.__aexit__(*error)

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def receive(self):
        """The next JSON message; audio before it is collected."""
        while isinstance(message := await asyncio.wait_for(self.socket.recv(), SECONDS), bytes):
            self.audio += message
        return json.loads(message)

    async def until(self, *kinds):
        """The next message of one of these kinds; others before it are collected."""
        while (message := await self.receive())["type"] not in kinds:
            if message["type"] != "ready":
                self.messages.append(message)
        return message

    async def first_audio(self):
        while not isinstance(message := await asyncio.wait_for(self.socket.recv(), SECONDS), bytes):
            pass
        self.audio += message

    async def closed(self):
        """The code with which the server has closed the connection; all before is collected."""
        try:
            while True:
                self.messages.append(await self.receive())
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else None


def speak(running, pieces, between=None, **start):
    """(audio, messages, `done`) of a text that is sent in pieces. between: what is sent after each piece."""

    async def run():
        async with Client(running) as client:
            await client.send("start", idle_ms=0, **start)
            assert (await client.receive())["type"] == "ready"
            for piece in pieces:
                await client.send("text", text=piece)
                if between is not None:
                    await client.send(between)
            await client.send("end")
            return await client.until("done", "error"), client

    done, client = asyncio.run(run())
    assert done["type"] == "done", done
    return client.audio, client.messages, done


def bytes_of_say_live(folder, text, *arguments):
    """What `say --live` writes into a pipe."""
    (folder / "text").write_text(text, encoding="utf-8")
    pipe, found = folder / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    command = ["say", "-q", "--live", "--idle", "0", "-f", str(folder / "text"), "-o", str(pipe), *arguments]
    assert cli.run(command) == 0
    reader.join(SECONDS)
    return found[0]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * SECONDS))


# ---------------------------------------------------------------- speech
@pytest.mark.parametrize(
    ("start", "arguments"),
    [
        ({"seed": 7}, ["--seed", "7", "--raw"]),
        ({"seed": 2**64 - 1, "speed": 1.5}, ["--seed", str(2**64 - 1), "--speed", "1.5", "--raw"]),
        ({"seed": 7, "format": "opus"}, ["--seed", "7", "--audio-format", "opus"]),
    ],
)
def test_the_audio_is_that_of_say_live(server, tmp_path, start, arguments):
    audio, messages, done = speak(server, PIECES, **start)
    assert audio == bytes_of_say_live(tmp_path, TEXT, *arguments)
    assert done["seed"] == start["seed"]
    assert {message["type"] for message in messages} == {"segment"}


def test_segments_tell_where_each_text_is_heard(server):
    audio, messages, done = speak(server, ["Hello there. It costs", " $3.50, I thi"], between="flush", seed=1)
    assert [message["id"] for message in messages] == [0, 1, 2]
    assert [message["text"] for message in messages] == ["Hello there.", "It costs", "$3.50, I thi"]
    assert [message["start"] for message in messages] == [0, *(message["end"] for message in messages[:-1])]
    assert messages[-1]["end"] == done["seconds"] == len(audio) / 48000
    again, _, _ = speak(server, ["Hello there.\n\nIt costs\n\n$3.50, I thi"], seed=1)
    assert audio == again


def test_a_segment_is_told_at_once_also_while_no_text_comes(server):
    async def heard():
        async with Client(server) as client:
            await client.send("start", idle_ms=0)
            await client.send("text", text="Hello")
            await client.send("flush")
            segment = await client.until("segment")
            assert len(client.audio) == segment["end"] * 48000
            await client.send("text", text="you")
            await asyncio.sleep(0.1)
            await client.send("end")
            assert (await client.until("segment"))["start"] == segment["end"]
            await client.until("done")

    run(heard())


def test_a_pause_ends_an_utterance(server):
    async def heard():
        async with Client(server) as client:
            await client.send("start", idle_ms=50)
            await client.send("text", text="Hello, ")
            assert (await client.until("segment"))["text"] == "Hello,"

    run(heard())


def test_a_connection_speaks_one_text_after_another(server):
    async def heard():
        async with Client(server) as client:
            seeds = []
            for text in ("One.", "Two."):
                await client.send("start")
                seeds.append((await client.until("ready"))["seed"])
                await client.send("text", text=text)
                await client.send("end")
                assert (await client.until("done"))["seed"] == seeds[-1]
            return seeds

    one, two = run(heard())
    assert one != two
    assert max(one, two) < 2**53  # what every reader of JSON keeps


def test_clients_at_the_same_time_get_their_own_audio(server):
    async def heard(seed):
        async with Client(server) as client:
            await client.send("start", seed=seed, idle_ms=0)
            await client.send("text", text=TEXT)
            await client.send("end")
            await client.until("done")
            return client.audio

    async def together():
        return await asyncio.gather(*(heard(seed) for seed in (1, 2, 1, 2, 1, 2)))  # more than there are places

    audio = run(together())
    assert audio == [speak(server, [TEXT], seed=1)[0], speak(server, [TEXT], seed=2)[0]] * 3


def test_the_example_of_the_documentation(server, capsys):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8").split("\n## WebSocket\n")[1]
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace(":8000", f":{server.port}")
    played = []
    exec(compile(code, "serve.md", "exec"), {"play": played.append})
    done = json.loads(capsys.readouterr().out)
    assert done == {"type": "done", "seconds": sum(map(len, played)) / 48000, "seed": 1}


# ---------------------------------------------------------------- cancelling
def test_cancel_stops_the_audio_and_frees_the_place(server):
    async def heard():
        async with Client(server) as client:
            await client.send("start", seed=1)
            await client.send("text", text=LONG)
            await client.first_audio()
            await client.send("cancel")
            await client.until("cancelled")
            before = len(client.audio)
            await client.send("text", text="that was on its way")
            await client.send("end")
            assert server.metric("qwen3tts_speaking") == 0
            await client.send("cancel")
            await client.until("cancelled")
            assert len(client.audio) == before
            assert before < len(LONG) * 48000 / 20
            await client.send("start", seed=1)
            await client.send("text", text="Hello.")
            await client.send("end")
            await client.until("done")
            assert [message["text"] for message in client.messages[-1:]] == ["Hello."]

    run(heard())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_leaves_frees_its_place(server, how):
    async def leave():
        async with Client(server) as client:
            await client.send("start")
            await client.send("text", text=LONG)
            await client.first_audio()
            assert server.metric("qwen3tts_speaking") == 1
            if how == "abort":
                client.socket.transport.abort()

    run(leave())
    deadline = time.monotonic() + SECONDS
    while server.metric("qwen3tts_speaking"):
        assert time.monotonic() < deadline


def test_a_client_that_does_not_read_is_dropped(server, monkeypatch):
    speaker = server.server.state.speaker
    monkeypatch.setattr(speaker, "settings", replace(speaker.settings, stall=0.5))

    async def stall():
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.setblocking(False)
        async with Client(server, sock=raw, max_queue=1, close_timeout=1) as client:
            await client.send("start")
            await client.send("text", text=LONG)
            deadline = time.monotonic() + SECONDS
            while not any("stalled" in line for line in server.log):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert await client.closed() is None

    run(stall())


# ---------------------------------------------------------------- what is wrong
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", "invalid_json"),
        ("[]", "invalid_json"),
        ("[" * 60_000, "invalid_json"),
        ('{"type": "text", "text": "\\ud800"}', "invalid_json"),
        ('{"type": "start", "seed": NaN}', "invalid_json"),
        (b'{"type": "end"}', "invalid_json"),
        ("{}", "invalid_value"),
        ('{"type": ["start"]}', "invalid_value"),
        ('{"type": "set_text"}', "invalid_value"),
        ('{"type": "text", "text": 3}', "invalid_type"),
        ('{"type": "text", "text": "Hello."}', "unexpected_message"),
        ('{"type": "flush"}', "unexpected_message"),
        ('{"type": "end"}', "unexpected_message"),
    ],
)
def test_a_wrong_message_ends_the_connection_with_an_error(server, message, code):
    async def heard():
        async with Client(server) as client:
            await client.socket.send(message)
            assert await client.closed() == 1008
            return client.messages

    (error,) = run(heard())
    assert (error["type"], error["code"]) == ("error", code)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"voice": "nobody"}, "voice", "voice_not_found"),
        ({"model": "none"}, "model", "model_not_found"),
        ({"language": "xx"}, "language", "invalid_value"),
        ({"format": "mp3"}, "format", "invalid_value"),
        ({"format": 1}, "format", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"seed": 10**400}, "seed", "invalid_value"),
        ({"speed": 5}, "speed", "invalid_value"),
        ({"speed": "fast"}, "speed", "invalid_value"),
        ({"idle_ms": 0.5}, "idle_ms", "invalid_value"),
    ],
)
def test_a_start_that_is_refused_leaves_the_connection(server, fields, param, code):
    async def heard():
        async with Client(server) as client:
            await client.send("start", **fields)
            await client.send("text", text="that belongs to it")
            await client.send("end")
            error = await client.receive()
            await client.send("start", unknown=1, voice="alloy", instructions="softly", model="tts-1", language=None)
            assert (await client.receive())["ignored"] == ["instructions"]
            await client.send("text", text="Hello.")
            await client.send("end")
            await client.until("done")
            return error

    error = run(heard())
    assert (error["type"], error["param"], error["code"]) == ("error", param, code)


@pytest.mark.parametrize(
    ("text", "code"),
    [("\u4f60\u597d", "invalid_value"), ("...", "invalid_value"), ("x " * 3000, "string_above_max_length")],
)
def test_a_text_that_cannot_be_spoken_ends_the_speech_and_not_the_connection(server, text, code):
    async def heard():
        async with Client(server) as client:
            await client.send("start")
            await client.receive()
            await client.send("text", text=text)
            await client.send("end")
            assert (await client.until("error"))["code"] == code
            await client.send("start")
            await client.until("ready")

    run(heard())


def test_too_much_audio_is_an_error_and_no_end(server, monkeypatch):
    speaker = server.server.state.speaker
    monkeypatch.setattr(speaker, "settings", replace(speaker.settings, max_audio_seconds=2.0))

    async def heard():
        async with Client(server) as client:
            await client.send("start")
            await client.send("text", text=LONG)
            await client.send("end")
            assert (await client.until("error", "done"))["code"] == "audio_limit"
            assert 0 < len(client.audio) <= 2 * 48000
            assert server.metric("qwen3tts_speaking") == 0
            await client.send("start")
            await client.until("ready")

    run(heard())


def test_a_second_start_is_an_error(server):
    async def heard():
        async with Client(server) as client:
            await client.send("start")
            await client.send("start")
            assert await client.closed() == 1008
            return [message.get("code", message["type"]) for message in client.messages]

    assert run(heard()) == ["ready", "unexpected_message"]


def test_a_message_has_at_most_64_kb(server):
    async def heard(size):
        async with Client(server) as client:
            message = json.dumps({"type": "start", "padding": ""})
            await client.socket.send(message.replace('""', '"' + "x" * (size - len(message)) + '"'))
            try:
                return (await client.receive())["type"]
            except ConnectionClosed as error:
                return error.rcvd.code

    assert run(heard(65536)) == "ready"
    assert run(heard(65537)) == 1009


# ---------------------------------------------------------------- who may speak
def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("options", "start", "answer"),
    [
        ({"additional_headers": bearer(KEY)}, {}, "ready"),
        ({"subprotocols": ["bearer", KEY]}, {}, "ready"),
        ({}, {"key": KEY}, "ready"),
        ({}, {"api_key": KEY}, "ready"),
        ({"additional_headers": bearer("")}, {"key": KEY}, "ready"),
        ({}, {"key": "wrong"}, "invalid_api_key"),
        ({}, {}, "missing_api_key"),
        ({"subprotocols": ["bearer"]}, {}, "missing_api_key"),
        ({"additional_headers": bearer("wrong")}, {"key": KEY}, 401),
        ({"subprotocols": ["bearer", "wrong"]}, {"key": KEY}, 401),
    ],
)
def test_the_key(with_key, options, start, answer):
    async def heard():
        async with Client(with_key, **options) as client:
            await client.send("start", **start)
            message = await client.receive()
            if message["type"] == "error":
                assert await client.closed() == 1008
            return message.get("code", message["type"]), client.socket.subprotocol

    if answer == 401:
        with pytest.raises(InvalidStatus) as caught:
            run(heard())
        assert caught.value.response.status_code == 401
        assert json.loads(caught.value.response.body)["error"]["code"] == "invalid_api_key"
        return
    assert run(heard()) == (answer, "bearer" if "subprotocols" in options else None)


@pytest.mark.parametrize(
    ("origin", "ok"),
    [
        ("http://127.0.0.1:{}", True),
        ("http://evil.example", False),
        ("http://127.0.0.1:1", False),
        ("https://127.0.0.1:{}.evil.example", False),
        ("null", False),
    ],
)
def test_pages_of_other_sites_are_refused(server, origin, ok):
    async def heard():
        headers = {"Origin": origin.format(server.port)}
        async with Client(server, additional_headers=headers) as client:
            await client.send("start")
            return (await client.receive())["type"]

    if ok:
        assert run(heard()) == "ready"
        return
    with pytest.raises(InvalidStatus) as caught:
        run(heard())
    assert caught.value.response.status_code == 403


def test_plain_http_is_told_to_upgrade(server):
    status, headers, body = server.get(PATH)
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert json.loads(body)["error"]["code"] == "upgrade_required"


def test_the_time_for_the_headers_of_a_request_is_over_after_the_handshake(server, monkeypatch):
    monkeypatch.setattr(Connection, "head_seconds", 0.2)

    async def heard():
        async with Client(server) as client:
            await asyncio.sleep(0.5)
            await client.send("start")
            return (await client.receive())["type"]

    assert run(heard()) == "ready"


def test_a_client_that_answers_no_ping_is_dropped(monkeypatch):
    monkeypatch.setattr(server_run, "PING_SECONDS", 0.2)
    with Running() as running, socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS) as raw:
        handshake = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        handshake += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        raw.sendall(handshake.encode())
        received = b""
        while data := raw.recv(1 << 16):
            received += data
    frames = received.split(b"\r\n\r\n", 1)[1]
    assert frames[:2] == b"\x89\x04"  # a ping of 4 bytes
    assert frames[6:7] == b"\x88"  # close
    assert int.from_bytes(frames[8:10], "big") == 1011


@pytest.mark.parametrize("limit", ["FIRST_MESSAGE_SECONDS", "IDLE_SECONDS"])
def test_a_silent_client_is_told_to_go(server, monkeypatch, limit):
    monkeypatch.setattr(session, limit, 0.2)

    async def heard():
        async with Client(server) as client:
            if limit == "IDLE_SECONDS":
                await client.send("cancel")
            assert await client.closed() == 1008
            return client.messages[-1]["code"]

    assert run(heard()) == "message_timeout"
