"""The frame loop under strace: no system call with one thread; futex and sched_yield with several."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

CHECK, DUMP = ROOT / "build/check/check_quiet", ROOT / "build/session.dump"


def absent(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}: nothing may be skipped under CI=true")
    pytest.skip(what)


def calls_of_the_loop(tmp_path, threads: int) -> set[str]:
    """Names of the system calls of all threads between the two marks of check_quiet."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", trace, CHECK, "--loop", str(threads), DUMP]
    run = subprocess.run(command, capture_output=True, text=True)
    if "ptrace" in run.stderr and "not permitted" in run.stderr:
        absent("strace may not trace here")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = trace.read_text().splitlines()
    first, last = (i for i, line in enumerate(lines) if "getppid(" in line)  # the second mark may return later
    found, begun = set(), {lines[first].split()[0]}
    for line in lines[first + 1 : last]:
        thread, name = re.match(r"(\d+)\s+(?:<\.\.\. )?(\w+)", line).groups()
        if name == "futex":
            begun.add(thread)  # before its first futex a worker that starts late is set up
        if thread in begun and name != "getppid":
            found.add(name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")
@pytest.mark.parametrize(("threads", "allowed"), [(1, set()), (2, {"futex", "sched_yield"})])
def test_the_frame_loop_makes_no_system_call(tmp_path, threads, allowed):
    if not shutil.which("strace"):
        absent("strace is missing (Debian: strace)")
    if not CHECK.exists() or not DUMP.exists():
        absent("build/check/check_quiet is missing: run `make check`")
    assert calls_of_the_loop(tmp_path, threads) <= allowed
