"""int8 and int4: near bf16, nearly equal on all instruction sets, and equal bytes however the work is split."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import GOLDENS, POCKET, golden_prompt, golden_rows, load_golden, relative_error, speak_golden
from make_precision_goldens import FOLDERS, FRAMES, PRECISIONS, precise

from qwen3tts_cli import Synthesizer
from qwen3tts_cli._native import lib
from qwen3tts_cli.engine.cpu import cpu_flags
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.packed import matrices as packed_matrices

ROW = golden_rows("pocket", "tts")[0]
GREEDY = Sampling(greedy=True)
MASKS = {
    "scalar": 0,
    "avx2": lib.Q3T_CPU_AVX2,
    "avx512": lib.Q3T_CPU_AVX2 | lib.Q3T_CPU_AVX512,
    "neon": lib.Q3T_CPU_NEON,
    "neon_dotprod": lib.Q3T_CPU_NEON | lib.Q3T_CPU_NEON_DOTPROD,
}
# The largest error of the first logits of the embedded voice, with a margin over what docs/precision.md reports.
LIMITS = {"int8": 0.03, "int4": 0.15}
# The largest difference of logits between instruction sets: sums in another order can round a value to another level.
# It is larger for the tiny model, whose weights are random.
OTHER_ORDER = {"pocket": 0.02, "tiny-customvoice": 0.05}


def skip_unless_there(name):
    flags = ("avx2", "avx512", "neon", "neon_dotprod")
    if any(flag not in cpu_flags() for flag in flags if f"{name}_".startswith(flag)):
        pytest.skip("not on this processor")


@pytest.fixture(scope="module", params=["int8", "int4"])
def voice(request):
    with open_checkpoint(POCKET) as checkpoint:
        weights = packed_matrices.load_or_pack(checkpoint, request.param)
        yield request.param, checkpoint, weights.matrices


def spoken(checkpoint, matrices, threads=2, mask=lib.Q3T_CPU_ALL, **options):
    with Model(checkpoint, threads=threads, cpu_mask=mask, packed=matrices) as model:
        return speak_golden(model, ROW, load_golden("pocket", ROW), **options)


def test_near_the_reference(voice):
    precision, checkpoint, matrices = voice
    want = load_golden("pocket", ROW)
    got = spoken(checkpoint, matrices)
    assert relative_error(got["logits0"][0], want["logits0"][0]) <= LIMITS[precision]
    assert 0.8 <= len(got["codes"]) / len(want["codes"]) <= 1.25


@pytest.mark.parametrize("name", [*MASKS, "all"])
def test_bf16_in_12_bits_gives_the_results_of_bf16(name):
    """On each instruction set; for one session and for a batch."""
    skip_unless_there(name)
    golden, frames = load_golden("pocket", ROW), 2
    options = {"talker": Sampling(), "predictor": Sampling(), "key": 0, "max_frames": frames, "chunk_frames": 1}
    found = []
    with open_checkpoint(POCKET) as checkpoint:
        prompt = golden_prompt(checkpoint, ROW, golden)
        coded = packed_matrices.pack_in_memory(checkpoint, "bf16", threads=2).matrices
        assert {dtype for dtype, _ in coded.values()} == {"coded"}
        for matrices in (None, coded):
            with Model(checkpoint, threads=2, cpu_mask=MASKS.get(name, lib.Q3T_CPU_ALL), packed=matrices) as model:
                for count in (1, 5):
                    sessions = [Session(model, prompt, seed=i, **options) for i in range(count)]
                    for _ in range(frames):
                        model.step(sessions)
                    for session in sessions:
                        parts = session.codes(0, frames), session.peek("LOGITS", (1280,))
                        found.append([part.tobytes() for part in parts])
                        session.close()
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def test_the_number_of_threads_changes_no_byte(voice):
    _, checkpoint, matrices = voice
    one, two = spoken(checkpoint, matrices, 1), spoken(checkpoint, matrices, 3)
    for name in ("codes", "logits0", "wav"):
        np.testing.assert_array_equal(one[name], two[name])


def test_a_cached_prompt_prefix_changes_no_byte(voice):
    _, checkpoint, matrices = voice
    prompt = golden_prompt(checkpoint, ROW, load_golden("pocket", ROW))
    prompt = prompt._replace(prefix_rows=len(prompt.text_ids) - 3)
    options = {"talker": GREEDY, "predictor": GREEDY, "seed": 0, "key": 0, "max_frames": 4}
    found = []
    with Model(checkpoint, threads=2, packed=matrices) as model:
        for kept in (0, prompt.prefix_rows):
            with Session(model, prompt, **options) as session:
                for _ in range(4):
                    model.step([session])
                assert session.info.cached_rows == kept
                found.append((session.codes(0, 4).tobytes(), session.peek("LOGITS", (1280,)).tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", MASKS)
def test_instruction_sets_agree(voice, name):
    """Integer products are equal bit for bit (tests/native/check_quant.c). Float32 sums may differ in their last bits,
    and so round an activation or a key to another level."""
    skip_unless_there(name)
    _, checkpoint, matrices = voice
    best = spoken(checkpoint, matrices, max_frames=1)
    other = spoken(checkpoint, matrices, mask=MASKS[name], max_frames=1)
    assert relative_error(other["logits0"][0], best["logits0"][0]) <= OTHER_ORDER["pocket"]


@pytest.mark.parametrize("name", [*MASKS, "all"])
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_codes_equal_those_of_the_scalar_kernels_up_to_a_near_tie(folder, precision, name):
    """The scalar kernels give the stored codes. Other instruction sets do as well up to the first near tie, since they
    sum norms and attention in another order."""
    skip_unless_there(name)
    found = precise(folder, precision, MASKS.get(name, lib.Q3T_CPU_ALL))
    with np.load(GOLDENS / "precision.npz") as goldens:
        codes, margins, logits = (goldens[f"{folder}/{precision}/{what}"] for what in ("codes", "margins", "logits"))
    limit = 1e-5 if name == "scalar" else OTHER_ORDER[folder]
    assert found["codes"].shape == codes.shape == (FRAMES, 16)
    for other in np.argwhere(found["codes"] != codes)[:1]:
        assert name != "scalar"
        assert margins[tuple(other)] <= limit
    assert relative_error(found["logits"], logits) <= limit


def test_other_sessions_in_a_batch_change_no_byte(voice):
    _, checkpoint, matrices = voice
    golden = load_golden("pocket", ROW)
    prompt = golden_prompt(checkpoint, ROW, golden)
    options = {"talker": GREEDY, "predictor": GREEDY, "key": 0, "max_frames": 8}
    found = []
    with Model(checkpoint, threads=2, packed=matrices) as model:
        for count in (1, 3, 9):
            sessions = [Session(model, prompt, seed=i, **options) for i in range(count)]
            for _ in range(8):
                model.step(sessions)
            found.append([(s.codes(0, 8).tobytes(), s.peek("LOGITS", (1280,)).tobytes()) for s in sessions])
            for session in sessions:
                session.close()
    assert len({each for batch in found for each in batch}) == 1


def test_a_synthesizer_names_the_kernels_of_its_model():
    """A model that is opened with a mask may use other kernels than the processor offers."""
    names = []
    for mask in (0, lib.Q3T_CPU_ALL):
        with Model(open_checkpoint(POCKET), cpu_mask=mask) as model:
            names.append(Synthesizer(model, "pocket").kernels)
    assert "=scalar" in names[0]
    assert not re.search(r"=(avx|neon)", names[0])
    assert (names[0] != names[1]) == bool(cpu_flags())
