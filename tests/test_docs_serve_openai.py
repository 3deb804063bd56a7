"""The examples of the OpenAI API in docs/serve.md run, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec

import pytest
import soundfile
from helpers import CHECKPOINTS, DATA, ROOT, allowed
from serving import Running, need_server

need_server()

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## The OpenAI API") : PAGE.index("## Programs that speak through")]
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = (None, CHECKPOINTS / "tiny-base")
    with Running(models=models, voices_dir=tmp_path_factory.mktemp("voices")) as running:
        yield running


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


def need(what, there):
    if not there:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what}: nothing may be skipped under CI=true")
        pytest.skip(f"no {what} here")


def test_python_runs(server, tmp_path, monkeypatch):
    need("package openai", find_spec("openai"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "wavs" / "ref24k.wav", "anna.wav")
    played = []
    names = {"play": played.append}
    first, second = blocks("python")
    exec(compile(first.replace(ADDRESS, server.url), "serve.md, example 1", "exec"), names)
    assert len(soundfile.read("morning.wav")[0]) > 12_000
    assert len(b"".join(played)) > 24_000
    # a tiny model of random weights need not end its speech
    short = second.replace("0.6b-base", "tiny-base").replace(
        '.")\nclient', '.", extra_body={"max_frames": 2, "retries": 0})\nclient'
    )
    assert "max_frames" in short
    exec(compile(short, "serve.md, example 2", "exec"), names)
    assert names["voice"].id == "anna"
    assert not list(server.server.settings.voices_dir.iterdir())


def test_commands_run(server, tmp_path):
    need("curl", shutil.which("curl"))
    (command,) = blocks("sh")
    command = command.replace("curl ", "curl -sS --fail ", 1).replace(ADDRESS, server.url)
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, timeout=allowed(60))
    assert len(soundfile.read(tmp_path / "train.wav")[0]) > 12_000


def test_tables():
    from qwen3tts_cli.serve.openai.encoders import FORMATS, content_type
    from qwen3tts_cli.serve.openai.fields import OPTIONS
    from qwen3tts_cli.serve.openai.voice_names import BUILT_IN

    rows = re.findall(r"^\| `(\w+)`.*? \| `(audio/[^`]+)` \|", SECTION, re.MULTILINE)
    assert dict(rows) == {name: content_type(name, 24_000) for name in FORMATS}
    table = SECTION[SECTION.index("| built-in voice") : SECTION.index("**Formats.**")]
    assert dict(re.findall(r"`(\w+)` \| `(\w+)`", table)) == BUILT_IN
    listed = re.search(r"have their names: (.*?)\. Then", SECTION, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", listed)) == set(OPTIONS) - {"speed"}
