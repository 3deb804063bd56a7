"""Ten thousand requests of all kinds: the server keeps no descriptor, thread or memory of them. For `make soak`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import allowed
from serving import need_server, request, serve_command

need_server()

REQUESTS, SETTLING, CLIENTS = 10_000, 2_000, 6
MOST_GROWTH_KB = 12_000
SPEECH = "/v1/audio/speech"

pytestmark = [pytest.mark.soak, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def use(pid):
    """(descriptors, threads, resident kilobytes) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"]), int(fields["VmRSS"].split()[0])


def one_request(rng, port):
    """A request of a random kind, whose answer is checked."""
    kind, seed = rng.random(), rng.randrange(1000)
    if kind < 0.55:
        name = rng.choice(["pcm", "wav", "mp3", "flac", "opus"])
        fields = {"input": f"Number {seed}.", "seed": seed, "max_frames": 4, "response_format": name}
        if rng.random() < 0.2:
            fields["stream_format"] = "sse"
        assert request(port, "POST", SPEECH, json.dumps(fields))[0] in (200, 503)
    elif kind < 0.7:  # leaves in the middle
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=allowed(60))
        with contextlib.closing(connection):
            connection.request("POST", SPEECH, json.dumps({"input": "One of many sentences. " * 20}))
            if rng.random() < 0.5:
                connection.getresponse().read(100)
    elif kind < 0.85:
        body = rng.choice([b"", b"{", b"[]", b'{"input": 5}', b'{"input": "x", "speed": 9}', b"\xff" * 1000])
        assert request(port, "POST", SPEECH, body)[0] == 400
    else:
        path = rng.choice(["/health", "/ready", "/metrics", "/v1/models", "/v1/audio/voices", "/nowhere", "/"])
        assert request(port, "GET", path)[0] == (404 if path == "/nowhere" else 200)


def ask_many(port, count):
    """Let all clients together send so many requests. Raises the first error."""
    errors = []

    def ask(number):
        rng = random.Random(number)
        try:
            for _ in range(count // CLIENTS):
                one_request(rng, port)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_ten_thousand_requests():
    with serve_command("--max-batch", "4") as (process, address, lines):
        port = int(address.rpartition(":")[2])
        ask_many(port, SETTLING)
        time.sleep(3)  # threads that have nothing to do end
        before = use(process.pid)
        ask_many(port, REQUESTS - SETTLING)
        time.sleep(3)
        after = use(process.pid)
        assert after[0] <= before[0]
        assert after[1] <= before[1]
        assert after[2] - before[2] < MOST_GROWTH_KB
        assert not [line for line in lines if "internal" in line or " error id=" in line]
