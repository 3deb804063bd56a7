"""Checkpoints of other widths, depths, ids and speakers, against the NumPy reference in tests/reference/np_ref.py."""

import copy
import importlib.util
import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from helpers import CHECKPOINTS, TESTS, snr_db

from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.models.tensor_specs import _codec_specs, _lm_specs

FRAMES = 12


def write_safetensors(path, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    header, offset = {}, 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, array in tensors.values():
            out.write(array.tobytes())


def draw(rng, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights at which a network of any width keeps its scale."""
    if name.endswith(("norm.weight", "cluster_usage", ".scale")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith((".alpha", ".beta", ".bias", ".gamma")):
        return rng.normal(0, 0.2, shape).astype(np.float32)
    if "embedding" in name:
        return rng.normal(0, 1, shape).astype(np.float32)
    # a transposed convolution has its inputs first, and half of its kernel meets each output
    fan_in = shape[0] * 2 if len(shape) == 3 and "block.1.conv" in name else int(np.prod(shape[1:]))
    gain = 0.4 if ".conv" in name else 1.0  # residual units add up: a wave that is clipped compares nothing
    return rng.normal(0, gain / np.sqrt(fan_in), shape).astype(np.float32)


def to_bf16(array: np.ndarray) -> np.ndarray:
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def make_checkpoint(folder, seed: int, lm: str, codec: str, change) -> None:
    """A copy of the tiny CustomVoice with a changed config and random weights of that size, BF16 or F32."""
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    for name in ("model.safetensors", "speech_tokenizer/model.safetensors"):
        (folder / name).unlink()
    paths = folder / "config.json", folder / "speech_tokenizer/config.json"
    configs = [json.loads(path.read_text()) for path in paths]
    change(configs[0], configs[1]["decoder_config"])
    for path, config in zip(paths, configs, strict=True):
        path.write_text(json.dumps(config))
    rng, config = np.random.default_rng(seed), load_config(folder)
    files = (
        ("model.safetensors", _lm_specs(config, False), lm),
        ("speech_tokenizer/model.safetensors", _codec_specs(config.codec), codec),
    )
    for name, rows, dtype in files:
        arrays = {row.name: draw(rng, row.name, row.shape) for row in rows}
        if name.startswith("speech"):
            arrays["decoder.decoder.6.conv.bias"][:] = 0
        write_safetensors(folder / name, {k: (dtype, to_bf16(v) if dtype == "BF16" else v) for k, v in arrays.items()})


def odd_widths(config, codec):
    talker, predictor = config["talker_config"], config["talker_config"]["code_predictor_config"]
    talker |= {
        "hidden_size": 76,
        "intermediate_size": 150,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 18,
        "text_hidden_size": 45,
    }
    talker["rope_scaling"] = {**talker["rope_scaling"], "mrope_section": [3, 3, 3]}
    predictor |= {
        "hidden_size": 52,
        "intermediate_size": 97,
        "num_hidden_layers": 1,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "head_dim": 10,
        "layer_types": ["full_attention"],
    }
    codec |= {
        "hidden_size": 36,
        "latent_dim": 40,
        "codebook_dim": 22,
        "decoder_dim": 48,
        "intermediate_size": 50,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "head_dim": 14,
        "sliding_window": 5,
    }


def same_width(config, codec):
    talker = config["talker_config"]
    talker |= {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    talker["code_predictor_config"] |= {
        "num_hidden_layers": 3,
        "layer_types": ["full_attention"] * 3,
        "num_key_value_heads": 1,
    }
    codec |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3}


def other_ids(config, codec):
    talker = config["talker_config"]
    talker |= {
        "codec_pad_id": 100,
        "codec_bos_id": 101,
        "codec_eos_token_id": 1000,
        "codec_think_id": 103,
        "codec_nothink_id": 104,
        "codec_think_bos_id": 105,
        "codec_think_eos_id": 106,
    }
    talker["spk_id"] = {"anna": 900, "björn": 901, "old": 70}
    talker["spk_is_dialect"] = {"anna": False, "björn": "plattdeutsch_dialect", "old": False}
    talker["codec_language_id"] = {"german": 500, "plattdeutsch_dialect": 501, "klingon": 502}
    talker["rope_theta"] = 10000
    talker["rms_norm_eps"] = 1e-5


CASES = {
    "odd widths": (odd_widths, "BF16", "F32", ["-v", "ryan", "-l", "en"]),
    "odd widths in F32": (odd_widths, "F32", "BF16", ["-v", "Vivian", "-l", "Chinese", "--text-mode", "streaming"]),
    "equal widths": (same_width, "BF16", "BF16", ["-v", "none"]),
    "other ids": (other_ids, "BF16", "F32", ["-v", "BJÖRN", "-l", "auto", "--instruct", "leise"]),
    "language of its own": (other_ids, "BF16", "F32", ["-v", "old", "-l", "Klingon"]),
}
ORACLE = {
    "odd widths": {"speaker": "ryan", "language": "english"},
    "odd widths in F32": {"speaker": "vivian", "language": "chinese", "non_streaming": False},
    "equal widths": {},
    "other ids": {"speaker": "björn", "language": "auto", "instruct": "leise"},
    "language of its own": {"speaker": "old", "language": "klingon"},
}


@pytest.fixture(scope="module")
def oracle():
    pytest.importorskip("regex")
    spec = importlib.util.spec_from_file_location("np_ref", TESTS / "reference/np_ref.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_equals_the_numpy_reference(oracle, tmp_path, name):
    change, lm, codec, options = CASES[name]
    folder = tmp_path / "model"
    make_checkpoint(folder, 1 + list(CASES).index(name), lm, codec, copy.deepcopy(change))
    text = "Hello world, 1 test — 你好."
    files = ("out.wav", "codes.npy")
    command = [
        sys.executable,
        "-m",
        "qwen3tts_cli",
        "say",
        text,
        "-m",
        str(folder),
        "--greedy",
        "--max-frames",
        str(FRAMES),
        "-q",
        *options,
    ]
    command += ["-o", files[0], "--subtype", "FLOAT", "--codes", files[1]]
    subprocess.run(command, check=True, cwd=tmp_path, stdin=subprocess.DEVNULL)

    model = oracle.Model(str(folder))
    _, embeds, trailing, pad = model.prompt(text, **ORACLE[name])
    with np.errstate(all="ignore"):
        want = np.array(model.generate(embeds, trailing, pad, FRAMES + 1)["codes"])
    np.testing.assert_array_equal(np.load(tmp_path / files[1]), want)
    import soundfile

    wave = soundfile.read(tmp_path / files[0], dtype="float32")[0]
    assert snr_db(wave, model.codec.decode(want)) >= 80
