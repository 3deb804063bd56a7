"""Runs tests/stress.py, briefly and for ten minutes: objects dropped, cancelled, closed and forked at random."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from helpers import TESTS, allowed


def stress(seconds: float, seed: int) -> None:
    command = [sys.executable, "-W", "ignore", str(TESTS / "stress.py"), str(seconds), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + allowed(180), check=False)
    assert done.returncode == 0, f"seed {seed}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_random_order_for_seconds():
    stress(10, seed=time.time_ns() % 1_000_000)


@pytest.mark.soak
def test_random_order_for_ten_minutes():
    stress(600, seed=time.time_ns() % 1_000_000)
