"""make_precision_goldens.py: write tests/data/goldens/precision.npz, results of the scalar kernels in int8 and int4.

The arrays are of the first utterance in the goldens of the embedded voice and of a tiny checkpoint, spoken greedily:
`<folder>/<precision>/codes`, int32 (frames, code groups); `.../margins`, float32 of the same shape, the distance of the
second largest logit from the largest, divided by the largest magnitude; `.../logits`, float32 (vocabulary,), of the
first frame. Run it with PYTHONPATH=tests after a change of the packed formats or of the KV cache that is meant to
change results.
"""

from __future__ import annotations

import numpy as np
from helpers import GOLDENS, checkpoint_of, golden_prompt, golden_rows, load_golden

from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.packed import matrices as packed_matrices

FOLDERS, PRECISIONS, FRAMES = ("pocket", "tiny-customvoice"), ("int8", "int4"), 12


def precise(folder: str, precision: str, mask: int) -> dict[str, np.ndarray]:
    """The codes and margins of the first frames, and the logits of the first. mask: cpu_mask of the model."""
    row = golden_rows(folder, "tts")[0]
    greedy = Sampling(greedy=True, repetition_penalty=row["generate_kwargs"]["repetition_penalty"])
    with open_checkpoint(checkpoint_of(folder)) as checkpoint:
        matrices = packed_matrices.pack_in_memory(checkpoint, precision, threads=2).matrices
        prompt, c = golden_prompt(checkpoint, row, load_golden(folder, row)), checkpoint.config
        with (
            Model(checkpoint, threads=2, cpu_mask=mask, packed=matrices) as model,
            Session(model, prompt, talker=greedy, predictor=greedy, seed=0, key=0, max_frames=FRAMES) as session,
        ):
            logits, margins = [], []
            for _ in range(FRAMES):
                model.step([session])
                logits.append(session.peek("LOGITS", (c.vocab_size,)))
                heads = session.peek("PREDICTOR_LOGITS", (c.num_code_groups - 1, c.predictor_vocab_size))
                margins.append([margin(head) for head in (session.peek("SCORES", (c.vocab_size,)), *heads)])
            frames = session.info.frames
            return {
                "codes": session.codes(0, frames),
                "margins": np.array(margins[:frames], np.float32),
                "logits": logits[0],
            }


def margin(scores: np.ndarray) -> float:
    """The difference of the two largest scores divided by the largest magnitude."""
    scores = np.sort(scores[np.isfinite(scores)])
    return (scores[-1] - scores[-2]) / np.abs(scores).max()


def main() -> None:
    arrays = {}
    for folder in FOLDERS:
        for precision in PRECISIONS:
            for name, array in precise(folder, precision, 0).items():
                arrays[f"{folder}/{precision}/{name}"] = array
    np.savez_compressed(GOLDENS / "precision.npz", **arrays)


if __name__ == "__main__":
    main()
