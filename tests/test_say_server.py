"""`say --server`: the bytes of `say`, its errors and exit codes, what is imported, and what a bad server may answer."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from canned_server import Canned
from helpers import CHECKPOINTS, DATA, Choosy, allowed
from serving import Running, need_server

from qwen3tts_cli import Synthesizer, UsageError
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli.serving import server_address
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.scheduling import attempts

need_server()

BASE = CHECKPOINTS / "tiny-base"
TEXT = "Hello there, Dr. Smith."
# Modules that the first byte of WAV or raw audio does not wait for.
UNWANTED = ("numpy", "soundfile", "ssl", "asyncio", "http.client", "cffi", "hashlib", "email", "encodings.idna")
UNWANTED_PACKAGES = ("qwen3tts_cli._native", "qwen3tts_cli.engine", "qwen3tts_cli.speech", "qwen3tts_cli.scheduling")
REPORT_MODULES = """
import os, sys
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.output import files
def report(self, data):
    print(*sys.modules, flush=True)
    os._exit(0)
files.Stdout.write = report
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def server():
    """The address of a server of the embedded voice and a base model."""
    with Running(models=(None, BASE)) as running:
        yield running.url


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- the same as `say`
@pytest.mark.parametrize(
    "options",
    [
        ["--raw", "--stream", "-o", "audio"],
        ["--stream", "--max-frames", "5", "-o", "a.wav"],
        ["--subtype", "FLOAT", "--temperature", "0.5", "--top-k", "20", "-o", "a.wav"],
        ["--raw", "--subtype", "ULAW", "--rate", "8000", "-o", "audio"],
        ["--speed", "1.3", "--rate", "16000", "--max-seconds", "0.5", "-o", "a.wav"],
        ["--audio-format", "opus", "--greedy", "-o", "audio"],
        ["--no-split", "--retries", "0", "-o", "a.mp3"],
        ["--markup", "--lexicon", "words.tsv", "--text-mode", "full", "-o", "a.wav"],
    ],
    ids=" ".join,
)
def test_files_are_those_of_say(server, run, options):
    Path("words.tsv").write_text("Smith\tJones\n")
    text = "Hello. [pause:300ms] Dr. Smith." if "--markup" in options else TEXT
    command = ("say", "-q", "--seed", "5", text, *options, "--codes", "codes.npy", "--json", "facts.json")
    written, facts = [], []
    for where in ((), ("--server", server)):
        run(*command, *where)
        written.append((Path(options[-1]).read_bytes(), Path("codes.npy").read_bytes()))
        facts.append(json.loads(Path("facts.json").read_text()))
    assert written[0] == written[1]
    assert list(facts[0]) == list(facts[1])
    assert list(facts[0]["timings"]) == list(facts[1]["timings"])
    for key in (
        "frames",
        "seconds",
        "seed",
        "sample_rate",
        "speed",
        "stop",
        "pcm_sha256",
        "model",
        "voice",
        "language",
    ):
        assert facts[0][key] == facts[1][key]
    assert facts[1]["first_audio_ms"] > 0
    assert facts[1]["timings"]["open_ms"] == 0


def test_attempts_that_fail_are_repeated_as_by_say(server, run, monkeypatch):
    """Without --stream nothing of an utterance is sent before it is good; with it an error comes after audio."""
    monkeypatch.setattr(attempts, "Guard", Choosy)
    for seed in range(20):
        command = ("say", "-q", "--seed", str(seed), "--max-frames", "20", TEXT, "-o", "a.wav")
        if cli.run([*command, "--stream", "--server", server]) == 4:
            break
    run(*command)
    here = Path("a.wav").read_bytes()
    run(*command, "--server", server)
    assert Path("a.wav").read_bytes() == here


def test_warnings_of_the_server(server, run):
    text = "Hello. " + "[pause:10s] " * 8 + "Goodbye."
    command = ("say", "--markup", "--seed", "1", text, "-o", "a.wav")
    notes = [run(*command, *where)[1] for where in ((), ("--server", server))]
    warnings = [[line for line in each.splitlines() if line.startswith("warning: ")] for each in notes]
    assert warnings[0]
    assert warnings[0] == warnings[1]


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_a_pipe_gets_the_bytes_of_say(server, options):
    command = [sys.executable, "-m", "qwen3tts_cli", "say", "-q", "--seed", "5", *options]
    written = [
        subprocess.run([*command, *where], input=TEXT.encode(), stdout=subprocess.PIPE, timeout=allowed(60), check=True)
        for where in ((), ("--server", server))
    ]
    assert written[0].stdout == written[1].stdout
    assert written[0].stdout.startswith(b"RIFF\xff\xff\xff\xff")


def test_the_first_byte_needs_few_modules(server):
    """To a pipe as WAV or raw; of the package's folders only those that need no engine."""
    for options in ([], ["--raw", "--stream"]):
        command = [sys.executable, "-c", REPORT_MODULES, "say", "-q", "--server", server, *options, TEXT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=allowed(60), check=True)
        loaded = done.stdout.split()
        assert "qwen3tts_cli.cli.serving.say_remote" in loaded
        assert not [name for name in loaded if name in UNWANTED or name.startswith(UNWANTED_PACKAGES)]


def test_the_note_the_variable_and_the_configuration_file(server, run, monkeypatch):
    run("say", "-q", "--seed", "3", TEXT, "-o", "here.flac")
    monkeypatch.setenv("QWEN3TTS_SERVER", server)
    _, note = run("say", "--seed", "3", TEXT, "-o", "there.flac")
    assert note.startswith("there.flac: ")
    assert note.endswith(", seed 3\n")
    assert Path("here.flac").read_bytes() == Path("there.flac").read_bytes()
    monkeypatch.setenv("QWEN3TTS_SERVER", "http://127.0.0.1:1")
    run("say", "-q", TEXT, "-o", "a.wav", "--server", "")
    Path("qwen3tts").mkdir()
    Path("qwen3tts/config.toml").write_text('server = "http://127.0.0.1:1"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path.cwd()))
    monkeypatch.setenv("QWEN3TTS_SERVER", "")
    run("say", "-q", TEXT, "-o", "a.wav")
    monkeypatch.delenv("QWEN3TTS_SERVER")
    assert "http://127.0.0.1:1: connection refused" in run("say", "-q", TEXT, "-o", "a.wav", code=1)[1]


def test_voices_and_recordings_are_read_here(server, run, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(Path.cwd()))
    recording = str(DATA / "wavs" / "ref44k_stereo.wav")
    with Synthesizer.open(BASE) as synthesizer:
        voice = synthesizer.clone(Path(recording), "What it says.", name="anna", on_warning=lambda line: None)
    path = voice_store.save(voice)
    shared = ("say", "--seed", "2", "--max-frames", "3", "--retries", "0", TEXT, "-o", "a.wav")
    for case in (
        ("-v", "Anna"),
        ("-v", str(path)),
        ("--ref", recording, "--ref-text", "What it says."),
        ("--ref", recording, "--trim-silence", "--append-silence"),
    ):
        results = []
        for where in (("-m", str(BASE)), ("-m", "tiny-base", "--server", server)):
            warnings = [line for line in run(*shared, *case, *where)[1].splitlines() if "warning: " in line]
            results.append((Path("a.wav").read_bytes(), warnings))
        assert results[0] == results[1]
    asked = ("say", "--server", server, TEXT, "-o", "b.wav")
    assert "no such file" in run(*asked, "-v", "./none.safetensors", code=2)[1]
    assert "--voice and --ref" in run(*asked, "-v", "anna", "--ref", recording, code=2)[1]
    assert "cannot clone" in run(*asked, "--ref", recording, code=2)[1]
    assert not Path("b.wav").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-v", "nobody"], 2, "nobody"),
        (["-m", "9b"], 3, "9b"),
        (["-l", "klingon"], 2, "klingon"),
        (["--design", "an old man"], 2, "description"),
        (["--retries", "0", "--temperature", "100", "--subtalker-temperature", "100", "--no-split"], 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_of_a_server_have_the_codes_of_say(server, run, options, code, message):
    assert message in run("say", "-q", "--server", server, *options, TEXT, "-o", "a.wav", code=code)[1]


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    "option", [["--threads", "2"], ["--precision", "int8"], ["--batch", "2"], ["--timings"], ["--no-cache"]]
)
def test_options_of_the_engine_are_refused(run, monkeypatch, option):
    line = run("say", "--server", "http://127.0.0.1:1", *option, TEXT, code=2)[1]
    assert line.startswith(f"error: {option[0]}: not with --server")
    monkeypatch.setenv("QWEN3TTS_SERVER", "http://127.0.0.1:1")
    assert "QWEN3TTS_SERVER; --server '' speaks here" in run("say", *option, TEXT, code=2)[1]


def test_settings_of_the_engine_are_left_to_the_server(server, run, monkeypatch):
    monkeypatch.setenv("QWEN3TTS_THREADS", "1")
    monkeypatch.setenv("QWEN3TTS_NO_CACHE", "1")
    run("say", "-q", "--server", server, TEXT, "-o", "a.wav")


def test_a_key_needs_a_server(run):
    assert "--api-key: needs --server" in run("say", "--api-key", "secret", TEXT, code=2)[1]
    assert "no HTTP header" in run("say", "--server", "http://127.0.0.1:1", "--api-key", "a\nb", TEXT, code=2)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:8000", ("http", "localhost", 8000, "localhost:8000", "")),
        ("http://[::1]:8000/", ("http", "::1", 8000, "[::1]:8000", "")),
        ("https://speech.example/tts/v1/", ("https", "speech.example", 443, "speech.example", "/tts")),
        ("unix:/run/qwen3tts.sock", ("unix", "", 0, "localhost", "/run/qwen3tts.sock")),
        ("unix:///run/qwen3tts.sock", ("unix", "", 0, "localhost", "/run/qwen3tts.sock")),
    ],
)
def test_addresses(text, expected):
    assert server_address.parse(text)[1:] == expected


NO_ADDRESSES = (
    *("localhost:8000", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://u:p@a", "http://a/?b"),
    *("unix:", "x", "http://ä.example", "http://a/\r\nX: y"),
)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_addresses_that_are_none(text):
    with pytest.raises(UsageError, match=r"(?s)--server .*expected http://HOST:PORT"):
        server_address.parse(text)


# ---------------------------------------------------------------- bad servers
def part(kind, content):
    return kind + struct.pack("<I", len(content)) + content


def answer(body, status="200 OK", kind="application/x-qwen3tts-parts"):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def refusal(status, **error):
    return answer(json.dumps({"error": {"message": "because", **error}}).encode(), status, "application/json")


SAMPLES = part(b"S", b"\1\0" * 100)
FACTS = part(b"F", json.dumps({"frames": 1}).encode())
GOOD = answer(SAMPLES + FACTS)
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-qwen3tts-parts\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(*pieces):
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(each), each) for each in pieces)


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
        GOOD.replace(b"Content-Length: ", b"X-Other: "),
        CHUNKED + chunks(SAMPLES[:3], SAMPLES[3:50], SAMPLES[50:] + FACTS) + b"0\r\n\r\n",
        answer(SAMPLES + part(b"?", b"later versions") + FACTS),
    ],
)
def test_ways_to_frame_an_answer(run, monkeypatch, reply):
    monkeypatch.setenv("QWEN3TTS_API_KEY", " secret\n")
    with Canned(reply) as server:
        run("say", "-q", "--raw", "--server", f"{server.url}/v1", TEXT, "-o", "audio")
    assert Path("audio").read_bytes() == b"\1\0" * 100
    ((head, fields),) = server.requests
    assert head.startswith("POST /v1/speak HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nAuthorization: Bearer secret\r\n" in head
    assert fields["input"] == TEXT
    assert fields["samples"] == "int16"


def test_zero_is_sent(run):
    zeros = ("temperature", "top_k", "subtalker_temperature", "subtalker_top_k", "retries", "seed")
    options = [word for name in zeros for word in (f"--{name.replace('_', '-')}", "0")]
    with Canned(GOOD) as server:
        run("say", "-q", "--server", server.url, *options, TEXT, "-o", "a.wav")
    assert [server.requests[0][1][name] for name in zeros] == [0] * len(zeros)


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (refusal("401 Unauthorized"), 1, "because; say takes the key from QWEN3TTS_API_KEY"),
        (refusal("403 Forbidden"), 1, "because"),
        (refusal("429 Too Many Requests"), 1, "because"),
        (refusal("503 Service Unavailable", exit_code=1), 1, "because"),
        (refusal("404 Not Found", code="model_not_found", exit_code=3), 3, "because"),
        (refusal("404 Not Found", code="not_found"), 2, "because"),
        (refusal("400 Bad Request"), 2, "because"),
        (refusal("413 Too Large"), 2, "because"),
        (refusal("421 Misdirected Request"), 2, "because"),
        (refusal("500 Internal Server Error", code="generation_failed", exit_code=4), 4, "because"),
        (refusal("500 Internal Server Error", exit_code=None), 1, "because"),
        (answer(b"<html>", "404 Not Found", "text/html"), 2, "HTTP 404 for /v1/speak; is this qwen3tts serve?"),
        (answer(b"<html>", "502 Bad Gateway", "text/html"), 1, "HTTP 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\n\r\n", 1, "redirects to https://a.example/"),
        (answer(b"{}", kind="application/json"), 1, "found application/json"),
        (answer(SAMPLES), 1, "cut off"),
        (answer(SAMPLES[:-1]), 1, "cut off"),
        (answer(SAMPLES + FACTS)[:-3], 1, "cut off"),
        (CHUNKED + chunks(SAMPLES), 1, "closed the connection"),
        (answer(b"S\xff\xff\xff\xff"), 1, "a part of 4294967295 bytes"),
        (answer(part(b"S", b"\1") + FACTS), 1, "samples of the answer"),
        (answer(SAMPLES + part(b"F", b"[1]")), 1, "no JSON object"),
        (answer(SAMPLES + part(b"E", b'{"message": "ran away", "exit_code": 4}')), 4, "error: ran away"),
        (answer(SAMPLES + part(b"E", b"?")), 1, "without a message"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 1, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(200)), 1, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000, 1, "not HTTP"),
        (b"", 1, "closed the connection"),
    ],
)
def test_answers_that_are_errors(run, reply, code, message):
    with Canned(reply) as server:
        err = run("say", "--server", server.url, TEXT, "-o", "a.wav", code=code)[1]
    last = [line for line in err.splitlines() if line.startswith("error: ")][-1]
    assert message in last
    assert code != 1 or server.url in last
    assert ("seed " in err) == (code == 4)
    assert not Path("a.wav").exists()


def test_a_stream_keeps_what_came_before_an_error(capfdbinary):
    with Canned(answer(SAMPLES + part(b"E", b'{"message": "ran away", "exit_code": 4}'))) as server:
        assert cli.run(["say", "-q", "--raw", "--stream", "--server", server.url, TEXT]) == 4
    assert capfdbinary.readouterr().out == b"\1\0" * 100


def test_codes_that_do_not_come(run):
    with Canned(GOOD) as server:
        err = run("say", "-q", "--server", server.url, TEXT, "-o", "a.wav", "--codes", "a.npy", code=1)[1]
    assert "codes of the answer" in err
    assert not Path("a.wav").exists()


def test_no_server(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for where, what in ((f"http://127.0.0.1:{port}", "connection refused"), ("unix:none.sock", "no such socket")):
        line = run("say", "--server", where, TEXT, "-o", "a.wav", code=1)[1]
        assert line == f"error: {where}: {what}; a server is started with: qwen3tts serve\n"
    assert not Path("a.wav").exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, None])
def test_leaving_closes_the_connection(ending):
    """A signal, or a reader that closes the pipe, ends the command and with it the request."""
    with Canned(CHUNKED + chunks(SAMPLES) * (1 if ending else 3000), hold=True) as server:
        command = [sys.executable, "-m", "qwen3tts_cli", "say", "-q", "--raw", "--stream", "--server", server.url, TEXT]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.read(20)
            if ending is None:
                process.stdout.close()
            else:
                process.send_signal(ending)
            assert process.wait(allowed(30)) == (0 if ending is None else 128 + ending)
        assert server.left.wait(allowed(10))


def test_a_unix_socket(run, tmp_path):
    path = tmp_path / "speech.sock"
    Path("text").write_text(TEXT)
    commands = [("say", "-q", "--seed", "1", *text, "-o", "a.wav") for text in ((TEXT,), ("--live", "-f", "text"))]
    with Running(unix=path):
        there = [(run(*command, "--server", f"unix:{path}"), Path("a.wav").read_bytes())[1] for command in commands]
    assert there == [(run(*command), Path("a.wav").read_bytes())[1] for command in commands]


def test_a_key(run):
    Path("text").write_text(TEXT)
    with Running(api_keys=("first", "second")) as server:
        for text in ((TEXT,), ("--live", "-f", "text")):
            command = ("say", "-q", "--server", server.url, *text, "-o", "a.wav")
            assert "QWEN3TTS_API_KEY" in run(*command, code=1)[1]
            run(*command, "--api-key", "second")


# ---------------------------------------------------------------- a text that is still coming
@pytest.mark.parametrize(
    "options",
    [
        ["--raw"],
        ["--live-lines", "--subtype", "FLOAT", "--rate", "16000", "--speed", "0.9"],
        ["--audio-format", "opus", "--max-frames", "20"],
    ],
    ids=" ".join,
)
def test_a_live_text_has_the_bytes_of_say(server, run, options):
    Path("text").write_text("One, two,\nthree. Four five\n\nsix. Seven.")
    command = ("say", "-q", "--live", "-f", "text", "--idle", "0", "--seed", "5", "-o", "audio", *options)
    command = (*command, "--codes", "codes.npy", "--json", "facts.json")
    command = (*command, *([] if {"--raw", "--audio-format"} & {*options} else ["--audio-format", "wav"]))
    written, facts = [], []
    for where in ((), ("--server", server)):
        run(*command, *where)
        written.append((Path("audio").read_bytes(), Path("codes.npy").read_bytes()))
        facts.append(json.loads(Path("facts.json").read_text()))
    assert written[0] == written[1]
    assert list(facts[0]) == list(facts[1])
    assert facts[0]["pcm_sha256"] == facts[1]["pcm_sha256"]


def test_a_live_text_is_spoken_while_it_comes(server):
    command = [sys.executable, "-m", "qwen3tts_cli", "say", "-q", "--raw", "--live", "--server", server]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"The first sentence. And the")
        process.stdin.flush()
        assert len(process.stdout.read(9600)) == 9600
        process.send_signal(signal.SIGINT)
        assert process.wait(allowed(30)) == 130


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        (b"Hello. \xff", [], 2, "not valid UTF-8"),
        (b" ", [], 2, "the text is empty"),
        (b"...", [], 2, "nothing to speak"),
        (b"Hello.", ["-m", "9b"], 3, "9b"),
        (b"Hello.", ["-v", "nobody"], 2, "nobody"),
        (b"Hello.", ["--ref", "a.wav"], 2, "--ref: not with --live and a server"),
        (b"Hello. " * 1000, [], 2, "4096 characters"),
    ],
)
def test_errors_of_a_live_text(server, run, text, options, code, message):
    Path("text").write_bytes(text)
    command = ("say", "-q", "--live", "-f", "text", "--server", server, *options, "-o", "a.wav")
    assert message in run(*command, code=code)[1]
    assert not Path("a.wav").exists()


def test_servers_that_have_no_websocket(run, monkeypatch):
    Path("text").write_text(TEXT)
    command = ("say", "--live", "-f", "text", "-o", "a.wav", "--server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "connection refused" in run(*command, f"http://127.0.0.1:{port}", code=1)[1]
    for reply, code in (
        (answer(b"", "404 Not Found", "text/html"), 2),
        (refusal("503 Service Unavailable"), 1),
        (b"SSH-2.0\r\n", 1),
        (b"", 1),
    ):
        with Canned(reply) as server:
            assert server.url in run(*command, server.url, code=code)[1]
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    assert "pip install 'qwen3tts-cli[serve]'" in run(*command, "http://127.0.0.1:1", code=2)[1]
