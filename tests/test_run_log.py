"""The log of a run: torn, damaged and lost lines."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest
from helpers import ROOT

from qwen3tts_cli.errors import OutputError
from qwen3tts_cli.narration.run_log import RunLog

RECORDS = [{"segment": "ab" * 32, "attempts": n, "text": "Grüße\n\u2028{}"} for n in range(5)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog.open(path) as log:
        for record in RECORDS:
            log.append(record)
    return path


def records(path) -> list[dict]:
    with RunLog.open(path) as log:
        return list(log.records())


def test_records_come_back_in_order(path):
    assert records(path) == RECORDS
    with RunLog.open(path) as log:
        log.append({"last": True})
        assert list(log.records()) == [*RECORDS, {"last": True}]
        log.append({"later": True})
        assert list(log.records())[5:] == [{"last": True}, {"later": True}]


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(path):
    data = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(data) if byte == ord("\n")]
    for size in range(0, len(data) + 1, 7):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        with RunLog.open(path) as log:
            assert path.stat().st_size == (ends[whole - 1] if whole else 0)
            log.append({"next": size})
            assert list(log.records()) == [*RECORDS[:whole], {"next": size}]


def test_damaged_lines_are_left_out(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"attempts":1', b'"attempts":7')
    lines[3] = b"\x00\xff garbage\n"
    lines.insert(2, b'{"crc":"00000000","record":}\n')
    lines.insert(0, b"[" * 3_000_000 + b"\n")
    path.write_bytes(b"".join(lines))
    assert records(path) == [RECORDS[0], RECORDS[2], RECORDS[4]]


def test_a_long_torn_line_is_cut_off(path):
    with path.open("ab") as file:
        file.write(b"x" * 200_000)
    assert records(path) == RECORDS


def test_a_lost_log_is_begun_anew(path):
    path.unlink()
    assert records(path) == []


def test_a_log_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"none.*log\.jsonl: No such file"):
        RunLog.open(tmp_path / "none" / "log.jsonl")


def test_a_disk_without_space_leaves_the_log_as_it_was(path):
    """RLIMIT_FSIZE cuts a line as a full disk does. In a child: the limit holds for the whole process."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        from qwen3tts_cli.errors import OutputError
        from qwen3tts_cli.narration.run_log import RunLog
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = Path(sys.argv[1])
        size = path.stat().st_size
        with RunLog.open(path) as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
            try:
                log.append({"text": "x" * 100})
            except OutputError as error:
                print(error)
            print(path.stat().st_size == size)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            log.append({"after": 1})
            print(list(log.records())[-1])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), path]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == f"{path}: File too large\nTrue\n{{'after': 1}}\n"


def test_a_torn_line_that_cannot_be_cut_off_damages_no_later_one(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunLog.open(path) as log:
        with monkeypatch.context() as patch:
            results = iter([10])
            patch.setattr(
                os, "write", lambda fd, data, write=os.write: write(fd, data[: next(results, None) or full()])
            )
            patch.setattr(os, "ftruncate", full)
            with pytest.raises(OutputError, match=r"log\.jsonl: No space left"):
                log.append({"torn": True})
        log.append({"after": 1})
        assert list(log.records()) == [*RECORDS, {"after": 1}]
