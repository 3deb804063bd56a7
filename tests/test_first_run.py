"""The first run of a model: it speaks before its packed files are written, and no partial file stays."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, ROOT, allowed

from qwen3tts_cli import Synthesizer, UsageError
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli.console import Console
from qwen3tts_cli.cli.keep_packed import finish_packing
from qwen3tts_cli.models import bpe_merges
from qwen3tts_cli.models.checkpoint import Checkpoint, open_checkpoint
from qwen3tts_cli.packed import cache_lock, cleanup, file_format
from qwen3tts_cli.packed import codec as packed_codec
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed import precision as packed_precision
from qwen3tts_cli.packed.cache_paths import cache_path
from qwen3tts_cli.packed.cleanup import remove
from qwen3tts_cli.packed.file_writer import BackgroundWriter
from qwen3tts_cli.packed.precision import PRECISIONS, cpu_decodes_bf16_fast
from qwen3tts_cli.packed.verify import verify

TEXT = "A cat sat. Nobody said a word."
# A `say` that writes packed files slowly, 64 KB at a time. It prints a line to stderr when it begins to write.
SLOWLY = """
import sys, time
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.packed import file_format, precision
precision.LARGE_MODEL_BYTES = 1
flush, told = file_format._Blocks.flush, []
def slowly(self):
    if not told:
        print("writing", file=sys.stderr, flush=True)
    told.append(1)
    time.sleep(0.05)
    flush(self)
file_format._BLOCK, file_format._Blocks.flush = 1 << 16, slowly
cli.main()
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A copy of a checkpoint, which counts as large, and an empty cache folder."""
    for name in ("CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packed_precision, "LARGE_MODEL_BYTES", 1)
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    return folder


def cache_files():
    """The names in the cache folder without the hash of the model's folder, and without locks."""
    folder = Path(os.environ["XDG_CACHE_HOME"])
    return sorted(
        path.name.partition("-")[2] for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def files_of(*kinds):
    return sorted(f"{kind}.{suffix}" for kind in kinds for suffix in ("ok", "q3t"))


def arguments(model, precision, *more):
    return ["say", "-m", str(model), "--precision", precision, "--seed", "1", "--max-frames", "6", *more, TEXT]


def _interruptible():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job of a script ignores it


def slow_run(model, precision, *more, **how):
    """Start a `say`; returns once it has spoken and writes packed files."""
    command = [sys.executable, "-c", SLOWLY, *arguments(model, precision, *more)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible, **how)
    wait_for(lambda: run.stderr.readline() == "writing\n")
    return run


def wait_for(condition, seconds=30):
    end = time.monotonic() + allowed(seconds)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def spoken(voice):
    return voice.say(TEXT, seed=1, max_frames=6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_first_run_has_the_bytes_of_the_next(model, precision):
    if precision == "bf16" and not cpu_decodes_bf16_fast():
        pytest.skip("bf16 is not packed on this processor")
    with Synthesizer.open(model, precision=precision, cache=False) as voice:
        want = spoken(voice)
        assert not voice.packing
    assert cache_files() == []
    with Synthesizer.open(model, precision=precision) as voice:
        np.testing.assert_array_equal(spoken(voice), want)
        reports = []
        with pytest.raises(UsageError, match="progress: found the int 5"):
            voice.finish_packing(5)
        assert voice.finish_packing(lambda *report: reports.append(report)) == []
        assert not voice.packing
        assert all(done <= total for done, total in reports)
        np.testing.assert_array_equal(spoken(voice), want)
    assert cache_files() == files_of(precision, "codec")
    assert all(verify(model, kind) for kind in (precision, "codec"))
    files = {path: path.stat().st_mtime_ns for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.q3t")}
    with Synthesizer.open(model, precision=precision) as voice:
        assert not voice.packing
        np.testing.assert_array_equal(spoken(voice), want)
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())


@pytest.mark.parametrize("method", ["say", "stream", "say_many", "stream_many"])
def test_bf16_is_packed_after_the_first_text(model, method):
    if not cpu_decodes_bf16_fast():
        pytest.skip("bf16 is not packed on this processor")
    with Synthesizer.open(model, precision="bf16") as voice:
        time.sleep(0.1)
        assert cache_files() == []
        list(getattr(voice, method)([TEXT] if "many" in method else TEXT, seed=1, max_frames=6))
        wait_for(lambda: not voice.packing)
    assert cache_files() == files_of("bf16", "codec")


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_the_audio_is_complete_before_the_command_waits_for_the_files(model, precision):
    with slow_run(model, precision, "-q", "-o", "a.wav") as run:
        wait_for(Path("a.wav").exists)
        assert soundfile.info("a.wav").frames == 6 * 1920
        assert run.poll() is None
        assert run.wait(timeout=allowed(60)) == 0
    assert cache_files() == files_of("codec", *([precision] if precision == "int8" or cpu_decodes_bf16_fast() else []))


def test_a_pipe_is_closed_before_the_files_are_written(model):
    """The reader of the pipe gets the end of the audio while the command still writes packed files."""
    with slow_run(model, "bf16", "-q", "--raw", stdout=subprocess.PIPE) as run:
        assert len(os.read(run.stdout.fileno(), 1)) == 1
        run.stdout.buffer.read()
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=allowed(60)) == 0


def test_a_terminal_shows_that_the_audio_is_complete(model):
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", SLOWLY, *arguments(model, "bf16", "-o", "a.wav")]
    with subprocess.Popen(command, stderr=theirs) as run:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(ours, 4096):
                shown += data
        assert run.wait(timeout=allowed(60)) == 0
    os.close(ours)
    assert b"audio in" in shown.partition(b"the audio is complete; keeping packed weights for the next run, ")[0]
    assert b" %" in shown.partition(b"keeping packed weights")[2]


@pytest.mark.parametrize("precision", ["int8", "bf16"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_during_the_writing_leaves_no_partial_file(model, precision, number, code):
    with slow_run(model, precision, "-q", "-o", "a.wav") as run:
        wait_for(Path("a.wav").exists)
        time.sleep(0.2)
        run.send_signal(number)
        assert run.wait(timeout=allowed(60)) == code
        assert run.stderr.read() == ""
    assert soundfile.info("a.wav").frames == 6 * 1920
    assert not [name for name in cache_files() if not name.endswith((".q3t", ".ok"))]
    assert f"{precision}.q3t" not in cache_files()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_the_opening_and_the_speaking_leaves_no_partial_file(model, number):
    """The model is opened and writes; the command has no reference to it yet."""
    code = f"""
import os
from qwen3tts_cli.speech.synthesizer import Synthesizer
opened = Synthesizer.open.__func__
def open_and_be_stopped(*given, **options):
    voice = opened(Synthesizer, *given, **options)
    while not told:
        time.sleep(0.01)
    os.kill(os.getpid(), {int(number)})
    time.sleep(10)
Synthesizer.open = open_and_be_stopped
"""
    command = [sys.executable, "-c", SLOWLY.replace("cli.main()", code + "cli.main()")]
    run = subprocess.run([*command, *arguments(model, "int8", "-o", "a.wav")], preexec_fn=_interruptible)
    assert run.returncode == 128 + number
    assert cache_files() == []


@pytest.mark.parametrize("command", [["unpack"], ["tidy"], ["rm"]])
def test_commands_delete_the_partial_file_of_a_killed_run(model, capfd, command, tmp_path, monkeypatch):
    with slow_run(model, "int8", "-q", "-o", "a.wav") as run:
        run.kill()
    (part,) = (name for name in cache_files() if name.endswith(".part"))
    if command == ["rm"]:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        (tmp_path / "hub" / "models--Qwen--Qwen3-TTS-12Hz-0.6B-CustomVoice").mkdir(parents=True)
    given = {"unpack": [str(model)], "tidy": [], "rm": ["-y", "0.6b"]}[command[0]]
    assert cli.run(["models", *command, *given]) == 0
    assert not [path for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if path.suffix == ".part"]
    assert ("removed codec" in capfd.readouterr().err) == (command != ["rm"])
    assert part.startswith("codec")


def test_an_interrupt_at_the_end_of_the_process_is_no_failure(model):
    code = (
        """
import os
class Late:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, 2)
late = Late()  # freed when the interpreter has let go of its signal handlers
"""
        + SLOWLY
    )
    command = [sys.executable, "-c", code, *arguments(model, "int8", "-q", "-o", "a.wav")]
    assert subprocess.run(command, preexec_fn=_interruptible, stderr=subprocess.PIPE).returncode == 0
    assert cache_files() == files_of("codec", "int8")


def test_an_interrupt_ends_the_writing_for_all_models_of_a_command(model):
    """`voices design` opens two."""
    asked = []

    class Opened:
        def finish_packing(self, progress):
            asked.append(self)
            raise KeyboardInterrupt

    finish_packing([Opened(), Opened()], Console(quiet=True), "voice")
    assert len(asked) == 1


def test_a_file_that_is_being_written_is_not_deleted(model):
    with slow_run(model, "int8", "-q", "-o", "a.wav") as run:
        assert cleanup.remove_partial() == []
        assert run.wait(timeout=allowed(60)) == 0
    assert cache_files() == files_of("codec", "int8")


def test_the_next_run_replaces_the_partial_file_of_a_killed_run(model):
    with slow_run(model, "int8", "-q", "-o", "a.wav") as run:
        run.kill()
    assert [name for name in cache_files() if name.endswith(".part")]
    assert not [name for name in cache_files() if name.endswith(".q3t")]
    assert cli.run(["say", "-q", *arguments(model, "int8", "-o", "b.wav")[1:]]) == 0
    assert cache_files() == files_of("codec", "int8")


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_disk_that_is_full_costs_a_warning_and_no_audio(model, precision):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = [sys.executable, "-m", "qwen3tts_cli", *arguments(model, precision, "-o", "a.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=allowed(60), preexec_fn=small_files)
    assert done.returncode == 0, done
    assert soundfile.info("a.wav").frames == 6 * 1920
    assert cache_files() == []
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "codec.q3t: File too large" in line


def test_models_pack_names_the_file_for_which_the_disk_is_full(model):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = [sys.executable, "-m", "qwen3tts_cli", "models", "pack", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=allowed(60), preexec_fn=small_files)
    assert done.returncode == 1
    assert done.stderr == f"error: {cache_path(model, 'codec')}: File too large\n"
    assert cache_files() == []


def test_models_pack_needs_no_lock_if_the_file_exists(model, monkeypatch, capfd):
    assert cli.run(["models", "pack", str(model), "-q"]) == 0

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("qwen3tts_cli.packed.file_writer.try_lock", refuse)
    assert cli.run(["models", "pack", str(model), "-q"]) == 0
    assert cli.run(["models", "pack", str(model), "-q", "--precision", "int4"]) == 1
    assert "Permission denied" in capfd.readouterr().err


def test_a_cache_folder_that_cannot_be_made_costs_one_warning(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for precision in ("int8", "bf16"):
        with pytest.warns(UserWarning, match="kept in memory") as caught:
            voice = Synthesizer.open(model, precision=precision)
        with voice:
            assert len(spoken(voice))
            assert not voice.packing
        assert len(caught) == 1


@contextlib.contextmanager
def locked(model, *kinds):
    """Hold the locks of these packed files in another process."""
    code = (
        "import sys; from pathlib import Path; from qwen3tts_cli.packed.cache_lock import try_lock\n"
        "from qwen3tts_cli.packed.cache_paths import cache_path\n"
        "held = [try_lock(cache_path(Path(sys.argv[1]), kind)) for kind in sys.argv[2:]]\n"
        "print(all(held), flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(model), *kinds]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "True\n"
        yield run
        run.stdin.close()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_process_without_the_lock_speaks_and_writes_nothing(model, precision):
    with locked(model, precision, "codec"):
        started = time.monotonic()
        with Synthesizer.open(model, precision=precision) as voice:
            assert len(spoken(voice))
            assert voice.finish_packing() == []
        assert time.monotonic() - started < allowed(10)
        assert cache_files() == []


def test_only_models_pack_waits_for_the_lock_and_says_so(model):
    command = [sys.executable, "-m", "qwen3tts_cli", "models", "pack", str(model)]
    with locked(model, "codec") as other:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stderr.readline() == f"{model}: waiting for another process that packs it\n"
        assert run.poll() is None
        other.stdin.close()
        out, _ = run.communicate(timeout=allowed(60))
    assert run.returncode == 0
    assert out.endswith("-int8.q3t\n")
    assert cache_files() == files_of("codec", "int8")


def test_three_first_runs_at_once(model):
    runs = [
        subprocess.Popen([sys.executable, "-m", "qwen3tts_cli", *arguments(model, "int8", "-q", "-o", f"{n}.wav")])
        for n in range(3)
    ]
    assert [run.wait(timeout=allowed(120)) for run in runs] == [0, 0, 0]
    assert len({Path(f"{n}.wav").read_bytes() for n in range(3)}) == 1
    assert cache_files() == files_of("codec", "int8")
    assert verify(model, "int8")
    assert verify(model, "codec")


@pytest.mark.parametrize("how", ["option", "variable", "file"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_cache_writes_nothing(model, tmp_path, monkeypatch, how, precision):
    monkeypatch.setattr(bpe_merges, "CACHE_MERGES", 0)
    given = ["-q", "-o", "a.wav", *(["--no-cache"] if how == "option" else [])]
    if how == "variable":
        monkeypatch.setenv("QWEN3TTS_NO_CACHE", "1")
    elif how == "file":
        (tmp_path / "config" / "qwen3tts").mkdir(parents=True)
        (tmp_path / "config" / "qwen3tts" / "config.toml").write_text("no-cache = true\n")
    assert cli.run(arguments(model, precision, *given)) == 0
    assert not (tmp_path / "cache").exists()


def test_no_cache_is_a_setting_of_every_command_that_speaks(model, tmp_path, monkeypatch):
    monkeypatch.setattr(bpe_merges, "CACHE_MERGES", 0)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("QWEN3TTS_NO_CACHE", "1")
    base = CHECKPOINTS / "tiny-base"
    soundfile.write("ref.wav", np.random.default_rng(1).normal(0, 0.1, 48000), 24000)
    assert cli.run(["voices", "create", "anna", "--from", "ref.wav", "--x-vector", "-m", str(base), "-q"]) == 0
    assert cli.run(["voices", "preview", "anna", "-m", str(base), "-o", "a.wav", "--text", "Hi.", "-q"]) == 0
    design = CHECKPOINTS / "tiny-voicedesign"
    made = ["voices", "design", "old", "an old man", "-m", str(design), "--base", str(base), "--text", "Hi.", "-q"]
    assert cli.run([*made, "--seed", "1"]) == 0
    assert not (tmp_path / "cache").exists()


def test_no_cache_uses_existing_packed_files(model, monkeypatch):
    monkeypatch.setattr(bpe_merges, "CACHE_MERGES", 0)
    with Synthesizer.open(model, precision="int8") as voice:
        want = spoken(voice)
        voice.finish_packing()
    names = cache_files()
    assert any(name.endswith(".bin") for name in names)
    for stamp in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.ok"):
        stamp.unlink()
    monkeypatch.setattr(packed_matrices, "pack_in_memory", None)
    monkeypatch.setattr(bpe_merges, "_build_table", None)
    with Synthesizer.open(model, precision="int8", cache=False) as voice:
        np.testing.assert_array_equal(spoken(voice), want)
    assert cache_files() == [name for name in names if not name.endswith(".ok")]


@pytest.fixture
def slowly(monkeypatch):
    """Make writing take seconds; returns an event that is set when it begins."""
    begun, flush = threading.Event(), file_format._Blocks.flush

    def slow(self):
        begun.set()
        time.sleep(0.05)
        flush(self)

    monkeypatch.setattr(file_format, "_BLOCK", 1 << 16)
    monkeypatch.setattr(file_format._Blocks, "flush", slow)
    return begun


def test_close_ends_the_writing(model, slowly):
    voice = Synthesizer.open(model, precision="int8")
    assert slowly.wait(allowed(30))
    assert voice.packing
    started = time.monotonic()
    voice.close()
    assert time.monotonic() - started < allowed(2)
    assert not voice.packing
    assert cache_files() == []
    assert voice.finish_packing() == []
    voice.close()
    for kind in ("int8", "codec"):  # the locks are released
        with cache_lock.try_lock(cache_path(model, kind)) as lock:
            assert lock is not None


def test_close_from_a_signal_handler_while_the_command_waits(model, slowly):
    voice = Synthesizer.open(model, precision="int8")
    before = signal.signal(signal.SIGALRM, lambda *_: voice.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert voice.finish_packing() == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cache_files() == []


def test_a_close_that_is_interrupted_leaves_no_partial_file(model, monkeypatch):
    writing, go_on, flush = threading.Event(), threading.Event(), file_format._Blocks.flush

    def stuck(self):
        flush(self)
        writing.set()
        go_on.wait(allowed(30))

    monkeypatch.setattr(file_format._Blocks, "flush", stuck)
    voice = Synthesizer.open(model, precision="int8")
    assert writing.wait(allowed(30))
    assert any(name.endswith(".part") for name in cache_files())
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            voice.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cache_files() == []
    go_on.set()
    voice.close()


def test_a_synthesizer_that_is_dropped_releases_the_locks(model):
    for precision in PRECISIONS:
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else None
        voice = Synthesizer.open(model, precision=precision)
        del voice
        gc.collect()
        wait_for(lambda: not any(thread.name.startswith(file_format.THREAD_NAME) for thread in threading.enumerate()))
        gc.collect()
        for kind in (precision, "codec"):
            with cache_lock.try_lock(cache_path(model, kind)) as lock:
                assert lock is not None
        assert before is None or len(os.listdir("/proc/self/fd")) <= before


def test_weights_packed_while_the_checkpoint_is_replaced_are_stale(model, monkeypatch):
    pack = packed_matrices.pack_in_memory

    def slowly(*given, **options):
        made = pack(*given, **options)
        os.utime(model / "model.safetensors", ns=(1, 1))
        return made

    monkeypatch.setattr(packed_matrices, "pack_in_memory", slowly)
    with Synthesizer.open(model, precision="int8") as voice:
        voice.finish_packing()
    assert not verify(model, "int8")


def test_close_before_anything_was_said_writes_nothing(model):
    Synthesizer.open(model, precision="bf16").close()
    assert cache_files() == []
    with cache_lock.try_lock(cache_path(model, "codec")) as lock:
        assert lock is not None


def test_a_model_that_fails_to_open_releases_the_locks(model, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("qwen3tts_cli.speech.synthesizer.Model", fail)
    for precision in PRECISIONS:
        with pytest.raises(MemoryError):
            Synthesizer.open(model, precision=precision)
        for kind in (precision, "codec"):
            with cache_lock.try_lock(cache_path(model, kind)) as lock:
                assert lock is not None


def test_a_forked_child_leaves_the_writing_to_its_parent(model, slowly):
    voice = Synthesizer.open(model, precision="int8")
    assert slowly.wait(allowed(30))
    child = os.fork()
    if child == 0:
        voice._writer.close()
        os._exit(int(voice.packing or voice.finish_packing() != []))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert voice.packing
    assert any(name.endswith(".part") for name in cache_files())
    voice.close()


def test_a_file_deleted_while_it_is_written_stays_deleted(model, slowly):
    with Synthesizer.open(model, precision="int8") as voice:
        assert slowly.wait(allowed(30))
        remove(model, "codec")
        (line,) = voice.finish_packing()
        assert "codec" in line
    assert cache_files() == []


def test_a_writer_without_jobs_has_nothing_to_do():
    writer = BackgroundWriter()
    writer.begin()
    writer.finish()
    writer.close()
    assert not writer.busy


def test_packing_drops_the_pages_of_the_checkpoint(model, monkeypatch):
    """Those of the codec while it is packed, those of a matrix after it is packed."""
    calls, drop_pages = [], Checkpoint.drop_pages

    def counted(self):
        calls.append(1)
        drop_pages(self)

    def wait(*_):
        before = len(calls)
        wait_for(lambda: len(calls) > before + 1)

    monkeypatch.setattr(Checkpoint, "drop_pages", counted)
    monkeypatch.setattr(packed_codec, "pack_codec", wait)
    with open_checkpoint(model, codec=False) as checkpoint:
        packed_codec.load_or_pack(checkpoint)
        calls.clear()
        weights = packed_matrices.pack_in_memory(checkpoint, "int8")
        assert len(calls) == len(weights.matrices)


def test_the_tokenizers_table_is_built_while_weights_are_packed(model, monkeypatch):
    made, pack = threading.Event(), packed_codec.pack_codec
    monkeypatch.setattr(bpe_merges, "_build_table", lambda *a, inner=bpe_merges._build_table: made.set() or inner(*a))

    def wait(*given):
        assert made.wait(allowed(30))
        pack(*given)

    monkeypatch.setattr(packed_codec, "pack_codec", wait)
    with Synthesizer.open(model) as voice:
        assert len(spoken(voice))
