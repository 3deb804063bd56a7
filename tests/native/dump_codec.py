"""Write a codec and one golden to the file that check_codec reads.

    python dump_codec.py SPEECH_TOKENIZER_FOLDER GOLDEN.npz OUT

The file is little-endian and holds, in this order: the magic number (int32); the numbers of the config (int32); rms_eps
and rope_theta (float64); the number of tensors (int32); for each tensor its slot, layer, dtype and dims (int32), its
shape[4] and its number of bytes (int64), and its data; the numbers of frames and samples (int32); the codes, int32 of
shape (frames, groups); the samples (float32); the signal-to-noise ratio in dB that the decoder must reach (float64).
"""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np

MAGIC = 0x44335451
HEADER = Path(__file__).resolve().parents[2] / "native" / "q3t.h"
NUMBERS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "num_quantizers", "codebook_size", "codebook_dim", "latent_dim", "decoder_dim", "sliding_window",
)  # fmt: skip
LAYER = "decoder.pre_transformer.layers.{}."
FIRST = "decoder.quantizer.rvq_first."
REST = "decoder.quantizer.rvq_rest."


def slots() -> dict[str, int]:
    """Returns the value of each q3t_slot, by its name without the prefix Q3T_W_."""
    text = HEADER.read_text(encoding="utf-8")
    body = re.sub(r"/\*.*?\*/", "", text[text.index("typedef enum q3t_slot") : text.index("} q3t_slot")], flags=re.S)
    return {name: i for i, name in enumerate(re.findall(r"Q3T_W_(\w+)", body))}


def pair(slot: str, name: str) -> list[tuple[str, str]]:
    """Returns (slot, name in the checkpoint) of a weight and of its bias."""
    return [(slot, name + ".weight"), (slot + "_BIAS", name + ".bias")]


def names(decoder: dict) -> list[tuple[str, int, str]]:
    """Returns (slot, layer, name in the checkpoint) of each tensor of a decoder with the config `decoder`."""
    out = [("FIRST_PROJ", 0, FIRST + "output_proj.weight"), ("REST_PROJ", 0, REST + "output_proj.weight")]
    out += [("CODEC_NORM", 0, "decoder.pre_transformer.norm.weight")]
    for slot, name in (("SUM", "embedding_sum"), ("USAGE", "cluster_usage")):
        out.append(("FIRST_" + slot, 0, f"{FIRST}vq.layers.0._codebook.{name}"))
        for i in range(decoder["num_quantizers"] - 1):
            out.append(("REST_" + slot, i, f"{REST}vq.layers.{i}._codebook.{name}"))
    out += [(s, 0, n) for s, n in pair("PRE_CONV", "decoder.pre_conv.conv")]
    out += [(s, 0, n) for s, n in pair("CODEC_IN", "decoder.pre_transformer.input_proj")]
    out += [(s, 0, n) for s, n in pair("CODEC_OUT", "decoder.pre_transformer.output_proj")]
    for i in range(decoder["num_hidden_layers"]):
        layer = LAYER.format(i)
        out += [("CODEC_" + p.upper(), i, f"{layer}self_attn.{p}_proj.weight") for p in "qkvo"]
        out += [("CODEC_" + p.upper(), i, f"{layer}mlp.{p}_proj.weight") for p in ("gate", "up", "down")]
        out += [("CODEC_INPUT_NORM", i, layer + "input_layernorm.weight")]
        out += [("CODEC_POST_NORM", i, layer + "post_attention_layernorm.weight")]
        out += [("CODEC_ATTN_SCALE", i, layer + "self_attn_layer_scale.scale")]
        out += [("CODEC_MLP_SCALE", i, layer + "mlp_layer_scale.scale")]
    for i in range(len(decoder["upsampling_ratios"])):
        stage = f"decoder.upsample.{i}."
        parts = {"CONV": "0.conv", "DW": "1.dwconv.conv", "NORM": "1.norm", "PW1": "1.pwconv1", "PW2": "1.pwconv2"}
        out += [(s, i, n) for slot, name in parts.items() for s, n in pair("UP_" + slot, stage + name)]
        out.append(("UP_GAMMA", i, stage + "1.gamma"))
    return out + vocoder_names(len(decoder["upsample_rates"]))


def vocoder_names(blocks: int) -> list[tuple[str, int, str]]:
    """Returns (slot, layer, name in the checkpoint) of each tensor of a vocoder with `blocks` blocks."""
    out = [(s, 0, n) for s, n in pair("DEC_IN", "decoder.decoder.0.conv")]
    out += [(s, 0, n) for s, n in pair("DEC_OUT", f"decoder.decoder.{blocks + 2}.conv")]
    for what in ("alpha", "beta"):
        out.append(("DEC_" + what.upper(), 0, f"decoder.decoder.{blocks + 1}.{what}"))
    for i in range(blocks):
        block = f"decoder.decoder.{i + 1}.block."
        out += [("BLOCK_ALPHA", i, block + "0.alpha"), ("BLOCK_BETA", i, block + "0.beta")]
        out += [(s, i, n) for s, n in pair("BLOCK_CONV", block + "1.conv")]
        for u in range(3):
            unit = f"{block}{u + 2}."
            for part in "12":
                out += [(f"UNIT_{w.upper()}{part}", 3 * i + u, f"{unit}act{part}.{w}") for w in ("alpha", "beta")]
                out += [(s, 3 * i + u, n) for s, n in pair("UNIT_CONV" + part, f"{unit}conv{part}.conv")]
    return out


def read_tensors(path: Path) -> dict[str, tuple[str, list[int], np.ndarray]]:
    """Returns, by name, (dtype, shape, bytes as a uint8 array) of each tensor of a safetensors file."""
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    head = json.loads(bytes(data[8 : 8 + size]))
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + size :][slice(*v["data_offsets"])]) for k, v in head.items()}


def write(out: Path, decoder: dict, tensors: dict, codes: np.ndarray, samples: np.ndarray, least_db: float) -> None:
    """Write the file. tensors: what read_tensors returns; codes: shape (frames, groups); samples: one-dimensional."""
    numbers = [decoder[k] for k in NUMBERS]
    for key in ("upsampling_ratios", "upsample_rates"):
        numbers += [len(decoder[key]), *decoder[key], *[0] * (8 - len(decoder[key]))]
    slot, table = slots(), names(decoder)
    with out.open("wb") as f:
        f.write(struct.pack(f"<i{len(numbers)}i2d", MAGIC, *numbers, decoder["rms_norm_eps"], decoder["rope_theta"]))
        f.write(struct.pack("<i", len(table)))
        for name, layer, key in table:
            dtype, shape, data = tensors[key]
            kind = {"F32": 0, "BF16": 1}[dtype]
            f.write(
                struct.pack("<4i5q", slot[name], layer, kind, len(shape), *shape, *[0] * (4 - len(shape)), data.nbytes)
            )
            f.write(data.tobytes())
        f.write(struct.pack("<2i", len(codes), len(samples)))
        f.write(np.ascontiguousarray(codes, "<i4").tobytes() + np.ascontiguousarray(samples, "<f4").tobytes())
        f.write(struct.pack("<d", least_db))


def main() -> None:
    folder, golden, out = map(Path, sys.argv[1:4])
    decoder = json.loads((folder / "config.json").read_text(encoding="utf-8"))["decoder_config"]
    with np.load(golden) as g:
        samples = g["wav_unchunked"] if "wav_unchunked" in g else g["wav"]
        # the samples of a golden in float16 were rounded, so the decoder can reach only a smaller ratio
        least = 60.0 if samples.dtype == np.float16 else 80.0
        write(out, decoder, read_tensors(folder / "model.safetensors"), g["codes"], samples.astype(np.float32), least)


if __name__ == "__main__":
    main()
