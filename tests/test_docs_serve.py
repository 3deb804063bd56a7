"""The pages about running a server: limits are those of the code, the systemd unit is valid, its command exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT, allowed
from serving import Running, need_server

need_server()

from qwen3tts_cli.cli.serving import serve as command  # noqa: E402
from qwen3tts_cli.serve import settings  # noqa: E402

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
LIMITS = PAGE[PAGE.index("\n## Limits") : PAGE.index("\n## Operation")]


def number_of(row):
    """The first number in the second cell of a row of the table of limits."""
    cell = next(line for line in LIMITS.splitlines() if line.startswith(f"| {row}")).split("|")[2]
    return float(re.search(r"[\d,]+", cell)[0].replace(",", ""))


def test_the_limits_are_those_of_the_code():
    defaults = settings.ServeSettings()
    numbers = {
        "body of a request": settings.BODY_BYTES,
        "with a recording": settings.LARGE_BODY_BYTES,
        "bodies of all requests": settings.ALL_BODIES_BYTES,
        "request line and headers": settings.HEAD_BYTES,
        "`input`": defaults.max_text,
        "audio of a request": defaults.max_audio_seconds,
        "requests that wait": defaults.max_queue,
        "connections": settings.CONNECTIONS,
        "time for the headers": settings.HEAD_SECONDS,
        "time for the body": settings.BODY_SECONDS,
        "a reader that takes nothing": defaults.stall,
        "an open connection without": settings.KEEP_ALIVE_SECONDS,
        "speech that still runs": settings.DRAIN_SECONDS,
    }
    assert {row: number_of(row) for row in numbers} == numbers


def test_every_metric_is_described():
    with Running() as server:
        text = server.get("/metrics")[2].decode()
    names = set(re.findall(r"^# TYPE (qwen3tts_\w+) ", text, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    assert names == set(re.findall(r"`(qwen3tts_\w+)`", PAGE))


def test_the_unit_of_systemd_is_valid(tmp_path):
    unit = re.search(r"```ini\n(# /etc/systemd.*?)```", PAGE, re.DOTALL)[1]
    line = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    _, name, *arguments = shlex.split(line)
    assert name == "serve"
    command.serve.make_context("serve", arguments)
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing: nothing may be skipped under CI=true")
        pytest.skip("no systemd-analyze here")
    path = tmp_path / "qwen3tts.service"
    path.write_text(unit.replace("/opt/qwen3tts/bin/qwen3tts", sys.executable))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=allowed(60)
    )
    assert (checked.returncode, checked.stderr) == (0, "")
