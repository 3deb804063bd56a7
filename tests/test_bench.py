"""`qwen3tts bench`: report, table, advice and errors, measured with the embedded voice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import CHECKPOINTS, POCKET, open_model

from qwen3tts_cli.bench import advice, costs, machine
from qwen3tts_cli.bench.results import Measurement, Round, Row, make_results
from qwen3tts_cli.bench.run import BenchPlan
from qwen3tts_cli.bench.sessions import Case, RowSessions, Times
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models.synthetic import synthetic_config

QUICK = ("bench", "-m", "pocket", "--frames", "4", "--rounds", "1")
MACHINE = {
    "cpu": str, "isa": str, "threads": int, "read_gbps": float, "f32_gflops": float, "bf16_gflops": float,
    "int8_gops": float, "steal": float,
}  # fmt: skip
ROW = {
    "model": str, "precision": str, "decoder_precision": str, "batch": int, "threads": int, "context": int,
    "chunk": int, "talker_ms": float, "predictor_ms": float, "decoder_ms": float, "frame_ms": float, "rtf": float,
    "first_audio_ms": float, "lm_bytes_per_frame": int, "lm_gbps": float, "lm_bound_ratio": float,
    "decoder_gflops": float, "decoder_bound_ratio": float, "peak_rss_mb": float,
}  # fmt: skip


@pytest.fixture
def run(run, monkeypatch):
    """Run a command in this process, with less memory to read for the bandwidth."""
    monkeypatch.setattr(machine, "READ_BYTES", 16 << 20)
    return run


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(report, stdout, stderr) of one run of two precisions."""
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [
        sys.executable,
        "-m",
        "qwen3tts_cli",
        *QUICK,
        "--precision",
        "bf16,int8",
        "--batch",
        "1,2",
        "--json",
        file,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout, done.stderr


def typed(values, types):
    assert list(values) == list(types)
    for name, kind in types.items():
        assert isinstance(values[name], kind), name
        if kind is not str:
            assert values[name] >= 0, name


def test_schema(measured):
    report = measured[0]
    assert set(report) == {"machine", "rows"}
    typed(report["machine"], MACHINE)
    for row in report["rows"]:
        typed(row, ROW)
    cases = [(row["precision"], row["batch"]) for row in report["rows"]]
    assert cases == [("bf16", 1), ("bf16", 2), ("int8", 1), ("int8", 2)]
    assert {(row["model"], row["context"], row["chunk"]) for row in report["rows"]} == {("pocket", 150, 4)}


def test_times_and_memory_are_plausible(measured):
    report = measured[0]
    assert report["machine"]["steal"] <= 1
    for row in report["rows"]:
        assert 20 < row["peak_rss_mb"] < 2000
        assert row["talker_ms"] + row["predictor_ms"] < row["frame_ms"]


def test_a_row_of_known_times():
    """Twelve frames of 80 ms for a batch of 2; the two slow ones, and the slower bounds, do not count."""
    case = Case("int8", 2, 2, 150, 4)
    quick = Times([0.010] * 5, [0.020] * 5, [0.005] * 5, [0.040] * 5, [0.070])
    slow = Times([9.0] * 2, [9.0] * 2, [9.0] * 2, [9.0] * 2, [0.090])
    probes = [
        {"read": 50e9, "f32": 400e9, "bf16": 0.0, "int8": 2e12, "barrier": 1e-7},
        {"read": 80e9, "f32": 200e9, "bf16": 0.0, "int8": 1e12, "barrier": 3e-7},
    ]
    facts = {
        "decoder_precision": "f32", "lm_bytes": 1_200_000_000, "decoder_operations": 10**9, "frame_seconds": 0.08,
        "peak_rss_mb": 100.0,
    }  # fmt: skip
    rounds = [Round(case, 0, quick), Round(case, 0, slow)]
    results = make_results(Measurement("m", {2: probes}, rounds, {case: facts}, 0.25))
    (row,) = results.report()["rows"]
    assert (row["talker_ms"], row["predictor_ms"], row["decoder_ms"], row["frame_ms"]) == (10, 20, 5, 40)
    assert row["first_audio_ms"] == 80
    assert row["rtf"] == 0.25
    assert (row["lm_gbps"], row["lm_bound_ratio"]) == (40, 0.5)
    assert (row["decoder_gflops"], row["decoder_bound_ratio"]) == (200, 0.5)
    bounds = results.report()["machine"]
    assert (bounds["read_gbps"], bounds["f32_gflops"], bounds["bf16_gflops"], bounds["int8_gops"]) == (80, 400, 0, 2000)
    assert bounds["steal"] == 0.25


def test_progress_table_and_quiet(measured, run):
    _, out, err = measured
    assert "barrier of all threads" in out
    assert "best here: pocket: " in out
    assert "round 1 of 1: int8, batch 2" in err
    out, err = run(*QUICK, "--precision", "bf16", "--batch", "1", "-q", "--json", "-")
    assert err == ""
    assert json.loads(out)["rows"][0]["precision"] == "bf16"


def test_doctor_shows_the_advice(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "not measured: qwen3tts bench" in run("doctor")[0]
    out, _ = run(*QUICK, "--precision", "bf16", "--batch", "1", "--threads", "1,2")
    assert sum(line.startswith("bf16 ") for line in out.splitlines()) == 2
    assert "pocket: bf16" in run("doctor")[0]
    assert json.loads(run("doctor", "--json")[0])["bench"][0].startswith("pocket: bf16")
    monkeypatch.setattr(advice, "default_threads", lambda: 77)
    assert "measure again" in run("doctor")[0]
    advice.path().write_text('{"version": 0, "advice": [1]}')
    assert "not measured" in run("doctor")[0]


def test_plain_bf16(run, tmp_path, monkeypatch):
    """Rows of the checkpoint's own 16 bits. The embedded voice has no packed bf16 weights: both rows read as much."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out, _ = run(*QUICK, "--precision", "bf16,bf16-plain", "--batch", "1", "--json", "-")
    packed, plain = json.loads(out)["rows"]
    assert (packed["precision"], plain["precision"]) == ("bf16", "bf16-plain")
    assert packed["lm_bytes_per_frame"] == plain["lm_bytes_per_frame"]
    checkpoint = str(CHECKPOINTS / "tiny-customvoice")
    out, _ = run("bench", "-m", checkpoint, *QUICK[3:], "--precision", "bf16-plain", "--batch", "1")
    assert "\nbf16-plain " in out
    assert "est here" not in out
    assert "bf16-plain" not in run("doctor")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "pocket", "--synthetic", "0.6b"), "are both given"),
        (("-m", "nothing"), "unknown model"),
        (("--precision", "int3"), "int3"),
        (("--batch", "0"), "--batch"),
        (("--frames", "6"), "--chunk 4"),
        (("--json", "/no/such/folder/x"), "no folder"),
    ],
)
def test_bad_options(capfd, arguments, said):
    assert cli.run(["bench", *arguments]) in (1, 2, 3)
    out, err = capfd.readouterr()
    assert said in err
    assert out == ""


def children_of(process):
    """Ids of the children of a process, and of their children, and so on."""
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # ps hangs under a sanitizer
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True, env=plain).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = {process}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing(tmp_path, number, code):
    command = [sys.executable, "-m", "qwen3tts_cli", "bench", "-m", "pocket", "--rounds", "50", "--batch", "1"]
    command += ["--json", str(tmp_path / "bench.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr:
            if line.startswith("round 2"):
                break
        made = children_of(process.pid)
        assert len(made) == 4  # three rows and the prober
        process.send_signal(number)
        assert process.wait(20) == code
    assert list(tmp_path.iterdir()) == []
    for _ in range(50):
        left = {pid for pid in made if os.path.exists(f"/proc/{pid}")}
        if not left:
            break
        time.sleep(0.1)
    assert not left


def test_a_process_that_dies_is_named(monkeypatch, run):
    monkeypatch.setattr(RowSessions, "run", lambda self: os.kill(os.getpid(), signal.SIGKILL))
    _, err = run(*QUICK, "-q", "--json", "-", code=1)
    assert (
        err == "error: bf16, batch 1, 2 threads: the measuring process ended with signal 9; is there enough memory?\n"
    )


def test_half_of_many_cores_is_tried():
    plan = BenchPlan(("bf16", "int4"), (1, 8), (4,), 150, 4, 12, 3, 2)
    assert [(case.precision, case.batch, case.threads) for case in plan.cases()] == [
        ("bf16", 1, 4), ("bf16", 8, 4), ("int4", 1, 4), ("int4", 8, 4), ("bf16", 1, 2), ("int4", 1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("size", ["0.6b", "1.7b"])
def test_the_cost_of_a_frame(size):
    config = synthetic_config(size)
    assert costs.decoder_operations(config) * 1e-9 == pytest.approx(4.96, abs=0.005)
    read = costs.lm_bytes(config, {"TALKER_Q": 10, "PREDICTOR_Q": 100, "PREDICTOR_HEAD": 1000}, 5, 150, 2)
    assert read == 10 + 15 * 100 + 1000 + 150 * 2 * 5


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_bytes_are_those_of_the_weights_that_the_engine_reads(precision):
    from qwen3tts_cli.models.checkpoint import open_checkpoint
    from qwen3tts_cli.packed import matrices as packed_matrices

    matrices = None
    if precision != "bf16":
        with open_checkpoint(POCKET) as checkpoint:
            matrices = packed_matrices.pack_in_memory(checkpoint, precision).matrices
    with open_model(POCKET, packed=matrices) as model:
        for slot in ("TALKER_Q", "PREDICTOR_DOWN", "PREDICTOR_HEAD"):
            arrays = [(layer, array) for name, layer, array in model.checkpoint.tensors if name == slot]
            sizes = [array.nbytes if matrices is None else len(matrices[slot, layer][1]) for layer, array in arrays]
            assert model.weight_bytes[slot] == sum(sizes)
        c = model.config.talker
        item = 4 if precision == "bf16" else 2
        assert model.position_bytes == item * 2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim


def row(precision, batch, rtf, threads=2):
    values = {name: kind() for name, kind in ROW.items()}
    return Row(**{**values, "precision": precision, "batch": batch, "rtf": rtf, "threads": threads})


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([("bf16", 1, 0.7), ("int8", 1, 0.4), ("int4", 1, 0.2)], ("bf16", 1)),
        ([("bf16", 1, 0.9), ("int8", 1, 0.5), ("int4", 1, 0.3)], ("int8", 1)),
        ([("bf16", 1, 2.0), ("int8", 1, 1.1), ("int4", 1, 0.9), ("int4", 8, 0.4)], ("int4", 8)),
        ([("bf16", 1, 4.0), ("int8", 1, 2.0), ("int4", 1, 1.5), ("int4", 8, 1.6)], ("int4", 1)),
    ],
)
def test_advice(rows, chosen):
    found = advice.choose([row(*values) for values in rows])
    assert (found.precision, found.batch) == chosen


def test_advice_is_only_on_precisions_of_say():
    assert advice.choose([row("bf16-plain", 1, 0.3)]) is None
    assert advice.choose([row("bf16-plain", 1, 0.3), row("bf16", 1, 0.4)]).precision == "bf16"


def test_advice_on_threads():
    found = advice.choose(
        [row("int8", 1, 0.5, 4), row("int8", 8, 0.2, 4), row("int8", 1, 0.4, 2), row("int8", 8, 0.3, 2)]
    )
    assert (found.threads, found.batch, found.rtf, found.batch_rtf) == (2, 8, 0.4, 0.3)
