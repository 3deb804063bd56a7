"""bench/serve_load.py: loads a real server and reports what its clients saw."""

from __future__ import annotations

import json
import subprocess
import sys

from helpers import ROOT
from serving import need_server

need_server()


def test_clients_and_requests_are_counted(tmp_path):
    report = tmp_path / "load.json"
    command = [sys.executable, ROOT / "bench" / "serve_load.py", "--clients", "1,3", "--rate", "20", "--requests", "1"]
    done = subprocess.run(
        [*command, "--max-frames", "10", "--json", report], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["rows"]
    assert [(row["load"], row["requests"], row["failed"]) for row in rows] == [
        ("1 client", 1, 0), ("3 clients", 3, 0), ("20 a second", 8, 0)
    ]  # fmt: skip
    for row in rows:
        assert 0 < row["first_audio_p50_ms"] <= row["first_audio_p95_ms"] <= row["first_audio_p99_ms"]
        assert 0 < row["python_share"] < 1
        assert row["load"] in done.stdout
