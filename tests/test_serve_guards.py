"""Who may use a server: Host and Origin headers, API keys, public addresses, CORS."""

from __future__ import annotations

import json
import socket

import pytest
from helpers import allowed
from serving import Running, need_server, request

need_server()

from qwen3tts_cli.cli import main as cli  # noqa: E402
from qwen3tts_cli.errors import UsageError  # noqa: E402
from qwen3tts_cli.serve.run import Server  # noqa: E402
from qwen3tts_cli.serve.settings import ServeSettings  # noqa: E402

SPEECH = "/v1/audio/speech"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hosts, folder = ("speech.example", "other.example:81"), tmp_path_factory.mktemp("voices")
    with Running(allow_hosts=hosts, cors=("https://page.example",), voices_dir=folder) as running:
        yield running


@pytest.fixture(scope="module")
def with_keys(tmp_path_factory):
    with Running(api_keys=("first-key", "second-key"), voices_dir=tmp_path_factory.mktemp("voices")) as running:
        yield running


def status(server, path="/v1/models", method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(server.port, method, path, None if method == "GET" else b"{}", headers)[0]


def handshake(server, path, headers):
    """The first bytes of the answer to the handshake of a WebSocket, with its body if it is refused."""
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    data = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=allowed(30)) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        while not data.startswith(b"HTTP/1.1 101") and (part := client.recv(4096)):
            data += part
    return data


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:{port}", "127.0.0.1:1", "speech.example",
     "Speech.Example:8", "other.example:81", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_hosts_that_are_answered(server, host):
    assert status(server, Host=host.format(port=server.port)) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example", "127.0.0.2", "0.0.0.0",
     "[::1]", "[::]", "127.1", "2130706433", "0x7f000001", "localhost:x", "localhost:8000:9", "user@localhost",
     "evil.example/localhost", "localhost, evil.example", "localhost#", "other.example", "", "[localhost]", "::1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/"])
def test_hosts_that_are_refused(server, host, path):
    code, headers, body = request(server.port, "GET", path, None, {"Host": host})
    assert code == 421
    assert "--allow-host" in json.loads(body)["error"]["message"]
    assert "access-control-allow-origin" not in headers


def test_with_keys_any_host_is_answered(with_keys):
    assert status(with_keys, Host="speech.example", Authorization="Bearer second-key") == 200


@pytest.mark.parametrize(
    ("origin", "refused"),
    [("http://evil@localhost:{port}", True), ("http://localhost:{port}/", True), ("http://localhost:{port}?a", True),
     ("http://evil.example", True), ("null", True), ("http://localhost.evil.example:8000", True), ("https://x:y", True),
     ("http://localhost:1", True), ("http://localhost:{port}", False), ("https://page.example", False)],
)  # fmt: skip
def test_pages_of_other_sites_change_nothing(server, origin, refused):
    origin = origin.format(port=server.port)
    host = f"localhost:{server.port}"
    assert (status(server, SPEECH, "POST", Host=host, Origin=origin) == 403) == refused
    assert (status(server, "/v1/audio/voices", "POST", Host=host, Origin=origin) == 403) == refused
    upgrade = {**UPGRADE, "Host": host, "Origin": origin}
    assert (b"unknown_origin" in handshake(server, "/v1/audio/speech/stream", upgrade)) == refused
    assert status(server, "/v1/models", Host=host, Origin=origin) == 200  # which the page cannot read


def test_pages_of_allowed_origins_may_read(server):
    preflight = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    code, headers, _ = request(server.port, "OPTIONS", SPEECH, None, preflight)
    assert (code, headers["access-control-allow-origin"]) == (200, "https://page.example")
    for path in ("/v1/models", "/nowhere"):
        headers = request(server.port, "GET", path, None, {"Origin": "https://page.example"})[1]
        assert headers["access-control-allow-origin"] == "https://page.example"
        assert "x-request-id" in headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in request(server.port, "GET", path, None, {"Origin": "https://b"})[1]


def test_without_cors_no_page_may_read(with_keys):
    headers = {"Origin": "http://evil.example", "Authorization": "Bearer first-key"}
    assert not any(name.startswith("access-control") for name in request(with_keys.port, "GET", "/", None, headers)[1])


@pytest.mark.parametrize(
    ("path", "method", "open_"),
    [("/health", "GET", True), ("/ready", "GET", True), ("/v1/models", "GET", True), ("/v1/models/pocket", "GET", True),
     ("/v1/audio/models", "GET", True), ("/v1/audio/voices", "GET", True), ("/metrics", "GET", False),
     (SPEECH, "POST", False), ("/v1/speak", "POST", False), ("/v1/audio/voices", "POST", False),
     ("/v1/audio/voices/x", "DELETE", False), ("/nowhere", "GET", False)],
)  # fmt: skip
def test_what_needs_a_key(with_keys, path, method, open_):
    assert (status(with_keys, path, method) == 401) != open_
    assert (status(with_keys, path, method, Authorization="Bearer ") == 401) != open_
    wrong = status(with_keys, path, method, Authorization="Bearer first-keX")
    assert (wrong == 401) == (path not in ("/health", "/ready"))
    for key in ("first-key", "second-key"):
        assert status(with_keys, path, method, Authorization=f"bearer {key}") not in (401, 403, 421)


def test_the_answer_to_a_missing_key(with_keys):
    code, headers, body = request(with_keys.port, "POST", SPEECH, b"{}", {"Authorization": "Basic Zmlyc3Qta2V5"})
    assert (code, headers["www-authenticate"], headers["x-should-retry"]) == (401, "Bearer", "false")
    assert json.loads(body)["error"]["code"] == "missing_api_key"
    for header in ("Bearer first-key second-key", "Bearer \xe9", "Bearer " + "x" * 10_000):
        assert status(with_keys, "/metrics", Authorization=header) == 401


def test_without_keys_any_key_is_welcome(server):
    assert status(server, "/metrics", Authorization="Bearer anything") == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_public_addresses_need_a_key(host):
    with pytest.raises(UsageError, match="--insecure"):
        Server(ServeSettings(host=host, port=0), print, print)
    for more in ({"insecure": True}, {"api_keys": ("k",)}):
        server = Server(ServeSettings(host=host, port=0, **more), print, print)
        server.socket.close()


def test_settings_that_contradict_each_other():
    with pytest.raises(UsageError, match="--cors"):
        Server(ServeSettings(port=0, cors=("*",), api_keys=("k",)), print, print)


@pytest.mark.parametrize("origin", ["null", "page.example", "https://page.example/path", "https://me@page.example", ""])
def test_cors_takes_origins_alone(origin):
    with pytest.raises(UsageError, match="expected an origin such as"):
        Server(ServeSettings(port=0, cors=(origin,)), print, print)


def test_files_of_keys(run, tmp_path, monkeypatch):
    from qwen3tts_cli.cli.serving.api_keys import read_keys

    file = tmp_path / "keys"
    file.write_text("# for the page\none\n\n two \none\n")
    monkeypatch.setenv("QWEN3TTS_API_KEY", "three")
    assert read_keys(str(file)) == ("three", "one", "two")
    assert read_keys(None) == ("three",)
    monkeypatch.setenv("QWEN3TTS_API_KEY", "")
    assert read_keys(None) == ()
    for text in (b"# nothing\n", b"two words\n", b"\xff\xfe\n", b"k\xc3\xa9y\n", b"k" * 70_000):
        file.write_bytes(text)
        with pytest.raises(UsageError, match=str(file)):
            read_keys(str(file))
    out = run("serve", "--api-key-file", str(tmp_path / "none"), code=2)[1]
    assert "No such file" in out
    assert cli.run(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
