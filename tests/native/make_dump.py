"""make_dump.py OUT [CASE...]: write a tiny model and some of its goldens to one file, for the native checks.

The file is little-endian, and dump.h reads it. Offsets are bytes from the start of the file; arrays begin at multiples
of 64 bytes.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
from helpers import checkpoint_of, golden_prompt, golden_rows, load_golden

from qwen3tts_cli.engine.binding import ffi, lib, native_config
from qwen3tts_cli.models.checkpoint import open_checkpoint

NAME = "tiny-customvoice"
CASES = ("en_vivian_st", "ko_sohee_instruct_ns", "empty_text_ns", "reppen_1.5")
MAGIC = b"Q3TDUMP1"


class Writer:
    """Collects arrays and assigns each a place in the file, from byte `start` on."""

    def __init__(self, start: int) -> None:
        self.chunks, self.end = [], (start + 63) // 64 * 64
        self.start = self.end

    def add(self, array: np.ndarray) -> int:
        """Adds an array to the file and returns its offset."""
        data = np.ascontiguousarray(array).tobytes()
        offset = self.end
        padded = data + bytes(-len(data) % 64)
        self.chunks.append(padded)
        self.end += len(padded)
        return offset


def dump(out: Path, cases: tuple[str, ...]) -> None:
    rows = {row.get("name"): row for row in golden_rows(NAME, "tts")}
    with open_checkpoint(checkpoint_of(NAME)) as checkpoint:
        config = native_config(checkpoint.config, {slot for slot, _, _ in checkpoint.tensors})
        config_bytes = bytes(ffi.buffer(config))
        tensor_row, case_row = struct.Struct("<4i4qq"), struct.Struct("<6if4x5q")
        head = struct.Struct("<8s4i")
        size = head.size + len(config_bytes)
        padding = -size % 8
        size += padding + len(checkpoint.tensors) * tensor_row.size + len(cases) * case_row.size
        writer, tables = Writer(size), b""
        for slot, layer, array in checkpoint.tensors:
            shape = [*array.shape, 0, 0, 0, 0][:4]
            dtype = lib.Q3T_BF16 if array.dtype == np.uint16 else lib.Q3T_F32
            tables += tensor_row.pack(
                getattr(lib, f"Q3T_W_{slot}"), layer, dtype, array.ndim, *shape, writer.add(array)
            )
        for name in cases:
            row = rows[name]
            golden = load_golden(NAME, row)
            prompt = golden_prompt(checkpoint, row, golden)
            ids = (prompt.text_ids, prompt.codec_ids, prompt.trailing_ids)
            tables += case_row.pack(
                len(prompt.text_ids),
                prompt.prefix_rows,
                len(prompt.trailing_ids),
                row["max_new_tokens"] - 1,
                len(golden["codes"]),
                len(golden["wav"]),
                row["generate_kwargs"]["repetition_penalty"],
                *(writer.add(np.asarray(array, np.int32)) for array in ids),
                writer.add(golden["codes"].astype(np.int32)),
                writer.add(golden["wav"].astype(np.float32)),
            )
        start = head.pack(MAGIC, len(config_bytes), len(checkpoint.tensors), len(cases), 0) + config_bytes
        start += bytes(padding) + tables
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(start.ljust(writer.start, b"\0") + b"".join(writer.chunks))


if __name__ == "__main__":
    dump(Path(sys.argv[1]), tuple(sys.argv[2:]) or CASES)
