"""bench/record.py, which `make bench` runs: what it puts into RESULTS.md, and where."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "bench" / "record.py"
spec = importlib.util.spec_from_file_location("record", FILE)
record = importlib.util.module_from_spec(spec)
spec.loader.exec_module(record)

MACHINE = {
    "cpu": "Some CPU", "isa": "avx2", "threads": 2, "read_gbps": 40.0, "f32_gflops": 400.0, "bf16_gflops": 0.0,
    "int8_gops": 1000.0, "steal": 0.0,
}  # fmt: skip
ROW = {
    "precision": "int8", "decoder_precision": "f32", "batch": 1, "lm_bytes_per_frame": 1_760_000_000, "frame_ms": 50.0,
    "decoder_gflops": 640.0, "decoder_ms": 10.0,
}  # fmt: skip


def test_the_bounds_are_of_bytes_and_operations():
    assert record.bound_ms(MACHINE, ROW) == pytest.approx(44 + 16)
    assert record.bound_ms(MACHINE, ROW, 0.88, 0.8) == pytest.approx(50 + 20)
    table = record.pipeline_table({"machine": MACHINE, "rows": [ROW, {**ROW, "batch": 8}]})
    assert table[2:] == ["| int8 | 50.0 | 72.0 | 0.69 |"]


@pytest.mark.parametrize(("ns", "state"), [(57, "near"), (99, "near"), (100, "far"), (286, "far")])
def test_the_state_is_in_the_heading(ns, state):
    shown = f"- state: threads meet in {ns} ns (median 300); 0.0 % of the time stolen"
    run = record.Run("qwen3tts bench", shown, {"machine": MACHINE, "rows": [ROW]})
    heading, text = record.section({"0.6B": run, "Embedded voice": run})
    assert heading == f"Some CPU, 2 threads, {state} (avx2)"
    assert "| int8 | 50.0 | 72.0 | 0.69 |" in text
    assert "take 60.00 ms at the speeds above (int8);\nmeasured 50.00 ms, 0.83 times that." in text


def test_a_section_is_replaced_and_the_rest_stays():
    results = "# Measurements\n\nHow.\n"
    one = record.replaced(results, "A", "first")
    both = record.replaced(one, "B", "second")
    again = record.replaced(both, "A", "third")
    assert one.startswith(results.rstrip())
    assert both.count("## A") == both.count("## B") == 1
    assert both.index("first") < both.index("second")
    assert "first" not in again
    assert again.index("third") < again.index("second")
    remark = again + "\n## Other programs\n\nby hand\n"
    changed = record.replaced(record.replaced(remark, "B", "fourth"), "C", "fifth")
    assert changed.endswith("\n## Other programs\n\nby hand\n")
    assert changed.index("third") < changed.index("fourth") < changed.index("fifth") < changed.index("by hand")


def test_a_run_that_fails_changes_nothing(tmp_path):
    file = tmp_path / "RESULTS.md"
    file.write_text("kept\n")
    command = [sys.executable, FILE, "--file", file, "--frames", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no multiple of --chunk" in done.stderr
    assert file.read_text() == "kept\n"
