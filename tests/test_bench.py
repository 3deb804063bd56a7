"""`qwen3tts bench`: the report and its figures, on the embedded voice, which takes seconds."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from helpers import CHECKPOINTS, POCKET, open_model

from qwen3tts_cli.bench import advice, costs, machine
from qwen3tts_cli.bench import run as run_module
from qwen3tts_cli.bench.results import Row
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models.config.model import load_config
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
    """The same, with less memory to read."""
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


def test_figures_agree_with_each_other(measured):
    report = measured[0]
    bounds = report["machine"]
    operations = costs.decoder_operations(load_config(POCKET))
    for row in report["rows"]:
        spent = row["talker_ms"] + row["predictor_ms"]
        assert row["lm_gbps"] == pytest.approx(row["lm_bytes_per_frame"] / spent * 1e-6, rel=1e-4)
        assert row["lm_bound_ratio"] == pytest.approx(row["lm_gbps"] / bounds["read_gbps"], rel=1e-4)
        assert row["decoder_gflops"] == pytest.approx(operations * row["batch"] / row["decoder_ms"] * 1e-6, rel=1e-4)
        peak = bounds[f"{row['decoder_precision']}_gflops"]
        assert row["decoder_bound_ratio"] == pytest.approx(row["decoder_gflops"] / peak, rel=1e-4)
        assert row["rtf"] == pytest.approx(row["frame_ms"] / 80 / row["batch"], rel=1e-4)
        assert row["decoder_bound_ratio"] < 1.8  # Toom-Cook saves no more than that of the direct operations
        assert 20 < row["peak_rss_mb"] < 2000
    assert bounds["steal"] <= 1


def test_progress_table_and_quiet(measured, run):
    _, out, err = measured
    assert "threads meet in" in out
    assert "best here: pocket: " in out
    assert "round 1 of 1: int8, batch 2" in err
    out, err = run(*QUICK, "--precision", "bf16", "--batch", "1", "-q", "--json", "-")
    assert err == ""
    assert json.loads(out)["rows"][0]["precision"] == "bf16"


def test_markdown_and_doctor(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "not measured: qwen3tts bench" in run("doctor")[0]
    out, _ = run(*QUICK, "--precision", "bf16", "--batch", "1", "--markdown", "--threads", "1,2")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({line.count("|") for line in rows}) == 1
    assert "pocket: bf16" in run("doctor")[0]
    assert json.loads(run("doctor", "--json")[0])["bench"][0].startswith("pocket: bf16")
    monkeypatch.setattr(advice, "default_threads", lambda: 77)
    assert "measure again" in run("doctor")[0]
    advice.path().write_text('{"version": 0, "advice": [1]}')
    assert "not measured" in run("doctor")[0]


class MovingProber:
    """Finds cores that share a cache three times, and is moved then to where each has its own."""

    def __init__(self, threads):
        self.threads, self.calls = threads, 0

    def measure(self):
        self.calls += 1
        read, barrier = (46e9, 50e-9) if self.calls <= 3 else (78e9, 290e-9)
        peaks = {"f32": 5e11, "bf16": 1e12, "int8": 2e12}
        return {count: {"read": read, "barrier": barrier, **peaks} for count in self.threads}


def test_cores_that_are_moved_after_the_rounds(run, monkeypatch):
    """Probes of the other state are not the bounds of the rows, however many come."""
    monkeypatch.setattr(run_module, "Prober", MovingProber)
    out, _ = run(*QUICK, "--precision", "bf16,int8", "--batch", "1", "--json", "-", "-q")
    assert json.loads(out)["machine"]["read_gbps"] == 46


def test_plain_bf16(run, tmp_path, monkeypatch):
    """The checkpoint's own 16 bits; the embedded voice is never packed in 12, a large model's row of bf16 is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out, _ = run(*QUICK, "--precision", "bf16,bf16-plain", "--batch", "1", "--json", "-")
    packed_matrices, plain = json.loads(out)["rows"]
    assert (packed_matrices["precision"], plain["precision"]) == ("bf16", "bf16-plain")
    assert packed_matrices["lm_bytes_per_frame"] == plain["lm_bytes_per_frame"]
    checkpoint = str(CHECKPOINTS / "tiny-customvoice")
    out, _ = run("bench", "-m", checkpoint, *QUICK[3:], "--precision", "bf16-plain", "--batch", "1", "--markdown")
    assert "| bf16-plain | 1 |" in out
    assert "est here" not in out
    assert "bf16-plain" not in run("doctor")[0]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_plot(run, tmp_path, kind):
    if os.environ.get("CI") != "true":
        pytest.importorskip("matplotlib")
    path = tmp_path / f"bench.{kind}"
    run(*QUICK, "--precision", "bf16", "--batch", "1", "--plot", str(path))
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") if kind == "png" else b"<svg" in data
    assert len(data) > 5000


def test_plot_without_matplotlib(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, err = run(*QUICK, "--plot", str(tmp_path / "bench.png"), code=2)
    assert "pip install 'qwen3tts-cli[bench]'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "pocket", "--synthetic", "0.6b"), "only one"),
        (("-m", "nothing"), "unknown model"),
        (("--precision", "int3"), "int3"),
        (("--batch", "0"), "--batch"),
        (("--frames", "6"), "--chunk 4"),
        (("--plot", "bench.txt"), ".png or .svg"),
        (("--text", "x"), "--command"),
        (("--command", "true"), "{out}"),
        (("--json", "/no/such/folder/x"), "no folder"),
    ],
)
def test_bad_options(capfd, arguments, said):
    assert cli.run(["bench", *arguments]) in (1, 2, 3)
    out, err = capfd.readouterr()
    assert said in err
    assert out == ""


def children_of(process):
    """Processes that a process has made, and they in turn."""
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
    monkeypatch.setattr("qwen3tts_cli.bench.speech.Speech.run", lambda self: os.kill(os.getpid(), signal.SIGKILL))
    _, err = run(*QUICK, "-q", "--json", "-", code=1)
    assert (
        err == "error: bf16, batch 1, 2 threads: the measuring process ended with signal 9; is there enough memory?\n"
    )


TONE = """
import struct, sys, wave
assert sys.argv[1] == "A b."
with wave.open(sys.argv[2], "wb") as out:
    out.setnchannels(1), out.setsampwidth(2), out.setframerate(24000)
    out.writeframes(struct.pack("<h", 99) * 12000)
"""


def test_any_command(run, tmp_path):
    script = tmp_path / "tone.py"
    script.write_text(TONE)
    command = f"{sys.executable} {script} {{text}} {{out}}"
    report = tmp_path / "report.json"
    out, err = run("bench", "--command", command, "--text", "A b.", "--rounds", "2", "--json", str(report))
    rows = json.loads(report.read_text())["commands"]
    assert len(rows) == 2
    for each in rows:
        assert each["command"] == command
        assert each["audio_seconds"] == 0.5
        assert each["rtf"] == pytest.approx(each["wall_seconds"] / 0.5)
        # Linux counts what the process that starts a command had until then, which here is that of all tests
        assert 3 < each["peak_rss_mb"] < 500 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert out.splitlines()[0] == command
    assert out.splitlines()[-1].split()[:1] == ["median"]
    assert "run 2 of 2" in err
    markdown = run("bench", "--command", command, "--text", "A b.", "--rounds", "1", "--markdown", "-q")
    assert "| median |" in markdown[0]
    assert markdown[1] == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false {out}", "exit code 1"),
        ("true {out}", "wrote no audio"),
        ("/no/such/program {out}", "No such file"),
        ("'open {out}", "No closing quotation"),
    ],
)
def test_commands_that_fail(run, tmp_path, command, said):
    code = 2 if "quotation" in said else 1
    out, err = run("bench", "--command", command, "--json", str(tmp_path / "x.json"), "-q", code=code)
    assert said in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_half_of_many_cores_is_tried():
    plan = run_module.Plan(("bf16", "int4"), (1, 8), (4,), 150, 4, 12, 3, 2)
    assert [(case.precision, case.batch, case.threads) for case in plan.cases()] == [
        ("bf16", 1, 4), ("bf16", 8, 4), ("int4", 1, 4), ("int4", 8, 4), ("bf16", 1, 2), ("int4", 1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("size", ["0.6b", "1.7b"])
def test_what_a_frame_costs(size):
    config = synthetic_config(size)
    assert costs.decoder_operations(config) * 1e-9 == pytest.approx(4.96, abs=0.005)
    predictor = 5 * (2 * 2048 * 1024 + 2 * 1024 * 1024 + 3 * 3072 * 1024)
    hidden = config.talker.hidden_size
    layer = 2 * 2048 * hidden + 2 * 1024 * hidden + 3 * config.talker.intermediate_size * hidden
    weights = 28 * layer + 15 * predictor + 3072 * hidden + 15 * 2048 * 1024
    projection = 15 * 1024 * hidden if hidden != 1024 else 0
    assert costs.lm_operations(config) == 2 * (weights + projection)
    read = costs.lm_bytes(config, {"TALKER_Q": 10, "PREDICTOR_Q": 100, "PREDICTOR_HEAD": 1000}, 5, 150, 2)
    assert read == 10 + 15 * 100 + 1000 + 150 * 2 * 5


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_bytes_are_what_the_engine_reads(precision):
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


def test_advice_is_of_what_say_has():
    assert advice.choose([row("bf16-plain", 1, 0.3)]) is None
    assert advice.choose([row("bf16-plain", 1, 0.3), row("bf16", 1, 0.4)]).precision == "bf16"


def test_advice_on_threads():
    found = advice.choose(
        [row("int8", 1, 0.5, 4), row("int8", 8, 0.2, 4), row("int8", 1, 0.4, 2), row("int8", 8, 0.3, 2)]
    )
    assert (found.threads, found.batch, found.rtf, found.batch_rtf) == (2, 8, 0.4, 0.3)
