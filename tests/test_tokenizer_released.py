"""The tokenizer with the vocabulary of the released models: ids that others recorded from those models.

The vocabulary is made from a file of the wheel `dashscope`, byte for byte as it is released. Where the wheel cannot be
downloaded the tests are skipped by name; with CI=true they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile

import pytest
from helpers import DATA, ROOT

from qwen3tts_cli.models.chat_template import HEAD_IDS, HEAD_TEXT, TAIL_IDS, TAIL_TEXT
from qwen3tts_cli.models.tokenizer import Tokenizer, load_tokenizer
from qwen3tts_cli.text.incoming_tokens import IncomingTokens

sys.path.append(str(ROOT / "tests" / "reference"))
from vocabulary import full_vocab

CASES = json.loads((DATA / "known_answers" / "tokenizer_cases.json").read_text(encoding="utf-8"))
SMALL = DATA / "checkpoints" / "tiny-base"
SHA256 = {
    "vocab.json": "ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910",
    "merges.txt": "599bab54075088774b1733fde865d5bd747cbcc7a547c5bc12610e874e26f5e3",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the released vocab.json and merges.txt."""
    cache = ROOT / "build" / "vocabulary"
    if not list(cache.glob("dashscope-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), "dashscope"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            assert os.environ.get("CI") != "true", done.stderr
            pytest.skip("the wheel dashscope, which has the vocabulary, cannot be downloaded")
    folder = tmp_path_factory.mktemp("released")
    with zipfile.ZipFile(next(cache.glob("dashscope-*.whl"))) as wheel:
        (folder / "qwen.tiktoken").write_bytes(wheel.read("dashscope/resources/qwen.tiktoken"))
    vocab, merges = full_vocab(folder / "qwen.tiktoken")
    text = json.dumps(vocab, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    for name, digest in SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    config = json.loads((SMALL / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = config["added_tokens_decoder"]
    first = min(map(int, added))  # the ids of the added tokens follow those of the vocabulary
    config["added_tokens_decoder"] = {str(int(token) - first + len(vocab)): row for token, row in added.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return load_tokenizer(folder, keep=False)


def test_there_are_139_cases():
    assert len(CASES) == 139


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"][:20]))
def test_ids(tokenizer, case):
    assert tokenizer.encode(case["text"]) == case["ids"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"][:20]))
def test_ids_of_characters_that_come_one_by_one(tokenizer, case):
    incoming = IncomingTokens(tokenizer)
    ids = [token for char in case["text"] for token in incoming.feed(char)] + incoming.finish()
    assert ids == tokenizer.encode(HEAD_TEXT + case["text"] + TAIL_TEXT)[HEAD_IDS:-TAIL_IDS]
    if not case["text"].startswith(("\n", "\r")):
        assert ids == case["ids"]
