"""Memory of our own: rows that come when they are asked for, and what stays resident of a mapped file."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from test_machine import tree
from test_safetensors import tensors

from qwen3tts_cli.common.machine import available_bytes
from qwen3tts_cli.common.memory_mapping import map_zeroed
from qwen3tts_cli.models.safetensors import open_safetensors
from qwen3tts_cli.models.sparse_rows import SparseRows
from qwen3tts_cli.speech import scheduler


def resident(path) -> int:
    """Bytes of a mapped file that this process holds."""
    total, here = 0, False
    with open("/proc/self/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if "-" in words[0]:
                here = words[-1] == str(path)
            elif here and words[0] == "Rss:":
                total += int(words[1]) << 10
    return total


@pytest.fixture
def table(tmp_path):
    """A mapped file with a matrix of 16 MB between two others."""
    rng = np.random.default_rng(1)
    big = rng.standard_normal((4096, 1024), np.float32)
    path = tensors(tmp_path / "a.safetensors", before=big[:9], big=big, after=big[:11])
    with open(path, "rb") as file:  # into the system's cache, from front to back
        while file.read(1 << 22):
            pass
    file = open_safetensors(path)
    yield path, file, big
    file.close()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps")
def test_rows_come_one_by_one_and_their_file_does_not_stay(table):
    path, file, big = table
    rows = SparseRows(file.array("big"), lambda: file.drop_pages("big"))
    held = resident(path)
    asked = np.array([0, 17, 4095, 17, 2048, 3])
    rows.read(asked)
    rows.read(asked[::-1])
    assert np.array_equal(rows.array[asked], big[asked])
    assert not rows.array[[1, 2, 4094]].any()
    assert resident(path) <= held + (64 << 10)  # the pages it shares with its neighbours


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps")
def test_one_tensor_is_forgotten_and_stays_good(table):
    path, file, big = table
    array = file.array("big")
    assert np.array_equal(array, big)
    assert resident(path) >= big.nbytes
    file.drop_pages("big")
    assert resident(path) <= 1 << 20
    assert np.array_equal(array, big)


def test_threads_may_ask_for_the_same_rows(table):
    _, file, big = table
    rows = SparseRows(file.array("big"), lambda: file.drop_pages("big"))
    asked = [np.random.default_rng(i).integers(0, 4096, 500) for i in range(4)]
    threads = [threading.Thread(target=rows.read, args=(ids,)) for ids in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ids in asked:
        assert np.array_equal(rows.array[ids], big[ids])


@pytest.mark.parametrize("huge", [False, True])
def test_zeroed_memory(huge):
    memory = np.frombuffer(map_zeroed(5 << 20, huge=huge), np.uint8)
    assert memory.flags.writeable
    assert not memory.any()


GROUP = {"proc/self/cgroup": "0::/a/b\n"}
OLD_GROUP = {"proc/self/cgroup": "12:pids:/x\n4:memory:/docker/1\n0::/\n"}
MACHINE = {"proc/meminfo": "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:    8000 kB\n"}
UNLIMITED = "9223372036854771712\n"


def limited(folder, limit, used, **more):
    """Files of a control group: v2 in bytes, or v1 where the folder is of the memory controller."""
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
        ({**MACHINE, **GROUP, **limited("", 3000, 1000)}, 2000),  # the container's own, seen from inside
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
def test_the_free_memory_is_what_the_control_groups_leave(tmp_path, files, free):
    assert available_bytes(tree(tmp_path, files)) == free


@pytest.mark.parametrize(("free", "batch"), [(1 << 40, 8), (4 * 3 * 512 * 1000, 3), (1, 1)])
def test_a_batch_fits_into_what_is_left(monkeypatch, free, batch):
    monkeypatch.setattr(scheduler, "available_bytes", lambda: free)
    assert scheduler.default_batch(SimpleNamespace(position_bytes=1000)) == batch
