"""The probes of arithmetic, reading and barriers by instruction set; and sessions with a least number of frames."""

from __future__ import annotations

import time

import numpy as np
import pytest
from helpers import POCKET, golden_prompt, golden_rows, load_golden, open_model

from qwen3tts_cli._native import lib
from qwen3tts_cli.engine.cpu import cpu_flags
from qwen3tts_cli.engine.probe import Probe
from qwen3tts_cli.engine.session import RUNNING, STOP_EOS, Sampling, Session
from qwen3tts_cli.errors import EngineError


def best(what, masks, tries=12):
    """Operations per second on one thread with each CPU mask: the best of `tries` measurements that take turns."""
    probes = [Probe(1, mask) for mask in masks]
    rates = [[probe.peak(what, 0.01) for probe in probes] for _ in range(tries)]
    for probe in probes:
        probe.close()
    return np.max(rates, axis=0)


@pytest.mark.skipif("avx2" not in cpu_flags(), reason="x86-64 with AVX2 only")
def test_masks_choose_the_instructions():
    scalar, vectors = best("f32", (0, lib.Q3T_CPU_AVX2))
    assert vectors > 1.5 * scalar
    scalar, vectors, everything = best("int8", (0, lib.Q3T_CPU_AVX2, lib.Q3T_CPU_ALL))
    assert vectors > 1.5 * scalar
    if "avx512_vnni" in cpu_flags():
        assert everything > 1.5 * vectors


def test_bf16_only_where_there_is_an_instruction():
    there = "avx512_bf16" in cpu_flags() or "neon_bf16" in cpu_flags()
    with Probe(1) as probe:
        assert (probe.peak("bf16") > 0) == there
    with Probe(1, lib.Q3T_CPU_AVX2 | lib.Q3T_CPU_NEON) as probe:
        assert probe.peak("bf16") == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_reading_and_the_barrier(threads):
    memory = np.ones(16 << 20, np.uint8)
    with Probe(threads) as probe:
        assert probe.threads == threads
        assert probe.read(memory) > 1e8
        assert probe.barrier(0.001) > 0


def test_numpy_does_not_read_faster():
    """One thread reads about as fast as NumPy's maximum of floats, which reads as much and computes as little."""
    memory = np.ones(256 << 20, np.uint8)
    floats, read, other = memory.view(np.float32), 0.0, 0.0
    with Probe(1) as probe:
        for _ in range(6):
            read = max(read, probe.read(memory))
            start = time.perf_counter()
            floats.max()
            other = max(other, memory.nbytes / (time.perf_counter() - start))
    assert read > 0.8 * other


def test_memory_of_an_odd_size_is_refused():
    with Probe(1) as probe, pytest.raises(EngineError, match="reading memory"):
        probe.read(np.ones(1000, np.uint8))
    with pytest.raises(EngineError, match="opening a probe"):
        Probe(0)


@pytest.fixture(scope="module")
def said():
    """A function from options of Session to (info, codes) of a greedy utterance that ends with the end token."""
    row = golden_rows("pocket", "tts")[0]
    golden = load_golden("pocket", row)
    with open_model(POCKET) as model:
        prompt = golden_prompt(model.checkpoint, row, golden)
        greedy = Sampling(greedy=True, repetition_penalty=row["generate_kwargs"]["repetition_penalty"])

        def say(**options):
            with Session(model, prompt, talker=greedy, predictor=greedy, seed=0, key=0, **options) as session:
                while session.info.state == RUNNING:
                    model.step([session])
                return session.info, session.codes(0, session.info.frames)

        yield say


def test_no_end_before_min_frames(said):
    info, codes = said(max_frames=200)
    assert info.state == STOP_EOS
    longer, more = said(max_frames=200, min_frames=info.frames + 7)
    assert longer.frames >= info.frames + 7
    assert (more[: info.frames] == codes).all()
    same, again = said(max_frames=200, min_frames=info.frames)
    assert same.state == STOP_EOS
    assert (again == codes).all()
    exact, _ = said(max_frames=info.frames + 5, min_frames=info.frames + 5)
    assert exact.frames == info.frames + 5
    with pytest.raises(EngineError, match="opening a session"):
        said(max_frames=4, min_frames=5)
