"""Greedy speech equals the reference: prompt ids, prefill embeddings, logits, codes of every frame, and samples."""

import pytest
from helpers import (
    check_speech,
    checkpoint_of,
    decode_golden,
    golden_rows,
    load_golden,
    open_model,
    snr_db,
    speak_golden,
)

from qwen3tts_cli import Codec

FOLDERS = ("tiny-customvoice", "tiny-voicedesign", "tiny-base", "pocket")
CASES = [(folder, row["file"]) for folder in FOLDERS for row in golden_rows(folder, "tts")]


@pytest.fixture(scope="module")
def models():
    opened = {folder: open_model(checkpoint_of(folder)) for folder in FOLDERS}
    yield opened
    for model in opened.values():
        model.close()


@pytest.mark.parametrize(("folder", "file"), CASES, ids=lambda v: v.removesuffix(".npz"))
def test_speech_equals_the_reference(models, folder, file):
    row = next(r for r in golden_rows(folder) if r["file"] == file)
    golden = load_golden(folder, row)
    check_speech(speak_golden(models[folder], row, golden), golden)


@pytest.fixture(scope="module")
def codec():
    with Codec.open(checkpoint_of("tiny-base")) as opened:
        yield opened


@pytest.mark.parametrize("row", golden_rows("tiny-base", "codec_decode"), ids=lambda r: r["file"])
@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_decoder_equals_one_pass_of_the_reference(codec, row, chunk):
    golden = load_golden("tiny-base", row)
    want = golden["wav_unchunked"] if "wav_unchunked" in golden else golden["wav"]
    got = decode_golden(codec, golden["codes"], chunk)
    assert snr_db(got[int(golden.get("first_sample", 0)) :], want) >= (80 if want.dtype == "float32" else 55)
