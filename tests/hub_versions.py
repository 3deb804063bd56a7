"""Environments with other versions of huggingface_hub than the installed one, kept in build/."""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--retries=1", "--timeout=10"]


def folder_of(which: str) -> Path | None:
    """A folder for PYTHONPATH with the `oldest` version that pyproject.toml allows, or the `newest`, and what it needs.

    None for `installed`. The test is skipped where the package index cannot be reached; under CI=true it fails.
    """
    if which == "installed":
        return None
    (oldest,) = re.findall(r'"huggingface_hub>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = oldest if which == "oldest" else _newest(oldest)
    if wanted == version("huggingface_hub"):
        pytest.skip(f"huggingface_hub {wanted} is the {which} version and the installed one")
    folder = ROOT / "build" / f"huggingface_hub-{wanted}-py3.{sys.version_info.minor}"
    if not folder.is_dir():
        coming = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            _pip("--target", str(coming), f"huggingface_hub=={wanted}")
            coming.rename(folder)
        finally:
            shutil.rmtree(coming, ignore_errors=True)
    return folder


def _newest(oldest: str) -> str:
    plan = _pip("--dry-run", "--ignore-installed", "--no-deps", "--report=-", f"huggingface_hub>={oldest}")
    return json.loads(plan)["install"][0]["metadata"]["version"]


def _pip(*arguments: str) -> str:
    done = _run_pip(*arguments)
    if done.returncode:
        reason = f"the package index cannot be reached: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return done.stdout


@functools.cache  # also of what failed
def _run_pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    # with the settings of the user for pip, which may name an index, and without those of the tests for Python
    changed = ("XDG_", "PYTHON", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(changed)}
    environment["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    return subprocess.run([*_PIP, *arguments], capture_output=True, text=True, env=environment, timeout=300)
