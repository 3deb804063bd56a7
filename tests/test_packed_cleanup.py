"""Packed files are deleted with their model, by the name of a model that is gone, and after a new revision."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKPOINTS, ROOT

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models import hub_cache, local_models
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.packed import cache_lock, cleanup
from qwen3tts_cli.packed import codec as packed_codec
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed.cache_paths import cache_path, cached_sizes
from qwen3tts_cli.packed.precision import PRECISIONS

REPO = local_models.ALIASES["0.6b"]
COMMITS = ["a" * 40, "b" * 40]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command with empty cache folders; returns stdout and stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(*arguments, code=0):
        capfd.readouterr()
        returned = cli.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert returned == code, err
        return out, err

    return run


def snapshot(commit=COMMITS[0]):
    """Put a revision of the repository into the Hugging Face cache, as its `main`."""
    folder = hub_cache.repo_folder(REPO) / "snapshots" / commit
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    (hub_cache.repo_folder(REPO) / "refs").mkdir(exist_ok=True)
    (hub_cache.repo_folder(REPO) / "refs" / "main").write_text(commit)
    return folder


def pack(folder, *precisions):
    with open_checkpoint(folder, codec=False) as checkpoint:
        for precision in precisions:
            packed_matrices.write_file(checkpoint, precision)
        packed_codec.write_file(checkpoint)


def kinds():
    """The kinds of all packed files."""
    return sorted(pack.kind for pack in cleanup.packed_files())


def files():
    return sorted(path.suffix for path in (Path(os.environ["XDG_CACHE_HOME"]) / "qwen3tts" / "packed").iterdir())


def test_rm_deletes_the_packed_files_of_every_precision(run):
    pack(snapshot(), *PRECISIONS)
    assert kinds() == ["bf16", "codec", "int4", "int8"]
    run("models", "rm", "-y", "0.6b")
    assert files() == []
    run("models", "rm", "-y", "0.6b", code=3)


def test_rm_deletes_packed_files_of_old_revisions_and_of_a_model_that_is_gone(run):
    pack(snapshot(COMMITS[0]), "int8")
    pack(snapshot(COMMITS[1]), "int4")
    shutil.rmtree(hub_cache.repo_folder(REPO))
    assert "packed" in run("models", "rm", "-y", "0.6b")[1]
    assert files() == []


def test_rm_leaves_other_models_alone(run, tmp_path):
    pack(snapshot(), "int8")
    other = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "other")
    pack(other, "int8")
    run("models", "rm", "-y", REPO)
    assert set(cached_sizes(other)) == {"int8", "codec"}
    assert kinds() == ["codec", "int8"]


def test_packing_deletes_the_packed_files_of_an_old_revision(run):
    pack(snapshot(COMMITS[0]), "int8")
    new = snapshot(COMMITS[1])
    pack(new, "int4")
    assert set(cached_sizes(new)) == {"int4", "codec"}
    assert kinds() == ["codec", "int4"]


def test_packing_deletes_the_packed_files_of_a_folder_that_is_gone(run, tmp_path):
    gone = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "gone")
    pack(gone, "int8")
    shutil.rmtree(gone)
    there = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "there")
    pack(there, "int8")
    assert [p.folder for p in cleanup.packed_files()] == [there, there]


def test_tidy_deletes_packed_files_without_a_model(run, tmp_path):
    gone = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "gone")
    there = shutil.copytree(CHECKPOINTS / "tiny-base", tmp_path / "there")
    pack(gone, "int8")
    pack(there, "int8")
    place = cache_path(there, "int8").parent
    (place / ("0" * 24 + "-int4.q3t")).write_bytes(b"of another version")
    (place / ("1" * 24 + "-int4.part")).write_bytes(b"of a process that was killed")
    shutil.rmtree(gone)
    err = run("models", "tidy")[1]
    assert f"{gone}: removed int8, 0.00 GB\n" in err
    assert f"{'0' * 24}-int4.q3t: removed int4" in err
    assert set(cached_sizes(there)) == {"int8", "codec"}
    assert files() == [".lock", ".lock", ".ok", ".ok", ".q3t", ".q3t"]
    assert run("models", "tidy")[1] == "nothing to remove\n"


def test_tidy_leaves_a_file_that_is_being_written(run, tmp_path):
    path = cache_path(tmp_path / "model", "int8")
    with cache_lock.try_lock(path):
        path.with_suffix(".part").write_bytes(b"half")
        run("models", "tidy")
        assert path.with_suffix(".part").exists()


def test_unpack_deletes_every_precision(run):
    pack(snapshot(), *PRECISIONS)
    err = run("models", "unpack", "0.6b")[1]
    assert all(f"{kind} 0.00 GB" in err for kind in ("bf16", "int8", "int4", "codec"))
    assert files() == []
    assert run("models", "unpack", "0.6b")[1] == "0.6b: no weights are packed\n"


def test_unpack_of_one_precision_names_the_packed_files_that_stay(run):
    pack(snapshot(), "int8", "int4")
    err = run("models", "unpack", "0.6b", "--precision", "int4")[1]
    assert "still packed: codec, int8" in err
    assert kinds() == ["codec", "int8"]
    assert "still packed: codec, int8" in run("models", "unpack", "0.6b", "--precision", "bf16")[1]
    run("models", "unpack", "0.6b", "--precision", "int8")
    assert files() == []


@pytest.mark.parametrize("name", ["0.6b", REPO])
def test_unpack_of_a_model_that_is_gone(run, name):
    pack(snapshot(COMMITS[0]), "int8")
    shutil.rmtree(hub_cache.repo_folder(REPO))
    run("models", "unpack", name)
    assert files() == []
    assert "get it with" in run("models", "unpack", name, code=3)[1]


def test_unpack_of_a_folder_that_is_gone(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "model")
    pack(folder, "int8")
    inner = shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder / "inner")
    pack(inner, "int8")
    shutil.rmtree(folder)
    run("models", "unpack", "./model")
    assert [p.folder for p in cleanup.packed_files()] == [inner, inner]
    run("models", "unpack", "./model", code=3)


def test_a_header_names_the_folder_of_the_model(run, tmp_path):
    folder = shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "a\udcffb")
    link = tmp_path / "link"
    link.symlink_to(folder)
    pack(link, "int8")
    assert [p.folder for p in cleanup.packed_files()] == [folder, folder]


@pytest.mark.parametrize("content", [b"", b"Q3TPACK\0", b"\0" * 100, b"Q3TPACK\0" + b"\xff" * 100])
def test_a_file_without_a_valid_header_has_no_model(run, tmp_path, content):
    path = cache_path(tmp_path, "int8")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (pack,) = cleanup.packed_files()
    assert pack == (path, "int8", None)
    assert cleanup.remove_unused() == []
    assert cleanup.remove_unused(unknown=True) == [(pack, len(content))]


def test_the_lock_survives_the_removal_of_its_file(run, tmp_path):
    """A lock whose file was deleted does not release the lock that was taken after that."""
    path = cache_path(tmp_path, "int8")
    first = cache_lock.try_lock(path)
    path.with_suffix(".lock").unlink()
    second = cache_lock.try_lock(path)
    assert second is not None
    assert cache_lock.try_lock(path) is None
    first.release()
    assert cache_lock.try_lock(path) is None
    second.release()
    second.release()
    code = "import sys; from pathlib import Path; from qwen3tts_cli.packed.cache_lock import try_lock; sys.exit(try_lock(Path(sys.argv[1])) is None)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT).returncode == 0
