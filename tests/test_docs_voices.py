"""Every command of docs/voices.md runs, in its order, with tiny models in the place of the released ones."""

from __future__ import annotations

import re
import shlex
import shutil

from helpers import CHECKPOINTS, DATA, ROOT

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models import hub_cache, local_models

MODELS = {"0.6b-base": "tiny-base", "1.7b-base": "tiny-base", "1.7b-design": "tiny-voicedesign"}


def test_commands_run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for alias, name in MODELS.items():
        shutil.copytree(
            CHECKPOINTS / name, hub_cache.repo_folder(local_models.ALIASES[alias]) / "snapshots" / ("0" * 40)
        )
    shutil.copy(DATA / "wavs" / "ref24k_exact.wav", "anna.wav")
    text = (ROOT / "docs" / "voices.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 15
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "qwen3tts"
        if words[0] == "say":
            words += ["--max-frames", "6"]  # random weights need not end
        code = cli.run(words)
        _, err = capfd.readouterr()
        # the other two have no such limit, and the guard may stop what random weights say
        assert code == 0 or (code == 4 and words[:2] in (["voices", "preview"], ["voices", "design"])), f"{line}: {err}"


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copytree(
        CHECKPOINTS / "tiny-base", hub_cache.repo_folder(local_models.ALIASES["0.6b-base"]) / "snapshots" / ("0" * 40)
    )
    shutil.copy(DATA / "wavs" / "ref24k_exact.wav", "anna.wav")
    text = (ROOT / "docs" / "voices.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    block = re.sub(r"(base\.say\([^)]*)\)", r"\1, max_frames=6)", block)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(compile(block, "voices.md", "exec"), {})
