"""A server from its start to its end: addresses, options, loading, metrics, the log, memory, signals."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import CHECKPOINTS, POCKET, allowed
from serving import Running, need_server, request, serve_command
from test_runaway import without_eos

need_server()

from qwen3tts_cli import Synthesizer  # noqa: E402
from qwen3tts_cli.cli.serving import serve as command  # noqa: E402
from qwen3tts_cli.errors import CheckpointError, OutOfMemoryError, UsageError  # noqa: E402
from qwen3tts_cli.serve import engines, memory, run, speaking  # noqa: E402
from qwen3tts_cli.serve.settings import ServeSettings  # noqa: E402

SPEECH = "/v1/audio/speech"
LONG = "This sentence is one of many that are spoken one after another. " * 60


def eventually(check, seconds=30):
    """Wait until `check()` is true."""
    deadline = time.monotonic() + allowed(seconds)
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start_speech(port, text=LONG, **fields):
    """(connection, answer) of a request for speech, once its audio has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=allowed(60))
    connection.request("POST", SPEECH, json.dumps({"input": text, "response_format": "pcm", **fields}))
    answer = connection.getresponse()
    assert answer.status == 200
    assert len(answer.read(100)) == 100
    return connection, answer


# ---------------------------------------------------------------- the command
def test_the_command_says_where_it_listens_and_drains_on_sigterm():
    with serve_command("--max-batch", "4") as (process, address, lines):
        if sys.platform == "linux":  # seconds of the processor, about 0.7, which do not depend on other programs
            words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            assert (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK") < allowed(2.0)
        port = int(address.rpartition(":")[2])
        assert address == f"http://127.0.0.1:{port}"
        assert request(port, "GET", "/health")[2] == b"OK"
        assert request(port, "GET", "/ready")[0] == 200
        started = [start_speech(port, max_frames=100, seed=seed) for seed in range(4)]
        process.send_signal(signal.SIGTERM)
        for connection, answer in started:
            assert len(answer.read()) == 100 * 3840 - 100
            connection.close()
        assert process.wait(allowed(30)) == 0
    assert sum(f" path={SPEECH} status=200 " in line for line in lines) == 4
    with pytest.raises(OSError, match="refused"):
        request(port, "GET", "/health")


def test_the_command_ends_on_signals_and_leaves_no_socket(tmp_path):
    path = tmp_path / "speech.sock"
    body = json.dumps({"input": LONG}).encode()
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGHUP, 0)):
        with serve_command("--unix", str(path)) as (process, address, _):  # also after a SIGKILL left the socket
            assert address == f"unix:{path}"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                if number == signal.SIGKILL:
                    head = f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
                    client.sendall(head.encode() + body)
                else:
                    client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                process.send_signal(number)
                assert process.wait(allowed(30)) == code
        assert path.exists() == (number == signal.SIGKILL)


def test_a_reader_of_the_log_who_does_not_read_stops_nobody():
    line = "import sys; from qwen3tts_cli.cli.serving.line_writer import LineWriter\n"
    line += "with LineWriter(1) as lines:\n  [lines.write('x' * 1000) for _ in range(20_000)]\n"
    with subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE) as writer:
        assert writer.wait(allowed(30)) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["--port", "70000"], 2, "--port"), (["--host", "no.such.host.invalid"], 2, "--host"), (["-m", "0.6b"], 3, "0.6b"),
     (["--unix", "/no/such/folder/socket"], 1, "/no/such/folder"), (["--max-batch", "65"], 2, "--max-batch"),
     (["--max-batch", "0"], 2, "--max-batch"), (["--lexicon", "/no/such/file"], 1, "/no/such/file"),
     (["--stall", "0"], 2, "--stall"), (["-m", "pocket", "-m", "pocket"], 2, "twice")],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_options_that_are_wrong(run, arguments, code, message):
    err = run("serve", "--port", "0", *arguments, code=None)[1]
    assert message in err
    assert err.count("\n") == 1


def test_an_address_of_ip_version_6():
    if not socket.has_ipv6 or not os.path.exists("/proc/sys/net/ipv6"):
        pytest.skip("no IPv6 here")
    with Running(host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        for host, status in ((f"[::1]:{server.port}", 200), ("[::2]", 421), ("127.0.0.1", 421)):
            with socket.create_connection(("::1", server.port), timeout=allowed(30)) as client:
                client.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert client.recv(4096).startswith(f"HTTP/1.1 {status}".encode())


def test_a_port_that_is_taken(run):
    with Running() as server:
        err = run("serve", "--port", str(server.port), code=1)[1]
    assert "another program listens there" in err


def settings_of(*arguments):
    """The settings of a command line."""
    context = command.serve.make_context("serve", list(arguments))
    return command.make_settings(context.params)


def test_every_option_has_a_variable(monkeypatch, tmp_path):
    assert settings_of() == ServeSettings()
    keys = tmp_path / "keys"
    keys.write_text("k\n")
    chosen = {
        "host": "::1", "port": "7", "unix": "/tmp/s", "model": f"pocket {CHECKPOINTS / 'tiny-base'}",
        "precision": "int8", "threads": "3", "max_batch": "5", "max_queue": "6", "max_text": "8", "lexicon": "/tmp/l",
        "api_key_file": str(keys), "insecure": "1", "cors": "http://a http://b", "allow_host": "c d",
        "voices_dir": "/v",
        "wyoming": "tcp://127.0.0.1:1", "wyoming_insecure": "true", "zeroconf": "name", "no_page": "yes", "stall": "9",
        "unload_after": "1.5", "no_cache": "1", "log_json": "1", "log_text": "1",
    }  # fmt: skip
    options = {max(p.opts, key=len)[2:].replace("-", "_") for p in command.serve.params if p.name != "help"}
    assert options == set(chosen)
    arguments = []
    for name, value in chosen.items():
        option = f"--{name.replace('_', '-')}"
        for each in value.split() if name in ("model", "cors", "allow_host") else [value]:
            arguments += [option] if name in FLAGS else [option, each]
    by_command_line = settings_of(*arguments)
    for name, value in chosen.items():
        monkeypatch.setenv(f"QWEN3TTS_SERVE_{name.upper()}", value)
    by_variables = settings_of()
    assert by_variables == by_command_line
    changed = {name for name in ServeSettings.__dataclass_fields__ if name != "max_audio_seconds"}
    assert not [name for name in changed if getattr(by_variables, name) == getattr(ServeSettings(), name)]
    assert settings_of("--port", "9").port == 9
    monkeypatch.setenv("QWEN3TTS_SERVE_PORT", "x")
    with pytest.raises(UsageError, match="QWEN3TTS_SERVE_PORT"):
        settings_of()


FLAGS = ("insecure", "wyoming_insecure", "no_page", "no_cache", "log_json", "log_text")


def test_settings_of_all_commands_hold_for_the_server(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "qwen3tts").mkdir()
    (tmp_path / "qwen3tts" / "config.toml").write_text('model = "pocket"\nthreads = 3\nbatch = 2\nvoice = "x"\n')
    found = settings_of()
    assert (found.models, found.threads, found.max_batch) == (("pocket",), 3, 0)
    monkeypatch.setenv("QWEN3TTS_THREADS", "4")
    assert settings_of().threads == 4
    monkeypatch.setenv("QWEN3TTS_SERVE_THREADS", "5")
    assert settings_of().threads == 5


def test_a_missing_package_is_named():
    code = "import sys; sys.modules['uvicorn'] = None; from qwen3tts_cli.cli import main; sys.exit(main.run(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=allowed(60))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "uvicorn" in done.stderr
    assert "qwen3tts-cli[serve]" in done.stderr


# ---------------------------------------------------------------- loading
def test_while_models_load_the_server_answers_and_speech_waits(monkeypatch):
    goes_on = threading.Event()
    opening = Synthesizer.open.__func__

    def slow(cls, *arguments, **named):
        assert goes_on.wait(allowed(60))
        return opening(cls, *arguments, **named)

    monkeypatch.setattr(engines.Synthesizer, "open", classmethod(slow))
    server = Running().start(wait=False)
    try:
        assert server.get("/health")[2] == b"OK"
        assert server.get("/ready")[::2] == (503, b"loading pocket")
        assert server.get("/v1/models")[0] == 200
        found = []
        thread = threading.Thread(target=lambda: found.append(server.post(SPEECH, {"input": "Hello."})[0]))
        thread.start()
        eventually(lambda: server.metric("qwen3tts_speaking") == 1)
        assert not found
        goes_on.set()
        thread.join(allowed(60))
        assert found == [200]
        assert server.get("/ready")[::2] == (200, b"OK")
    finally:
        goes_on.set()
        server.stop()


def test_sigterm_while_a_model_loads_ends_the_server_at_once(tmp_path):
    path = tmp_path / "speech.sock"
    code = "import time; from qwen3tts_cli.serve import engines; from qwen3tts_cli.cli import main\n"
    code += "engines.Synthesizer.open = classmethod(lambda *_, **__: time.sleep(600))\nmain.main()"
    with subprocess.Popen([sys.executable, "-c", code, "serve", "--unix", str(path)]) as process:
        eventually(path.exists)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 503")
        process.send_signal(signal.SIGTERM)
        assert process.wait(allowed(20)) == 143
    assert not path.exists()


def test_a_model_that_cannot_be_opened_ends_the_server(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    server = Running(models=(None, folder)).start(wait=False)
    server._thread.join(allowed(60))
    assert isinstance(server.error, CheckpointError)


def test_models_are_found_by_their_names():
    with Running(models=("pocket", CHECKPOINTS / "tiny-customvoice")) as server:
        found = server.server.state.engines
        assert [each.id for each in found.served] == ["pocket", "tiny-customvoice"]
        names = (None, "", "tts-1", "TTS-1-HD", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15", "kokoro", "Pocket")
        for name in names:
            assert found.find(name) is found.served[0]
        assert found.find("tiny-customvoice") is found.served[1]
        assert server.post(SPEECH, {"input": "Hi.", "model": str(CHECKPOINTS / "tiny-base")})[0] == 404
        facts = json.loads(server.post("/v1/speak", {"input": "Hi.", "model": "1.7b"})[2])["error"]
        assert (facts["code"], facts["exit_code"]) == ("model_not_found", 3)


def test_an_idle_model_is_freed_and_opened_again():
    with Running(unload_after=0.3 / 60) as server:
        served = server.server.state.engines.served[0]
        first = server.post(SPEECH, {"input": "Hello.", "seed": 1, "response_format": "pcm"})
        eventually(lambda: not served.ready)
        assert server.get("/ready")[0] == 200
        assert server.post(SPEECH, {"input": "Hello.", "seed": 1, "response_format": "pcm"})[2] == first[2]
        connection, answer = start_speech(server.port, max_frames=100)
        time.sleep(0.8)
        assert len(answer.read()) == 100 * 3840 - 100  # a model that speaks is not freed
        connection.close()


# ---------------------------------------------------------------- memory
@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_the_memory_of_weights_and_sessions_is_known_before_they_are_read(precision):
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", precision=precision, cache=False) as opened:
        there = sum(size for slot, size in opened.model.weight_bytes.items() if slot != "TEXT_EMBEDDING")
        there += opened.model._arrays[0].nbytes  # the codec
        assert memory.weight_bytes(opened.config, precision) == pytest.approx(there, rel=0.02)
        expected = opened.model.position_bytes * memory.USUAL_POSITIONS
        assert memory.session_bytes(opened.config, precision) == expected


def test_what_does_not_fit_is_refused_with_a_table(run, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 60_000_000)
    err = run("serve", "--port", "0", "--max-batch", "32", code=1)[1].splitlines()
    assert [re.split(r"  +", line)[0] for line in err[:-1]] == [
        "weights of pocket", "32 sessions of 3 MB", "all", "free memory",
    ]  # fmt: skip
    assert "--max-batch" in err[-1]
    with Running(max_batch=2):
        pass
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.check_memory([], "auto", 64, print)


def test_a_request_without_memory_is_told_to_come_again(monkeypatch):
    with Running() as server:
        scheduler = server.server.state.engines.scheduler
        monkeypatch.setattr(
            scheduler, "submit", lambda *_: (_ for _ in ()).throw(OutOfMemoryError("not enough memory"))
        )
        code, headers, body = server.post(SPEECH, {"input": "Hello."})
    assert (code, json.loads(body)["error"]["code"]) == (503, "out_of_memory")
    assert headers["retry-after"]


# ---------------------------------------------------------------- metrics and the log
def test_metrics():
    with Running(max_batch=4) as server:
        for number in range(3):
            assert server.post(SPEECH, {"input": "Hello there.", "seed": number})[0] == 200
        assert server.post(SPEECH, {"input": ""})[0] == 400
        assert server.get("/v1/models/" + "x" * 50)[0] == 404
        text = server.get("/metrics")[2].decode()
        seconds = server.metric("qwen3tts_audio_seconds_total")
    assert f'qwen3tts_requests_total{{route="{SPEECH}",status="200"}} 3.0' in text
    assert f'qwen3tts_requests_total{{route="{SPEECH}",status="400"}} 1.0' in text
    assert "xxxx" not in text
    assert "qwen3tts_first_audio_seconds_count 3.0" in text
    assert "qwen3tts_real_time_factor_count 3.0" in text
    assert re.search(r"^qwen3tts_late_seconds_total \d", text, re.MULTILINE)
    steps = float(re.search(r"^qwen3tts_batch_size_count (\S+)", text, re.MULTILINE)[1])
    assert steps >= seconds / 0.08 > 0


def test_the_log_has_neither_texts_nor_keys():
    secret, text = "key-that-nobody-sees", "A text that nobody sees."
    for more in ({}, {"log_json": True}, {"log_json": True, "log_text": True}):
        with Running(api_keys=(secret,), **more) as server:
            key = {"Authorization": f"Bearer {secret}"}
            headers = {**key, "x-request-id": "mine-1"}
            assert server.post(SPEECH, {"input": text}, headers=headers)[1]["x-request-id"] == "mine-1"
            server.get(f"/nowhere\x1b[31m%0Aforged?token={secret}".replace("\x1b", "%1b"), headers=key)
            other = server.get("/health", headers={"x-request-id": "two words"})[1]["x-request-id"]
            assert re.fullmatch("[0-9a-f]{32}", other)
            server.post(SPEECH, {"input": text, "voice": 5}, headers=key)
        lines = [line for line in server.log if not line.startswith("ready")]
        assert not any(secret in line or "\x1b" in line or "\n" in line for line in lines)
        assert any(text in line for line in lines) == bool(more.get("log_text"))
        if more:
            found = [json.loads(line) for line in lines]
            assert found[0]["id"] == "mine-1"
            assert found[0]["status"] == 200
            assert found[0]["path"] == SPEECH
            assert all(each["event"] == "request" for each in found)


def test_an_error_that_is_not_foreseen_stays_inside(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("/secret/path")

    with Running() as server:
        monkeypatch.setattr(server.server.state.speaker, "speak", fail)
        code, _, body = server.post(SPEECH, {"input": "Hello."})
        assert code == 500
        assert b"secret" not in body
        assert server.get("/health")[0] == 200
    assert any("ZeroDivisionError" in line and "/secret/path" in line for line in server.log)


def test_a_runaway_after_audio_is_no_clean_end_and_its_text_is_not_logged(tmp_path):
    endless, text = without_eos(POCKET, tmp_path / "endless"), "Nobody quotes this."
    with Running(models=(endless,)) as server:
        with pytest.raises(http.client.IncompleteRead):
            server.post(SPEECH, {"input": text, "response_format": "pcm", "seed": 1})
        events = server.post(SPEECH, {"input": text, "response_format": "pcm", "seed": 1, "stream_format": "sse"})[2]
        assert events.startswith(b'data: {"type":"speech.audio.delta"')
        assert b"event: error\n" in events
        assert b'"generation_failed"' in events
        assert b"speech.audio.done" not in events
        assert server.post(SPEECH, {"input": text, "max_frames": 5})[0] == 200
    assert sum("error=generation_failed" in line for line in server.log) == 2
    assert not any("quotes" in line for line in server.log)


# ---------------------------------------------------------------- the end
def test_the_end_waits_for_speech_and_then_fails_it(monkeypatch):
    monkeypatch.setattr(run, "DRAIN_SECONDS", 1.0)
    monkeypatch.setattr(speaking, "_READER_PAUSES", 1e6)  # the first client does not read
    server = Running(max_batch=1).start()
    connection, answer = start_speech(server.port)
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(server.post(SPEECH, {"input": "Hello."})))
    thread.start()
    eventually(lambda: server.metric("qwen3tts_queue") == 1)
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=allowed(30))
    idle.request("GET", "/health")
    assert idle.getresponse().read() == b"OK"
    began = time.monotonic()
    server.server.stop()
    eventually(lambda: server.server.state.stopping)
    with pytest.raises(OSError, match="refused"):
        server.get("/health")
    server._thread.join(allowed(30))
    assert not server._thread.is_alive()
    assert time.monotonic() - began >= 1.0
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    idle.close()
    thread.join(allowed(30))
    assert waiting[0][0] == 503
    assert json.loads(waiting[0][2])["error"]["code"] == "shutting_down"


def test_a_second_signal_ends_the_server_at_once():
    with serve_command() as (process, address, _):
        connection, answer = start_speech(int(address.rpartition(":")[2]))  # a reader that does not read
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(allowed(20)) == 0
        assert time.monotonic() - began < run.DRAIN_SECONDS / 2
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
