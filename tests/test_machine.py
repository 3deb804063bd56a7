"""The default number of threads, control group limits, stolen time and free memory, from files like those of Linux."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from qwen3tts_cli.common import machine
from qwen3tts_cli.common.machine import available_bytes
from qwen3tts_cli.speech import reader


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
        ({**V2, "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),  # the container's own group, seen from inside
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
def test_cgroup_limit(tmp_path, files, limit):
    assert machine.cgroup_limit(tree(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("quota", "expected"), [(40000, 1), (100000, 1), (149000, 1), (150000, 2), (320000, 3), (900000, 4)]
)
def test_default_threads_follow_limit_and_affinity(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(machine, "cores", lambda: 4)
    root = tree(tmp_path, {**V2, "sys/fs/cgroup/a/b/cpu.max": f"{quota} 100000\n"})
    assert machine.default_threads(root) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_at_least_one_thread():
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
def test_cpu_times_may_be_missing(tmp_path, text):
    assert machine.cpu_times(tree(tmp_path, {"proc/stat": text})) is None


GROUP = {"proc/self/cgroup": "0::/a/b\n"}
OLD_GROUP = {"proc/self/cgroup": "12:pids:/x\n4:memory:/docker/1\n0::/\n"}
MACHINE = {"proc/meminfo": "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:    8000 kB\n"}
UNLIMITED = "9223372036854771712\n"


def limited(folder, limit, used, **more):
    """The files of a control group with a memory limit: v1 if `folder` is below the memory controller, else v2."""
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes") if "/memory" in folder else ("memory.max", "memory.current")
    )
    files = {f"sys/fs/cgroup{folder}/{name}": f"{value}\n" for name, value in zip(names, (limit, used), strict=True)}
    return {**files, **{f"sys/fs/cgroup{folder}/memory.{name}": text for name, text in more.items()}}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MACHINE, 8000 << 10),
        ({"proc/meminfo": "\nMemAvailable:\nMemAvailable: many kB\n"}, None),
        ({**MACHINE, **GROUP}, 8000 << 10),
        ({**GROUP, **limited("/a/b", 5000, 1000)}, 4000),
        ({**MACHINE, **GROUP, **limited("/a/b", 5000, 1000)}, 4000),
        ({**MACHINE, **GROUP, **limited("/a/b", 1 << 40, 1000)}, 8000 << 10),
        ({**MACHINE, **GROUP, **limited("/a/b", "max", 1000)}, 8000 << 10),
        ({**MACHINE, **GROUP, **limited("/a/b", "max", 1000), **limited("/a", 7000, 6500)}, 500),
        ({**MACHINE, **GROUP, **limited("", 3000, 1000)}, 2000),  # the container's own group, seen from inside
        ({**MACHINE, **GROUP, **limited("/a/b", 5000, 6000)}, 0),
        ({**MACHINE, **GROUP, **limited("/a/b", "max", 1000, high="1500\n")}, 500),
        ({**MACHINE, **GROUP, **limited("/a/b", 5000, 4000, stat="anon 900\ninactive_file 3000\n")}, 4000),
        ({**MACHINE, **GROUP, **limited("/a/b", "broken", "x")}, 8000 << 10),
        ({**MACHINE, **GROUP, **limited("/a/b", 5000, "")}, 8000 << 10),
        ({**MACHINE, **OLD_GROUP, **limited("/memory/docker/1", 5000, 2000)}, 3000),
        ({**MACHINE, **OLD_GROUP, **limited("/memory", 5000, 2000)}, 3000),
        ({**MACHINE, **OLD_GROUP, **limited("/memory/docker/1", UNLIMITED, 2000)}, 8000 << 10),
        ({**OLD_GROUP, **limited("/memory/docker/1", 5000, 4000, stat="total_inactive_file 1000\n")}, 2000),
        ({"proc/self/cgroup": "nonsense\n\n:\n"}, None),
    ],
)
def test_available_bytes(tmp_path, files, free):
    assert available_bytes(tree(tmp_path, files)) == free


@pytest.mark.parametrize(("free", "batch"), [(1 << 40, 8), (4 * 3 * 512 * 1000, 3), (1, 1)])
def test_the_default_batch_fits_the_available_memory(monkeypatch, free, batch):
    monkeypatch.setattr(reader, "available_bytes", lambda: free)
    assert reader.default_batch(SimpleNamespace(position_bytes=1000)) == batch
