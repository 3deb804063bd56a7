"""precision_report.py [0.6b]: print the errors of int8 and int4 against bf16, as the tables of docs/precision.md.

The model is the embedded voice, or random weights of the named size. Teacher forcing: the prompt of each frame's logits
has the frames that bf16 chose before it as reference codes.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
from helpers import POCKET, golden_prompt, golden_rows, load_golden

from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.models.checkpoint import Checkpoint, open_checkpoint
from qwen3tts_cli.models.synthetic import synthetic_checkpoint
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed.precision import PRECISIONS
from qwen3tts_cli.text.prompt import Prompt

THREADS = 2
GREEDY = Sampling(greedy=True)
RANDOM_FRAMES, RANDOM_ROWS = 24, 24


def matrices_of(checkpoint, precision):
    """Packed matrices in memory; None if the model uses the checkpoint's own."""
    if precision == "bf16":
        return None
    return packed_matrices.pack_in_memory(checkpoint, precision, threads=THREADS).matrices


def shorter(checkpoint, layers):
    """The checkpoint reduced to the first layers of the talker."""
    talker = dataclasses.replace(checkpoint.config.talker, num_hidden_layers=layers)
    config = dataclasses.replace(checkpoint.config, talker=talker)
    kept = [t for t in checkpoint.tensors if t[1] < layers or not t[0].startswith("TALKER_")]
    return Checkpoint(config, kept, ())


def first_step(model, prompt, **options):
    """The first frame after a prompt: (normed output, logits, logits of the code predictor, codes)."""
    c = model.config
    options = {"seed": 0, "key": 0, "max_frames": 2, **options}
    with Session(model, prompt, talker=GREEDY, predictor=GREEDY, **options) as session:
        model.step([session])
        groups = c.num_code_groups
        return (
            session.peek("HIDDEN", (c.talker.hidden_size,)),
            session.peek("LOGITS", (c.vocab_size,)),
            session.peek("PREDICTOR_LOGITS", (groups - 1, c.predictor_vocab_size)),
            session.codes(0, 1) if session.info.frames else np.zeros((0, groups), np.int32),
        )


def forced(prompt, frames, pad):
    """The prompt followed by `frames` frames of reference codes."""
    rows = -3 - np.arange(frames, dtype=np.int32)
    return dataclasses.replace(
        prompt,
        text_ids=np.concatenate([prompt.text_ids, np.full(frames, pad, np.int32)]),
        codec_ids=np.concatenate([prompt.codec_ids, rows]),
    )


def divergence(want, got):
    """The KL divergence, in nats, of the softmax of two rows of logits."""
    p, q = (x.astype(np.float64) - x.max() for x in (want, got))
    p, q = (x - np.log(np.exp(x).sum()) for x in (p, q))
    return float((np.exp(p) * (p - q)).sum())


def error(want, got):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def layers_table(checkpoint, prompt, packs, counts):
    """Print the relative error of the normed output of a prompt's last row, for models of some layers."""
    print("| layers | " + " | ".join(packs) + " |\n|---|" + "---|" * len(packs))
    for layers in counts:
        part = shorter(checkpoint, layers)
        with Model(part, threads=THREADS) as model:
            want = first_step(model, prompt)[0]
        cells = []
        for matrices in packs.values():
            with Model(part, threads=THREADS, packed=matrices) as model:
                cells.append(f"{100 * error(want, first_step(model, prompt)[0]):.2f} %")
        print(f"| {layers} | " + " | ".join(cells) + " |")


def forced_table(checkpoint, cases, packs):
    """Print the errors of every frame's logits under teacher forcing. cases: (prompt, codes)."""
    found = {name: {"kl": [], "same": [], "predictor": [], "codes": []} for name in packs}
    pad = checkpoint.config.tts_pad_id
    with Model(checkpoint, threads=THREADS) as exact:
        wanted = [
            first_step(exact, forced(prompt, t, pad), reference_codes=codes[: max(t, 1)])
            for prompt, codes in cases
            for t in range(len(codes))
        ]
    for name, matrices in packs.items():
        with Model(checkpoint, threads=THREADS, packed=matrices) as model:
            at = iter(wanted)
            for prompt, codes in cases:
                for t in range(len(codes)):
                    _, logits, heads, chosen = next(at)
                    _, got, got_heads, got_codes = first_step(
                        model, forced(prompt, t, pad), reference_codes=codes[: max(t, 1)]
                    )
                    row = found[name]
                    row["kl"].append(divergence(logits, got))
                    same = logits.argmax() == got.argmax()
                    row["same"].append(same)
                    if same and len(chosen) and len(got_codes):
                        row["predictor"].append(divergence(heads[0], got_heads[0]))
                        row["codes"].append((chosen[0, 1:2] == got_codes[0, 1:2]).mean())
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
    packs = {name: matrices_of(checkpoint, name) for name in PRECISIONS}
    layers_table(checkpoint, cases[0][0], packs, counts)
    print()
    forced_table(checkpoint, cases, packs)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
