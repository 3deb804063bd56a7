"""The start of `say --stream`: which modules are imported before the first sample; and memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import CHECKPOINTS, POCKET

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.engine.prefault import start_prefault

# Modules that are slow to import and not needed for an English preset voice and raw audio into a pipe.
_UNWANTED = {
    "huggingface_hub", "soundfile", "sounddevice", "regex", "sentencex", "tomllib", "cffi", "matplotlib",
    "tempfile", "shutil", "secrets", "random", "subprocess", "socket", "asyncio", "logging", "concurrent.futures",
    "qwen3tts_cli.audio.recording", "qwen3tts_cli.cloning.voice_store", "qwen3tts_cli.cloning.voice_file",
    "qwen3tts_cli.models.download",
    "qwen3tts_cli.models.config.encoders", "qwen3tts_cli.models.encoder_tensor_specs",
    "qwen3tts_cli.engine.speaker_encoder", "qwen3tts_cli.engine.codec_encoder", "qwen3tts_cli.engine.codec_decoder",
}  # fmt: skip
_CODE = """
import os, sys
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.output import files as output_files
def report(self, data):
    files = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "safetensors" in line}
    print(sorted(set(sys.argv[1].split()) & set(sys.modules)), [os.path.dirname(f) for f in files], flush=True)
    os._exit(0)
output_files.Stdout.write = report
sys.exit(cli.run(sys.argv[2:]))
"""


def at_the_first_write(*arguments):
    """Output of a child in place of its first write to stdout: unwanted modules, folders of mapped weights."""
    command = [sys.executable, "-c", _CODE, " ".join(_UNWANTED), "say", "--stream", "--raw", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stream_imports_and_maps_only_what_it_needs(tmp_path, monkeypatch):
    assert at_the_first_write("Hello there.").startswith("[] ")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = str(CHECKPOINTS / "tiny-customvoice")
    options = ("-m", model, "--precision", "int8", "--max-frames", "5", "Hello there.")
    assert cli.run(["say", "-q", "-o", str(tmp_path / "first.wav"), *options]) == 0  # packs
    assert at_the_first_write(*options) == f"[] {[model]}\n"


def test_prefault_does_not_change_the_pages(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    data = np.memmap(path, np.uint8, "r")
    start_prefault([data[200_000:], data[:5], data[70_000:200_000], data[:0]]).join()
    assert data.tobytes() == path.read_bytes()


def resident_kb():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def growth_kb(utterances, settle):
    """Growth of resident memory over `utterances`, after `settle` others: the least of two measurements, since the C
    library may keep some megabytes once."""
    with Synthesizer.open(POCKET, threads=2) as voice:
        resident = []
        for number in range(settle + 2 * utterances):
            if number in (settle, settle + utterances):
                resident.append(resident_kb())
            assert len(voice.say(f"Word {number % 50}.", seed=number, max_frames=2))
        resident.append(resident_kb())
    return min(resident[1] - resident[0], resident[2] - resident[1])


@pytest.mark.skipif(sys.platform != "linux" or "asan" in os.environ.get("LD_PRELOAD", ""), reason="reads /proc")
def test_memory_does_not_grow():
    assert growth_kb(50, 30) < 512


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_over_a_thousand_utterances():
    assert growth_kb(1000, 100) < 1024
