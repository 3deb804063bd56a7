"""Packed files: made once and found again; a damaged or stale file is made again; packing changes no samples."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers import CHECKPOINTS, ROOT, golden_rows, load_golden, speak_golden

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.engine.cpu import kernels_text
from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.packing import CODEC_LAYOUT, codec_bytes, pack_codec
from qwen3tts_cli.errors import CheckpointError
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.models.tensor_specs import collect_decoder
from qwen3tts_cli.packed import codec as packed_codec
from qwen3tts_cli.packed import file_format
from qwen3tts_cli.packed import matrices as packed_matrices
from qwen3tts_cli.packed import precision as packed_precision
from qwen3tts_cli.packed.cache_paths import cache_path, cached_sizes
from qwen3tts_cli.packed.cleanup import remove
from qwen3tts_cli.packed.file_format import HEADER_ROOM
from qwen3tts_cli.packed.precision import PRECISIONS
from qwen3tts_cli.packed.verify import verify


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A copy of a checkpoint, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", folder)
    return folder


def opened(folder, precision="int8", **options):
    """Write the packed file of a folder, then load it: the packed bytes, the progress reports, the path."""
    calls = []
    with open_checkpoint(folder) as checkpoint:
        packed_matrices.write_file(checkpoint, precision, progress=lambda *a: calls.append(a), **options)
        weights = packed_matrices.load_or_pack(checkpoint, precision)
        data = {key: (dtype, array.tobytes()) for key, (dtype, array) in weights.matrices.items()}
    return data, calls, weights.path


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_packed_file_is_written_once_and_found_again(model, precision):
    made, calls, path = opened(model, precision, threads=2)
    assert calls[-1][0] == calls[-1][1] >= sum(len(data) for _, data in made.values())
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    again, calls, same = opened(model, precision)
    assert (again, calls, same) == (made, [], path)
    assert verify(model, precision)
    assert cached_sizes(model) == {precision: path.stat().st_size}
    dtypes = {"bf16": {"coded"}, "int8": {"int8"}, "int4": {"int4", "int8"}}[precision]
    assert {dtype for dtype, _ in made.values()} == dtypes
    assert remove(model, precision) > 0
    assert remove(model, precision) == 0
    assert not verify(model, precision)


def test_one_thread_and_several_pack_the_same_bytes(model):
    one, _, _ = opened(model, "int4", threads=1)
    remove(model, "int4")
    assert opened(model, "int4", threads=3)[0] == one


def damage(path, at, size=1):
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(size)
        file.seek(at)
        file.write(bytes(b ^ 0x55 for b in old))


@pytest.mark.parametrize("where", ["magic", "version", "header", "weights", "short", "empty", "source"])
def test_a_damaged_or_stale_file_is_made_again(model, where):
    made, _, path = opened(model)
    if where == "source":
        os.utime(model / "model.safetensors", ns=(1, 1))
    elif where in ("short", "empty"):
        os.truncate(path, 100 if where == "empty" else path.stat().st_size - 64)
    else:
        damage(path, {"magic": 0, "version": 8, "header": 100, "weights": HEADER_ROOM + 5}[where])
    assert not verify(model, "int8")
    again, calls, _ = opened(model)
    assert again == made
    assert calls
    assert verify(model, "int8")


def opened_codec(folder, **options):
    """Write the packed file of a folder's codec, then load it: the packed bytes and the progress reports."""
    calls = []
    with open_checkpoint(folder, codec=False) as checkpoint:
        packed_codec.write_file(checkpoint, progress=lambda *a: calls.append(a), **options)
        block = packed_codec.load_or_pack(checkpoint)
        return block.tobytes(), calls


def test_the_codec_is_packed_once_for_all_precisions(model):
    made, calls = opened_codec(model, threads=2)
    assert calls[-1] == (len(made), len(made))
    assert opened_codec(model) == (made, [])
    assert cached_sizes(model).keys() == {"codec"}
    assert verify(model, "codec")
    remove(model, "codec")
    assert opened_codec(model, threads=1)[0] == made
    assert sorted(p.suffix for p in cache_path(model, "codec").parent.iterdir()) == [
        ".lock",
        ".ok",
        ".q3t",
    ]


def test_a_packed_codec_gives_the_same_samples_without_the_tensors_of_the_checkpoint(model):
    row = next(row for row in golden_rows("tiny-customvoice", "tts") if row["file"] == "tts_en_vivian_st.npz")
    golden = load_golden("tiny-customvoice", row)
    with open_checkpoint(model) as checkpoint, Model(checkpoint) as plain:
        want = speak_golden(plain, row, golden)["wav"]
    opened_codec(model)
    (model / "speech_tokenizer" / "model.safetensors").chmod(0)
    with open_checkpoint(model, codec=False) as checkpoint:
        block = packed_codec.load_or_pack(checkpoint)
        assert len(checkpoint.files) == 1
        with Model(checkpoint, codec=block) as mapped:
            np.testing.assert_array_equal(speak_golden(mapped, row, golden)["wav"], want)
        with pytest.raises(CheckpointError):
            Model(checkpoint, codec=block[:-64])


@pytest.mark.parametrize("where", ["weights", "short", "config.json", "model.safetensors", "layout"])
def test_a_damaged_or_stale_codec_file_is_made_again(model, where, monkeypatch):
    made, _ = opened_codec(model)
    path = cache_path(model, "codec")
    if where == "weights":
        damage(path, HEADER_ROOM + len(made) // 2)
    elif where == "short":
        os.truncate(path, path.stat().st_size - 64)
    elif where == "layout":
        monkeypatch.setattr(packed_codec, "CODEC_LAYOUT", packed_codec.CODEC_LAYOUT + 1)
    else:
        os.utime(model / "speech_tokenizer" / where, ns=(1, 1))
    again, calls = opened_codec(model)
    assert again == made
    assert calls
    assert verify(model, "codec")


def test_the_layout_of_the_packed_codec_has_a_version():
    """A change of the layout in native/codec/pack.c needs a new Q3T_CODEC_LAYOUT, and its checksum here."""
    with open_checkpoint(CHECKPOINTS / "tiny-customvoice") as checkpoint:
        rng = np.random.default_rng(5)
        config = checkpoint.config.codec
        config = config._replace(transformer=config.transformer._replace(rope_theta=1.0))  # powers of 1 are exact
        tensors = []
        for slot, layer, array in collect_decoder(config, checkpoint.files[1]):
            # All results are exact: integers, exponentials of 0, and sums divided by powers of two.
            values = rng.integers(-99, 99, array.shape).astype(np.float32)
            values *= "ALPHA" not in slot and "BETA" not in slot
            tensors.append((slot, layer, np.full_like(values, 4) if slot.endswith("USAGE") else values))
    out = np.frombuffer(mmap.mmap(-1, codec_bytes(config)), np.uint8)
    pack_codec(config, tensors, 2, out)
    assert (CODEC_LAYOUT, zlib.crc32(out)) == (3, 4273801710)


def test_a_file_is_read_whole_once_after_each_change(model, monkeypatch):
    _, _, path = opened(model)
    reads = []
    whole = file_format._check_whole
    monkeypatch.setattr(file_format, "_check_whole", lambda *a: reads.append(1) or whole(*a))
    for _ in range(2):
        opened(model)
    assert reads == []
    stat = path.stat()
    damage(path, 0, 0)  # opened for writing without writing: its times stay
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    for _ in range(2):
        assert opened(model)[1] == []
    assert reads == [1]


@pytest.mark.parametrize("restored", [False, True])
def test_a_flipped_byte_is_found_at_the_next_opening(model, restored):
    """Also if the time of the last change is restored."""
    made, _, path = opened(model)
    largest = max(made.values(), key=lambda d: len(d[1]))[1]
    stat = path.stat()
    damage(path, path.read_bytes().index(largest) + len(largest) // 2)
    if restored:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again, calls, _ = opened(model)
    assert again == made
    assert calls


def test_verify_reads_the_whole_file(model):
    data, _, path = opened(model)
    largest = max(data.values(), key=lambda d: len(d[1]))[1]
    start = path.read_bytes().index(largest)
    damage(path, start + len(largest) // 2)
    assert not verify(model, "int8")


def test_a_partial_file_is_replaced(model):
    made, _, path = opened(model)
    path.replace(path.with_suffix(".part"))
    again, calls, _ = opened(model)
    assert again == made
    assert calls
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".lock", ".ok", ".q3t"]


def test_three_processes_write_one_file_at_once(model):
    code = (
        "import sys; from qwen3tts_cli.packed import matrices; from qwen3tts_cli.packed.verify import verify;"
        "from qwen3tts_cli.models.checkpoint import open_checkpoint;"
        "c = open_checkpoint(sys.argv[1]); matrices.write_file(c, 'int4'); w = matrices.load_or_pack(c, 'int4');"
        "print(len(w.matrices), w.path is not None and verify(sys.argv[1], 'int4'))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(model)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len(said) == 1
    assert said.pop().endswith(" True\n")


def test_auto_is_exact(model):
    with Synthesizer.open(model) as opened:
        assert opened.precision == "bf16"


def spoken(folder, **options):
    with Synthesizer.open(folder, precision="bf16") as opened:
        samples = opened.say("A cat sat. Nobody said a word.", max_frames=12, **options)
        assert opened.finish_packing() == []
        return samples


def coded(folder):
    return {dtype for dtype, _ in opened(folder, "bf16")[0].values()}


@pytest.mark.parametrize("options", [{"greedy": True}, {"seed": 5}], ids=["greedy", "sampled"])
def test_bf16_in_12_bits_changes_no_byte(model, monkeypatch, options):
    """Without a packed file, with one that the opening writes, with one that is found, and with a damaged one."""
    want = spoken(model, **options)
    assert "bf16" not in cached_sizes(model)
    monkeypatch.setattr(packed_precision, "LARGE_MODEL_BYTES", 1)
    np.testing.assert_array_equal(spoken(model, **options), want)
    path = cache_path(model, "bf16")
    if "linear_coded=scalar" in kernels_text():
        assert not path.exists()
        opened(model, "bf16")
    assert verify(model, "bf16")
    assert coded(model) == {"coded"}
    monkeypatch.setattr(packed_precision, "LARGE_MODEL_BYTES", 1 << 40)
    np.testing.assert_array_equal(spoken(model, **options), want)
    damage(path, HEADER_ROOM + 5)
    np.testing.assert_array_equal(spoken(model, **options), want)
    assert verify(model, "bf16")
    remove(model, "bf16")
    np.testing.assert_array_equal(spoken(model, **options), want)


def test_auto_is_int8_for_large_models(model, monkeypatch):
    for least, precision in ((1, "int8"), (1 << 40, "bf16")):
        monkeypatch.setattr(packed_precision, "LARGE_MODEL_BYTES", least)
        with Synthesizer.open(model) as opened:
            assert opened.precision == precision


def test_matrices_that_12_bits_cannot_hold_are_not_packed(model):
    """A layer whose K matrix has every exponent below 2; its Q matrix is packed."""
    wild = np.random.default_rng(1)
    found = []
    with open_checkpoint(model) as checkpoint:
        at = next(i for i, (slot, _, _) in enumerate(checkpoint.tensors) if slot == "TALKER_K")
        slot, layer, array = checkpoint.tensors[at]
        bits = wild.integers(0, 1 << 16, array.shape).astype(np.uint16) & np.uint16(0xBFFF)
        checkpoint.tensors[at] = (slot, layer, bits)
        packed_matrices.write_file(checkpoint, "bf16", threads=2)
        weights = packed_matrices.load_or_pack(checkpoint, "bf16")
        assert ("TALKER_K", layer) not in weights.matrices
        assert ("TALKER_Q", layer) in weights.matrices
        assert packed_matrices.load_or_pack(checkpoint, "bf16").matrices.keys() == weights.matrices.keys()
        for matrices in (None, weights.matrices):
            with Model(checkpoint, packed=matrices) as made:
                found.append(Synthesizer(made, "wild").say("A cat sat.", seed=3, max_frames=6))
    np.testing.assert_array_equal(found[0], found[1])


def test_int8_rounds_to_the_nearest_level(model):
    """The packed matrices, unpacked with NumPy as their format is documented, are within half a level."""
    with open_checkpoint(model) as checkpoint:
        weights = packed_matrices.load_or_pack(checkpoint, "int8")
        for slot, layer, array in checkpoint.tensors:
            if (slot, layer) not in weights.matrices:
                continue
            want = (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array
            rows, k = want.shape
            groups = -(-k // 64)
            data = weights.matrices[slot, layer][1].reshape(-1, groups * 64 * 32 + 128)
            levels = data[:, : groups * 64 * 32].reshape(-1, groups * 16, 32, 4).transpose(0, 2, 1, 3)
            scales = np.ascontiguousarray(data[:, groups * 64 * 32 :]).view(np.float32).reshape(-1, 1)
            got = (levels.reshape(-1, groups * 64).astype(np.float32) - 128) * scales
            error = np.abs(got[:rows, :k] - want)
            assert (error <= 0.501 * np.abs(want).max(1, keepdims=True) / 127).all()


def test_the_tensors_of_the_codec_can_be_read_beside_its_packed_file(model):
    """Cloning needs the encoder, while the packed file has the decoder alone."""
    opened_codec(model)
    with open_checkpoint(model, codec=False) as checkpoint:
        packed_codec.load_or_pack(checkpoint)
        assert checkpoint.codec_weights.path_of("decoder.pre_conv.conv.weight").parent.name == "speech_tokenizer"
        assert len(checkpoint.tensors) > len(checkpoint.collected)


def test_the_file_of_a_killed_process_is_made_again(model):
    """The process is killed at the first progress report, with the lock held and a partial file."""
    code = (
        "import os, sys; from pathlib import Path; from qwen3tts_cli.packed import matrices;"
        "from qwen3tts_cli.models.checkpoint import open_checkpoint;"
        "matrices.write_file(open_checkpoint(Path(sys.argv[1])), 'int8', progress=lambda *a: os.kill(os.getpid(), 9))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(model)], cwd=ROOT).returncode == -9
    path = cache_path(model, "int8")
    assert path.with_suffix(".part").exists()
    assert not path.exists()
    _, calls, made = opened(model)
    assert calls
    assert made == path
    assert verify(model, "int8")
    assert not path.with_suffix(".part").exists()


@pytest.mark.parametrize("block", [64, 4096, 8 << 20])
def test_the_place_of_a_piece_does_not_depend_on_the_block_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr(file_format, "_BLOCK", block)
    rng = np.random.default_rng(2)
    room = HEADER_ROOM
    data = [rng.integers(0, 256, n, dtype=np.uint8) for n in (1, 64, 5000, 4096, 100_000)]
    starts = [room, room + 64, room + 4096, room + 12288, room + 20480]
    size = starts[-1] + len(data[-1]) + 77
    pieces = [("SLOT", i, "raw", start, array) for i, (start, array) in enumerate(zip(starts, data, strict=True))]
    path = tmp_path / "packed"
    with open(path, "wb") as file:
        file_format.fill_file(file, {"a": 1}, pieces, size, int)
    whole = np.fromfile(path, np.uint8)
    assert len(whole) == size
    for start, array in zip(starts, data, strict=True):
        assert np.array_equal(whole[start : start + len(array)], array)
        whole[start : start + len(array)] = 0
    assert not whole[room:].any()
    header, _ = file_format.read(path, {"a": 1})
    assert [(piece["start"], piece["end"] - piece["start"]) for piece in header["pieces"]] == [
        (start, len(array)) for start, array in zip(starts, data, strict=True)
    ]
