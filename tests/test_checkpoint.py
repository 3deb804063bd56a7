"""Opening a checkpoint folder: a valid one opens without copies, a damaged one fails early with one line."""

from __future__ import annotations

import json
import random
import shutil
import time

import pytest
from helpers import CHECKPOINTS, POCKET, allowed, checkpoint_of

from qwen3tts_cli.errors import CheckpointError, ModelNotFoundError, Qwen3TTSError
from qwen3tts_cli.models.checkpoint import open_checkpoint

NAMES = ("tiny-customvoice", "tiny-voicedesign", "tiny-base", "pocket")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(CHECKPOINTS / "tiny-customvoice", tmp_path / "model")


def refused(action, *words):
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        action()
    assert time.monotonic() - start < allowed(5)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_open(name):
    with open_checkpoint(checkpoint_of(name)) as checkpoint:
        assert checkpoint.config.path == checkpoint_of(name)
        assert checkpoint.tokenizer is checkpoint.tokenizer
        assert checkpoint.tensors
        slot, layer, array = checkpoint.tensors[0]
    assert (slot, layer, array.ndim) == ("TEXT_EMBEDDING", 0, 2)
    assert array.sum()  # still mapped
    assert checkpoint.tensors == []


def test_sharded_checkpoint(folder):
    """The tensors are spread over several shards, as in larger models."""
    whole = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    header.pop("__metadata__", None)
    weight_map = {}
    for number, wanted in enumerate((True, False), 1):
        shard, part, entries = f"model-{number:05}-of-00002.safetensors", b"", {}
        for name, entry in header.items():
            if ("code_predictor" in name) == wanted:
                start, end = entry["data_offsets"]
                entries[name] = entry | {"data_offsets": [len(part), len(part) + end - start]}
                part += data[start:end]
                weight_map[name] = shard
        raw = json.dumps(entries).encode()
        (folder / shard).write_bytes(len(raw).to_bytes(8, "little") + raw + part)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    sharded = open_checkpoint(folder)
    single = open_checkpoint(CHECKPOINTS / "tiny-customvoice")
    assert [(s, n, a.tobytes()) for s, n, a in sharded.tensors] == [(s, n, a.tobytes()) for s, n, a in single.tensors]


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such folder") as caught:
        open_checkpoint(tmp_path / "absent")
    assert caught.value.exit_code == 3
    refused(lambda: open_checkpoint(tmp_path), "config.json: no such file")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "speech_tokenizer/config.json", "speech_tokenizer/model.safetensors"]
)
def test_damaged_files(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for content in (b"", whole[:1], whole[: len(whole) // 2], whole[:-1], b"\0" * 1000, b"not a model", whole[::-1]):
        path.write_bytes(content)
        refused(lambda: open_checkpoint(folder), str(path))
    path.unlink()
    refused(lambda: open_checkpoint(folder), str(path), "no such file")
    path.mkdir()
    refused(lambda: open_checkpoint(folder), str(path), "a directory")


def test_codec_of_another_model(folder):
    shutil.rmtree(folder / "speech_tokenizer")
    shutil.copytree(POCKET / "speech_tokenizer", folder / "speech_tokenizer")
    # its larger codebooks are accepted by the model; its tensors fit its own config
    assert open_checkpoint(folder).config.codec.codebook_size == 256
    shutil.copy(CHECKPOINTS / "tiny-base/speech_tokenizer/config.json", folder / "speech_tokenizer/config.json")
    refused(lambda: open_checkpoint(folder), "speech_tokenizer/model.safetensors", "expected BF16 or F32 [64, 16]")


def test_tokenizer_of_another_model(folder):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(POCKET / name, folder / name)
    assert open_checkpoint(folder).tokenizer.max_id < 992
    small = shutil.copytree(POCKET, folder.parent / "small")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(CHECKPOINTS / "tiny-base" / name, small / name)
    refused(lambda: open_checkpoint(small).tokenizer, "found the id 967, expected ids below text_vocab_size = 272")


def test_tokenizer_without_the_role(folder):
    """The prompt is sliced by position, so `assistant` must be one token."""
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    kept = [line for line in lines if line.replace(" ", "") != "assistant"]
    assert len(kept) < len(lines)
    (folder / "merges.txt").write_text("\n".join(kept), encoding="utf-8")
    refused(lambda: open_checkpoint(folder).tokenizer, "vocabulary", "expected 3")


def test_tokenizer_is_read_at_its_first_use(folder):
    (folder / "vocab.json").unlink()
    checkpoint = open_checkpoint(folder)
    refused(lambda: checkpoint.tokenizer, "vocab.json: no such file")


def test_damaged_json_never_leaks_another_error(folder, request):
    """With random bytes changed in a JSON file, the checkpoint opens or raises CheckpointError with one line."""
    rng, deadline = random.Random(3), time.monotonic() + request.config.getoption("--fuzz-seconds")
    names = ["config.json", "generation_config.json", "tokenizer_config.json", "vocab.json", "merges.txt"]
    names.append("speech_tokenizer/config.json")
    while time.monotonic() < deadline:
        path = folder / rng.choice(names)
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = bytes(
                rng.choice((rng.randrange(256), *b'"{}[],:0129-e.')) for _ in "x" * rng.randrange(3)
            )
        path.write_bytes(damaged)
        message = ""
        try:
            open_checkpoint(folder).tokenizer.encode("Hello, world.")
        except Qwen3TTSError as error:
            message = str(error)
        assert "\n" not in message
        path.write_bytes(whole)
