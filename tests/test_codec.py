"""The codec without a language model: encode, decode, stream, and the commands."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, DATA, load_golden, snr_db

from qwen3tts_cli import CheckpointError, Codec, InputError, ModelNotFoundError, UsageError
from qwen3tts_cli._native import lib
from qwen3tts_cli.audio.codec import TOKENIZER_REPO, codes_bytes, read_codes
from qwen3tts_cli.common.audio_constants import SAMPLE_RATE
from qwen3tts_cli.errors import EngineError
from qwen3tts_cli.models import hub_cache

BASE = CHECKPOINTS / "tiny-base"
WAV = str(DATA / "wavs" / "ref24k.wav")


@pytest.fixture(scope="module")
def codec():
    with Codec.open(BASE, threads=2) as opened:
        yield opened


def test_the_engine_and_the_package_agree_on_the_sample_rate():
    assert lib.Q3T_SAMPLE_RATE == SAMPLE_RATE


def test_round_trip_equals_the_reference(codec):
    golden = load_golden("tiny-base", "codec_encode_ref24k.npz")
    codes = codec.encode(golden["input_values"])
    np.testing.assert_array_equal(codes, golden["codes"])
    decoded = load_golden("tiny-base", "codec_decode.npz")
    want = decoded["wav_unchunked"] if "wav_unchunked" in decoded else decoded["wav"]
    assert snr_db(codec.decode(decoded["codes"]), want) >= 80


@pytest.mark.parametrize(
    "change",
    [
        lambda pcm: pcm,
        lambda pcm: pcm.astype(">i2"),
        lambda pcm: pcm.astype(np.int32) << 16,
        lambda pcm: pcm.astype(np.int64) << 48,
        lambda pcm: (pcm.astype(np.int32) + 32768).astype(np.uint16),
        lambda pcm: pcm / 32768,
        lambda pcm: np.float32(pcm / 32768)[::-1].copy()[::-1],
        lambda pcm: np.stack([pcm, pcm], 1),
        lambda pcm: (pcm / 32768).tolist(),
    ],
)
def test_samples_of_any_type_give_the_same_codes(codec, change):
    pcm, _ = soundfile.read(WAV, dtype="int16")
    golden = load_golden("tiny-base", "codec_encode_ref24k.npz")
    np.testing.assert_array_equal(codec.encode(change(pcm)), codec.encode(np.float32(pcm / 32768)))
    np.testing.assert_array_equal(codec.encode(change(pcm)), golden["codes"])


def test_samples_that_cannot_be_encoded_are_refused(codec):
    for samples, error in ((np.ones(9, complex), UsageError), ("a.wav", UsageError), ([], InputError)):
        with pytest.raises(error, match="samples"):
            codec.encode(samples)
    with pytest.raises(InputError, match="not finite"):
        codec.encode(np.array([np.nan] * 5000))


@pytest.mark.parametrize("cut", [1, 3, 64, 100])
def test_a_stream_has_the_samples_of_decode(codec, cut):
    codes = load_golden("tiny-base", "codec_decode_330.npz")["codes"]
    blocks = [codes[first : first + cut] for first in range(0, len(codes), cut)]
    np.testing.assert_array_equal(np.concatenate(list(codec.stream(blocks))), codec.decode(codes))


def test_a_new_stream_ends_the_one_before(codec):
    codes = load_golden("tiny-base", "codec_decode.npz")["codes"]
    stream = codec.stream([codes[:2], codes[2:]])
    next(stream)
    codec.decode(codes)
    with pytest.raises(EngineError, match="another stream"):
        next(stream)


def test_the_codec_of_a_model_and_the_codec_alone_agree(codec, run, tmp_path, monkeypatch):
    codes = load_golden("tiny-base", "codec_decode.npz")["codes"]
    alone = tmp_path / "tokenizer"
    shutil.copytree(BASE / "speech_tokenizer", alone)
    with Codec.open(alone, threads=1) as other:
        np.testing.assert_array_equal(other.decode(codes), codec.decode(codes))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=f"models pull {TOKENIZER_REPO}"):
        Codec.open(TOKENIZER_REPO)
    shutil.copytree(alone, hub_cache.repo_folder(TOKENIZER_REPO) / "snapshots" / ("0" * 40))
    assert hub_cache.missing_files(hub_cache.snapshot(TOKENIZER_REPO)) == []
    assert run("models", "verify", TOKENIZER_REPO)
    with Codec.open(TOKENIZER_REPO) as other:
        assert other.encoder_config.num_quantizers == 16


def test_a_codec_without_an_encoder_decodes(tmp_path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(BASE / "speech_tokenizer", folder)
    values = json.loads((folder / "config.json").read_text())
    del values["encoder_config"]
    (folder / "config.json").write_text(json.dumps(values))
    with Codec.open(folder) as codec:
        assert len(codec.decode(np.zeros((2, 16), np.int32))) == 3840
        with pytest.raises(CheckpointError, match="encoder_config"):
            codec.encode(np.zeros(4800, np.float32))


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 8), np.int32),
        np.zeros(16, np.int32),
        np.zeros((2, 16)),
        np.full((2, 16), 64, np.int32),
        np.full((2, 16), -1, np.int32),
    ],
)
def test_codes_of_a_wrong_shape_or_range_are_refused(codec, codes):
    with pytest.raises(InputError, match="codes"):
        codec.decode(codes)
    with pytest.raises(InputError, match="codes"):
        list(codec.stream([np.zeros((1, 16), np.int32), codes]))


@pytest.mark.parametrize(
    "value", [None, "codes", b"codes", object(), {"a": 1}, ["a"], [[[1, 2], [3]]], [[1], [10**400]]]
)
def test_codes_that_are_no_array_are_refused_by_name_and_type(codec, value):
    with pytest.raises(UsageError, match=r"^codes: found .{1,40}, expected integers \(frames, 16\)$"):
        codec.decode(value)
    with pytest.raises(UsageError, match=r"^codes: found "):
        list(codec.stream([value]))


@pytest.mark.parametrize("value", [5, None, 1.5, object(), np.int64(3)])
def test_blocks_that_are_not_iterable_are_refused_at_once(codec, value):
    with pytest.raises(UsageError, match=r"^blocks: found .{1,40}, expected an iterable of integers"):
        codec.stream(value)


def test_commands(run, tmp_path):
    codes, wav = str(tmp_path / "a.safetensors"), str(tmp_path / "a.wav")
    out, err = run("codec", "encode", WAV, "-o", codes, "-m", str(BASE))
    assert out == ""
    assert "32 frames of 16 codes" in err
    np.testing.assert_array_equal(read_codes(codes), load_golden("tiny-base", "codec_encode_ref24k.npz")["codes"])
    run("codec", "decode", codes, "-o", wav, "-m", str(BASE), "--subtype", "FLOAT", "-q")
    with Codec.open(BASE) as codec:
        np.testing.assert_array_equal(soundfile.read(wav, dtype="float32")[0], codec.decode(read_codes(codes)))
    facts = json.loads(run("codec", "info", codes, "--json")[0])
    assert facts["frames"] == 32
    assert facts["seconds"] == pytest.approx(2.56)
    facts = json.loads(run("codec", "info", "-m", str(BASE), "--json")[0])
    assert (facts["samples_per_frame"], facts["codes_per_frame"]) == (1920, 16)
    np.save(tmp_path / "a.npy", read_codes(codes))
    run("codec", "decode", str(tmp_path / "a.npy"), "-o", wav, "-m", str(BASE), "-q")
    assert "Examples:" in run("codec", code=2)[1]


def test_commands_that_fail(run, tmp_path):
    wav, codes = tmp_path / "a.wav", tmp_path / "a.safetensors"
    assert "models pull Qwen/Qwen3-TTS-Tokenizer-12Hz" in run("codec", "info", code=3)[1]
    assert "no such file" in run("codec", "decode", "none.safetensors", "-o", str(wav), "-m", str(BASE), code=2)[1]
    assert "no such file" in run("codec", "encode", "none.wav", "-o", str(codes), "-m", str(BASE), code=2)[1]
    codes.write_bytes(codes_bytes(np.full((2, 16), 99, np.int32), {}))
    assert "expected 0 to 63" in run("codec", "decode", str(codes), "-o", str(wav), "-m", str(BASE), code=1)[1]
    codes.write_bytes(b"nonsense")
    assert "a.safetensors" in run("codec", "decode", str(codes), "-o", str(wav), "-m", str(BASE), code=1)[1]
    assert not wav.exists()


def test_files_without_codes_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="not an array of codes"):
        read_codes(str(path))
    np.save(path, np.zeros((2, 16)))
    with pytest.raises(InputError, match="codes: found"):
        read_codes(str(path))
    with pytest.raises(UsageError):
        read_codes(str(tmp_path / "none.npy"))
