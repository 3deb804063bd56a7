"""`/v1/speak`, errors after the first audio, and a server with keys, a lexicon and a limit of the audio."""

from __future__ import annotations

import http.client
import json

import numpy as np
import pytest
from helpers import CHECKPOINTS
from serving import Running, need_server, request
from speech_clients import audio_of, bytes_of_say, events, parts

from qwen3tts_cli.common.sample_conversion import to_pcm16

need_server()

TEXT = "The train leaves at seven. Do not be late."
LONG = "This sentence is spoken again and again. " * 6
KEY = {"Authorization": "Bearer secret"}
LEXICON = "train\tbus\t\tw\n"


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "words.tsv"
    path.write_text(LEXICON, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def server(lexicon):
    models = (None, CHECKPOINTS / "tiny-base")
    with Running(models=models, api_keys=("other", "secret"), lexicon=lexicon, max_audio_seconds=6.0) as running:
        yield running


def speak(server, path="/v1/speak", **fields):
    status, headers, body = server.post(path, {"input": TEXT, **fields}, headers=KEY)
    return status, headers, body


def test_samples_codes_and_facts_are_those_of_say(server, lexicon, tmp_path):
    status, headers, body = speak(server, seed=9, codes=True, timings=True)
    assert status == 200
    assert headers["content-type"] == "application/x-qwen3tts-parts"
    found = parts(body)
    kinds = "".join(kind.decode() for kind, _ in found)
    assert kinds == "S" * (len(found) - 2) + "CF"
    samples = np.frombuffer(b"".join(content for kind, content in found if kind == b"S"), "<f4")
    report, codes = tmp_path / "a.json", tmp_path / "a.npy"
    options = ["--seed", "9", "--lexicon", str(lexicon), "--codes", str(codes), "--json", str(report), "--raw"]
    said = bytes_of_say(tmp_path, *options, TEXT)
    assert to_pcm16(samples).tobytes() == said
    np.testing.assert_array_equal(np.frombuffer(found[-2][1], "<i4").reshape(-1, 16), np.load(codes))
    facts, wanted = json.loads(found[-1][1]), json.loads(report.read_text())
    segments = facts.pop("segments")
    assert facts.keys() == wanted.keys()
    assert facts["timings"].keys() == wanted["timings"].keys()
    for name in wanted.keys() - {"timings", "rtf", "first_audio_ms"}:
        assert facts[name] == wanted[name], name
    assert "bus" in " ".join(each["text"] for each in segments)
    assert segments[-1]["end"] == pytest.approx(facts["seconds"])


def test_integer_samples_are_rounded_as_say_rounds(server):
    exact, rounded = (parts(speak(server, seed=9, samples=kind)[2]) for kind in ("float32", "int16"))
    samples = np.frombuffer(b"".join(content for kind, content in exact if kind == b"S"), "<f4")
    assert b"".join(content for kind, content in rounded if kind == b"S") == to_pcm16(samples).tobytes()


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "x"}, 404, 3),
        ({"voice": "nobody"}, 400, 2),
        ({"samples": "int8"}, 400, 2),
        ({"input": "..."}, 400, 2),
    ],
)
def test_errors_before_the_first_samples_have_the_exit_code_of_say(server, fields, status, code):
    found, _, body = speak(server, **fields)
    assert found == status
    assert json.loads(body)["error"]["exit_code"] == code


def test_without_a_key(server):
    status, headers, body = server.post("/v1/speak", {"input": TEXT})
    assert (status, json.loads(body)["error"]["exit_code"]) == (401, 1)
    assert headers["www-authenticate"] == "Bearer"


def test_an_error_after_audio_is_the_last_part_or_event(server):
    status, _, body = speak(server, input=LONG)
    kind, content = parts(body)[-1]
    assert (status, kind) == (200, b"E")
    assert json.loads(content)["exit_code"] == 2
    assert "6 s" in json.loads(content)["message"]
    status, _, body = speak(server, "/v1/audio/speech", input=LONG, stream_format="sse", response_format="pcm")
    found = events(body)
    name, last = found[-1]
    assert (status, name, last["type"], last["error"]["code"]) == (200, "error", "error", "audio_limit")
    assert len(audio_of(found)) > 48000


def test_an_error_after_audio_cuts_the_body_off(server):
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        speak(server, "/v1/audio/speech", input=LONG, response_format="pcm")


def test_lists_without_a_key_name_no_kept_voices(server, tmp_path_factory, run):
    from qwen3tts_cli.cloning import voice_store

    wav = CHECKPOINTS.parent / "wavs" / "ref24k.wav"
    run("voices", "create", "mine", "--from", str(wav), "--x-vector", "-m", str(CHECKPOINTS / "tiny-base"), "-q")
    try:
        for path in ("/v1/audio/voices", "/v1/models/tiny-base"):
            with_key, without = (server.get(path, headers=headers) for headers in (KEY, {}))
            assert with_key[0] == without[0] == 200
            assert "mine" in {voice["id"] for voice in json.loads(with_key[2])["voices"]}
            assert "mine" not in {voice["id"] for voice in json.loads(without[2])["voices"]}
        assert server.get("/v1/models", headers={"Authorization": "Bearer "})[0] == 200
        assert server.get("/v1/audio/models", headers={})[0] == 200
        status, headers, _ = speak(server, model="tiny-base", voice="mine", max_frames=2, retries=0)
        assert (status, headers["x-voice"]) == (200, "mine")
    finally:
        voice_store.remove("mine")


def test_voices_are_not_kept_without_a_folder(server):
    for method, path in (("POST", "/v1/audio/voices"), ("DELETE", "/v1/audio/voices/mine")):
        status, headers, body = request(server.port, method, path, headers=KEY)
        assert (status, json.loads(body)["error"]["code"]) == (403, "voices_not_kept")
        assert headers["x-should-retry"] == "false"
