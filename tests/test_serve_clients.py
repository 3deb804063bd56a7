"""Requests as the programs send them that speak through an OpenAI server, and answers as these programs read them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import wave
from importlib.util import find_spec

import pytest
import soundfile
from helpers import CHECKPOINTS
from serving import Running, need_server, request

need_server()

TEXT = "Good evening. This is a sentence for everybody."
KEY = "secret"
# The types that the slim image of Open WebUI takes without ffmpeg.
OPEN_WEBUI_TYPES = ("mpeg", "mp3", "wav", "x-wav", "ogg", "opus", "webm", "flac", "aac", "mp4")


@pytest.fixture(scope="module")
def server():
    with Running(models=(None, CHECKPOINTS / "tiny-customvoice")) as running:
        yield running


@pytest.fixture(scope="module")
def locked():
    with Running(api_keys=(KEY,)) as running:
        yield running


def need_openai():
    if find_spec("openai") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the package openai is missing: pip install '.[dev]'")
        pytest.skip("needs the package openai")
    import openai

    return openai


def pcm_of(server, seed, **fields):
    body = {"input": TEXT, "voice": "alloy", "seed": seed, "response_format": "pcm", **fields}
    status, _, data = server.post("/v1/audio/speech", body)
    assert status == 200
    return data


# ---------------------------------------------------------------- Open WebUI
def test_open_webui(locked):
    """Its lists carry no key; its speech does, and the whole body is kept by its content type."""
    models = json.loads(locked.get("/v1/audio/models")[2])["models"]
    voices = json.loads(locked.get("/v1/audio/voices")[2])["voices"]
    assert [model["id"] for model in models] == ["pocket"]
    assert {voice["id"]: voice["name"] for voice in voices} == {"slt": "slt"}
    body = {"model": models[0]["id"], "input": TEXT, "voice": voices[0]["id"], "user": None}
    assert locked.post("/v1/audio/speech", body)[0] == 401
    status, headers, data = locked.post("/v1/audio/speech", body, headers={"Authorization": f"Bearer {KEY}"})
    assert status == 200
    assert headers["content-type"].removeprefix("audio/") in OPEN_WEBUI_TYPES
    assert len(soundfile.read(io.BytesIO(data))[0]) > 24000
    status, _, data = locked.post("/v1/audio/speech", body, headers={"Authorization": "Bearer wrong"})
    assert status == 401
    assert isinstance(json.loads(data)["error"]["message"], str)  # it shows this


# ---------------------------------------------------------------- SillyTavern
def test_sillytavern_sends_an_empty_key(server):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer "}
    body = {"input": TEXT, "response_format": "mp3", "voice": "Slt", "speed": 1, "model": "tts-1"}
    status, headers, data = server.post("/v1/audio/speech", body, headers=headers)
    assert (status, headers["content-type"]) == (200, "audio/mpeg")
    assert len(soundfile.read(io.BytesIO(data))[0]) > 24000


# ---------------------------------------------------------------- LibreChat
def test_librechat_joins_the_bodies_of_pieces(server):
    bodies = []
    for piece in ("The first piece.", "The second piece.", "The third."):
        status, headers, data = server.post(
            "/v1/audio/speech", {"input": piece, "model": "tts-1", "voice": "nova", "backend": "piper"}
        )
        assert (status, headers["content-type"]) == (200, "audio/mpeg")
        bodies.append(data)
    lengths = [len(soundfile.read(io.BytesIO(body))[0]) for body in bodies]
    joined = len(soundfile.read(io.BytesIO(b"".join(bodies)))[0])
    assert joined == pytest.approx(sum(lengths), abs=3 * 1152)
    assert server.post("/v1/audio/speech", {"input": TEXT, "model": "pocket"})[0] == 200  # without a voice


# ---------------------------------------------------------------- AnythingLLM, n8n
def test_clients_with_fixed_names(server):
    openai = need_openai()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        assert client.models.list().data
        for model in ("tts-1", "tts-1-hd", "gpt-4o-mini-tts"):
            speech = client.audio.speech.create(model=model, voice="alloy", input="Good evening.")
            assert speech.content[:1] == b"\xff"


# ---------------------------------------------------------------- Home Assistant's custom component, wyoming_openai
def test_streaming_opus_comes_in_pieces(server):
    body = json.dumps({"model": "tts-1", "input": TEXT, "voice": "shimmer", "response_format": "opus", "speed": 1.0})
    asked = urllib.request.Request(
        f"{server.url}/v1/audio/speech", body.encode(), {"User-Agent": "HomeAssistant-OpenAI-TTS"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "audio/ogg"
        pieces = list(iter(lambda: answer.read1(4096), b""))
    assert pieces[0].startswith(b"OggS")
    assert len(pieces) > 5


def test_the_first_piece_of_wav_has_its_header(server):
    openai = need_openai()

    async def speak():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            how = {"model": "tts-1", "voice": "echo", "response_format": "wav"}
            async with client.audio.speech.with_streaming_response.create(input=TEXT, **how) as answer:
                return [piece async for piece in answer.iter_bytes()]

    pieces = asyncio.run(speak())
    with wave.open(io.BytesIO(pieces[0])) as header:
        assert (header.getnchannels(), header.getframerate(), header.getsampwidth()) == (1, 24000, 2)
    assert (len(b"".join(pieces)) - 44) % 2 == 0


# ---------------------------------------------------------------- LiveKit
@pytest.mark.parametrize("response_format", ["mp3", "pcm"])
def test_livekit_reads_events(server, response_format):
    openai = need_openai()
    plain = server.post(
        "/v1/audio/speech", {"input": TEXT, "voice": "ash", "seed": 3, "response_format": response_format}
    )[2]

    async def speak():
        audio, usage = b"", None
        async with (
            openai.AsyncClient(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
            client.audio.speech.with_streaming_response.create(
                input=TEXT,
                model="gpt-4o-mini-tts",
                voice="ash",
                response_format=response_format,
                speed=1.0,
                instructions=openai.omit,
                stream_format="sse",
                timeout=30,
                extra_body={"seed": 3},
            ) as stream,
        ):
            assert stream.headers["content-type"].split(";")[0].strip().lower() == "text/event-stream"
            assert stream.request_id
            async for line in stream.iter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line[6:])
                if event["type"] == "speech.audio.delta":
                    audio += base64.b64decode(event.get("delta", "") or event.get("audio", ""))
                elif event["type"] == "speech.audio.done":
                    usage = event["usage"]
        return audio, usage

    audio, usage = asyncio.run(speak())
    assert audio == plain
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0


def test_livekit_warms_the_connection_up(server):
    assert server.get("/v1/")[0] == 404


# ---------------------------------------------------------------- Pipecat
@pytest.mark.parametrize("voice", ["alloy", "cedar", "verse"])
def test_pipecat_knows_only_built_in_voices(server, voice):
    openai = need_openai()

    async def speak():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            how = {"model": "gpt-4o-mini-tts", "voice": voice, "response_format": "pcm"}
            async with client.audio.speech.with_streaming_response.create(
                input="Good evening.", extra_body={"seed": 8}, **how
            ) as answer:
                assert answer.status_code == 200
                return [piece async for piece in answer.iter_bytes(9600)]

    assert b"".join(asyncio.run(speak())) == pcm_of(server, 8, input="Good evening.")


def test_pipecat_shows_an_error(server):
    openai = need_openai()

    async def speak():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            how = {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm"}
            async with client.audio.speech.with_streaming_response.create(input="...", **how):
                pass

    with pytest.raises(openai.BadRequestError, match="nothing to speak"):
        asyncio.run(speak())


# ---------------------------------------------------------------- curl into a player
def test_curl_into_a_player(server):
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("curl: nothing may be skipped under CI=true")
        pytest.skip("no curl here")
    body = json.dumps({"input": TEXT, "response_format": "wav", "seed": 2})
    # a player that reads the header, and then samples as they come until the end of the file
    player = (
        "import soundfile, sys; from itertools import takewhile; file = soundfile.SoundFile(sys.stdin.fileno()); "
        "file.seekable = lambda: False; blocks = iter(lambda: len(file.read(1920)), 0); print(sum(blocks))"
    )
    curl = subprocess.Popen(
        ["curl", "-sN", f"{server.url}/v1/audio/speech", "-H", "Content-Type: application/json", "-d", body],
        stdout=subprocess.PIPE,
    )
    played = subprocess.run(
        [sys.executable, "-c", player], stdin=curl.stdout, capture_output=True, text=True, timeout=60
    )
    curl.stdout.close()
    assert curl.wait(60) == 0
    assert played.returncode == 0, played.stderr
    assert int(played.stdout) * 2 == len(pcm_of(server, 2))


# ---------------------------------------------------------------- clients that leave
def test_a_client_that_leaves_frees_its_place(server):
    body = json.dumps({"input": TEXT * 8, "response_format": "opus"}).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(head + body)
            assert client.recv(12) == b"HTTP/1.1 200"
    for _ in range(100):
        if server.metric("qwen3tts_speaking") == 0:
            break
        time.sleep(0.05)
    assert server.metric("qwen3tts_speaking") == 0
    assert request(server.port, "GET", "/health")[2] == b"OK"
