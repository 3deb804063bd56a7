"""The full-size 0.6B models against the reference; `make parity` makes the checkpoints and runs this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import (
    check_speech,
    decode_golden,
    golden_rows,
    load_golden,
    open_model,
    snr_db,
    speak_golden,
)

NAMES = ("0.6b-customvoice", "0.6b-base")
SPEECH = [(name, row) for name in NAMES for row in golden_rows(name, "tts")]
DECODE = [(name, row) for name in NAMES for row in golden_rows(name, "codec_decode")]


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
def test_decoder(models, name, row):
    golden = load_golden(name, row)
    first = int(golden.get("first_sample", 0))
    for chunk in (1, 4, 64):
        samples = decode_golden(models(name), golden["codes"], chunk)[first:]
        assert snr_db(samples, golden["wav_unchunked"]) >= 80


def test_chunked_reference_differs_from_one_pass():
    """The reference forgets what is more than 25 frames back at its chunk borders; this engine does not."""
    golden = load_golden(NAMES[0], "codec_chunk_310.npz")
    assert np.isfinite(golden["wav"]).all()
    assert snr_db(golden["wav"], golden["wav_unchunked"]) < 80
