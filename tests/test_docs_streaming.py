"""Every example of docs/streaming.md runs: Python in its order, commands with the programs around them replaced."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers import ROOT, allowed

PAGE = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_python_runs(capsys):
    played = []

    def play(samples):
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        played.append(len(samples))

    names, found = {"play": play, "__name__": "streaming"}, blocks("python")
    assert len(found) == 7
    for number, block in enumerate(found):
        before = len(played)
        code = block.replace("except TimeoutError:\n            pass", "except asyncio.TimeoutError:\n            pass")
        exec(compile(code, f"streaming.md, example {number}", "exec"), names)
        assert len(played) > before or "play(" not in block
    first, *spoken = capsys.readouterr().out.splitlines()
    assert first == "the stream is closed"
    assert [line.split(": ")[1] for line in spoken] == ["One.", "Two and", "three."]


@pytest.mark.parametrize("line", "".join(blocks("sh")).splitlines())
def test_commands_run(tmp_path, line):
    """The program that gives the text writes two lines; those that play count bytes."""
    programs = {"ollama": "printf 'One.\\nTwo.\\n'", "tail": "printf 'One.\\nTwo.\\n'", "aplay": "wc -c >heard"}
    programs["qwen3tts"] = f"exec '{sys.executable}' -m qwen3tts_cli \"$@\""
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(stat.S_IRWXU)
    os.mkfifo(tmp_path / "text.fifo")
    if "text.fifo" in line:
        threading.Thread(target=(tmp_path / "text.fifo").write_bytes, args=(b"One.\nTwo.\n",), daemon=True).start()
    command = line.replace("--play", "--raw | aplay")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=allowed(60)
    )
    assert (done.returncode, "rror" in done.stderr) == (0, False), done.stderr
    assert int((tmp_path / "heard").read_text()) > 10 * 3840
