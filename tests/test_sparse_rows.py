"""Copies of single rows of a mapped matrix, zeroed memory, and the pages of a mapped file that stay resident."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from test_safetensors import tensors

from qwen3tts_cli.common.memory_mapping import map_zeroed
from qwen3tts_cli.models.safetensors import open_safetensors
from qwen3tts_cli.models.sparse_rows import SparseRows


def resident(path) -> int:
    """The resident bytes of a mapped file in this process."""
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
    with open(path, "rb") as file:  # into the page cache, from beginning to end
        while file.read(1 << 22):
            pass
    file = open_safetensors(path)
    yield path, file, big
    file.close()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps")
def test_requested_rows_are_copied_and_their_pages_dropped(table):
    path, file, big = table
    rows = SparseRows(file.array("big"), lambda: file.drop_pages("big"))
    held = resident(path)
    asked = np.array([0, 17, 4095, 17, 2048, 3])
    rows.read(asked)
    rows.read(asked[::-1])
    assert np.array_equal(rows.array[asked], big[asked])
    assert not rows.array[[1, 2, 4094]].any()
    assert resident(path) <= held + (64 << 10)  # the pages that it shares with its neighbours


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps")
def test_an_array_stays_valid_after_its_pages_are_dropped(table):
    path, file, big = table
    array = file.array("big")
    assert np.array_equal(array, big)
    assert resident(path) >= big.nbytes
    file.drop_pages("big")
    assert resident(path) <= 1 << 20
    assert np.array_equal(array, big)


def test_threads_may_read_the_same_rows(table):
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
