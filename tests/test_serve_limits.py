"""Clients that a server must survive: each gets its error, nothing hangs, and places become free at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time

import numpy as np
import pytest
from helpers import allowed
from serving import Running, need_server, request

need_server()

from websockets.sync import client as websockets  # noqa: E402

from qwen3tts_cli import Synthesizer  # noqa: E402
from qwen3tts_cli.common.sample_conversion import to_pcm16  # noqa: E402
from qwen3tts_cli.serve import speaking  # noqa: E402
from qwen3tts_cli.serve.handling import bodies  # noqa: E402
from qwen3tts_cli.serve.handling.connections import Connection  # noqa: E402

SPEECH = "/v1/audio/speech"
SENTENCE = "This sentence is one of many that are spoken one after another. "
LONG = SENTENCE * 60


@pytest.fixture(scope="module")
def server():
    with Running(max_batch=2, max_queue=2) as running:
        yield running


def eventually(check, seconds=30):
    """Wait until `check()` is true."""
    deadline = time.monotonic() + allowed(seconds)
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_idle(server):
    return server.metric("qwen3tts_speaking") == server.metric("qwen3tts_queue") == 0


def body_of(text, **fields):
    return json.dumps({"input": text, "response_format": "pcm", **fields}).encode()


def connect(server, receive_buffer=None):
    """A socket that is connected to the server."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(allowed(30))
    client.connect(("127.0.0.1", server.port))
    return client


def send_speech(client, body, path=SPEECH, version="1.1"):
    """Send a request for speech."""
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def is_answered(client):
    """Whether /health answers on a connection, which stays open."""
    client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = b""
    while not data.endswith(b"\r\n\r\nOK"):
        data += (part := client.recv(4096))
        if not part:
            return False
    return True


def read_all(client):
    """Read until the server closes the connection. Raises ConnectionResetError if it does so at once."""
    while client.recv(65536):
        pass


def read_to_end(client):
    """All bytes until the server closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def leave_rudely(client):
    """Close a connection so that the other side gets a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def code_of(answer):
    return json.loads(answer[2])["error"]["code"]


# ---------------------------------------------------------------- readers
def test_a_reader_that_does_not_read_is_dropped_and_little_is_made_for_it():
    with Running(stall=0.6) as server:
        before = server.metric("qwen3tts_audio_seconds_total")
        with connect(server, 8192) as client:
            send_speech(client, body_of(LONG))
            eventually(lambda: any("error=stalled" in line for line in server.log))
            made = server.metric("qwen3tts_audio_seconds_total") - before
            with pytest.raises(ConnectionResetError):
                read_all(client)
        assert 0 < made < 20
        eventually(lambda: is_idle(server))


def test_the_rest_of_an_answer_waits_for_nobody():
    """Speech of any length, all of which, or all but the last pieces, is in the buffers."""
    with Running(stall=0.5, max_batch=64) as server, contextlib.ExitStack() as stack:
        for frames in range(40, 120, 8):
            client = stack.enter_context(connect(server, 4096))
            send_speech(client, body_of(LONG, max_frames=frames), version="1.0" if frames % 16 else "1.1")
        eventually(lambda: server.metric("qwen3tts_audio_seconds_total") > 20)
        eventually(lambda: is_idle(server) and server.metric("qwen3tts_connections") == 1)


def test_a_slow_reader_is_not_dropped():
    with Running(stall=0.5) as server:
        with connect(server, 4096) as client:
            send_speech(client, body_of(LONG, max_frames=250))
            end, size = time.monotonic() + 1.6, 0
            while time.monotonic() < end:  # less than is sent at once, so that no piece fits for a long time
                size += len(client.recv(2048))
                time.sleep(0.05)
            size += len(read_until_empty_chunk(client))
        assert size > 250 * 3840


def read_until_empty_chunk(client):
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        part = client.recv(65536)
        assert part, "the body was cut"
        data += part
    return data


def test_speech_that_is_too_long_is_cut_and_never_ends_well():
    with Running(max_audio_seconds=2.0) as server:
        with pytest.raises(http.client.IncompleteRead):
            server.post(SPEECH, {"input": LONG, "response_format": "pcm"})
        with connect(server) as client:  # without chunks only a reset tells that the body is not complete
            send_speech(client, body_of(LONG), version="1.0")
            with pytest.raises(ConnectionResetError):
                read_all(client)
        assert server.post(SPEECH, {"input": "Hello.", "response_format": "pcm", "seed": 1})[0] == 200
        assert any("error=audio_limit" in line for line in server.log)


# ---------------------------------------------------------------- places
def test_readers_and_texts_that_pause_leave_their_places_to_others(server):
    clients = [connect(server, 4096) for _ in range(2)]
    for client in clients:
        send_speech(client, body_of(LONG, max_frames=250))
    eventually(lambda: is_idle(server))
    assert server.post(SPEECH, {"input": "Hi."})[0] == 200
    for client in clients:
        assert len(read_until_empty_chunk(client)) > 250 * 3840
        client.close()
    url = f"ws://127.0.0.1:{server.port}/v1/audio/speech/stream"
    with websockets.connect(url) as first, websockets.connect(url) as second:
        for client in (first, second):
            client.send('{"type": "start"}')
            client.send('{"type": "text", "text": "It was "}')
        assert server.post(SPEECH, {"input": "Hi."})[0] == 200
        for client in (first, second):
            client.send('{"type": "text", "text": "late."}')
            client.send('{"type": "end"}')
            assert any(isinstance(message, bytes) for message in client)
    eventually(lambda: is_idle(server))


def test_requests_wait_in_order_and_leave_when_their_clients_leave(server, monkeypatch):
    monkeypatch.setattr(speaking, "_READER_PAUSES", 1e6)  # the clients do not read
    clients = [connect(server) for _ in range(5)]
    for number, client in enumerate(clients):
        send_speech(client, body_of(LONG, seed=number))
        count = min(number + 1, 4)
        eventually(lambda n=count: server.metric("qwen3tts_speaking") + server.metric("qwen3tts_queue") == n)
    refused = clients[4].recv(4096)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"queue_full" in refused
    assert b"retry-after: " in refused.lower()
    leave_rudely(clients[2])  # waits
    eventually(lambda: server.metric("qwen3tts_queue") == 1)
    leave_rudely(clients[0])  # speaks: the one that waits follows
    assert clients[3].recv(16).startswith(b"HTTP/1.1 200")
    eventually(lambda: server.metric("qwen3tts_queue") == 0)
    for client in (clients[1], clients[3], clients[4]):
        leave_rudely(client)
    left = time.monotonic()
    eventually(lambda: is_idle(server))
    assert time.monotonic() - left < allowed(2)


def test_a_storm_of_clients_that_leave_frees_every_place(server):
    want = server.post(SPEECH, {"input": "Hello there.", "response_format": "pcm", "seed": 3})[2]
    rng = random.Random(1)
    for _ in range(15):
        clients = [connect(server) for _ in range(6)]
        for client in clients:
            send_speech(client, body_of(LONG, response_format=rng.choice(["pcm", "mp3", "wav", "opus"])))
        for client in clients:
            time.sleep(rng.random() * 0.02)
            (leave_rudely if rng.random() < 0.5 else socket.socket.close)(client)
    for _ in range(5):  # before the end of the request
        with connect(server) as client:
            client.sendall(f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{{".encode())
            time.sleep(0.02)
    eventually(lambda: is_idle(server))
    assert server.post(SPEECH, {"input": "Hello there.", "response_format": "pcm", "seed": 3})[2] == want
    assert any("status=499" in line for line in server.log)
    assert not any("status=500" in line or "error=internal" in line for line in server.log)


def test_nobody_gets_the_audio_of_another_client():
    texts = {seed: f"Number {seed}." for seed in range(8)}
    with Synthesizer.open() as synthesizer:
        want = {
            seed: to_pcm16(np.concatenate(list(synthesizer.stream(text, seed=seed)))).tobytes()
            for seed, text in texts.items()
        }
    found = {}
    with Running(max_batch=5) as server:

        def ask(seed):
            found[seed] = server.post(SPEECH, {"input": texts[seed], "response_format": "pcm", "seed": seed})[2]

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(allowed(60))
    assert found == want


# ---------------------------------------------------------------- connections
def test_headers_that_do_not_come_in_time(server, monkeypatch):
    monkeypatch.setattr(Connection, "head_seconds", 0.4)
    for start in (b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"):
        with connect(server) as client:
            client.sendall(start)
            assert b"head_timeout" in read_to_end(client)
    with connect(server) as client:  # on a connection that had a request
        assert is_answered(client)
        client.sendall(b"GET /hea")
        assert b"head_timeout" in read_to_end(client)


def test_a_body_that_does_not_come_in_time(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.4)
    with Running() as server, connect(server) as client:
        client.sendall(b"POST " + SPEECH.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_timeout" in answer


def test_connections_above_the_limit(server):
    count = Connection.most + 30
    eventually(lambda: server.metric("qwen3tts_connections") == 1)
    clients = [connect(server) for _ in range(count)]
    clients[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = read_to_end(clients[-1])
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"too_many_connections" in answer
    assert is_answered(clients[0])
    for client in clients:
        client.close()
    eventually(lambda: server.get("/health")[0] == 200 and server.metric("qwen3tts_connections") == 1)


def test_two_thousand_connects(server):
    for number in range(2000):
        client = connect(server)
        if number % 3 == 0:
            client.sendall(b"GET / HT")
        leave_rudely(client) if number % 2 else client.close()
    eventually(lambda: server.get("/health")[0] == 200 and server.metric("qwen3tts_connections") == 1)


# ---------------------------------------------------------------- bodies
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe{}",
        b'{"input": NaN}',
        b'{"input": "\\ud800"}',
        b"[" * 100_000,
        b'{"input":' * 50_000,
        b'{"speed": ' + b"1" * 10_000 + b"}",
        b'{"input": [' + b"1," * 400_000 + b"1]}",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_bodies_that_are_no_request(server, body):
    status, headers, answer = request(server.port, "POST", SPEECH, body)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert headers["x-should-retry"] == "false"
    assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}


def test_bodies_that_are_too_large(server):
    answer = request(server.port, "POST", SPEECH, body_of("x" * (1 << 20)))
    assert (answer[0], code_of(answer)) == (413, "body_too_large")
    for path, size in ((SPEECH, 17 << 20), ("/v1/audio/voices", 17 << 20), ("/health", 2 << 20)):
        with connect(server) as client:  # refused before it comes
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    with connect(server) as client:  # and one whose size nobody says
        client.sendall(f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.sendall(chunk)
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert server.get("/health")[0] == 200


def test_texts_that_are_too_long(server):
    assert server.post(SPEECH, {"input": "a" * 4097})[0] == 400


# ---------------------------------------------------------------- requests
@pytest.mark.parametrize(
    "raw",
    [
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /page/..%2f..%2f..%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models/a%00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"\0" * 1000,
    ],
    ids=lambda raw: raw[:30].decode("latin-1"),
)
def test_requests_of_bad_faith(server, raw):
    with connect(server) as client:
        with contextlib.suppress(OSError):
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
        answer = read_to_end(client)
    assert b"root:" not in answer
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 421", b"HTTP/1.1 431")
    assert server.get("/health")[0] == 200
