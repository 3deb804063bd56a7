"""safetensors files and shards, valid and hostile: each gives arrays, or quickly CheckpointError with one line."""

from __future__ import annotations

import json
import os
import random
import time

import numpy as np
import pytest
from helpers import CHECKPOINTS, allowed

from qwen3tts_cli.errors import CheckpointError
from qwen3tts_cli.models.safetensors import MAX_HEADER_BYTES, MAX_SHARDS, MAX_TENSORS, open_safetensors, open_weights


def entry(start, shape, dtype="F32", size=4):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + int(np.prod(shape, dtype=int)) * size]}


def write(path, header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def tensors(path, **arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = entry(len(data), list(array.shape))
        data += array.astype("<f4").tobytes()
    return write(path, header, data)


def refused(action, *words):
    """The action fails quickly, with one line that contains all the words."""
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        action()
    message = str(caught.value)
    assert time.monotonic() - start < allowed(3)
    assert "\n" not in message
    assert len(message) < 1500
    for word in words:
        assert word in message
    return message


def test_arrays_are_read_only_views(tmp_path):
    want = np.arange(12, dtype=np.float32).reshape(3, 4)
    file = open_safetensors(tensors(tmp_path / "a.safetensors", one=want, two=want * 2, none=want[:0]))
    assert {name: info.shape for name, info in file.tensors.items()} == {"one": (3, 4), "two": (3, 4), "none": (0, 4)}
    one = file.array("one")
    assert np.array_equal(one, want)
    assert file.array("none").shape == (0, 4)
    assert not one.flags.owndata
    assert not one.flags.writeable
    file.close()
    assert np.array_equal(one, want)


def test_bf16_is_returned_as_bits(tmp_path):
    data = np.array([0x3F80, 0xC000], "<u2")
    file = open_safetensors(write(tmp_path / "a.safetensors", {"x": entry(0, [2], "BF16", 2)}, data.tobytes()))
    assert file.array("x").dtype == np.uint16
    assert file.array("x").tolist() == [0x3F80, 0xC000]


@pytest.mark.parametrize("count", [2, 5000])  # read, mapped
def test_unaligned_data_is_copied(tmp_path, count):
    header = json.dumps({"x": entry(0, [count])}).encode()
    header += b" " * ((1 - len(header)) % 4)  # data at an odd address
    file = open_safetensors(write(tmp_path / "a.safetensors", header, np.arange(count, dtype="<f4").tobytes()))
    assert file.array("x").tolist() == list(range(count))
    assert file.array("x").flags.aligned
    assert not file.array("x").flags.writeable


def test_small_tensors_are_read_into_memory(tmp_path):
    path = write(tmp_path / "a.safetensors", {"x": entry(0, [2])}, np.array([1, 2], "<f4").tobytes())
    file = open_safetensors(path)
    os.truncate(path, 0)
    assert file.array("x").tolist() == [1, 2]
    assert not file.array("x").flags.writeable


def test_metadata_order_and_padding_do_not_matter(tmp_path):
    header = {"b": entry(4, [1]), "__metadata__": {"format": "pt"}, "a": entry(0, [1])}
    raw = json.dumps(header).encode() + b"   "
    file = open_safetensors(write(tmp_path / "a.safetensors", raw, np.array([1, 2], "<f4").tobytes()))
    assert (file.array("a")[0], file.array("b")[0]) == (1, 2)
    assert set(file.tensors) == {"a", "b"}


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ([], b"", ["a list of 0", "an object"][1:]),
        ({"x": 1}, b"", ["tensor 'x'", "found 1, expected an object"]),
        ({"x": {}}, b"", ["tensor 'x'", "dtype null"]),
        ({"x": entry(0, [1], "F4")}, b"0000", ["dtype 'F4'", "BF16"]),
        ({"x": entry(0, [1], ["F32"])}, b"0000", ["dtype a list of 1"]),
        ({"x": {**entry(0, [1]), "shape": [1.0]}}, b"0000", ["shape [1.0]"]),
        ({"x": {**entry(0, [1]), "shape": [True]}}, b"0000", ["shape [True]"]),
        ({"x": {**entry(0, [1]), "shape": [-1]}}, b"0000", ["shape [-1]"]),
        ({"x": {**entry(0, [1]), "shape": "11"}}, b"0000", ["shape '11'"]),
        ({"x": {**entry(0, [1]), "shape": [1] * 9}}, b"0000", ["shape"]),
        ({"x": {**entry(0, [1]), "shape": [2**40, 2**40]}}, b"0000", ["span 4 bytes", str(2**82)]),
        ({"x": {**entry(0, [1]), "shape": [2]}}, b"0000", ["span 4 bytes", "needs 8"]),
        ({"x": {**entry(0, [1]), "data_offsets": [4, 0]}}, b"0000", ["span -4 bytes"]),
        ({"x": {**entry(0, [1]), "data_offsets": [0]}}, b"0000", ["data_offsets [0]"]),
        ({"x": {**entry(0, [1]), "data_offsets": [-4, 0]}}, b"0000", ["data_offsets [-4, 0]"]),
        ({"x": {**entry(0, [1]), "data_offsets": [2**40, 2**40 + 4]}}, b"0000", ["beyond the 4 bytes"]),
        ({"x": entry(0, [2]), "y": entry(4, [1])}, b"00000000", ["'y'", "overlap tensor 'x'"]),
        ({"x": entry(0, [1]), "y": entry(0, [1])}, b"0000", ["overlap"]),
        ({"x": entry(0, [1]), "y": entry(8, [1])}, b"0" * 12, ["'y'", "leave a hole after tensor 'x'"]),
        ({"x": entry(4, [1])}, b"0" * 8, ["leave a hole after the header"]),
        ({"x": entry(0, [1])}, b"00000", ["but its header describes"]),
        ({"x": entry(0, [2])}, b"0000", ["beyond the 4 bytes of data: truncated file?"]),
        ({"x\n" * 5: entry(0, [2])}, b"0000", [r"'x\nx\n"]),
        ({"x" * 300: entry(0, [1])}, b"0000", ["name of 300 characters"]),
        (b"{", b"", ["header: not valid JSON"]),
        (b"\xff{}", b"", ["header: not UTF-8 at byte 0"]),
        (b'{"x": 1, "x": 2}', b"", ["key 'x' occurs twice"]),
        (b'{"x": NaN}', b"", ["NaN is not a JSON number"]),
        (b'{"x": ' + b"9" * 5000 + b"}", b"", ["an integer of 5000 digits"]),
        (b'{"x": ' + b"[" * 200_000, b"", ["header: JSON is nested too deeply"]),
        (b"[" + b"1," * 1_000_000 + b"1]", b"", ["a list of 1000001"]),
        (b"1" * 1_000_000, b"", ["an integer of 1000000 digits"]),
        (b'"' + b"x" * 1_000_000 + b'"', b"", ["expected an object"]),
    ],
)
def test_hostile_headers(tmp_path, header, data, words):
    path = write(tmp_path / "a.safetensors", header, data)
    refused(lambda: open_safetensors(path), str(path), *words)


def test_too_many_tensors(tmp_path):
    header = {str(i): entry(0, [0]) for i in range(MAX_TENSORS + 1)}
    refused(lambda: open_safetensors(write(tmp_path / "a.safetensors", header)), f"the limit is {MAX_TENSORS}")


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 2**40, 2**63, 2**64 - 1])
def test_header_length_over_the_limit(tmp_path, length):
    path = write(tmp_path / "a.safetensors", {}, length=length)
    refused(lambda: open_safetensors(path), f"header length {length} bytes, the limit is {MAX_HEADER_BYTES}")


def test_header_length_over_the_file(tmp_path):
    path = write(tmp_path / "a.safetensors", {}, length=1000)
    refused(lambda: open_safetensors(path), "header length 1000 bytes, but the file has 10 bytes")


def test_unsupported_dtypes(tmp_path):
    header = {"half": entry(0, [2], "F16", 2), "flag": entry(4, [4], "BOOL", 1)}
    file = open_safetensors(write(tmp_path / "a.safetensors", header, bytes(8)))
    refused(lambda: file.array("half"), "tensor 'half': dtype F16, expected BF16 or F32")
    refused(lambda: file.array("absent"), "tensor 'absent' is missing")


def test_paths_that_are_not_files(tmp_path):
    refused(lambda: open_safetensors(tmp_path), "a directory, expected a file")
    refused(lambda: open_safetensors(tmp_path / "absent"), "no such file")
    refused(lambda: open_safetensors(tmp_path / ("x" * 500)), "cannot be read: File name too long")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    refused(lambda: open_safetensors(fifo), "not a regular file")
    (tmp_path / "loop").symlink_to("loop")
    refused(lambda: open_safetensors(tmp_path / "loop"), "cannot be read")
    for n in (0, 7):
        path = tmp_path / f"short{n}"
        path.write_bytes(b"x" * n)
        refused(lambda path=path, n=n: open_safetensors(path), f"{n} bytes, too short")


@pytest.mark.parametrize("call", ["open", "pread"])
def test_unreadable_file(tmp_path, monkeypatch, call):
    path = tensors(tmp_path / "a.safetensors", x=np.zeros(1))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, call, refuse)
    refused(lambda: open_safetensors(path), f"{path}: cannot be read: Permission denied")


def test_every_truncation_of_a_real_file(tmp_path):
    whole = (CHECKPOINTS / "tiny-base" / "model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    header = int.from_bytes(whole[:8], "little") + 8
    for size in [*range(16), *range(16, header, 997), header, header + 1, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(lambda: open_safetensors(path), str(path))
    path.write_bytes(whole + b"x")
    refused(lambda: open_safetensors(path), "but its header describes")


def test_damaged_headers_never_leak_another_error(tmp_path):
    """With random bytes changed in a header, the file opens with the same sizes or raises CheckpointError."""
    whole = bytearray((CHECKPOINTS / "tiny-base" / "model.safetensors").read_bytes())
    header = int.from_bytes(whole[:8], "little") + 8
    path, rng = tmp_path / "model.safetensors", random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(header)] = rng.choice((rng.randrange(256), *b'"{}[],:0129-e.'))
        path.write_bytes(damaged)
        infos, message = [], ""
        try:
            infos = list(open_safetensors(path).tensors.values())
        except CheckpointError as error:
            message = str(error)
        assert "\n" not in message
        assert all(0 < info.start <= info.end <= len(whole) for info in infos)


# ---- sets


def index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_a_single_file(tmp_path):
    path = tensors(tmp_path / "model.safetensors", x=np.ones(2))
    weights = open_weights(tmp_path)
    assert weights.array("x").tolist() == [1, 1]
    assert weights.path_of("x") == weights.path_of("absent") == path
    refused(lambda: weights.array("absent"), str(path), "tensor 'absent' is missing")
    weights.close()


def test_shards(tmp_path):
    names = [f"model-{i:05}-of-00002.safetensors" for i in (1, 2)]
    tensors(tmp_path / names[0], x=np.ones(2), unlisted=np.ones(1))
    tensors(tmp_path / names[1], y=np.zeros(3))
    index(tmp_path, {"x": names[0], "y": names[1]})
    weights = open_weights(tmp_path)
    assert set(weights.tensors) == {"x", "y"}
    assert (weights.array("x").shape, weights.array("y").shape) == ((2,), (3,))
    assert weights.path_of("y").name == names[1]
    refused(lambda: weights.array("z"), "model.safetensors.index.json", "'z' is missing")
    weights.close()


@pytest.mark.parametrize(
    "shard",
    ["../outside.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..\\b.safetensors", "x.bin", "", 3, None,
     ["a.safetensors"], "a\n.safetensors", "a\0.safetensors", "x" * 300 + ".safetensors"],
)  # fmt: skip
def test_shards_outside_the_folder(tmp_path, shard):
    tensors(tmp_path / "outside.safetensors", x=np.ones(2))
    inside = tmp_path / "model"
    inside.mkdir()
    index(inside, {"x": shard})
    refused(lambda: open_weights(inside), "weight_map", "plain name")


def test_missing_shards_and_tensors(tmp_path):
    index(tmp_path, {"x": "one.safetensors"})
    refused(lambda: open_weights(tmp_path), "one.safetensors: no such file")
    tensors(tmp_path / "one.safetensors", y=np.ones(1))
    refused(lambda: open_weights(tmp_path), "one.safetensors: tensor 'x' is missing")
    index(tmp_path, [])
    refused(lambda: open_weights(tmp_path), "weight_map", "expected an object")
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    refused(lambda: open_weights(tmp_path), "expected an object")
    (tmp_path / "model.safetensors.index.json").unlink()
    refused(lambda: open_weights(tmp_path), "model.safetensors: no such file")


def test_too_many_shards(tmp_path):
    for i in range(MAX_SHARDS + 1):
        tensors(tmp_path / f"{i}.safetensors", **{f"t{i}": np.ones(1)})
    index(tmp_path, {f"t{i}": f"{i}.safetensors" for i in range(MAX_SHARDS + 1)})
    refused(lambda: open_weights(tmp_path), f"more than {MAX_SHARDS} shards")


def test_dropping_pages_of_a_closed_file_is_no_error(tmp_path):
    """Opening a model drops pages in another thread, while an interrupt may close the file."""
    file = open_safetensors(tensors(tmp_path / "a.safetensors", one=np.ones(3, "<f4")))
    file.drop_pages()
    file.close()
    file.drop_pages()
    file.drop_pages("one")
