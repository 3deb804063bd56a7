"""The OpenAI API of a server, asked by the real client, and the same speech as `say` writes it."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, DATA
from serving import Running, need_server, request
from speech_clients import audio_of, bytes_of_say, events

need_server()
if find_spec("openai") is None:
    if os.environ.get("CI") == "true":
        pytest.fail("the package openai is missing: pip install '.[dev]'", pytrace=False)
    pytest.skip("needs the package openai", allow_module_level=True)
import openai  # noqa: E402

TEXT = "The train leaves. It is late."
FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm;rate=24000;channels=1",
}
XING_BYTES = 192
RECORDING = DATA / "wavs" / "ref24k.wav"


PRESETS = {
    "alloy": "serena", "ash": "ryan", "ballad": "aiden", "coral": "vivian", "echo": "aiden", "fable": "ryan",
    "marin": "vivian", "nova": "serena", "onyx": "uncle_fu", "sage": "sohee", "shimmer": "ono_anna", "verse": "ryan",
    "cedar": "aiden", "Eric": "eric", None: "serena",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = (None, *(CHECKPOINTS / name for name in ("tiny-customvoice", "tiny-base", "tiny-voicedesign")))
    with Running(models=models, voices_dir=tmp_path_factory.mktemp("voices")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def speak(client, text=TEXT, **fields):
    """The answer of the real client, read whole."""
    known = {"model": "tts-1", "voice": "alloy", "response_format": "pcm"}
    extra = {name: fields.pop(name) for name in list(fields) if name not in (*known, "instructions", "speed")}
    return client.audio.speech.with_raw_response.create(input=text, **{**known, **fields}, extra_body=extra)


# ---------------------------------------------------------------- formats
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_bytes_of_say(client, tmp_path, name):
    answer = speak(client, response_format=name, seed=7)
    assert answer.headers["content-type"] == FORMATS[name]
    arguments = ["--raw"] if name == "pcm" else ["--audio-format", name]
    said = bytes_of_say(tmp_path, "--seed", "7", *arguments, TEXT)
    assert answer.content == (said[XING_BYTES:] if name == "mp3" else said)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_bodies_of_mp3_can_be_joined(client, rate):
    one, two = (speak(client, text, response_format="mp3", sample_rate=rate).content for text in ("One.", "Two."))
    lengths = [len(soundfile.read(io.BytesIO(body))[0]) for body in (one, two)]
    samples, found = soundfile.read(io.BytesIO(one + two))
    assert found == rate
    assert abs(len(samples) - sum(lengths)) <= 2 * 1152


def test_the_header_of_wav_is_in_the_first_piece(client):
    with client.audio.speech.with_streaming_response.create(
        input=TEXT, model="tts-1", voice="nova", response_format="wav"
    ) as answer:
        first = next(answer.iter_bytes())
    assert first[:8] == b"RIFF" + b"\xff" * 4
    assert first[36:44] == b"data" + b"\xff" * 4
    assert len(first) > 44


def test_aac_needs_ffmpeg(client):
    if shutil.which("ffmpeg"):
        answer = speak(client, response_format="aac", seed=1)
        assert answer.headers["content-type"] == "audio/aac"
        assert answer.content[0] == 0xFF
        assert answer.content[1] & 0xF6 == 0xF0
        return
    with pytest.raises(openai.BadRequestError, match="ffmpeg") as caught:
        speak(client, response_format="aac")
    assert caught.value.param == "response_format"


def test_speed_rate_and_options_are_those_of_say(client, tmp_path):
    answer = speak(client, speed=1.5, seed=3, sample_rate=16000, temperature=0.7, top_k=20, split=False)
    assert answer.headers["content-type"] == "audio/pcm;rate=16000;channels=1"
    options = ["--speed", "1.5", "--rate", "16000", "--temperature", "0.7", "--top-k", "20", "--no-split"]
    assert answer.content == bytes_of_say(tmp_path, *options, "--seed", "3", "--raw", TEXT)


def test_the_same_bytes_while_others_speak(client):
    asked = [
        {"text": f"This is the sentence of number {number}.", "seed": number, "response_format": name}
        for number, name in enumerate([*FORMATS, "pcm"])
    ]
    alone = [speak(client, **each).content for each in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda each: speak(client, **each).content, asked))
    assert together == alone


# ---------------------------------------------------------------- headers, voices, models
def test_headers(client):
    answer = speak(client, seed=11)
    assert answer.headers["x-seed"] == "11"
    assert answer.headers["x-model"] == "pocket"
    assert answer.headers["x-voice"] == "slt"
    assert answer.headers["x-request-id"]
    drawn = int(speak(client).headers["x-seed"])
    assert 0 <= drawn < 1 << 64


@pytest.mark.parametrize(
    ("voice", "preset"),
    PRESETS.items(),
)
def test_built_in_voices_speak_with_presets(server, voice, preset):
    body = {"input": "Hello.", "model": "tiny-customvoice", "voice": voice, "max_frames": 2, "retries": 0}
    status, headers, body = server.post("/v1/audio/speech", {**body, "response_format": "pcm"})
    assert status == 200
    assert headers["x-voice"] == preset
    assert len(body) == 2 * 2 * 1920


def test_a_voice_may_be_an_object_and_unknown_fields_are_ignored(server):
    body = {"input": "Hello.", "voice": {"id": "slt"}, "response_format": "pcm", "backend": "x", "greedy": None}
    assert server.post("/v1/audio/speech", body)[0] == 200


def test_lists(client, server):
    listed = [model.id for model in client.models.list()]
    assert listed == ["pocket", "tiny-customvoice", "tiny-base", "tiny-voicedesign"]
    for name in ("tts-1", "gpt-4o-mini-tts-2025-12-15", "kokoro", "POCKET"):
        found = client.models.retrieve(name)
        assert (found.id, found.object) == ("pocket", "model")
        assert [voice["name"] for voice in found.voices] == ["slt"]
    assert json.loads(server.get("/v1/audio/models")[2])["models"][1]["id"] == "tiny-customvoice"
    voices = json.loads(server.get("/v1/audio/voices")[2])["voices"]
    assert {"id": "ryan", "name": "ryan", "type": "preset", "models": ["tiny-customvoice"]} in voices
    assert not {voice["id"] for voice in voices} & {"alloy", "nova", "verse"}
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


def test_instructions_that_the_model_cannot_follow(client):
    plain = speak(client, seed=2)
    answer = speak(client, seed=2, instructions="Whisper.")
    assert answer.headers["x-ignored"] == "instructions"
    assert answer.content == plain.content
    assert "x-ignored" not in plain.headers
    with pytest.raises(openai.BadRequestError) as caught:
        speak(client, instructions="Whisper.", strict=True)
    assert caught.value.param == "instructions"


def test_instructions_that_the_model_follows(client, tmp_path):
    model = CHECKPOINTS / "tiny-customvoice"
    fields = {"model": "tiny-customvoice", "voice": "ryan", "seed": 4, "max_frames": 3, "retries": 0}
    answer = speak(client, "Hello.", instructions="Whisper.", **fields)
    assert "x-ignored" not in answer.headers
    options = ["-m", str(model), "-v", "ryan", "--seed", "4", "--max-frames", "3", "--retries", "0", "--raw"]
    assert answer.content == bytes_of_say(tmp_path, *options, "--instruct", "Whisper.", "Hello.")


# ---------------------------------------------------------------- events
def test_events_hold_the_audio_and_the_usage(client, server):
    plain = speak(client, response_format="wav", seed=5)
    body = {"input": TEXT, "response_format": "wav", "seed": 5, "stream_format": "sse", "timings": True}
    status, headers, body = server.post("/v1/audio/speech", body)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    found = events(body)
    assert audio_of(found) == plain.content
    assert len(found) > 3
    assert b"[DONE]" not in body
    last = found[-1][1]
    assert last["type"] == "speech.audio.done"
    seconds = (len(plain.content) - 44) / 48000
    assert last["usage"]["output_tokens"] == round(seconds * 12.5)
    assert last["usage"]["total_tokens"] == last["usage"]["input_tokens"] + last["usage"]["output_tokens"]
    assert last["timings"][-1]["end"] == pytest.approx(seconds)


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": " "}, "input", "empty_string"),
        ({"input": "..."}, "input", "invalid_value"),
        ({"input": "x" * 4097}, "input", "string_above_max_length"),
        ({"input": 5}, "input", "invalid_type"),
        ({"voice": "nobody"}, "voice", "voice_not_found"),
        ({"voice": "../../etc/passwd"}, "voice", "voice_not_found"),
        ({"voice": {"name": "ryan"}, "model": 3}, "model", "invalid_type"),
        ({"voice": ["ryan"]}, "voice", "invalid_type"),
        ({"response_format": "ogg"}, "response_format", "invalid_value"),
        ({"stream_format": 1}, "stream_format", "invalid_value"),
        ({"speed": 0.2}, "speed", "invalid_value"),
        ({"speed": "fast"}, "speed", "invalid_value"),
        ({"sample_rate": 11025}, "sample_rate", "invalid_value"),
        ({"sample_rate": 22050, "response_format": "opus"}, "sample_rate", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"greedy": "yes"}, "greedy", "invalid_value"),
        ({"language": "klingon"}, "language", "invalid_value"),
        ({"text_mode": "half"}, "text_mode", "invalid_value"),
        ({"instruct": "Whisper."}, "instruct", "invalid_value"),
        ({"instructions": "x" * 4097}, "instructions", "string_above_max_length"),
        ({"design": "An old man."}, "design", "invalid_value"),
        ({"ref_audio": "UklGRg=="}, "ref_audio", "unsupported_value"),
        ({"ref_text": "Hello."}, "ref_text", "invalid_value"),
        ({"ref_audio": "http://127.0.0.1/a.wav", "model": "tiny-base"}, "ref_audio", "invalid_value"),
        ({"ref_audio": "/etc/passwd", "model": "tiny-base"}, "ref_audio", "invalid_value"),
        ({"ref_audio": "UklGRg==", "model": "tiny-base"}, "ref_audio", "invalid_audio"),
        ({"voice_file": "UklGRg==", "model": "tiny-base"}, "voice_file", "invalid_value"),
        ({"model": "tiny-base", "voice": "alloy"}, "voice", "voice_required"),
        ({"timings": True}, "timings", "unsupported_value"),
    ],
)
def test_a_wrong_field_is_named(server, fields, param, code):
    status, headers, body = server.post("/v1/audio/speech", {"input": TEXT, **fields})
    error = json.loads(body)["error"]
    assert (status, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert headers["x-should-retry"] == "false"
    assert "\n" not in error["message"]


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        speak(client, model="gpt-4")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.request_id
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"input": "\\ud800"}', b"[" * 100_000])
def test_bodies_that_are_no_object(server, data):
    status, _, body = request(server.port, "POST", "/v1/audio/speech", data)
    assert status == 400
    assert json.loads(body)["error"]["code"] == "invalid_json"


# ---------------------------------------------------------------- voices of clients
@pytest.fixture
def made_voice(client):
    """A voice that the real client has made of a recording, in the folder of the server."""
    with open(RECORDING, "rb") as file:
        voice = client.audio.voices.create(name="Nova", audio_sample=file, consent="cons_1")
    yield voice
    client.audio.voices.delete(voice.id)


def test_a_voice_of_a_client_takes_precedence_over_a_built_in_one(client, server, made_voice):
    assert (made_voice.id, made_voice.name) == ("nova", "Nova")
    assert (made_voice.object, made_voice.type) == ("audio.voice", "audio_sample")
    fields = {"model": "tiny-base", "max_frames": 2, "retries": 0, "seed": 1}
    answer = speak(client, "Hello.", voice={"id": made_voice.id}, **fields)
    assert answer.headers["x-voice"] == "nova"
    assert speak(client, voice="nova").headers["x-voice"] == "slt"  # the first model cannot speak with it
    voices = json.loads(server.get("/v1/audio/voices")[2])["voices"]
    assert {"id": "nova", "name": "Nova", "type": "kept", "models": ["tiny-base"]} in voices
    assert [each["id"] for each in client.models.retrieve("tiny-base").voices] == ["nova"]
    with pytest.raises(openai.ConflictError) as caught, open(RECORDING, "rb") as file:
        client.audio.voices.create(name="nova", audio_sample=file, consent="cons_1")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_voice_with_a_transcript_speaks_as_the_recording_does(client, server):
    with open(RECORDING, "rb") as file:
        extra = {"ref_text": "A short text.", "language": "english"}
        voice = client.audio.voices.create(name="ann", audio_sample=file, consent="x", extra_body=extra)
    kept = server.server.settings.voices_dir / "ann.safetensors"
    fields = {"model": "tiny-base", "max_frames": 2, "retries": 0, "seed": 1, "ref_text": "A short text."}
    by_name = speak(client, "Hello.", voice=voice.id, **{**fields, "ref_text": None}).content
    data = base64_of(RECORDING.read_bytes())
    assert speak(client, "Hello.", language="english", ref_audio=data, **fields).content == by_name
    url = f"data:audio/wav;base64,{data}"
    assert speak(client, "Hello.", language="english", ref_audio=url, **fields).content == by_name
    file = base64_of(kept.read_bytes())
    assert speak(client, "Hello.", voice_file=file, **{**fields, "ref_text": None}).content == by_name
    assert client.audio.voices.delete("ann").deleted
    assert not kept.exists()
    with pytest.raises(openai.NotFoundError):
        client.audio.voices.delete("ann")


def base64_of(data):
    return base64.b64encode(data).decode()


def test_a_voice_of_a_prompt(client):
    script = "Good morning. How are you?"
    fields = {"name": "captain", "prompt": "An old man.", "script_hint": script, "extra_body": {"seed": "3"}}
    voice = client.audio.voices.create(type="prompt", **fields)
    assert (voice.type, voice.prompt) == ("prompt", "An old man.")
    fields = {"model": "tiny-base", "max_frames": 2, "retries": 0}
    assert speak(client, "Hello.", voice="captain", **fields).headers["x-voice"] == "captain"
    client.audio.voices.delete("captain")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "ryan", "none", "", "x" * 65, "a\x00b", "/etc/passwd", ".hidden", "x.safetensors"]
)
def test_names_that_no_voice_may_have(client, server, name):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.voices.create(name=name, audio_sample=RECORDING.read_bytes(), consent="x")
    assert caught.value.param == "name"
    assert not list(server.server.settings.voices_dir.iterdir())


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not audio", os.urandom(5000)])
def test_uploads_that_are_no_recording(client, data):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.voices.create(name="x", audio_sample=data, consent="x")
    assert (caught.value.param, caught.value.code) == ("audio_sample", "invalid_audio")


def test_a_small_file_of_very_many_samples_is_refused(client):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 655_350, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(30):
            sound.write(np.zeros(1_000_000, np.int16))
    assert len(file.getvalue()) < 1 << 20
    with pytest.raises(openai.BadRequestError, match="28800000 samples") as caught:
        client.audio.voices.create(name="x", audio_sample=file.getvalue(), consent="x")
    assert caught.value.code == "invalid_audio"


def test_a_prompt_may_be_json(server):
    body = {"type": "prompt", "name": "captain", "prompt": "An old man.", "script_hint": "Good morning. How are you?"}
    headers = {"Content-Type": "application/json"}
    status, _, answer = server.post("/v1/audio/voices", {**body, "seed": 3}, headers=headers)
    assert (status, json.loads(answer)["id"]) == (200, "captain")
    assert request(server.port, "DELETE", "/v1/audio/voices/captain")[0] == 200
    for wrong, param in (({"seed": "x"}, "seed"), ({"prompt": None}, "prompt"), ({"name": ["x"]}, "name")):
        status, _, answer = server.post("/v1/audio/voices", {**body, **wrong}, headers=headers)
        assert (status, json.loads(answer)["error"]["param"]) == (400, param)


def test_forms_that_are_none(server):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--y", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"):
        status, _, answer = request(server.port, "POST", "/v1/audio/voices", body, headers)
        assert status == 400
        assert json.loads(answer)["error"]["type"] == "invalid_request_error"
    assert request(server.port, "POST", "/v1/audio/voices", b"x", {"Content-Type": "text/plain"})[0] == 415
    for path in ("..%2f..%2fetc", "%00", "ryan", "nobody"):
        assert request(server.port, "DELETE", f"/v1/audio/voices/{path}")[0] == 404
