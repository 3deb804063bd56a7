"""bench_lm.py [PRECISION[,..]] [BATCH[,..]] [THREADS] [FRAMES]: talker and code predictor of random 0.6B weights.

Medians over the frames, each after a sweep over memory by the same threads: `ratio` is the bytes that a frame
reads, over its time, over the bandwidth of the sweeps. Where the last-level cache holds the predictor it can pass 1.
"""

from __future__ import annotations

import sys

import numpy as np
from precision_report import GREEDY, matrices_of

from qwen3tts_cli.engine import Model, Session
from qwen3tts_cli.prompt import Prompt
from qwen3tts_cli.synthetic import synthetic_checkpoint

CONTEXT, PASSES = 140, 15


def bytes_read(checkpoint, matrices):
    """Bytes that one frame of one sequence reads: (talker, predictor)."""
    talker = predictor = 0
    for slot, layer, array in checkpoint.tensors:
        size = len(matrices[slot, layer][1]) if matrices and (slot, layer) in matrices else array.nbytes
        if array.ndim == 2 and (slot == "CODEC_HEAD" or (slot.startswith("TALKER_") and "NORM" not in slot)):
            talker += size
        elif slot == "PREDICTOR_HEAD":
            predictor += size
        elif array.ndim == 2 and slot.startswith("PREDICTOR_") and slot != "PREDICTOR_EMBEDDING":
            predictor += PASSES * size
    c = checkpoint.config.talker
    return talker + CONTEXT * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * 2 * 4, predictor


def measure(model, batch, frames, memory):
    """Medians: seconds of talker and predictor for a frame of the whole batch, GB/s of reading, and prefill seconds."""
    ids = np.arange(CONTEXT - frames // 2, dtype=np.int32) % 400
    empty = np.zeros(0, np.int32)
    prompt = Prompt(ids, np.full(len(ids), -1, np.int32), empty, 0, [], [])
    options = {"talker": GREEDY, "predictor": GREEDY, "key": 0, "max_frames": frames + 1}
    sessions = [Session(model, prompt, seed=i, **options) for i in range(batch)]
    rows, before = [], None
    for _ in range(frames + 1):
        read = memory.nbytes / model.sweep(memory) * 1e-9
        model.step(sessions)
        infos = [s.info for s in sessions]
        now = sum(i.talker_seconds for i in infos), sum(i.predictor_seconds for i in infos)
        if before is not None:
            rows.append((now[0] - before[0], now[1] - before[1], read))
        before = now
    for session in sessions:
        session.close()
    return (*np.median(rows, axis=0), infos[0].prefill_seconds)


def main(precisions="int8,int4,bf16", batches="1,8", threads="2", frames="12") -> None:
    checkpoint = synthetic_checkpoint("0.6b", small_codec=True)
    memory = np.ones(1 << 28, np.uint8)
    print("precision batch talker_ms predictor_ms read_gbps lm_gbps ratio prefill_ms")
    for precision in precisions.split(","):
        matrices = matrices_of(checkpoint, precision)
        total = sum(bytes_read(checkpoint, matrices))
        with Model(checkpoint, threads=int(threads), packed=matrices) as model:
            for batch in map(int, batches.split(",")):
                talker, predictor, read, prefill = measure(model, batch, int(frames), memory)
                gbps = total / (talker + predictor) * 1e-9
                times = f"{talker * 1e3:.1f} {predictor * 1e3:.1f} {read:.1f} {gbps:.1f} {gbps / read:.2f}"
                print(f"{precision} {batch} {times} {prefill * 1e3:.0f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
