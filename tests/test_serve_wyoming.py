"""The Wyoming server, with the client of the package wyoming: what Home Assistant asks for, errors, hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from helpers import CHECKPOINTS, allowed
from serving import Running, need_server

need_server()

from wyoming.client import AsyncClient  # noqa: E402
from wyoming.error import Error  # noqa: E402
from wyoming.event import Event  # noqa: E402
from wyoming.info import Describe, Info  # noqa: E402
from wyoming.ping import Ping  # noqa: E402
from wyoming.tts import (  # noqa: E402
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from qwen3tts_cli.common.sample_conversion import to_pcm16  # noqa: E402
from qwen3tts_cli.errors import EngineError, UsageError  # noqa: E402
from qwen3tts_cli.serve.wyoming_server import connection  # noqa: E402
from qwen3tts_cli.serve.wyoming_server.address import parse_uri  # noqa: E402
from qwen3tts_cli.serve.wyoming_server.voices import list_voices  # noqa: E402
from qwen3tts_cli.speech.synthesizer import Synthesizer  # noqa: E402

TINY = CHECKPOINTS / "tiny-customvoice"
LANGUAGES = ["zh", "en", "de", "it", "pt", "es", "ja", "ko", "fr", "ru"]
TEXT = "Good morning. It is late, and the last train has gone."
LONG = "It is late, and the last train has gone. " * 60
SECONDS = allowed(30)


@pytest.fixture(scope="module")
def server():
    with Running(models=(None, TINY), wyoming="tcp://127.0.0.1:0", max_batch=4) as running:
        yield running


@pytest.fixture
def spoken_with(server, monkeypatch):
    """The (model, text, options) of each request, which fails instead of being spoken."""
    seen = []

    def speak(served, text, options):
        seen.append((served.id, text, options))
        raise UsageError("not spoken")

    monkeypatch.setattr(server.server.state.speaker, "speak", speak)
    return seen


class Client:
    """A connection to the Wyoming server of a Running."""

    def __init__(self, running):
        self._client = AsyncClient.from_uri(running.server.wyoming.uri.replace("//0.0.0.0:", "//127.0.0.1:"))

    async def __aenter__(self):
        await self._client.connect()
        self.writer = self._client._writer
        return self

    async def __aexit__(self, *error):
        with contextlib.suppress(OSError):
            await self._client.disconnect()

    async def send(self, *events):
        for event in events:
            await self._client.write_event(event.event() if hasattr(event, "event") else event)

    async def receive(self):
        return await asyncio.wait_for(self._client.read_event(), SECONDS)

    async def until(self, *kinds):
        """(the types of the events up to the first one of these kinds, the audio); None is the end of the connection.
        Checks what every audio-chunk must have."""
        types, audio = [], b""
        while not types or types[-1] not in kinds:
            event = await self.receive()
            types.append(event and event.type)
            if types[-1] == "audio-chunk":
                assert {name: event.data[name] for name in ("rate", "width", "channels")} == FORMAT
                assert 0 < len(event.payload) <= 2 * 2048
                audio += event.payload
            elif types[-1] == "audio-start":
                assert {name: event.data[name] for name in ("rate", "width", "channels")} == FORMAT
            elif types[-1] is None:
                break
        return types, audio


FORMAT = {"rate": 24000, "width": 2, "channels": 1}


def need(package):
    """Skip the test where a package is missing; fail there under CI=true."""
    if find_spec(package) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the package {package} is missing: pip install '.[{package}]'", pytrace=False)
        pytest.skip(f"needs the package {package}: pip install '.[{package}]'")


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * SECONDS))


def without_chunks(types):
    return [kind for kind in types if kind != "audio-chunk"]


def described(running):
    async def ask():
        async with Client(running) as client:
            start = time.monotonic()
            await client.send(Describe())
            event = await client.receive()
            return Info.from_event(event), time.monotonic() - start

    return run(ask())


def logged_seeds(running):
    return [int(found[1]) for line in running.log if "WYOMING" in line and (found := re.search(r"seed=(\d+)", line))]


# ---------------------------------------------------------------- describe
def test_describe_lists_the_voices_of_all_models(server):
    info, _ = described(server)
    (program,) = info.tts
    assert (program.name, program.installed, program.supports_synthesize_streaming) == ("qwen3tts", True, True)
    voices = {voice.name: voice for voice in program.voices}
    assert next(iter(voices)) == "slt"
    assert voices["slt"].languages == ["en"]
    assert voices["tiny-customvoice/ryan"].languages == LANGUAGES
    assert voices["tiny-customvoice/ryan-de"].languages == ["de"]
    assert len(voices) == len(program.voices) == 1 + 9 * (1 + len(LANGUAGES))
    assert all(voice.installed and voice.attribution.name and voice.description for voice in program.voices)
    assert len({voice.description for voice in program.voices}) == len(voices)


def test_describe_is_answered_while_models_load_and_under_load(server):
    loading = Running(wyoming="tcp://127.0.0.1:0")
    opened = loading.server.state.engines.open_all

    async def slowly():
        await asyncio.sleep(0.5)
        await opened()

    loading.server.state.engines.open_all = slowly
    loading.start(wait=False)
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                info, _ = described(loading)
                break
        assert not loading.server.state.engines.loaded
        assert [voice.name for voice in info.tts[0].voices] == ["slt"]
    finally:
        loading.stop()

    async def under_load():
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                client = await stack.enter_async_context(Client(server))
                await client.send(Synthesize(LONG))
                await client.until("audio-chunk")
            seconds = []
            for _ in range(10):
                async with Client(server) as client:
                    start = time.monotonic()
                    await client.send(Describe())
                    assert (await client.receive()).type == "info"
                    seconds.append(time.monotonic() - start)
            return min(seconds), max(seconds)

    fastest, slowest = run(under_load())
    assert fastest < 0.1
    assert slowest < 1  # after which Home Assistant asks again


def test_a_client_that_speaks_gets_answers_meanwhile(server):
    async def ask():
        async with Client(server) as client:
            await client.send(Synthesize(TEXT), Ping(text="now"), Describe())
            types, _ = await client.until("audio-stop")
            return types

    types = run(ask())
    assert types.index("pong") < types.index("info") < types.index("audio-stop")


# ---------------------------------------------------------------- speech
def test_a_whole_text_has_the_samples_of_say(server):
    async def heard():
        async with Client(server) as client:
            await client.send(Synthesize(TEXT, SynthesizeVoice(name="slt")))
            return await client.until("audio-stop")

    types, audio = run(heard())
    assert without_chunks(types) == ["audio-start", "audio-stop"]
    with Synthesizer.open() as voice:
        assert audio == to_pcm16(voice.say(TEXT, seed=logged_seeds(server)[-1])).tobytes()


def test_a_stream_has_one_start_and_one_stop_and_ignores_the_whole_text(server):
    """The events of Home Assistant for the answer of a language model."""

    async def heard():
        async with Client(server) as client:
            await client.send(SynthesizeStart(voice=SynthesizeVoice(name="slt")))
            await client.send(*(SynthesizeChunk(text) for text in re.findall(r"\S+\s*", TEXT)))
            await client.send(Synthesize(TEXT, SynthesizeVoice(name="slt")), SynthesizeStop())
            first = await client.until("synthesize-stopped")
            await client.send(Synthesize("Hello."))  # the connection serves on
            return first, await client.until("audio-stop")

    (types, audio), (more, _) = run(heard())
    assert without_chunks(types) == ["audio-start", "audio-stop", "synthesize-stopped"]
    assert without_chunks(more) == ["audio-start", "audio-stop"]
    with Synthesizer.open() as voice:
        live = np.concatenate(list(voice.stream([TEXT], seed=logged_seeds(server)[-2], idle_ms=0)))
    assert audio == to_pcm16(live).tobytes()


def test_requests_of_a_connection_are_answered_in_order(server):
    async def heard():
        async with Client(server) as client:
            await client.send(SynthesizeStart(), SynthesizeChunk("One."), SynthesizeStop(), Synthesize("Two."))
            await client.send(SynthesizeStart(), SynthesizeChunk("Three."), SynthesizeStop())
            types = []
            for last in ("synthesize-stopped", "audio-stop", "synthesize-stopped"):
                types += (await client.until(last))[0]
            return without_chunks(types)

    one = ["audio-start", "audio-stop"]
    assert run(heard()) == [*one, "synthesize-stopped", *one, *one, "synthesize-stopped"]


@pytest.mark.parametrize(
    ("asked", "model", "voice", "language"),
    [
        (None, "pocket", "slt", None),
        ({"name": "SLT"}, "pocket", "slt", None),
        ({"name": "pocket/slt"}, "pocket", "slt", None),
        ({"name": "tiny-customvoice/ryan"}, "tiny-customvoice", "ryan", None),
        ({"name": "tiny-customvoice/uncle_fu-de"}, "tiny-customvoice", "uncle_fu", "german"),
        ({"language": "en-US"}, "pocket", "slt", "english"),
        ({"language": "sv"}, "pocket", "slt", None),
        ({"name": "nobody", "speaker": "x"}, "pocket", "slt", None),
    ],
)
def test_the_voice_of_a_request(server, spoken_with, asked, model, voice, language):
    before = len(server.log)

    async def ask():
        async with Client(server) as client:
            await client.send(Event("synthesize", {"text": TEXT, **({} if asked is None else {"voice": asked})}))
            await client.until(None)

    run(ask())
    ((found, text, options),) = spoken_with
    assert (found, text, options.voice, options.language) == (model, TEXT, voice, language)
    warned = [line for line in server.log[before:] if "warning" in line]
    assert len(warned) == (asked in ({"name": "nobody", "speaker": "x"}, {"language": "sv"}))


def test_names_of_voices():
    from types import SimpleNamespace

    from qwen3tts_cli.serve.engines import ServedModel
    from qwen3tts_cli.serve.openai.kept_voices import KeptVoice

    design, base, preset = (
        ServedModel(CHECKPOINTS / f"tiny-{kind}") for kind in ("voicedesign", "base", "customvoice")
    )
    anna, ryan = (
        KeptVoice(name, name, base.config.talker.hidden_size, None, language, "", 0, False)
        for name, language in (("anna", "de"), ("ryan-de", None))
    )
    voices = list_voices([preset, base, design], [anna, ryan])
    assert list(voices)[:2] == ["serena", "vivian"]
    assert voices["ryan-de"].language == "german"
    assert voices["tiny-base/anna"].languages == ("de",)
    assert "tiny-base/anna-de" not in voices
    assert voices["tiny-base/ryan-de"].language is None
    assert voices["tiny-base/ryan-de-fr"].language == "french"
    assert voices["tiny-voicedesign"].voice is None
    assert list_voices([base], [ryan])["ryan-de"].voice == "ryan-de"
    assert list_voices([SimpleNamespace(id="x", config=base.config)]) == {}


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("text", "code"),
    [("...", "invalid_value"), ("\u4f60\u597d", "invalid_value"), ("x " * 3000, "string_above_max_length")],
)
def test_an_error_ends_the_answer_and_the_connection(server, streaming, text, code):
    async def heard():
        async with Client(server) as client:
            if streaming:
                await client.send(SynthesizeStart(), SynthesizeChunk(text), Synthesize(text), SynthesizeStop())
            else:
                await client.send(Synthesize(text))
            error = Error.from_event(await client.receive())
            return error, (await client.until(None))[0]

    error, types = run(heard())
    assert (error.code, types) == (code, ["audio-stop", "synthesize-stopped", None])


@pytest.mark.parametrize(
    "event",
    [
        Event("synthesize", {}),
        Event("synthesize", {"text": 3}),
        Event("synthesize", {"text": "x", "voice": "ryan"}),
        Event("synthesize", {"text": "x", "voice": {"name": ["ryan"]}}),
        Event("synthesize", {"text": "<speak/>", "text_format": "ssml"}),
        Event("synthesize-start", {"voice": 3}),
    ],
)
def test_fields_of_other_types_are_errors(server, event):
    async def heard():
        async with Client(server) as client:
            await client.send(event)
            return (await client.until(None))[0]

    assert run(heard()) == ["error", "audio-stop", "synthesize-stopped", None]


def test_too_many_requests_of_a_connection_are_an_error(server):
    async def heard():
        async with Client(server) as client:
            await client.send(*(Synthesize(LONG) for _ in range(20)))
            return (await client.until(None))[0]

    assert run(heard())[-4:] == ["error", "audio-stop", "synthesize-stopped", None]
    assert server.metric("qwen3tts_speaking") == 0


def header(**fields):
    return json.dumps({"type": "describe", **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\n",
        b"[]\n",
        b"[" * 60_000 + b"\n",
        b"{" * 100_000,
        b"\xff\xfe\n",
        b"{}\n",
        header(data=[1]),
        header(type=3),
        header(data_length="x"),
        header(data_length=1 << 40),
        header(payload_length=1 << 40),
        header(data_length=3) + b"[1]",
        header(data_length=2) + b"{]",
    ],
    ids=range(13),
)
def test_what_is_no_event_ends_the_connection(server, data):
    async def heard():
        async with Client(server) as client:
            client.writer.write(data)
            return (await client.until(None))[0]

    assert run(heard()) == [None]
    assert described(server)


@pytest.mark.parametrize("limit", ["HEAD_SECONDS", "IDLE_SECONDS"])
def test_a_silent_client_is_left(server, monkeypatch, limit):
    monkeypatch.setattr(connection, limit, 0.2)

    async def heard():
        async with Client(server) as client:
            if limit == "IDLE_SECONDS":
                await client.send(Ping())
                await client.receive()
            client.writer.write(b'{"type"')
            return (await client.until(None))[0]

    assert run(heard()) == [None]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place(server, stream):
    async def leave():
        async with Client(server) as client:
            await client.send(*([SynthesizeStart(), SynthesizeChunk(LONG)] if stream else [Synthesize(LONG)]))
            await client.until("audio-chunk")
            assert server.metric("qwen3tts_speaking") == 1

    run(leave())
    deadline = time.monotonic() + SECONDS
    while server.metric("qwen3tts_speaking"):
        assert time.monotonic() < deadline


def test_a_client_that_does_not_read_is_dropped(server, monkeypatch):
    speaker = server.server.state.speaker
    monkeypatch.setattr(speaker, "settings", replace(speaker.settings, stall=0.5))
    host, port = parse_uri(server.server.wyoming.uri)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, port))
        raw.sendall(b'{"type": "synthesize", "data": ' + json.dumps({"text": LONG}).encode() + b"}\n")
        deadline = time.monotonic() + SECONDS
        while not any("WYOMING" in line and "status=408" in line for line in server.log):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert server.metric("qwen3tts_speaking") == 0


# ---------------------------------------------------------------- addresses
def test_a_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "wyoming.socket"
    with Running(wyoming=f"unix://{path}") as running:
        assert running.server.wyoming.uri == f"unix://{path}"
        assert described(running)[0].tts
    assert not path.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wyoming": "tcp://0.0.0.0:0"}, "add --wyoming-insecure"),
        ({"wyoming": "tcp://127.0.0.1"}, "expected tcp://HOST:PORT or unix"),
        ({"wyoming": "stdio://"}, "expected tcp"),
        ({"wyoming": "unix://"}, "expected tcp"),
        ({"wyoming": "tcp://127.0.0.1:99999"}, "expected tcp"),
        ({"wyoming": "tcp://user@127.0.0.1:1"}, "expected tcp"),
        ({"wyoming": "tcp://no.such.host.invalid:1"}, "--wyoming: 'no.such.host.invalid' is no address"),
        ({"wyoming_insecure": True}, "--wyoming-insecure: needs --wyoming"),
        ({"zeroconf": ""}, "--zeroconf: needs --wyoming"),
    ],
)
def test_addresses_that_are_refused(settings, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Running(**settings)


def test_the_server_is_announced_and_taken_back(monkeypatch):
    """Over the loopback interface, in the place of the local network."""
    need("zeroconf")
    from zeroconf import DNSIncoming, DNSService

    from qwen3tts_cli.serve.wyoming_server.announcement import Announcement

    monkeypatch.setattr(Announcement, "_addresses", lambda self, host: ["127.0.0.1"])

    async def service(listening, is_it):
        """The next DNS record of a service for which a function is true."""
        while True:
            data = await asyncio.get_running_loop().sock_recv(listening, 9000)
            for record in DNSIncoming(data).answers():
                if isinstance(record, DNSService) and is_it(record):
                    return record

    async def announced():
        with socket.socket() as bound, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
            bound.bind(("0.0.0.0", 0))
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                listening.setsockopt(socket.SOL_SOCKET, option, 1)
            listening.bind(("", 5353))
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
            listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            listening.setblocking(False)
            announcement = Announcement(f"kitchen-{os.getpid()}", bound)
            port = bound.getsockname()[1]
            starting = asyncio.create_task(announcement.start())
            record = await service(listening, lambda record: record.port == port and record.ttl)
            assert record.name == f"{announcement.name}._wyoming._tcp.local."
            await starting
            await announcement.stop()
            await service(listening, lambda record: record.port == port and not record.ttl)

    run(announced())


@pytest.mark.parametrize(
    ("name", "wyoming", "message"),
    [
        ("x", "tcp://127.0.0.1:0", "no other machine reaches 127.0.0.1"),
        ("x", "unix://{}", "other machines do not reach a Unix socket"),
        ("\u4f60" * 22, "tcp://0.0.0.0:0", "a name of 66 bytes"),
    ],
)
def test_announcements_that_are_refused(tmp_path, name, wyoming, message):
    need("zeroconf")
    with pytest.raises(UsageError, match=message):
        Running(zeroconf=name, wyoming=wyoming.format(tmp_path / "socket"), wyoming_insecure=True)
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_server_announces_itself_while_it_runs(monkeypatch, fails):
    need("zeroconf")
    from qwen3tts_cli.serve.wyoming_server.announcement import Announcement

    seen = []

    async def start(self):
        seen.append(("start", self.name, self.port))
        if fails:
            raise EngineError("--zeroconf: cannot announce the server: no network")

    async def stop(self):
        seen.append(("stop", self.name, self.port))

    monkeypatch.setattr(Announcement, "start", start)
    monkeypatch.setattr(Announcement, "stop", stop)
    monkeypatch.setattr(Announcement, "_addresses", lambda self, host: ["192.0.2.1"])
    with Running(zeroconf="kitchen", wyoming="tcp://0.0.0.0:0", wyoming_insecure=True) as running:
        port = int(running.server.wyoming.uri.rpartition(":")[2])
        assert described(running)[0].tts
        assert seen == [("start", "kitchen", port)]
        assert any("cannot announce" in line for line in running.log) == fails
    assert seen[1:] == [("stop", "kitchen", port)]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(UsageError, match=r'pip install "qwen3tts-cli\[zeroconf\]"'):
        Running(zeroconf="x", wyoming="tcp://0.0.0.0:0", wyoming_insecure=True)


def test_a_public_address_is_served_with_the_option():
    with Running(wyoming="tcp://0.0.0.0:0", wyoming_insecure=True) as running:
        assert running.server.wyoming.uri.startswith("tcp://0.0.0.0:")
        assert described(running)[0].tts
