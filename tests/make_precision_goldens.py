"""make_precision_goldens.py: what plain C makes of int8 and int4, as tests/data/goldens/precision.npz.

For the first utterance of the goldens of the embedded voice and of a tiny checkpoint: `<folder>/<precision>/codes`,
int32 (frames, code groups), greedy, and `.../logits`, float32 (vocabulary,), of the first frame. Run it after a change
of the packed formats that is meant to change results, with PYTHONPATH=tests.
"""

from __future__ import annotations

import numpy as np
from helpers import GOLDENS, checkpoint_of, golden_rows, load_golden, speak_golden

from qwen3tts_cli import packed
from qwen3tts_cli.checkpoint import open_checkpoint
from qwen3tts_cli.engine import Model

FOLDERS, PRECISIONS, FRAMES = ("pocket", "tiny-customvoice"), ("int8", "int4"), 12


def precise(folder: str, precision: str, mask: int) -> dict[str, np.ndarray]:
    """Codes of the first frames and logits of the first, on the instruction sets of a mask; 0 is plain C."""
    row = golden_rows(folder, "tts")[0]
    with open_checkpoint(checkpoint_of(folder)) as checkpoint:
        matrices = packed.pack_in_memory(checkpoint, precision, threads=2).matrices
        with Model(checkpoint, threads=2, cpu_mask=mask, packed=matrices) as model:
            found = speak_golden(model, row, load_golden(folder, row), max_frames=FRAMES)
    return {"codes": found["codes"][:FRAMES], "logits": found["logits0"][0]}


def main() -> None:
    arrays = {}
    for folder in FOLDERS:
        for precision in PRECISIONS:
            for name, array in precise(folder, precision, 0).items():
                arrays[f"{folder}/{precision}/{name}"] = array
    np.savez_compressed(GOLDENS / "precision.npz", **arrays)


if __name__ == "__main__":
    main()
