"""The expected tensors: complete, with the right shapes, and strict about the contents of a checkpoint."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from helpers import CHECKPOINTS, ROOT, checkpoint_of

from qwen3tts_cli.errors import CheckpointError
from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.models.safetensors import open_weights
from qwen3tts_cli.models.tensor_specs import PROJECTION, collect

ENUM = re.search(r"typedef enum q3t_slot \{(.*?)\}", (ROOT / "native" / "q3t.h").read_text(), re.DOTALL).group(1)
SLOTS = [name.removeprefix("Q3T_W_") for name in re.findall(r"\bQ3T_W_\w+", ENUM.split("Q3T_W_SLOTS")[0])]
BASE = CHECKPOINTS / "tiny-base"


class Rewritten:
    """A copy of a safetensors file with some tensors replaced: name -> array, (dtype, array), or None to remove it."""

    def __init__(self, folder, source):
        self.folder = folder
        self.raw = (source / "model.safetensors").read_bytes()
        length = int.from_bytes(self.raw[:8], "little")
        self.header, self.data = json.loads(self.raw[8 : 8 + length]), self.raw[8 + length :]

    def array(self, name):
        entry = self.header[name]
        start, end = entry["data_offsets"]
        dtype = {"BF16": "<u2", "F32": "<f4"}[entry["dtype"]]
        return np.frombuffer(self.data[start:end], dtype).reshape(entry["shape"]).copy()

    def open(self, **changes):
        header, parts, at = {}, [], 0
        for name in self.header.keys() | changes.keys() - {"__metadata__"}:
            entry = self.header.get(name, {})
            change = changes.get(name, ...)
            if change is None or name == "__metadata__":
                continue
            if change is ...:
                start, end = entry["data_offsets"]
                dtype, shape, data = entry["dtype"], entry["shape"], self.data[start:end]
            else:
                dtype, array = change if isinstance(change, tuple) else (entry["dtype"], change)
                shape, data = list(array.shape), array.tobytes()
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
            parts.append(data)
            at += len(data)
        raw = json.dumps(header).encode()
        raw += b" " * (-len(raw) % 8)
        (self.folder / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + b"".join(parts))
        return open_weights(self.folder)


@pytest.fixture
def lm(tmp_path):
    (tmp_path / "lm").mkdir()
    return Rewritten(tmp_path / "lm", BASE)


@pytest.fixture
def codec(tmp_path):
    (tmp_path / "codec").mkdir()
    return Rewritten(tmp_path / "codec", BASE / "speech_tokenizer")


@pytest.fixture(scope="module")
def config():
    return load_config(BASE)


@pytest.fixture(scope="module")
def sets():
    return open_weights(BASE), open_weights(BASE / "speech_tokenizer")


def folders(name):
    folder = checkpoint_of(name)
    return load_config(folder), open_weights(folder), open_weights(folder / "speech_tokenizer")


@pytest.mark.parametrize("name", ["tiny-customvoice", "tiny-voicedesign", "tiny-base", "pocket"])
def test_every_slot_is_filled_once_and_every_tensor_used(name):
    config, lm, codec = folders(name)
    found = collect(config, lm, codec)
    keys = [(slot, layer) for slot, layer, _ in found]
    projection = (
        {"PROJECTION", "PROJECTION_BIAS"} if config.talker.hidden_size != config.predictor.hidden_size else set()
    )
    assert len(set(keys)) == len(keys)
    assert {slot for slot, _ in keys} == set(SLOTS) - {"PROJECTION", "PROJECTION_BIAS"} | projection
    for slot in SLOTS:
        layers = sorted(layer for name, layer in keys if name == slot)
        assert layers == list(range(len(layers)))
    used = [t for t in lm.tensors if not t.startswith("speaker_encoder.")]
    used += [
        t
        for t in codec.tensors
        if t.startswith("decoder.") and not t.endswith(("rvq_first.input_proj.weight", "rvq_rest.input_proj.weight"))
    ]
    assert len(found) == len(used)


def test_layers_of_the_vocoder(config, sets):
    shapes = {(slot, layer): array.shape for slot, layer, array in collect(config, *sets)}
    assert shapes["BLOCK_CONV", 1] == (32, 16, 10)
    assert shapes["UNIT_CONV1", 3 * 1 + 2] == (16, 16, 7)
    assert shapes["DEC_OUT", 0] == (1, 4, 7)
    assert shapes["REST_SUM", 14] == (64, 16)
    assert ("REST_SUM", 15) not in shapes


def test_arrays_are_views_of_the_file(config, sets):
    for slot, _, array in collect(config, *sets):
        assert not array.flags.owndata, slot
        assert not array.flags.writeable
        assert array.flags.c_contiguous
        assert array.dtype == (np.uint16 if slot in SLOTS[: SLOTS.index("FIRST_SUM")] else np.float32)


def refused(config, lm, codec, *words):
    with pytest.raises(CheckpointError) as caught:
        collect(config, lm, codec)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


NORM = "talker.model.layers.1.self_attn.q_norm.weight"
GATE = "talker.model.layers.1.mlp.gate_proj.weight"


def test_wrong_tensors_of_the_language_model(config, sets, lm):
    gate = lm.array(GATE)
    refused(config, lm.open(**{NORM: None}), sets[1], "lm/model.safetensors", f"{NORM!r}: missing", "[32]")
    refused(config, lm.open(**{GATE: gate[:-1]}), sets[1], f"{GATE!r}: found BF16 [191, 64]", "BF16 or F32 [192, 64]")
    refused(config, lm.open(**{GATE: gate.T.copy()}), sets[1], "found BF16 [64, 192]")
    refused(config, lm.open(**{GATE: gate[None]}), sets[1], "found BF16 [1, 192, 64]")
    refused(config, lm.open(**{GATE: ("F16", gate)}), sets[1], "found F16 [192, 64], expected BF16 or F32")
    refused(config, lm.open(**{GATE: ("I16", gate)}), sets[1], "found I16")


def test_both_dtypes_are_accepted(config, sets, lm):
    wide = (lm.array(GATE).astype(np.uint32) << 16).view(np.float32)
    found = {(slot, layer): array for slot, layer, array in collect(config, lm.open(**{GATE: ("F32", wide)}), sets[1])}
    assert found["TALKER_GATE", 1].dtype == np.float32
    assert np.array_equal(found["TALKER_GATE", 1], wide)


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0, 0x7F81])
def test_small_bf16_tensors_are_finite(config, sets, lm, bits):
    norm = lm.array(NORM)
    norm[5] = bits
    refused(config, lm.open(**{NORM: norm}), sets[1], f"{NORM!r}: element 5 is not finite")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", ["decoder.decoder.1.block.0.alpha", "decoder.upsample.0.1.gamma", "decoder.pre_conv.conv.bias"]
)
def test_small_f32_tensors_are_finite(config, sets, codec, name, value):
    array = codec.array(name)
    array[2] = value
    refused(
        config, sets[0], codec.open(**{name: array}), "codec/model.safetensors", f"{name!r}: element 2 is not finite"
    )


def test_large_magnitudes_are_finite(config, sets, codec):
    name = "decoder.upsample.0.1.gamma"
    array = codec.array(name)
    array[:2] = np.finfo(np.float32).max, -np.finfo(np.float32).tiny / 4
    assert collect(config, sets[0], codec.open(**{name: array}))


def test_projection_may_be_absent_only_between_equal_widths(tmp_path, config, sets):
    wide = load_config(checkpoint_of("tiny-customvoice"))
    (tmp_path / "wide").mkdir()
    source = Rewritten(tmp_path / "wide", checkpoint_of("tiny-customvoice"))
    absent = {f"{PROJECTION}.weight": None, f"{PROJECTION}.bias": None}
    refused(wide, source.open(**absent), sets[1], f"{PROJECTION + '.weight'!r}: missing")
    refused(wide, source.open(**{f"{PROJECTION}.bias": None}), sets[1], f"{PROJECTION + '.bias'!r}: missing")


def test_projection_between_equal_widths_is_used(config, sets, lm):
    more = {
        f"{PROJECTION}.weight": ("F32", np.eye(64, dtype="<f4")),
        f"{PROJECTION}.bias": ("F32", np.zeros(64, "<f4")),
    }
    found = {slot: array for slot, _, array in collect(config, lm.open(**more), sets[1])}
    assert found["PROJECTION"].shape == (64, 64)
    assert found["PROJECTION_BIAS"].shape == (64,)


def test_a_config_of_other_sizes_does_not_fit(config, sets):
    more = config._replace(talker=config.talker._replace(num_hidden_layers=200))
    refused(more, *sets, "talker.model.layers.3.input_layernorm.weight", "missing")
    wide = config._replace(text_vocab_size=1 << 20, text_hidden_size=1024)
    refused(wide, *sets, "found BF16 [992, 64], expected BF16 or F32 [1048576, 1024]")
