"""The full-size 0.6B models against the reference; `make parity` makes the checkpoints and runs this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import (
    check_codes,
    check_speech,
    decode_golden,
    golden_rows,
    load_golden,
    open_encoder,
    open_model,
    open_speaker,
    relative_error,
    snr_db,
    speak_golden,
)

from qwen3tts_cli import Codec

NAMES = ("0.6b-customvoice", "0.6b-base")
SPEECH = [(name, row) for name in NAMES for row in golden_rows(name, "tts")]
DECODE = [(name, row) for name in NAMES for row in golden_rows(name, "codec_decode")]
ENCODE = [(name, row) for name in NAMES for row in golden_rows(name, "codec_encode")]
SPEAKER = [(name, row) for name in NAMES for row in golden_rows(name, "speaker")]


def case_id(value):
    return value if isinstance(value, str) else value["file"].removesuffix(".npz")


@pytest.fixture(scope="module")
def models(full_size):
    """Opened models by name, one at a time: each maps 2.5 GB."""
    opened = {}

    def model(name):
        if name not in opened:
            for other in list(opened):
                opened.pop(other).close()
            opened[name] = open_model(Path(full_size) / name)
        return opened[name]

    yield model
    for one in opened.values():
        one.close()


@pytest.mark.parametrize(("name", "row"), SPEECH, ids=case_id)
def test_speech(models, name, row):
    golden = load_golden(name, row)
    check_speech(speak_golden(models(name), row, golden), golden)


@pytest.mark.parametrize(("name", "row"), DECODE, ids=case_id)
def test_decoder(full_size, name, row):
    golden = load_golden(name, row)
    first = int(golden.get("first_sample", 0))
    with Codec.open(Path(full_size) / name) as codec:
        for chunk in (1, 4, 64):
            samples = decode_golden(codec, golden["codes"], chunk)[first:]
            assert snr_db(samples, golden["wav_unchunked"]) >= 80


@pytest.mark.parametrize(("name", "row"), ENCODE, ids=case_id)
def test_encoder(full_size, name, row):
    golden = load_golden(name, row)
    with open_encoder(Path(full_size) / name / "speech_tokenizer") as encoder:
        check_codes(encoder.encode(golden["input_values"]), golden)


@pytest.mark.parametrize(("name", "row"), SPEAKER, ids=case_id)
def test_speaker_vector(full_size, name, row):
    golden = load_golden(name, row)
    with open_speaker(Path(full_size) / name) as speaker:
        assert relative_error(speaker.embed(golden["audio24k"]), golden["embedding"]) <= 1e-4


def test_chunked_reference_differs_from_one_pass():
    """The reference forgets what is more than 25 frames back at its chunk borders; this engine does not."""
    golden = load_golden(NAMES[0], "codec_chunk_310.npz")
    assert np.isfinite(golden["wav"]).all()
    assert snr_db(golden["wav"], golden["wav_unchunked"]) < 80
