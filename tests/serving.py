"""A server for tests, in this process or as a command, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec

import pytest
from helpers import allowed

PACKAGES = ("starlette", "uvicorn", "websockets", "wyoming", "prometheus_client", "multipart")
READY_SECONDS = 60


def need_server():
    """Skip the tests of a module where a package of the extra [serve] is missing; fail there under CI=true."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"the packages {', '.join(missing)} are missing: pip install '.[serve]'", pytrace=False)
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}: pip install '.[serve]'", allow_module_level=True)


class Running:
    """A server that runs on a thread of this process. url, port: where. log: its lines so far. server: the Server."""

    def __init__(self, **settings):
        from qwen3tts_cli.serve.run import Server
        from qwen3tts_cli.serve.settings import ServeSettings

        self.log, self._ready = [], threading.Event()
        self.error = None
        settings = {"port": 0, **settings}
        self.server = Server(ServeSettings(**settings), self._note, self.log.append)
        self.url = self.server.url
        self.port = int(self.url.rpartition(":")[2]) if self.url.startswith("http") else None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _note(self, line):
        self.log.append(line)
        if self.url in line:
            self._ready.set()

    def _run(self):
        try:
            self.server.run()
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    def start(self, wait=True):
        """Start it. wait: until it is ready."""
        self._thread.start()
        if wait:
            assert self._ready.wait(allowed(READY_SECONDS))
            assert self.error is None, self.error
        return self

    def stop(self):
        """Stop it, and wait for its end."""
        self.server.stop()
        self._thread.join(allowed(READY_SECONDS))
        assert not self._thread.is_alive()

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def get(self, path, **more):
        """The (status, headers, body) of a GET."""
        return request(self.port, "GET", path, **more)

    def post(self, path, body, **more):
        """The (status, headers, body) of a POST of JSON."""
        return request(self.port, "POST", path, json.dumps(body), **more)

    def metric(self, name):
        """The value of a metric without labels."""
        text = self.get("/metrics")[2].decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)", text, re.MULTILINE)[1])


def request(port, method, path, body=None, headers=None, timeout=30):
    """The (status, headers, body) of a request; headers with names in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=allowed(timeout))
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@contextlib.contextmanager
def serve_command(*arguments, **more):
    """`qwen3tts serve` as a process: yields (process, address, lines of stderr so far), once it is ready."""
    command = [sys.executable, "-m", "qwen3tts_cli", "serve", "--port", "0", *arguments]
    lines, ready = [], threading.Event()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **more)

    def read():
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith("ready: "):
                ready.set()
        ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert ready.wait(allowed(READY_SECONDS))
        address = next((line.split()[1] for line in lines if line.startswith("ready: ")), None)
        assert address is not None, lines
        yield process, address, lines
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
