"""`models pull`, `verify`, `rm` against a Hub on the loopback interface, with several versions of huggingface_hub."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
from fake_hub import COMMIT, NEWER, FakeHub, Fault
from helpers import CHECKPOINTS
from hub_versions import folder_of

from qwen3tts_cli.models import hub_cache as local_hub
from qwen3tts_cli.models import local_models

REPO = local_models.ALIASES["0.6b"]
LARGE = "model.safetensors"
# the command, without the pauses between the attempts of a download
AT_ONCE = """
import time
from qwen3tts_cli.cli.main import main
time.sleep = lambda seconds: None
main()
"""
every_version = pytest.mark.parametrize("hub_version", ["installed", "oldest", "newest"], indirect=True)


@pytest.fixture
def hub_version(request, monkeypatch):
    """The version of huggingface_hub that subprocesses import."""
    if (folder := folder_of(getattr(request, "param", "installed"))) is not None:
        monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")


@pytest.fixture
def fake_hub():
    with FakeHub.of_folder(REPO, CHECKPOINTS / "tiny-customvoice") as running:
        yield running


@pytest.fixture
def run(fake_hub, hub_version, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.endpoint)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "5")

    def run(*arguments, before=None, **environment):
        return subprocess.run(
            [sys.executable, "-c", AT_ONCE, "models", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            env={**os.environ, **environment},
            preexec_fn=before,
        )

    return run


def failed(done, code=1):
    assert done.returncode == code, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def leftovers():
    return list(local_hub.repo_folder(REPO).glob("blobs/*.incomplete"))


def partial(fake_hub):
    """The partial file of LARGE."""
    return local_hub.repo_folder(REPO) / "blobs" / f"{fake_hub.etag(LARGE)}.qwen3tts.incomplete"


@every_version
def test_pull_then_everything_else(fake_hub, run):
    done = run("pull", "0.6b")
    folder = local_hub.snapshot(REPO)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
    assert "\r" not in done.stderr and "checked" in done.stderr  # noqa: PT018
    assert folder.name == COMMIT
    assert not (folder / "README.md").exists()
    for path in (CHECKPOINTS / "tiny-customvoice").rglob("*.*"):
        assert (folder / path.relative_to(CHECKPOINTS / "tiny-customvoice")).read_bytes() == path.read_bytes()
    assert not leftovers()
    assert run("path", REPO).stdout == f"{folder}\n"
    assert run("path", "0.6B").returncode == 0
    assert "0.6b         ready" in run("list").stdout

    fake_hub.requests.clear()
    assert run("pull", "0.6b", "-q").stderr == ""
    assert fake_hub.ranges_of(LARGE) == []
    fake_hub.requests.clear()
    assert run("verify", "0.6b").stdout == "0.6b: ok\n"
    assert run("path", "0.6b").returncode == 0
    assert fake_hub.requests == []

    assert run("rm", "0.6b").returncode == 0
    assert "qwen3tts models pull 0.6b" in failed(run("path", "0.6b"), 3)
    failed(run("rm", "0.6b"), 3)


@every_version
def test_pull_continues_within_a_run(fake_hub, run):
    fake_hub.faults[LARGE] = Fault(cut=600_000, times=2)
    assert run("pull", "0.6b").returncode == 0
    ranges = fake_hub.ranges_of(LARGE)
    assert len(ranges) == 3
    starts = [int(ranged[6:-1]) for ranged in ranges[1:]]
    assert 0 < starts[0] <= 600_000 < starts[1]


def test_pull_continues_what_an_earlier_run_left(fake_hub, run):
    partial(fake_hub).parent.mkdir(parents=True)
    partial(fake_hub).write_bytes(fake_hub.files[LARGE][:777_777])
    assert run("pull", "0.6b").returncode == 0
    assert fake_hub.ranges_of(LARGE) == ["bytes=777777-"]
    assert not leftovers()


@every_version
def test_an_interrupted_pull_can_be_continued(fake_hub, run, tmp_path):
    fake_hub.faults[LARGE] = Fault(cut=600_000)  # each request brings a bit more, with a second between
    process = subprocess.Popen(
        [sys.executable, "-m", "qwen3tts_cli", "models", "pull", "0.6b"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not (partial(fake_hub).exists() and partial(fake_hub).stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")
    had = partial(fake_hub).stat().st_size
    failed(run("path", "0.6b"), 3)
    del fake_hub.faults[LARGE]
    assert run("pull", "0.6b").returncode == 0
    assert fake_hub.ranges_of(LARGE)[-1] == f"bytes={had}-"


def test_a_part_that_is_wrong_does_not_survive(fake_hub, run):
    partial(fake_hub).parent.mkdir(parents=True)
    partial(fake_hub).write_bytes(b"x" * 5000)
    assert "its digest is not the one announced" in failed(run("pull", "0.6b"))
    assert not leftovers()
    assert run("pull", "0.6b").returncode == 0


@every_version
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_refusals(fake_hub, run, status):
    fake_hub.status = status
    line = failed(run("pull", "0.6b"))
    assert REPO in line
    assert str(status) in line
    assert ("HF_TOKEN" in line) == (status in (401, 403))


@every_version
@pytest.mark.parametrize("name", [LARGE, "merges.txt"])
def test_a_refused_file(fake_hub, run, name):
    fake_hub.faults[name] = Fault(status=403)
    line = failed(run("pull", "0.6b"))
    assert name in line
    assert "403" in line
    failed(run("path", "0.6b"), 3)


def test_the_token_is_sent_and_never_shown(fake_hub, run):
    fake_hub.status = 401
    line = failed(run("pull", "0.6b", HF_TOKEN="hf_secret"))
    assert "hf_secret" not in line
    assert "the token is not accepted" in line
    assert fake_hub.tokens == {"Bearer hf_secret"}


@every_version
def test_the_token_is_not_sent_to_another_host(fake_hub, run):
    fake_hub.cdn = fake_hub.endpoint.replace("127.0.0.1", "localhost")
    assert run("pull", "0.6b", HF_TOKEN="hf_secret").returncode == 0
    assert fake_hub.tokens == {"Bearer hf_secret"}
    assert fake_hub.cdn_tokens == {None}


@pytest.mark.parametrize("cut", [1000, 1_000_000])
def test_truncated_by_a_server_that_cannot_continue(fake_hub, run, cut):
    fake_hub.faults[LARGE] = Fault(cut=cut, ranges=False)
    line = failed(run("pull", "0.6b"))
    assert LARGE in line
    assert "the connection was cut" in line
    failed(run("path", "0.6b"), 3)


def test_a_server_that_cannot_continue_sends_the_file_again(fake_hub, run):
    fake_hub.faults[LARGE] = Fault(cut=600_000, times=2, ranges=False)
    assert run("pull", "0.6b").returncode == 0
    assert is_whole(fake_hub.files)


@pytest.mark.parametrize("body", [b"Not found", b"x" * 3_000_000], ids=["short", "long"])
def test_wrong_size(fake_hub, run, body):
    fake_hub.faults[LARGE] = Fault(body=body)
    line = failed(run("pull", "0.6b"))
    assert "announced" in line
    assert all(path.stat().st_size == 0 for path in leftovers())
    failed(run("path", "0.6b"), 3)


def test_right_size_wrong_bytes(fake_hub, run):
    fake_hub.faults[LARGE] = Fault(body=bytes(len(fake_hub.files[LARGE])))
    assert "its digest is not the one announced" in failed(run("pull", "0.6b"))
    assert not leftovers()


def test_a_damaged_small_file(fake_hub, run):
    fake_hub.faults["merges.txt"] = Fault(body=b"#" * len(fake_hub.files["merges.txt"]))
    assert "merges.txt" in failed(run("pull", "0.6b"))
    failed(run("path", "0.6b"), 3)
    fake_hub.faults.clear()
    assert run("pull", "0.6b").returncode == 0


def test_a_repo_that_is_no_checkpoint(fake_hub, run):
    fake_hub.files = {"README.md": b"Not a model."}
    assert "no config.json" in failed(run("pull", "0.6b"))


def test_a_checkpoint_that_cannot_be_opened(fake_hub, run):
    fake_hub.files["config.json"] = b"{}"
    assert "config.json" in failed(run("pull", "0.6b"))


@pytest.mark.parametrize("name", [LARGE, "merges.txt"])
def test_damage_is_found_and_repaired(fake_hub, run, name):
    assert run("pull", "0.6b").returncode == 0
    blob = (local_hub.snapshot(REPO) / name).resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    done = run("verify", "0.6b")
    assert (done.returncode, done.stdout) == (1, "0.6b: damaged\n")
    assert name in done.stderr
    assert run("pull", "0.6b").returncode == 0
    assert run("verify").stdout == "pocket: ok\n0.6b: ok\n"


def newer(files):
    """Files of the same sizes, of which a small and a large one differ."""
    config, weights = files["config.json"], files[LARGE]
    return {**files, "config.json": config.rstrip() + b" ", LARGE: weights[:-1] + bytes([weights[-1] ^ 1])}


def is_whole(files):
    folder = local_hub.snapshot(REPO)
    return all((folder / name).read_bytes() == files[name] for name in ("config.json", "merges.txt", LARGE))


def test_main_that_moves_during_a_pull_does_not_mix_two_revisions(fake_hub, run):
    fake_hub.newer = newer(fake_hub.files)
    assert run("pull", "0.6b").returncode == 0
    assert fake_hub.main == NEWER
    assert local_hub.snapshot(REPO).name == COMMIT
    assert is_whole(fake_hub.files)
    assert (local_hub.repo_folder(REPO) / "refs" / "main").read_bytes() == COMMIT.encode()
    assert run("verify", "0.6b").stdout == "0.6b: ok\n"

    assert run("pull", "0.6b").returncode == 0
    assert local_hub.snapshot(REPO).name == NEWER
    assert is_whole(fake_hub.newer)
    assert (local_hub.repo_folder(REPO) / "refs" / "main").read_bytes() == NEWER.encode()


@pytest.mark.parametrize("name", ["config.json", "merges.txt", LARGE])
def test_a_pull_that_fails_leaves_the_earlier_revision_in_use(fake_hub, run, name):
    assert run("pull", "0.6b").returncode == 0
    fake_hub.newer, fake_hub.main = newer(fake_hub.files), NEWER
    fake_hub.newer["merges.txt"] += b"\n"
    fake_hub.faults[name] = Fault(status=403)
    failed(run("pull", "0.6b"))
    assert local_hub.snapshot(REPO).name == COMMIT
    assert run("path", "0.6b").stdout == f"{local_hub.snapshot(REPO)}\n"
    fake_hub.faults.clear()
    assert run("pull", "0.6b").returncode == 0
    assert local_hub.snapshot(REPO).name == NEWER


def test_two_pulls_at_once(fake_hub, run):
    partial(fake_hub).parent.mkdir(parents=True)
    with open(partial(fake_hub), "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert f"{LARGE}: another download of it is running" in failed(run("pull", "0.6b"))
    assert run("pull", "0.6b").returncode == 0


REPORTED = "import sys; from qwen3tts_cli.models import download; download.pull(sys.argv[1], print)"


@every_version
def test_the_progress_is_of_the_whole_model(fake_hub, run):
    total = sum(len(data) for name, data in fake_hub.files.items() if name not in ("README.md", ".gitattributes"))
    for to_come in (total, 0):
        done = subprocess.run([sys.executable, "-c", REPORTED, REPO], capture_output=True, text=True, timeout=60)
        rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
        assert rows == sorted(rows)
        assert {row[1] for row in rows} == {total}
        assert rows[-1] == (total, total, to_come)
        assert len(rows) > 5


def test_the_progress_line(fake_hub, run):
    fake_hub.faults[LARGE] = Fault(cut=600_000, times=1)  # with a pause, for more than one line
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qwen3tts_cli", "models", "pull", "0.6b"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = ""
        with open(ours, "rb") as terminal, contextlib.suppress(OSError):  # EIO: the command closed it
            while data := terminal.read1():
                shown += data.decode()
    assert process.returncode == 0
    assert re.search(rf"\r{REPO}: 0\.00 of 0\.00 GB, \d+ %, \d+\.\d MB/s", shown)


WATCHED = """
import os, sys
from qwen3tts_cli.models import download
real_sync, real_replace = os.fsync, os.replace
def sync(descriptor):
    print("fsync", os.fstat(descriptor).st_ino)
    real_sync(descriptor)
def replace(source, target):
    print("replace", os.stat(source).st_ino, target, os.path.exists(target))
    if sys.argv[2] == "die":
        os._exit(9)
    real_replace(source, target)
os.fsync, os.replace = sync, replace
download.pull(sys.argv[1], lambda *counts: None)
"""


def watched(fake_hub, how):
    """The renames of a pull and the syncs of inodes around them, as as words; `die`: it ends at the first rename."""
    code = [sys.executable, "-u", "-c", WATCHED, REPO, how]
    done = subprocess.run(code, capture_output=True, text=True, timeout=60)
    assert done.returncode == (9 if how == "die" else 0), done
    return [line.split() for line in done.stdout.splitlines()]


def test_a_download_is_on_the_disk_before_it_has_its_name(fake_hub, run):
    rows = watched(fake_hub, "live")
    cache = local_hub.repo_folder(REPO)
    for target in (cache / "blobs" / fake_hub.etag(LARGE), cache / "refs" / "main"):
        (at,) = (i for i, row in enumerate(rows) if row[0] == "replace" and row[2] == str(target))
        inode = str(target.stat().st_ino)
        assert rows[at - 1 : at + 2] == [
            ["fsync", inode],
            ["replace", inode, str(target), "False"],
            ["fsync", str(target.parent.stat().st_ino)],
        ]


def test_a_damaged_file_stays_until_the_new_one_takes_its_name(fake_hub, run):
    assert run("pull", "0.6b").returncode == 0
    blob = local_hub.repo_folder(REPO) / "blobs" / fake_hub.etag(LARGE)
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    *_, last = watched(fake_hub, "die")
    assert (last[0], last[2:]) == ("replace", [str(blob), "True"])
    assert blob.read_bytes() == b"damaged"
    fake_hub.requests.clear()
    assert run("pull", "0.6b").returncode == 0
    assert blob.read_bytes() == fake_hub.files[LARGE]
    assert fake_hub.ranges_of(LARGE) == []  # the partial file was whole


def test_offline(fake_hub, run):
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert f"{variable} is set" in failed(run("pull", "0.6b", **{variable: "1"}))
    assert fake_hub.requests == []


@pytest.mark.parametrize("value", ["0", "no"])
def test_a_switch_that_is_off_does_not_keep_a_pull_away(fake_hub, run, value):
    assert run("pull", "0.6b", HF_HUB_OFFLINE=value).returncode == 0


@every_version
def test_no_network(run):
    line = failed(run("pull", "0.6b", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "cannot be reached (Connection refused)" in line


def test_a_hub_that_does_not_answer(fake_hub, run):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        line = failed(run("pull", "0.6b", HF_ENDPOINT=endpoint, HF_HUB_ETAG_TIMEOUT="1", HF_HUB_DOWNLOAD_TIMEOUT="1"))
    assert "cannot be reached (timed out)" in line


def test_a_model_larger_than_the_disk(fake_hub, run):
    fake_hub.faults[LARGE] = Fault(size=10**18)
    assert "MB are to come" in failed(run("pull", "0.6b"))
    assert fake_hub.ranges_of(LARGE) == []


def test_a_digest_that_is_a_path(fake_hub, run, tmp_path):
    fake_hub.faults[LARGE] = Fault(digest="../../../../escaped")
    assert f"no size and digest of {LARGE}" in failed(run("pull", "0.6b"))
    assert not list(tmp_path.rglob("*escaped*"))


@every_version
def test_full_disk(fake_hub, run):
    # A limit on the size of files stands for a disk without space: both fail in write().
    line = failed(run("pull", "0.6b", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))))
    assert "too large" in line
    failed(run("path", "0.6b"), 3)


def test_names(fake_hub, run):
    assert "did you mean 0.6b" in failed(run("pull", "0.6"), 3)
    failed(run("pull", "pocket"), 2)
    failed(run("rm", "pocket"), 2)
    failed(run("pull"), 2)
    assert fake_hub.requests == []
