"""The precision int4-calibrated: rounding, the packed file, and how close it comes to bf16."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import CHECKPOINTS, POCKET, golden_prompt, golden_rows, load_golden

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.calibration import int4_layout, rounding, run, spoken, transformer
from qwen3tts_cli.check.speech import divergence
from qwen3tts_cli.engine.forced import trace
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.packing import pack_rows, packed_bytes
from qwen3tts_cli.errors import ModelNotFoundError
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed import precision as packed_precision
from qwen3tts_cli.packed.cache_paths import cache_path, cached_sizes
from qwen3tts_cli.packed.verify import calibration_facts, verify

CALIBRATED = "int4-calibrated"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A copy of a checkpoint of random weights, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    return folder


def calibrated(folder, **options):
    """Write the packed file of a folder with two sentences: its path and the progress reports."""
    calls = []
    with open_checkpoint(folder) as checkpoint:
        path = run.write_file(checkpoint, sentences=2, progress=lambda *a: calls.append(a), **options)
    return path, calls


def run_cli(*arguments):
    return subprocess.run([sys.executable, "-m", "qwen3tts_cli", *arguments], capture_output=True)


def matrix_with_inputs(rows=40, columns=70, count=300):
    """A matrix, and inputs that depend on each other: float32 (rows, columns), (count, columns)."""
    rng = np.random.default_rng(5)
    mixing = rng.standard_normal((columns, columns)) * np.exp(rng.standard_normal(columns))[:, None]
    inputs = rng.standard_normal((count, columns)) @ mixing
    return rng.standard_normal((rows, columns)).astype(np.float32), inputs.astype(np.float32)


def factor_of(inputs):
    return rounding.moments_factor(rounding.cross_moments(inputs, inputs))


def dequantized(levels, scales):
    return levels * np.repeat(scales, rounding.GROUP, axis=1)[:, : levels.shape[1]]


# ---------------------------------------------------------------- rounding
def test_the_factor_is_upper_triangular_and_gives_the_second_moments():
    _, inputs = matrix_with_inputs()
    factor = factor_of(inputs).astype(np.float64)
    moments = inputs.astype(np.float64).T @ inputs
    assert not np.tril(factor, -1).any()
    difference = factor @ factor.T - moments
    assert np.allclose(difference - np.diag(np.diag(difference)), 0, atol=1e-5 * np.abs(moments).max())


def test_products_with_the_inputs_change_less_than_by_rounding_each_weight():
    weights, inputs = matrix_with_inputs()
    levels, scales = rounding.round_matrix(weights, factor_of(inputs))
    plain_levels, plain_scales = rounding.round_matrix(weights, np.eye(weights.shape[1], dtype=np.float32))
    errors = [
        np.linalg.norm(inputs @ (weights - dequantized(q, s)).T)
        for q, s in ((levels, scales), (plain_levels, plain_scales))
    ]
    assert errors[0] < 0.6 * errors[1]
    assert levels.min() >= -8
    assert levels.max() <= 7


def test_rows_and_threads_do_not_change_each_other():
    weights, inputs = matrix_with_inputs(rows=1100)
    factor = factor_of(inputs)
    one, several = (rounding.round_matrix(weights, factor, threads) for threads in (1, 3))
    assert all(np.array_equal(a, b) for a, b in zip(one, several, strict=True))


def test_weights_on_the_grid_stay_as_they_are():
    rng = np.random.default_rng(2)
    levels = rng.integers(-7, 8, (8, 64))
    levels[:, ::32] = -8  # the largest weight of each group
    weights = (levels * 0.125).astype(np.float32)
    _, inputs = matrix_with_inputs(columns=64)
    found = rounding.round_matrix(weights, factor_of(inputs))
    assert np.array_equal(dequantized(*found), weights)


def test_zero_weights_and_inputs_are_rounded_to_zero():
    levels, scales = rounding.round_matrix(np.zeros((3, 40), np.float32), factor_of(np.zeros((5, 40))))
    assert not levels.any()
    assert np.isfinite(scales).all()


@pytest.mark.parametrize("count", [20, 300], ids=["fewer inputs than columns", "more inputs than columns"])
def test_the_least_squares_matrix_makes_up_for_what_is_missing(count):
    weights, inputs = matrix_with_inputs(count=count)
    missing = np.random.default_rng(3).standard_normal((count, len(weights))).astype(np.float32)
    moments = rounding.cross_moments(inputs, inputs)
    near, far = (rounding.least_squares_matrix(weights, inputs, moments, missing, ridge) for ridge in (1e-3, 1e6))
    assert np.linalg.norm(inputs @ (near - weights).T - missing) < np.linalg.norm(missing)
    assert np.allclose(far, weights, atol=1e-3)


def test_bf16_values_are_the_nearest():
    values = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    rounded = rounding.round_to_bf16(values)
    assert np.array_equal(rounding.round_to_bf16(rounded), rounded)
    assert (np.abs(rounded - values) <= np.abs(values) / 256).all()


@pytest.mark.parametrize("shape", [(32, 32), (40, 70), (96, 256)])
def test_levels_are_packed_as_the_engine_packs_them(shape):
    rng = np.random.default_rng(4)
    groups = -(-shape[1] // 32)
    levels = rng.integers(-7, 8, shape)
    levels[:, ::32] = -8
    scales = np.exp2(rng.integers(-3, 3, (shape[0], groups))).astype(np.float32)
    matrix = np.ascontiguousarray(dequantized(levels, scales), np.float32)
    out = np.zeros(packed_bytes("int4", shape) + 64, np.uint8)
    out = out[-out.ctypes.data % 64 :][: packed_bytes("int4", shape)]
    assert pack_rows(matrix, "int4", 0, shape[0], out)
    assert np.array_equal(int4_layout.pack_levels(levels, scales), out)


# ---------------------------------------------------------------- the inputs
@pytest.mark.parametrize("folder", [POCKET, CHECKPOINTS / "tiny-customvoice"], ids=["pocket", "tiny"])
def test_numpy_computes_the_outputs_of_the_engine(folder):
    """The normed outputs of the talker for the prompt and the first frames, and the logits of the code predictor."""
    with open_checkpoint(folder) as checkpoint, Model(checkpoint) as model:
        said = spoken.speak_sentences(model, 1, lambda share: None)[0]
        frames = min(3, len(said.codes))
        said = spoken.Spoken(said.prompt, said.codes[:frames])
        embeddings = spoken.Embeddings(checkpoint)
        rows = embeddings.talker_rows(said)
        tensors = {(slot, layer): array for slot, layer, array in checkpoint.collected}
        config = checkpoint.config
        output = exact_output("TALKER", config.talker, tensors, rows)
        traced = trace(model, said.prompt, forced_codes=said.codes)
        hidden = output[len(rows) - frames - 1 :]
        head = transformer.widen(tensors["CODEC_HEAD", 0])
        assert np.allclose(hidden @ head.T, traced.logits, atol=1e-3 * np.abs(traced.logits).max())
        inputs = embeddings.predictor_rows(hidden[:frames], said.codes)[-1]
        last = exact_output("PREDICTOR", config.predictor, tensors, inputs)
        logits = np.stack(
            [last[g + 1] @ transformer.widen(tensors["PREDICTOR_HEAD", g]).T for g in range(len(last) - 1)]
        )
        assert np.allclose(logits, traced.groups[-1], atol=1e-3 * np.abs(logits).max())


def exact_output(name, config, tensors, rows):
    """The normed output of a transformer for one sequence, without rounding."""

    def tensor(part, layer):
        return transformer.widen(tensors[f"{name}_{part}", layer])

    eps, spans = config.rms_norm_eps, [(0, len(rows))]
    for layer in range(config.num_hidden_layers):
        h = transformer.rms_norm(rows, tensor("INPUT_NORM", layer), eps)
        q, k, v = (h @ tensor(part, layer).T for part in "QKV")
        norms = tensor("Q_NORM", layer), tensor("K_NORM", layer)
        rows = rows + transformer.attend(q, k, v, norms, config, spans) @ tensor("O", layer).T
        h = transformer.rms_norm(rows, tensor("POST_NORM", layer), eps)
        inner = transformer.silu(h @ tensor("GATE", layer).T) * (h @ tensor("UP", layer).T)
        rows = rows + inner @ tensor("DOWN", layer).T
    return transformer.rms_norm(rows, tensor("NORM", 0), eps)


# ---------------------------------------------------------------- the packed file
def test_a_model_that_is_not_packed_says_how_to_pack_it(tiny):
    with pytest.raises(ModelNotFoundError, match=r"qwen3tts models pack --precision int4-calibrated"):
        Synthesizer.open(tiny, precision=CALIBRATED)
    assert CALIBRATED not in cached_sizes(tiny)


def test_a_file_is_made_once_names_its_recipe_and_has_the_same_bytes_again(tiny):
    path, calls = calibrated(tiny, threads=2)
    data = path.read_bytes()
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert verify(tiny, CALIBRATED)
    facts = calibration_facts(tiny)
    assert facts["recipe"] == packed_precision.RECIPE
    assert len(facts["weights_digest"]) == 16
    assert calibrated(tiny)[1] == []
    path.unlink()
    assert calibrated(tiny, threads=1)[0].read_bytes() == data


def test_a_file_of_another_recipe_or_checkpoint_is_not_used(tiny, monkeypatch):
    calibrated(tiny)
    with open_checkpoint(tiny) as checkpoint:
        assert packed_matrices.load_file(checkpoint, CALIBRATED) is not None
        monkeypatch.setattr(packed_matrices, "RECIPE", "another")
        assert packed_matrices.load_file(checkpoint, CALIBRATED) is None
        monkeypatch.undo()


def test_speech_uses_the_calibrated_weights_in_the_format_of_int4(tiny):
    calibrated(tiny)
    with Synthesizer.open(tiny, precision=CALIBRATED) as synthesizer:
        assert synthesizer.precision == CALIBRATED
        sizes = synthesizer.model.weight_bytes
        first = synthesizer.say("Hello.", seed=1, max_frames=4)
    with Synthesizer.open(tiny, precision=CALIBRATED, threads=2) as again:
        assert np.array_equal(again.say("Hello.", seed=1, max_frames=4), first)
    with Synthesizer.open(tiny, precision="int4") as plain:
        assert plain.model.weight_bytes == sizes
        assert not np.array_equal(plain.say("Hello.", seed=1, max_frames=4), first)


def test_an_interrupted_calibration_leaves_no_file_and_no_lock(tiny):
    def interrupt(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with open_checkpoint(tiny) as checkpoint, pytest.raises(KeyboardInterrupt):
        run.write_file(checkpoint, sentences=2, progress=interrupt)
    path = cache_path(tiny, CALIBRATED)
    assert not path.exists()
    assert not list(path.parent.glob("*.part"))
    assert calibrated(tiny)[0].exists()


# ---------------------------------------------------------------- the embedded voice
def test_the_embedded_voice_comes_closer_to_bf16_than_int4(tmp_path, monkeypatch):
    """Packed, reported and spoken by the command line; its logits under teacher forcing, against those of int4."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    refused = run_cli("say", "--precision", CALIBRATED, "-o", str(tmp_path / "a.wav"), "Hello.")
    assert refused.returncode == 3
    assert b"qwen3tts models pack --precision int4-calibrated pocket" in refused.stderr
    packed = run_cli("models", "pack", "--precision", CALIBRATED, "pocket")
    assert packed.returncode == 0, packed.stderr
    facts = calibration_facts(POCKET)
    assert facts["weights_digest"].encode() in packed.stderr
    said = run_cli("say", "--precision", CALIBRATED, "--json", "-", "-o", str(tmp_path / "a.wav"), "Hello.")
    assert said.returncode == 0, said.stderr
    report = json.loads(next(line for line in said.stderr.splitlines() if line.startswith(b"{")))
    assert {name: report[name] for name in facts} == facts
    assert report["precision"] == CALIBRATED
    with open_checkpoint(POCKET) as checkpoint:
        plain = packed_matrices.pack_in_memory(checkpoint, "int4").matrices
        calibrated_weights = packed_matrices.load_file(checkpoint, CALIBRATED).matrices
        errors = logits_errors(checkpoint, [None, plain, calibrated_weights])
    assert (errors[1] < 0.75 * errors[0]).all()
    removed = run_cli("models", "unpack", "pocket", "--precision", CALIBRATED)
    assert removed.returncode == 0
    assert cached_sizes(POCKET) == {}


def logits_errors(checkpoint, weights):
    """The mean KL divergence of codes 0 and 1 from the first weights, for each of the others: (len - 1, 2)."""
    cases, traces = [], []
    for row in golden_rows("pocket", "tts"):
        golden = load_golden("pocket", row)
        codes = np.ascontiguousarray(golden["codes"], np.int32)
        cases.append((golden_prompt(checkpoint, row, golden), codes))
    for matrices in weights:
        with Model(checkpoint, threads=2, packed=matrices) as model:
            traces.append([trace(model, prompt, forced_codes=codes) for prompt, codes in cases])
    pairs = [list(zip(traces[0], other, strict=True)) for other in traces[1:]]
    return np.array(
        [
            [
                np.mean([divergence(*rows) for a, b in pair for rows in zip(a.logits, b.logits, strict=True)]),
                np.mean([divergence(a.groups[t, 0], b.groups[t, 0]) for a, b in pair for t in range(len(a.groups))]),
            ]
            for pair in pairs
        ]
    )
