"""The scripts in bench/ that make the tables of bench/RESULTS.md and compare programs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from helpers import POCKET, ROOT

from qwen3tts_cli.bench.results import Measurement, Round
from qwen3tts_cli.bench.sessions import Case
from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.models.synthetic import synthetic_config

FOLDER = ROOT / "bench"


@pytest.fixture
def script(monkeypatch):
    """A function from the name of a script to its module."""

    def load(name):
        monkeypatch.syspath_prepend(str(FOLDER))
        return __import__(name)

    yield load
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run_script(name, *arguments, code=0):
    """Run a script; returns (stdout, stderr)."""
    done = subprocess.run([sys.executable, FOLDER / f"{name}.py", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """(the Markdown of bench/measure.py, its report) of the embedded voice."""
    file = tmp_path_factory.mktemp("measure") / "bench.json"
    options = ("-m", "pocket", "--frames", "4", "--rounds", "1", "--precision", "bf16,int8", "--batch", "1")
    out, _ = run_script("measure", *options, "--threads", "1,2", "--json", file)
    return out, json.loads(file.read_text())


def test_measure_prints_a_markdown_table_of_the_rows_of_the_report(report):
    shown, values = report
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(values["rows"]) == 6
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| bf16", "| int8", "| bf16", "| int8"]
    assert "of the rounds" in lines[0]
    assert "Best here: pocket: bf16" in shown


def test_measure_reports_usage_errors_as_the_command_does():
    _, err = run_script("measure", "--frames", "3", code=2)
    assert "no multiple of --chunk" in err
    _, err = run_script("measure", "--batch", "0", code=2)
    assert "--batch" in err


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_plot_draws_a_report(report, tmp_path, kind):
    pytest.importorskip("matplotlib")
    (tmp_path / "bench.json").write_text(json.dumps(report[1]))
    picture = tmp_path / f"bench.{kind}"
    run_script("plot", tmp_path / "bench.json", picture)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG") if kind == "png" else b"<svg" in data
    assert len(data) > 5000
    _, err = run_script("plot", tmp_path / "bench.json", tmp_path / "bench.txt", code=1)
    assert ".svg or .png" in err


@pytest.mark.parametrize("size", ["0.6b", "1.7b"])
def test_operations_are_of_every_matrix_in_every_pass(script, size):
    pytest.importorskip("matplotlib")
    config = synthetic_config(size)
    predictor = 5 * (2 * 2048 * 1024 + 2 * 1024 * 1024 + 3 * 3072 * 1024)
    hidden = config.talker.hidden_size
    layer = 2 * 2048 * hidden + 2 * 1024 * hidden + 3 * config.talker.intermediate_size * hidden
    weights = 28 * layer + 15 * predictor + 3072 * hidden + 15 * 2048 * 1024
    projection = 15 * 1024 * hidden if hidden != 1024 else 0
    plot = script("plot")
    assert plot.lm_operations(config) == 2 * (weights + projection)
    assert plot.config_of(f"synthetic-{size}") == config
    assert plot.config_of("pocket") == load_config(POCKET)


def probe(read, barrier):
    """A measurement of the bounds: GB/s and nanoseconds."""
    return {"read": read * 1e9, "barrier": barrier * 1e-9, "f32": 1.0, "bf16": 1.0, "int8": 1.0}


NEAR, FAR, DISTURBED, CROWDED = probe(46, 55), probe(78, 286), probe(30, 900), probe(38, 240_000)


@pytest.mark.parametrize(
    ("probes", "kept", "rounds"),
    [
        ([NEAR] * 4, [1, 1, 1, 1], [1, 1, 1]),
        ([NEAR, NEAR, FAR, FAR, FAR], [0, 0, 1, 1, 1], [0, 0, 1, 1]),
        ([NEAR, NEAR, NEAR, FAR, NEAR], [1, 1, 1, 0, 1], [1, 1, 0, 0]),
        ([FAR, DISTURBED, FAR, probe(70, 300)], [1, 1, 1, 1], [1, 1, 1]),
        ([NEAR, DISTURBED, NEAR], [1, 1, 1], [1, 1]),
        ([NEAR, FAR], [0, 1], [0]),
        ([FAR, CROWDED, FAR, FAR], [1, 0, 1, 1], [0, 0, 1]),
        ([FAR, CROWDED, CROWDED, CROWDED, NEAR], [0, 1, 1, 1, 0], [0, 1, 1, 0]),
        ([CROWDED, probe(40, 250_000)], [1, 1], [1]),
    ],
)
def test_rounds_of_one_state_are_compared(script, probes, kept, rounds):
    """Each round has a probe before and after it. Cores that share a cache have a shorter barrier and read less.
    Threads that share a core have a barrier a thousand times longer. Any other difference is noise."""
    found = script("state").comparable(probes, range(len(probes) - 1))
    assert found == ([*map(bool, kept)], [*map(bool, rounds)])


def test_rounds_and_bounds_of_another_state_are_left_out(script):
    one, other = Case("bf16", 1, 2, 150, 4), Case("int8", 1, 2, 150, 4)
    rounds = [Round(one, 0, "a"), Round(one, 1, "b"), Round(one, 2, "c"), Round(other, 3, "d"), Round(other, 4, "e")]
    probes = [NEAR, NEAR, NEAR, NEAR, FAR, FAR]
    measured = Measurement("m", {1: [DISTURBED] * 6, 2: probes}, rounds, {}, 0.0)
    selected, left_out = script("state").in_one_state(measured)
    assert selected.probes == {1: [DISTURBED] * 4, 2: [NEAR] * 4}
    # both rounds of `other` touch the other state, and a row without rounds has no numbers: they stay
    assert [each.times for each in selected.rounds] == ["a", "b", "c", "d", "e"]
    assert left_out == 0
    measured = Measurement("m", {2: [NEAR, NEAR, FAR, FAR, FAR, FAR]}, rounds, {}, 0.0)
    selected, left_out = script("state").in_one_state(measured)
    assert [each.times for each in selected.rounds] == ["c", "d", "e"]
    assert left_out == 2


def test_a_section_is_replaced_and_the_rest_stays(script):
    record, results = script("record"), "# Measurements\n\nHow.\n"
    one = record.with_section(results, "A", "first")
    both = record.with_section(one, "B", "second")
    again = record.with_section(both, "A", "third")
    assert one.startswith(results.rstrip())
    assert both.count("## A") == both.count("## B") == 1
    assert both.index("first") < both.index("second")
    assert "first" not in again
    assert again.index("third") < again.index("second")
    remark = again + "\n## Other programs\n\nby hand\n"
    changed = record.with_section(record.with_section(remark, "B", "fourth"), "C", "fifth")
    assert changed.endswith("\n## Other programs\n\nby hand\n")
    assert changed.index("third") < changed.index("fourth") < changed.index("fifth") < changed.index("by hand")


def test_the_section_of_a_machine_has_its_tables(script, report):
    record = script("record")
    shown, values = report
    run = record.Run("python bench/measure.py -m pocket", shown, values)
    heading, text = record.section({"0.6B": run, "Embedded voice": run})
    machine = values["machine"]
    assert heading.startswith(f"{machine['cpu']}, 2 threads, ")
    assert heading.endswith(f" ({machine['isa']})")
    assert text.count(shown) == 2
    bound = record.bound_ms(machine, values["rows"][0])
    assert bound > 0
    assert record.bound_ms(machine, values["rows"][0], 0.5, 0.5) == pytest.approx(2 * bound)
    assert f"take {bound:.2f} ms" in text


def test_a_record_that_fails_changes_nothing(tmp_path):
    file = tmp_path / "RESULTS.md"
    file.write_text("kept\n")
    _, err = run_script("record", "--file", file, "--frames", "3", code=2)
    assert "no multiple of --chunk" in err
    assert file.read_text() == "kept\n"


TONE = """
import struct, sys, wave
assert sys.argv[1] == "A b."
with wave.open(sys.argv[2], "wb") as out:
    out.setnchannels(1), out.setsampwidth(2), out.setframerate(24000)
    out.writeframes(struct.pack("<h", 99) * 12000)
"""


def test_programs_measures_any_command(tmp_path):
    tone = tmp_path / "tone.py"
    tone.write_text(TONE)
    command = f"{sys.executable} {tone} {{text}} {{out}}"
    report = tmp_path / "report.json"
    out, err = run_script("programs", command, "--text", "A b.", "--rounds", "2", "--json", report)
    rows = json.loads(report.read_text())["commands"]
    assert len(rows) == 2
    for each in rows:
        assert each["command"] == command
        assert each["audio_seconds"] == 0.5
        assert each["rtf"] == pytest.approx(each["wall_seconds"] / 0.5)
        # Linux counts the memory of the process that started the command until the command was executed
        assert 3 < each["peak_rss_mb"] < 500 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert out.splitlines()[0] == f"`{command}`"
    assert "| median |" in out
    assert "run 2 of 2" in err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false {out}", "exit code 1"),
        ("true {out}", "wrote no audio"),
        ("true", "needs {out}"),
        ("/no/such/program {out}", "No such file"),
        ("'open {out}", "No closing quotation"),
    ],
)
def test_programs_names_what_is_wrong_with_a_command(tmp_path, command, said):
    out, err = run_script("programs", command, "--json", tmp_path / "x.json", code=1)
    assert said in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []
