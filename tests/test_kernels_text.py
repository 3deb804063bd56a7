"""The kernels' text: kernel table, compiler and C library, the same wherever it is shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import POCKET, ROOT

from qwen3tts_cli.engine.cpu import build_text, kernels_text
from qwen3tts_cli.speech.synthesizer import Synthesizer

BUILD = re.compile(r"(gcc|clang|Apple clang) \d+\.\d+\.\d+, (glibc \d+\.\d+|musl|macOS( [\d.]+)?)")
PRINT = """
#include "q3t.h"
#include <stdio.h>
int main(void) {
    char text[100], cut[5] = "xxxx";
    size_t length = q3t_build_text(text, sizeof text);
    if (q3t_build_text(cut, 4) != length || q3t_build_text(NULL, 0) != length || cut[3] || cut[4]) return 1;
    return puts(text) < 0;
}
"""


def built_by(compiler: list[str], folder: Path) -> str:
    """The text of a program that `compiler` makes."""
    program, source = folder / "print", folder / "print.c"
    source.write_text(PRINT, encoding="ascii")
    files = [source, ROOT / "native/base/build.c"]
    includes = [f"-I{ROOT / 'native'}"]
    subprocess.run([*compiler, "-std=c11", *includes, *files, "-o", program], check=True)
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()


def test_it_names_table_compiler_and_libc():
    table, build = kernels_text().split("; ")
    assert all(re.fullmatch(r"\w+=\w+", pair) for pair in table.split())
    assert BUILD.fullmatch(build)
    assert build == build_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_the_libc_is_the_one_that_runs():
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = "musl"
    assert build_text().split(", ")[1] == version


def test_a_mask_changes_the_table_alone():
    scalar, build = kernels_text(0).split("; ")
    assert set(re.findall(r"=(\w+)", scalar)) == {"scalar"}
    assert build == build_text()


def test_it_is_the_same_everywhere(run):
    assert json.loads(run("doctor", "--json")[0])["kernels"] == kernels_text()
    assert build_text() in run("doctor")[0]
    with Synthesizer.open(POCKET) as voice:
        assert voice.kernels == kernels_text()


@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform == "darwin", reason="no gcc")
def test_gcc_gives_its_version(tmp_path):
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    assert built_by(["gcc"], tmp_path).startswith(f"gcc {version}, ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs a program of Linux")
def test_clang_and_musl_are_told_apart(tmp_path, monkeypatch):
    pytest.importorskip("ziglang", reason="no zig")
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(ROOT / "build" / "zig"))
    zig = [sys.executable, "-m", "ziglang", "cc"]
    version = subprocess.run([*zig, "--version"], capture_output=True, text=True, check=True).stdout
    target = f"{os.uname().machine}-linux-musl"
    assert built_by([*zig, "-target", target], tmp_path) == f"clang {version.split()[2]}, musl"
