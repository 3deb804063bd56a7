"""Sampling equals the reference's chain of logits processors, and the random draws are Philox4x32-10.

sample.c is compiled and called directly, since whole utterances do not show how a code was chosen.
"""

import shutil
import subprocess
import sysconfig

import numpy as np
import pytest
from cffi import FFI
from helpers import GOLDENS, ROOT

CASES = range(len({name.split("_")[0] for name in np.load(GOLDENS / "sampling/talker_chain.npz").files}))
GRID = 4000


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A library of sample.c and the kernels, with the kernel table of this processor."""
    folder = tmp_path_factory.mktemp("native")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    cc = [shutil.which(compiler) or "cc", "-std=c11", "-O1", "-fPIC", "-I", ROOT / "native"]
    names = ("lm/sample.c", "base/cpu.c")
    sources = [*(ROOT / "native" / name for name in names), *sorted((ROOT / "native/kernels").rglob("*.c"))]
    objects = [folder / f"{i}.o" for i in range(len(sources))]
    compiling = [subprocess.Popen([*cc, "-c", s, "-o", o]) for s, o in zip(sources, objects, strict=True)]
    assert [process.wait() for process in compiling] == [0] * len(sources)
    library = folder / "sample.so"
    subprocess.run([cc[0], "-shared", *objects, "-lm", "-o", library], check=True)
    ffi = FFI()
    ffi.cdef("""
        typedef struct {
            int32_t greedy; float temperature; int32_t top_k; float top_p; float repetition_penalty;
        } sampling;
        double q3t_draw(uint64_t seed, uint64_t key, uint32_t frame, uint32_t group);
        void q3t_talker_scores(float *s, int32_t n, float penalty, const unsigned char *seen, int32_t eos,
                               int32_t hold);
        int32_t q3t_choose(const void *k, const sampling *s, float *scores, int32_t n, double u, float *scratch,
                           int32_t *order);
        void q3t_kernels_init(void *k, uint32_t flags);
        uint32_t q3t_cpu_flags(void);
    """)
    lib = ffi.dlopen(str(library))
    table = ffi.new("uint64_t[]", 256)
    lib.q3t_kernels_init(table, lib.q3t_cpu_flags())
    return ffi, lib, table


def choose(native, scores, u, **sampling):
    ffi, lib, table = native
    scores = scores.astype(np.float32)
    n = len(scores)
    options = ffi.new("sampling *", {"temperature": 1, "top_p": 1, "repetition_penalty": 1, **sampling})
    scratch, order = ffi.new("float[]", 3 * n), ffi.new("int32_t[]", n)
    return lib.q3t_choose(table, options, ffi.from_buffer("float[]", scores), n, u, scratch, order)


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_the_chain_of_the_reference(native, case):
    ffi, lib, _ = native
    golden = np.load(GOLDENS / "sampling/talker_chain.npz")
    logits, history, params = (golden[f"{case}_{name}"] for name in ("logits", "history", "params"))
    penalty, temperature, top_k, top_p, min_new, eos = params.ravel().tolist()
    scores = logits.ravel().astype(np.float32)
    seen = np.zeros(len(scores), np.uint8)
    seen[history.ravel()] = 1
    hold = int(history.size < min_new)
    lib.q3t_talker_scores(
        ffi.from_buffer("float[]", scores),
        len(scores),
        penalty,
        ffi.from_buffer("unsigned char[]", seen),
        int(eos),
        hold,
    )
    want = golden[f"{case}_greedy_scores"].ravel()
    np.testing.assert_array_equal(np.isfinite(scores), np.isfinite(want))
    np.testing.assert_allclose(scores[np.isfinite(want)], want[np.isfinite(want)], rtol=1e-6)
    assert choose(native, scores, 0.5, greedy=1) == want.argmax()

    probs = golden[f"{case}_probs"].ravel().astype(np.float64)
    edges = np.cumsum(probs / probs.sum())
    options = {"temperature": temperature, "top_k": int(top_k), "top_p": top_p}
    for u in (np.arange(GRID) + 0.5) / GRID:
        got = choose(native, scores, u, **options)
        assert probs[got] > 0
        low = edges[got - 1] if got else 0.0
        assert low - 1e-5 <= u <= edges[got] + 1e-5


@pytest.mark.parametrize("n", [1, 5, 64, 511, 512, 3072])
@pytest.mark.parametrize("top_k", [0, 1, 20, 50, 129, 4000])
@pytest.mark.parametrize("top_p", [1.0, 0.8, 1e-6])
def test_only_codes_that_pass_the_filters_are_drawn(native, n, top_k, top_p):
    rng = np.random.default_rng(n + top_k)
    scores = np.round(rng.normal(size=n) * 4, 1).astype(np.float32)  # with ties
    scores[rng.random(n) < 0.1] = -np.inf
    scores[0] = max(scores[0], -1)
    ranked = np.sort(scores)[::-1]
    kept = scores >= (ranked[top_k - 1] if 0 < top_k < n else -np.inf)
    kept &= np.isfinite(scores)
    drawn = {
        choose(native, scores, u, temperature=0.9, top_k=top_k, top_p=top_p)
        for u in np.append(np.linspace(0, 1, 500, endpoint=False), 1 - 2**-53)
    }
    assert all(kept[i] for i in drawn)
    if top_p == 1e-6:
        assert len(drawn) == 1
        assert scores[drawn.pop()] == ranked[0]
    elif n == 5 and top_p == 1.0 and top_k != 1:
        assert len(drawn) > 1


def test_extreme_temperatures(native):
    scores = np.array([1, -3, 30, 29.9], np.float32)
    assert choose(native, scores, 0.999, temperature=1e-30) == 2
    assert choose(native, -scores - 100, 0.999, temperature=1e-38) == 1
    assert {choose(native, scores, u, temperature=1e30) for u in (0.1, 0.3, 0.6, 0.9)} == {0, 1, 2, 3}


def test_draws_are_philox(native):
    """The known answers of Random123 (kat_vectors) for counters and keys of all zeros and all ones."""
    _, lib, _ = native
    ones32, ones64 = 2**32 - 1, 2**64 - 1
    assert lib.q3t_draw(0, 0, 0, 0) == (0x6627E8D5E169C58D >> 11) * 2.0**-53
    assert lib.q3t_draw(ones64, ones64, ones32, ones32) == (0x408F276D41C83B0E >> 11) * 2.0**-53


def test_draws_are_uniform_and_depend_on_seed_key_frame_and_group(native):
    _, lib, _ = native
    draws = np.array([lib.q3t_draw(1, 2, frame, group) for frame in range(1000) for group in range(16)])
    assert np.abs(np.histogram(draws, 16, (0, 1))[0] - 1000).max() < 160
    assert len(np.unique(draws)) == len(draws)
    assert (
        len(
            {
                lib.q3t_draw(*at)
                for at in ((1, 2, 3, 4), (2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5), (1 + 2**32, 2, 3, 4))
            }
        )
        == 6
    )
