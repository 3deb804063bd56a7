"""The tokenizer: ids compared with the official tokenizer, long and odd texts, the cache file, hostile vocabularies."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import random
import shutil
import threading
import time
import unicodedata

import pytest
import regex
from helpers import CHECKPOINTS, GOLDENS, POCKET, allowed

from qwen3tts_cli.errors import CheckpointError, UsageError
from qwen3tts_cli.models import bpe_merges
from qwen3tts_cli.models.tokenizer import MAX_ADDED_TOKENS, PATTERN, Tokenizer, _word_pattern, load_tokenizer

TINY = CHECKPOINTS / "tiny-base"
ROWS = json.loads((GOLDENS / "tokenizer" / "small.json").read_text(encoding="utf-8"))
FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(TINY)


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        shutil.copy(TINY / name, tmp_path / name)
    return tmp_path


class Reference:
    """The textbook algorithm: quadratic time, on strings."""

    def __init__(self, path):
        self.vocab = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
        lines = (path / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
        self.rank = {tuple(line.split(" ")): rank for rank, line in enumerate(filter(None, lines))}
        decoder = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))["added_tokens_decoder"]
        self.added = {token["content"]: int(key) for key, token in decoder.items()}
        self.split = regex.compile("(" + "|".join(map(regex.escape, sorted(self.added, key=len, reverse=True))) + ")")
        self.alphabet = bpe_merges.byte_alphabet()

    def encode(self, text):
        ids = []
        for piece in self.split.split(text):
            if piece in self.added:
                ids.append(self.added[piece])
                continue
            for word in regex.findall(PATTERN, unicodedata.normalize("NFC", piece)):
                parts = [self.alphabet[byte] for byte in word.encode()]
                while len(parts) > 1:
                    ranks = [self.rank.get(pair, 1 << 30) for pair in itertools.pairwise(parts)]
                    best = min(ranks)
                    if best == 1 << 30:
                        break
                    at = ranks.index(best)
                    parts[at : at + 2] = [parts[at] + parts[at + 1]]
                ids += [self.vocab[part] for part in parts]
        return ids


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["text"][:20]))
def test_goldens(tokenizer, row):
    assert tokenizer.encode(row["text"]) == row["ids"]
    wrapped = f"<|im_start|>assistant\n{row['text']}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.encode(wrapped) == row["wrapped_ids"]


@pytest.mark.parametrize("path", [TINY, POCKET], ids=["tiny", "pocket"])
def test_random_texts(path):
    tokenizer, reference, rng = load_tokenizer(path), Reference(path), random.Random(5)
    ranges = [(0, 0x7F), (0x20, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x400, 0x4FF), (0x4E00, 0x4F00)]
    ranges += [(0x3040, 0x30FF), (0xAC00, 0xAD00), (0x1100, 0x11FF), (0x1F600, 0x1F64F), (0x2000, 0x206F)]
    pieces = [
        "'s",
        "'LL",
        "'\u017f",
        "\r\n",
        "\n\n",
        "\t",
        "\u3000",
        "\u0085",
        "\x1c",
        "##",
        "#",
        "12",
        "Hello",
        "  ",
        " ",
        "\n",
    ]
    pieces += [*reference.added, "assistant", "the"]
    for _ in range(300):
        text = "".join(
            rng.choice(pieces)
            if rng.random() < 0.4
            else "".join(chr(rng.randint(*span)) for _ in range(rng.randint(1, 90)))
            for span in rng.choices(ranges, k=rng.randint(0, 6))
        )
        assert tokenizer.encode(text) == reference.encode(text), ascii(text)


def test_long_words_are_merged_like_short_words(tokenizer):
    """The heap and the scan give the same ids, for lengths around the switch and far above."""
    reference, rng = Reference(TINY), random.Random(6)
    for length in (47, 48, 49, 50, 300):
        for alphabet in ("the", "x", "aeiou t", "abcdefghijklmnopqrstuvwxyz"):
            word = "".join(rng.choice(alphabet.replace(" ", "")) for _ in range(length))
            assert tokenizer.encode(word) == reference.encode(word)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words", "Hello world, this is a test of the engine. " * 24_000),
        ("one letter", "x" * 300_000),
        ("one word", "thequickbrownfox" * 10_000),
        ("spaces", " " * 150_000 + "a"),
        ("line breaks", " \n" * 500_000),
        ("control", "\x00\x1b\x07" * 330_000),
        ("marks", "a" + "\u0300\u0316" * 120_000),
        ("apostrophes", "'s" * 500_000),
        ("added", "<|im_end|>" * 100_000),
        ("almost added", "<|im_en" * 60_000),
    ],
)
def test_long_texts_take_seconds(tokenizer, name, text):
    start = time.monotonic()
    ids = tokenizer.encode(text)
    assert time.monotonic() - start < allowed(30)  # quadratic time would be hours
    assert ids
    assert max(ids) <= tokenizer.max_id


def test_long_runs_of_marks_are_ordered_as_nfc(tokenizer):
    rng = random.Random(7)
    marks = "\u0300\u0316\u0327\u0345\u05b0\u093c\u0f71\u3099\u0488\u20dd"
    for _ in range(50):
        text = "e" + "".join(rng.choice(marks) for _ in range(rng.randint(1, 200))) + "x"
        assert tokenizer.encode(text) == Reference(TINY).encode(text)


@pytest.mark.parametrize(
    ("text", "words"), [("a\ud800b", "U+D800 at character 2"), ("\udcff", "U+DCFF at character 1")]
)
def test_lone_surrogates(tokenizer, text, words):
    with pytest.raises(UsageError, match="not valid Unicode") as caught:
        tokenizer.encode(text)
    assert words in str(caught.value)


def test_threads_share_a_tokenizer(tokenizer):
    texts = [f"{row['text']} {i}" for i in range(40) for row in ROWS]
    want = [tokenizer.encode(text) for text in texts]
    shared, got = load_tokenizer(TINY), [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda out=out: out.extend(shared.encode(t) for t in texts)) for out in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(out == want for out in got)


def test_caches_in_memory_are_bounded(monkeypatch):
    monkeypatch.setattr(bpe_merges, "_PAIR_CACHE", 50)
    monkeypatch.setattr("qwen3tts_cli.models.tokenizer._WORD_CACHE", 20)
    small = load_tokenizer(TINY)
    text = " ".join(row["text"] for row in ROWS)
    assert small.encode(text) == load_tokenizer(TINY).encode(text)
    assert len(small._table) <= 50
    assert len(small._words) <= 20


# ---- the cache file


@pytest.fixture
def cached(folder, tmp_path, monkeypatch):
    """Cache also small vocabularies. Returns (checkpoint folder, cache folder, list with an item for each build)."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(bpe_merges, "CACHE_MERGES", 0)
    builds, pack = [], bpe_merges._build_table
    monkeypatch.setattr(bpe_merges, "_build_table", lambda *a: builds.append(1) or pack(*a))
    return folder, cache / "qwen3tts", builds


def ids_of(folder):
    return load_tokenizer(folder).encode(ROWS[0]["text"])


def test_cache_is_written_once_and_read(cached):
    folder, cache, builds = cached
    assert ids_of(folder) == ids_of(folder) == ROWS[0]["ids"]
    assert len(builds) == 1
    assert [path.suffix for path in cache.iterdir()] == [".bin"]


def test_cache_depends_on_the_contents(cached):
    folder, cache, builds = cached
    ids_of(folder)
    before = (folder / "merges.txt").stat()
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    lines[-3], lines[-2] = lines[-2], lines[-3]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    os.utime(folder / "merges.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    ids_of(folder)
    assert len(builds) == 2
    assert len(list(cache.iterdir())) == 2


def damage(data, how):
    if how == "flipped":
        return data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]
    if how == "header":
        return data[:40] + b"\xff\xff\xff\xff" + data[44:]
    return {"empty": b"", "cut": data[:-8], "long": data + b"x", "text": b"hello " * 1000, "magic": b"x" + data[1:]}[
        how
    ]


@pytest.mark.parametrize("how", ["empty", "cut", "long", "text", "magic", "flipped", "header"])
def test_damaged_cache_is_rebuilt(cached, how):
    folder, cache, builds = cached
    ids_of(folder)
    [path] = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole, how))
    assert ids_of(folder) == ROWS[0]["ids"]
    assert len(builds) == 2
    assert path.read_bytes() == whole


@pytest.mark.parametrize("how", ["file", "directory", "read-only", "relative", "no home"])
def test_cache_that_cannot_be_written(cached, monkeypatch, how):
    folder, cache, builds = cached
    if how == "file":
        cache.parent.write_bytes(b"")
    elif how == "directory":
        ids_of(folder)
        [path] = cache.iterdir()
        path.unlink()
        path.mkdir()
        builds.clear()
    elif how == "read-only":
        monkeypatch.setattr(
            bpe_merges, "write_whole", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no"))
        )
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", "also/relative" if how == "no home" else str(cache))
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a user without an entry
    assert ids_of(folder) == ROWS[0]["ids"]
    assert len(builds) == 1
    assert not os.path.exists("relative")


def test_full_disk_leaves_no_temporary_file(cached, monkeypatch):
    folder, cache, _ = cached

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert ids_of(folder) == ROWS[0]["ids"]
    assert list(cache.iterdir()) == []


def test_small_vocabulary_writes_no_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ids_of(folder)
    assert not (tmp_path / "cache").exists()


# ---- hostile files


def refused(folder, *words):
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(folder)
    message = str(caught.value)
    assert time.monotonic() - start < allowed(5)
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("name", FILES)
def test_missing_and_odd_files(folder, name):
    path = folder / name
    path.unlink()
    refused(folder, f"{path}: no such file")
    path.mkdir()
    refused(folder, f"{path}: a directory")
    path.rmdir()
    path.write_bytes(b"\xff\xff")
    refused(folder, f"{path}: not UTF-8 at byte 0")
    path.write_bytes(b" " * ((16 << 20) + 1))
    refused(folder, str(path), "the limit is")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: [], "an object"),
        (lambda v: {}, "for the byte 0x00"),
        (lambda v: {k: i for k, i in v.items() if k != "A"}, "no token 'A' for the byte 0x41"),
        (lambda v: v | {"new": 0}, "id 0 is of both '!' and 'new'"),
        (lambda v: v | {"new": -1}, "token 'new': found -1"),
        (lambda v: v | {"new": 2**20}, "found 1048576, expected an id from 0 to 1048575"),
        (lambda v: v | {"new": True}, "found true"),
        (lambda v: v | {"new": "5"}, "found '5'"),
        (lambda v: v | {"new": 1e3}, "found 1000.0"),
        (lambda v: v | {"new": None}, "found null"),
        (lambda v: v | {"new": [0]}, "found [0]"),
        (
            lambda v: {k: i for k, i in v.items() if k != "in"},
            "merges.txt: line 4: token 'in' is not in vocab.json",
        ),
    ],
)
def test_hostile_vocabulary(folder, change, words):
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(change(vocab)))
    refused(folder, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("[" + "1," * 1_000_000 + "1]", "a list of 1000001"),
        ("[" + "1," * 8_000_000 + "1]", "too many JSON values"),
        ("[" + "[]," * 5_000_000 + "1]", "too many JSON values"),
        ('{"a":' * 300_000, "too many JSON values"),
    ],
)
def test_malformed_vocabulary(folder, text, words):
    (folder / "vocab.json").write_text(text)
    refused(folder, "vocab.json", words)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a"], "line 2: found 'a', expected two tokens"),
        (["a b c"], "line 2"),
        ([" a"], "line 2"),
        (["a  b"], "line 2"),
        (["i n", "i n"], "line 3: 'i n' occurs twice"),
        (["zzz a"], "line 2: token 'zzz' is not in vocab.json"),
        (["a zzz"], "token 'zzz'"),
        (["q q"], "token 'qq'"),
        (["#version: 0.2"], "line 2: token '#version:'"),
        (["x\x00 y"], r"'x\x00'"),
        (["x" * 100_000], "xxx..."),
        ([""] * (bpe_merges.MAX_MERGES + 1), f"the limit is {bpe_merges.MAX_MERGES}"),
    ],
)
def test_hostile_merges(folder, lines, words):
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]), encoding="utf-8")
    refused(folder, "merges.txt", words)


@pytest.mark.parametrize("version", ["", "#version: 0.2\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_first_line_may_be_a_comment_and_merges_may_begin_with_it(folder, version, end):
    """A merge may begin with '#': only a first line that begins with '#version' is a comment."""
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab["##"] = 2000
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_bytes((version + "# #\n").replace("\n", end).encode())
    assert load_tokenizer(folder).encode("###") == [2000, vocab["#"]]


def added(folder, change):
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"] = change(config["added_tokens_decoder"])
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: None, "added_tokens_decoder: found null"),
        (lambda a: [], "an object"),
        (lambda a: a | {"x": {"content": "y"}}, "added_tokens_decoder.'x'"),
        (lambda a: a | {"-1": {"content": "y"}}, "an id from 0"),
        (lambda a: a | {"٣": {"content": "y"}}, "an id from 0"),
        (lambda a: a | {str(2**20): {"content": "y"}}, "an id from 0"),
        (lambda a: a | {"9" * 5000: {"content": "y"}}, "an id from 0"),
        (lambda a: a | {"0936": {"content": "y"}}, "an id occurs twice"),
        (lambda a: a | {"990": "y"}, "an object"),
        (lambda a: a | {"990": {}}, "990.content: found nothing"),
        (lambda a: a | {"990": {"content": ""}}, "non-empty"),
        (lambda a: a | {"990": {"content": "<tts_pad>"}}, "occurs once"),
        (lambda a: a | {"990": {"content": "\ud800"}}, "lone surrogates"),
        (lambda a: a | {"990": {"content": "x" * 129}}, "128 characters"),
        (lambda a: a | {"990": {"content": "y", "lstrip": True}}, "990.lstrip: found true, expected false"),
        (lambda a: {str(i): {"content": f"<{i}>"} for i in range(MAX_ADDED_TOKENS + 1)}, "the limit is 1024"),
    ],
)
def test_hostile_added_tokens(folder, change, words):
    added(folder, change)
    refused(folder, "tokenizer_config.json", words)


def test_longest_added_token_wins(folder):
    added(folder, lambda a: a | {"1000": {"content": "<a"}, "1001": {"content": "<ab>"}, "1002": {"content": "<"}})
    assert load_tokenizer(folder).encode("<ab><a<") == [1001, 1000, 1002]


def test_no_added_tokens(folder):
    added(folder, lambda a: {})
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, Tokenizer)
    assert len(tokenizer.encode("<|im_end|>")) > 1


def test_the_ascii_pattern_gives_the_same_words():
    rng = random.Random(3)
    usual = "aZ09 '\n\r\t.-stl"
    for _ in range(20000):
        some = usual if rng.random() < 0.7 else [chr(c) for c in range(128)]
        text = "".join(rng.choices(some, k=rng.randrange(14)))
        short, full = ([match.group() for match in _word_pattern(a).finditer(text)] for a in (True, False))
        assert short == full, ascii(text)
