"""precision_report.py [0.6b]: print the errors of int8 and int4 against bf16, as the tables of docs/precision.md.

The model is the embedded voice, or random weights of the named size. The logits of each frame are computed after the
codes of the reference, or of random ones (teacher forcing).
"""

from __future__ import annotations

import sys

import numpy as np
from helpers import POCKET, golden_prompt, golden_rows, load_golden

from qwen3tts_cli.calibration.run import calibrate
from qwen3tts_cli.check.speech import divergence
from qwen3tts_cli.engine.forced import GREEDY, trace
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Session
from qwen3tts_cli.models.checkpoint import Checkpoint, open_checkpoint
from qwen3tts_cli.models.synthetic import synthetic_checkpoint
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed.precision import CALIBRATED, PRECISIONS
from qwen3tts_cli.text.prompt import Prompt

THREADS = 2
RANDOM_FRAMES, RANDOM_ROWS = 24, 24


def matrices_of(checkpoint, precision):
    """Packed matrices in memory; None if the model uses the checkpoint's own."""
    if precision == "bf16":
        return None
    if precision == CALIBRATED:
        with Model(checkpoint, threads=THREADS) as model:
            layers = calibrate(model, THREADS, None, lambda share: None)
        return matrices_of(checkpoint, "int4") | layers
    return packed_matrices.pack_in_memory(checkpoint, precision, threads=THREADS).matrices


def shorter(checkpoint, layers):
    """The checkpoint reduced to the first layers of the talker."""
    talker = checkpoint.config.talker._replace(num_hidden_layers=layers)
    config = checkpoint.config._replace(talker=talker)
    kept = [t for t in checkpoint.tensors if t[1] < layers or not t[0].startswith("TALKER_")]
    return Checkpoint(config, kept, ())


def last_hidden(model, prompt):
    """The normed output of the talker's last layer at the last row of a prompt: (hidden,)."""
    with Session(model, prompt, talker=GREEDY, predictor=GREEDY, seed=0, key=0, max_frames=2) as session:
        model.step([session])
        return session.peek("HIDDEN", (model.config.talker.hidden_size,))


def error(want, got):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def layers_table(checkpoint, prompt, packs, counts):
    """Print the relative error of the normed output of a prompt's last row, for models of some layers."""
    print("| layers | " + " | ".join(packs) + " |\n|---|" + "---|" * len(packs))
    for layers in counts:
        part = shorter(checkpoint, layers)
        with Model(part, threads=THREADS) as model:
            want = last_hidden(model, prompt)
        cells = []
        for matrices in packs.values():
            with Model(part, threads=THREADS, packed=matrices) as model:
                cells.append(f"{100 * error(want, last_hidden(model, prompt)):.2f} %")
        print(f"| {layers} | " + " | ".join(cells) + " |")


def forced_table(checkpoint, cases, packs):
    """cases: (prompt, codes). Logits of every frame under teacher forcing."""
    with Model(checkpoint, threads=THREADS) as exact:
        wanted = [trace(exact, prompt, forced_codes=codes) for prompt, codes in cases]
    found = {}
    for name, matrices in packs.items():
        row = found[name] = {"kl": [], "same": [], "predictor": [], "codes": []}
        with Model(checkpoint, threads=THREADS, packed=matrices) as model:
            for (prompt, codes), want in zip(cases, wanted, strict=True):
                got, frames = trace(model, prompt, forced_codes=codes), range(len(codes))
                equal = got.greedy_codes() == want.greedy_codes()
                row["kl"] += [divergence(want.logits[t], got.logits[t]) for t in frames]
                row["predictor"] += [divergence(want.groups[t, 0], got.groups[t, 0]) for t in frames]
                row["same"] += list(equal[:, 0])
                row["codes"] += list(equal[:, 1])
    print("| precision | frames | KL of code 0, mean / largest | same greedy code 0 | KL of code 1 | same code 1 |")
    print("|---|---|---|---|---|---|")
    for name, row in found.items():
        kl, predictor = np.array(row["kl"]), np.array(row["predictor"])
        print(
            f"| {name} | {len(kl)} | {kl.mean():.2g} / {kl.max():.2g} | {100 * np.mean(row['same']):.1f} % "
            f"| {predictor.mean():.2g} | {100 * np.mean(row['codes']):.1f} % |"
        )


def main(size: str | None) -> None:
    if size is None:
        checkpoint = open_checkpoint(POCKET)
        cases = []
        for row in golden_rows("pocket", "tts"):
            golden = load_golden("pocket", row)
            cases.append((golden_prompt(checkpoint, row, golden), np.ascontiguousarray(golden["codes"], np.int32)))
        counts = range(1, checkpoint.config.talker.num_hidden_layers + 1)
    else:
        checkpoint = synthetic_checkpoint(size, small_codec=True)
        rng = np.random.default_rng(1)
        ids = rng.integers(0, 256, RANDOM_ROWS).astype(np.int32)
        empty = np.zeros(0, np.int32)
        prompt = Prompt(ids, np.full(RANDOM_ROWS, -1, np.int32), empty, 0, [], [])
        codes = rng.integers(0, 2048, (RANDOM_FRAMES, checkpoint.config.num_code_groups)).astype(np.int32)
        cases, counts = [(prompt, codes)], (1, 4, 12, 20, 28)
    names = PRECISIONS if size else (*PRECISIONS, CALIBRATED)  # random weights have no tokenizer to speak with
    packs = {name: matrices_of(checkpoint, name) for name in names}
    layers_table(checkpoint, cases[0][0], packs, counts)
    print()
    forced_table(checkpoint, cases, packs)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
