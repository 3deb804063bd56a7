"""Mutated recordings, voices, codes and encoders: each is used or refused by an error of ours, within seconds."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, DATA, load_golden
from test_fuzz_files import MASKS, MAX_SECONDS, mutate_bytes, mutated

from qwen3tts_cli.audio.codec import codes_bytes, read_codes
from qwen3tts_cli.audio.recording import load_recording
from qwen3tts_cli.cloning.voice_file import Voice, read_voice, voice_bytes
from qwen3tts_cli.errors import Qwen3TTSError
from qwen3tts_cli.models.config.encoders import load_speaker_config

SAMPLES, RATE = soundfile.read(DATA / "wavs" / "ref22k.wav", dtype="float32")
CODES = np.ascontiguousarray(load_golden("tiny-base", "codec_encode_ref22k.npz")["codes"], np.int32)


def fuzz(request, path: Path, data: bytes, mutate: Callable, use: Callable) -> None:
    """Write mutations of `data` to `path` and use them until the time is up."""
    end = time.monotonic() + request.config.getoption("--fuzz-seconds")
    seed = used = refused = 0
    while time.monotonic() < end:
        rng = random.Random(f"{path.name} {seed}")
        path.write_bytes(mutate(data, rng))
        started = time.monotonic()
        try:
            use(path, rng)
            used += 1
        except Qwen3TTSError as error:
            refused += 1
            if "\n" in str(error):
                pytest.fail(f"{path.name}, seed {seed}: more than one line: {error}")
        except Exception as error:
            raise AssertionError(f"{path.name}, seed {seed}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - started < MAX_SECONDS, f"{path.name}, seed {seed}"
        seed += 1
    assert refused, "no mutation was refused"


def head_or_anywhere(data: bytes, rng: random.Random) -> bytes:
    return mutate_bytes(data, rng, rng.choice((64, 512, len(data))))


@pytest.mark.parametrize("name", ["a.wav", "f.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.caf", "a.w64"])
def test_mutated_recording(name, tmp_path, request):
    path = tmp_path / name
    soundfile.write(path, SAMPLES[:9000], RATE, subtype="DOUBLE" if name == "f.wav" else None)

    def use(path: Path, rng: random.Random) -> None:
        recording = load_recording(path, trim_silence=rng.random() < 0.5)
        assert np.isfinite(recording.samples).all()
        assert len(recording.samples) >= 2400

    fuzz(request, path, path.read_bytes(), head_or_anywhere, use)


def test_mutated_voice(tmp_path, request):
    voice = Voice("anna", np.ones(64, np.float32), CODES[:2], "text", "english", "0.6b-base", sha256="0" * 64)

    def use(path: Path, rng: random.Random) -> None:
        assert len(voice_bytes(read_voice(path))) > 0

    fuzz(request, tmp_path / "v.safetensors", voice_bytes(voice), lambda d, r: mutated("v.safetensors", d, r), use)


@pytest.mark.parametrize("name", ["codes.safetensors", "codes.npy"])
def test_mutated_codes(name, tmp_path, request):
    path = tmp_path / name
    np.save(path.with_suffix(".npy"), CODES)
    data = codes_bytes(CODES, {}) if name.endswith(".safetensors") else path.read_bytes()

    def mutate(data: bytes, rng: random.Random) -> bytes:
        return mutated(name, data, rng) if rng.random() < 0.5 else head_or_anywhere(data, rng)

    fuzz(request, path, data, mutate, lambda path, rng: read_codes(str(path)))


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "speech_tokenizer/config.json", "speech_tokenizer/model.safetensors"]
)
def test_mutated_encoders(name, tmp_path, request):
    """The files are opened anew for each mutation, the rest of the checkpoint stays whole."""
    from helpers import open_encoder, open_speaker

    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "tiny-base", folder)
    samples = load_recording((SAMPLES, RATE)).samples[:9000]

    def use(path: Path, rng: random.Random) -> None:
        mask = rng.choice(MASKS)
        if name.startswith("speech"):
            with open_encoder(folder / "speech_tokenizer", threads=1, cpu_mask=mask) as encoder:
                codes = encoder.encode(samples)
                assert codes.min() >= 0
                assert codes.max() < encoder.config.codebook_size
        elif load_speaker_config(folder) is not None:
            with open_speaker(folder, threads=1, cpu_mask=mask) as speaker:
                assert np.isfinite(speaker.embed(samples)).all()

    def mutate(data: bytes, rng: random.Random) -> bytes:
        return mutated(name, data, rng)

    fuzz(request, folder / name, (folder / name).read_bytes(), mutate, use)
