"""The default number of threads: affinity and the limits of control groups. Stolen time from /proc/stat."""

from __future__ import annotations

import os

import pytest

from qwen3tts_cli.common import machine


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "12:pids:/x\n4:cpu,cpuacct:/docker/1\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        (V2, None),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5),
        ({**V2, "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),  # the container's own, seen from inside
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "broken\n"}, None),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "1000 0\n"}, None),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ({"proc/self/cgroup": "nonsense\n\n:\n"}, None),
    ],
)
def test_the_limit_of_control_groups(tmp_path, files, limit):
    assert machine.cgroup_limit(tree(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("quota", "expected"), [(40000, 1), (100000, 1), (149000, 1), (150000, 2), (320000, 3), (900000, 4)]
)
def test_threads_follow_the_limit_and_the_affinity(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(machine, "cores", lambda: 4)
    root = tree(tmp_path, {**V2, "sys/fs/cgroup/a/b/cpu.max": f"{quota} 100000\n"})
    assert machine.default_threads(root) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_one_core_is_one_thread():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert machine.default_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_stolen_time(tmp_path):
    root = tree(tmp_path, {"proc/stat": "cpu  100 10 50 900 20 3 7 30 5 0\ncpu0 1 2 3\n"})
    before = machine.cpu_times(root)
    assert before == machine.CpuTimes(busy=200, stolen=30)
    tree(tmp_path, {"proc/stat": "cpu  160 10 50 990 20 3 7 70 5 0\n"})
    assert machine.stolen_share(before, machine.cpu_times(root)) == 0.4
    assert machine.stolen_share(before, before) is None
    assert machine.stolen_share(None, before) is None


@pytest.mark.parametrize("text", ["", "cpu 1 2\n", "cpu a b c d e f g h\n", "intr 1 2 3 4 5 6 7 8\n"])
def test_no_times_where_none_are_told(tmp_path, text):
    assert machine.cpu_times(tree(tmp_path, {"proc/stat": text})) is None
