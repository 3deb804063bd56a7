"""Resolving model names to folders on this machine, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from helpers import CHECKPOINTS, POCKET

from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.errors import ModelNotFoundError, UsageError
from qwen3tts_cli.models import hub_cache, local_models

REPO = local_models.ALIASES["0.6b"]
COMMIT = "0123456789" * 4


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached(repo, source=CHECKPOINTS / "tiny-customvoice", commit=COMMIT):
    folder = hub_cache.repo_folder(repo)
    shutil.copytree(source, folder / "snapshots" / commit)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


@pytest.mark.parametrize("name", [None, "pocket", "Pocket"])
def test_the_embedded_voice(name):
    assert local_models.resolve_model(name) == local_models.ResolvedModel(POCKET, "pocket", True)
    assert hub_cache.missing_files(POCKET) == []


def test_aliases_and_repo_ids(cache):
    path = cached(REPO)
    assert local_models.resolve_model("0.6b") == local_models.ResolvedModel(path, "0.6b", False)
    assert local_models.resolve_model("0.6B") == local_models.ResolvedModel(path, "0.6b", False)
    assert local_models.resolve_model(REPO) == local_models.ResolvedModel(path, REPO, False)
    other = cached("someone/fine--tune".replace("--", "-"))
    assert local_models.resolve_model("someone/fine-tune").path == other
    assert local_models.cached_repos() == [REPO, "someone/fine-tune"]


def test_folders(cache, monkeypatch):
    monkeypatch.chdir(CHECKPOINTS)
    for name in (str(CHECKPOINTS / "tiny-base"), "./tiny-base", "tiny-base", "tiny-base/"):
        assert local_models.resolve_model(names_and_paths.model(name)).path.samefile(CHECKPOINTS / "tiny-base")
    with pytest.raises(UsageError, match="is a file"):
        local_models.resolve_model(names_and_paths.model("tiny-base/config.json"))


@pytest.mark.parametrize(
    ("name", "pull"),
    [
        ("0.6b", "qwen3tts models pull 0.6b"),
        ("1.7B", "qwen3tts models pull 1.7b"),
        ("Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign", "qwen3tts models pull 1.7b-design"),
        ("someone/model", "qwen3tts models pull someone/model"),
    ],
)
def test_model_not_on_this_machine(cache, name, pull):
    with pytest.raises(ModelNotFoundError, match=f"{pull}$"):
        local_models.resolve_model(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0.6", "did you mean 0.6b?"),
        ("pokcet", "did you mean pocket?"),
        ("zzz", "known are pocket, 0.6b"),
        ("./nowhere", "no such folder"),
        ("/nowhere/at/all", "no such folder"),
        ("../x/y", "no such folder"),
        ("org/..", "no such folder"),
        ("~/nowhere", "no such folder"),
    ],
)
def test_unknown(cache, name, message):
    with pytest.raises(ModelNotFoundError, match=message):
        local_models.resolve_model(names_and_paths.model(name))


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_no_name(name):
    with pytest.raises(UsageError):
        local_models.resolve_model(name)


@pytest.mark.parametrize("file", [*hub_cache.REQUIRED_FILES, "model.safetensors"])
def test_incomplete_download(cache, file):
    path = cached(REPO)
    (path / file).unlink()
    with pytest.raises(ModelNotFoundError, match=f"{file} is missing; finish it with: qwen3tts models pull 0.6b$"):
        local_models.resolve_model("0.6b")


def test_shards(cache):
    path = cached(REPO)
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    index = '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    (path / "model.safetensors.index.json").write_text(index)
    assert hub_cache.missing_files(path) == ["model-00002-of-00002.safetensors"]
    (path / "model-00002-of-00002.safetensors").touch()
    assert hub_cache.missing_files(path) == []


def test_references(cache):
    old = cached(REPO, commit="a" * 40)
    new = cached(REPO, commit="b" * 40)
    assert hub_cache.snapshot(REPO) == new
    (hub_cache.repo_folder(REPO) / "refs" / "main").write_text("a" * 40)
    assert hub_cache.snapshot(REPO) == old
    for content in ("", "../../..", "c" * 40):
        (hub_cache.repo_folder(REPO) / "refs" / "main").write_text(content)
        assert hub_cache.snapshot(REPO) is None
    shutil.rmtree(new)
    assert hub_cache.snapshot(REPO) == old


def test_cache_folder(monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hub_cache.cache_folder() == home / ".cache/huggingface/hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_cache.cache_folder() == tmp_path / "xdg/huggingface/hub"
    monkeypatch.setenv("HF_HOME", "~/hf")
    assert hub_cache.cache_folder() == home / "hf/hub"
    monkeypatch.setenv("HF_HUB_CACHE", "$HOME/cache")
    assert hub_cache.cache_folder() == home / "cache"
    ours = subprocess.run(
        [sys.executable, "-c", "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert str(hub_cache.cache_folder()) == ours


def test_resolving_needs_no_network_and_no_huggingface_hub():
    code = (
        "import sys, socket; socket.socket = None\n"
        "from qwen3tts_cli.models import local_models\n"
        "local_models.resolve_model(None); local_models.cached_repos()\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('huggingface_hub', 'numpy', 'httpx', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_damage_without_links(cache):
    """A cache on a file system without symbolic links has no digests, so only missing files are detected."""
    path = cached(REPO)
    assert {problem for _, problem in hub_cache.damaged_files(path)} == {None}
    (path / "vocab.json").unlink()
    assert ("vocab.json", "missing") in list(hub_cache.damaged_files(path))


@pytest.mark.parametrize("value", ["0", "no", "false", "off", "", "1", "ON", "yes", "True"])
def test_is_offline_agrees_with_huggingface_hub(monkeypatch, value):
    code = "from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE)"
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    env = {**os.environ, "HF_HUB_OFFLINE": value}
    theirs = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert str(hub_cache.is_offline()) == theirs == str(value.lower() in ("1", "on", "yes", "true"))


@pytest.mark.parametrize("value", ["0", "", "1"])
def test_transformers_offline_is_used_if_the_other_is_empty(monkeypatch, value):
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    code = "from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    assert str(hub_cache.is_offline()) == theirs == str(value != "0")
