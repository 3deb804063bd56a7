"""The OpenAPI document of a server: valid, complete, and every route and field in it answers as it says."""

from __future__ import annotations

import base64
import importlib.util
import json
import os

import pytest
from helpers import CHECKPOINTS, DATA
from serving import Running, need_server, request

need_server()
for package in ("openapi_spec_validator", "openapi_schema_validator"):
    if importlib.util.find_spec(package) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the package {package} is missing: pip install '.[dev]'", pytrace=False)
        pytest.skip(f"needs the package {package}", allow_module_level=True)
from importlib.resources import files  # noqa: E402

from openapi_schema_validator import OAS31Validator  # noqa: E402
from openapi_spec_validator import validate  # noqa: E402
from starlette.routing import Route  # noqa: E402

from qwen3tts_cli.serve.app import make_app  # noqa: E402
from qwen3tts_cli.serve.live import routes as live_routes  # noqa: E402
from qwen3tts_cli.serve.openai.fields import LARGE_FIELDS, OPTIONS  # noqa: E402

DOCUMENT = json.loads(files("qwen3tts_cli.serve.openai").joinpath("openapi.json").read_bytes())
SCHEMAS = DOCUMENT["components"]["schemas"]
FIELDS = SCHEMAS["SpeechRequest"]["properties"]
SPEAK_FIELDS = SCHEMAS["SpeakRequest"]["allOf"][1]["properties"]
RECORDING = (DATA / "wavs" / "ref24k.wav").read_bytes()
ENCODED = base64.b64encode(RECORDING).decode()
SHORT = {"max_frames": 2, "retries": 0, "response_format": "pcm"}
# What a field needs beside it. A value of the field itself replaces the example of the document.
BESIDE = {
    "instruct": {"model": "tiny-customvoice"},
    "design": {"model": "tiny-voicedesign"},
    "ref_audio": {"model": "tiny-base", "ref_audio": ENCODED},
    "ref_text": {"model": "tiny-base", "ref_audio": ENCODED},
    "timings": {"stream_format": "sse"},
    "voice": {"model": "tiny-customvoice"},
}
WRONG = {"string": 5, "number": "x", "integer": 1.5, "boolean": "yes"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = (None, *(CHECKPOINTS / name for name in ("tiny-customvoice", "tiny-base", "tiny-voicedesign")))
    with Running(models=models, voices_dir=tmp_path_factory.mktemp("voices")) as running:
        yield running


def check(body, schema):
    """Assert that a JSON body is what a schema of the document says."""
    OAS31Validator({**schema, "components": DOCUMENT["components"]}).validate(json.loads(body))


def test_the_document_is_valid_and_served(server):
    validate(DOCUMENT)
    status, headers, body = server.get("/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == DOCUMENT


def test_every_route_is_described_and_every_description_has_a_route(server):
    found = {
        (route.path.replace(":path}", "}"), method)
        for route in make_app(server.server.state).routes
        if isinstance(route, Route) and route.path != "/" and not route.path.startswith("/page")
        for method in route.methods - {"HEAD"}
    }
    described = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == found


def test_every_route_answers(server):
    """In the order of the document, in which the voice that is made is deleted later."""
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, more, value)
        for name, more, value in (
            (b"name", b"", b"anna"),
            (b"consent", b"", b"cons_1234"),
            (b"audio_sample", b'; filename="a.wav"', RECORDING),
        )
    )
    bodies = {
        "createSpeech": (json.dumps({"input": "Hello.", **SHORT}), "application/json"),
        "speak": (json.dumps({"input": "Hello.", **SHORT}), "application/json"),
        "createVoice": (form + b"--x--\r\n", "multipart/form-data; boundary=x"),
    }
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            body, kind = bodies.get(operation["operationId"], (None, ""))
            where = path.replace("{model}", "pocket").replace("{voice}", "anna")
            headers = {"Content-Type": kind} if kind else {}
            status, headers, answer = request(server.port, method.upper(), where, body, headers)
            assert status == (426 if path == live_routes.PATH else 200), (path, answer[:200])
            kind = headers["content-type"].partition(";")[0]
            schema = operation["responses"][str(status)]["content"][kind]["schema"]
            if kind == "application/json":
                check(answer, schema)


def test_every_option_of_a_request_is_described():
    others = {"input", "model", "voice", "instructions", "response_format", "stream_format", "sample_rate", "timings"}
    ours = {"samples", "codes", "live"}
    assert SPEAK_FIELDS.keys() == {*ours, "lexicon"}
    assert {*FIELDS, *SPEAK_FIELDS} == {*OPTIONS, *LARGE_FIELDS, *others, *ours, "ref_text", "strict"}


@pytest.mark.parametrize("name", [*FIELDS, *SPEAK_FIELDS])
def test_every_field_answers(server, name):
    schema = {**FIELDS, **SPEAK_FIELDS}[name]
    path = "/v1/speak" if name in SPEAK_FIELDS else "/v1/audio/speech"
    for example in schema["examples"]:
        body = {"input": "Hello.", **SHORT, name: example, **BESIDE.get(name, {})}
        if name == "voice_file":
            body.update(model="tiny-base", voice_file=voice_file(server))
        status, headers, answer = server.post(path, body)
        assert status == 200, answer
        if headers["content-type"].startswith("text/event-stream"):
            for block in answer.decode().split("\n\n")[:-1]:
                check(block.removeprefix("data: "), SCHEMAS["SpeechEvent"])


def voice_file(server):
    """The file of a kept voice, in base64, made by the Python API."""
    import io

    from qwen3tts_cli.audio.recording import load_recording
    from qwen3tts_cli.cloning.voice_file import voice_bytes

    base = server.server.state.engines.find("tiny-base").synthesizer
    voice = base.clone(load_recording(io.BytesIO(RECORDING)), on_warning=lambda line: None)
    return base64.b64encode(voice_bytes(voice)).decode()


@pytest.mark.parametrize("name", [*FIELDS, *SPEAK_FIELDS])
def test_wrong_values_of_every_field_are_refused(server, name):
    schema = {**FIELDS, **SPEAK_FIELDS}[name]
    path = "/v1/speak" if name in SPEAK_FIELDS else "/v1/audio/speech"
    wrong = [WRONG.get(schema.get("type"), 5)]
    wrong += ["no such value"] if "enum" in schema and schema["type"] == "string" else []
    wrong += [schema["minimum"] - 1, schema["maximum"] * 2] if "minimum" in schema else []
    wrong += ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else []
    for value in wrong:
        body = {"input": "Hello.", **SHORT, **BESIDE.get(name, {}), name: value}
        status, _, answer = server.post(path, body)
        check(answer, SCHEMAS["Error"])
        assert (status, json.loads(answer)["error"]["param"]) == (400, name)
