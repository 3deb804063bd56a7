"""The merge table of a byte-level BPE vocabulary, packed so that a large one opens without building dictionaries.

The packed form is what the cache file holds: a header, the token id of each byte, and one sorted array of pairs.
Start-up with a vocabulary of 150,000 entries is then two hashes and one read.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from array import array
from bisect import bisect_left
from pathlib import Path

from ..common import user_folders
from ..common.atomic_write import write_whole
from ..common.json_fields import open_regular, parse_json, read_bytes, short_repr
from ..errors import CheckpointError

MAX_FILE_BYTES = 16 << 20
MAX_ID = (1 << 20) - 1
MAX_MERGES = 1 << 20
CACHE_MERGES = 8192  # building fewer is as fast as reading them back
MISSING = (1 << 63) - 1  # above every rank << 32 | id
_MAGIC = b"Q3TBPE01"
# magic, digest of the sources, CRC-32 of what follows, byte order, number of merges, largest id
_HEADER = struct.Struct("=8s32sIIII")
_BYTE_ORDER = 0x01020304
_PAIR_CACHE = 1 << 15


class MergeTable(dict):  # type: ignore[type-arg]
    """pair of token ids (left << 32 | right) -> rank << 32 | merged id, MISSING where the pair never merges.

    The dictionary is a bounded cache in front of the packed arrays; `byte_ids` has the token of each byte value.
    """

    def __init__(self, packed: bytes) -> None:
        super().__init__()
        count, self.max_id = _HEADER.unpack_from(packed)[4:]
        view, start = memoryview(packed), _HEADER.size + 1024
        self.byte_ids = view[_HEADER.size : start].cast("I").tolist()
        self._pairs = view[start : start + 8 * count].cast("Q")
        self._merges = view[start + 8 * count : start + 16 * count].cast("Q")

    def __missing__(self, pair: int) -> int:
        at = bisect_left(self._pairs, pair)
        value = self._merges[at] if at < len(self._pairs) and self._pairs[at] == pair else MISSING
        if len(self) >= _PAIR_CACHE:
            self.clear()
        self[pair] = value
        return value


def load_merge_table(folder: Path, *, keep: bool = True) -> MergeTable:
    """The table of vocab.json and merges.txt in a folder, from the cache where it holds one for exactly these contents.

    keep: put one there where there is none. A cache that cannot be read or written is done without. Raises
    CheckpointError for malformed sources.
    """
    import hashlib

    vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    vocab, merges = read_bytes(vocab_path, MAX_FILE_BYTES), read_bytes(merges_path, MAX_FILE_BYTES)
    if merges.count(b"\n") < CACHE_MERGES:
        return MergeTable(_pack(vocab, merges, vocab_path, merges_path, bytes(32)))
    digest = hashlib.sha256(hashlib.sha256(vocab).digest() + hashlib.sha256(merges).digest()).digest()
    cached = _cache_path(digest)
    packed = _read_cache(cached, digest) if cached else None
    if packed is None:
        packed = _pack(vocab, merges, vocab_path, merges_path, digest)
        if cached and keep:
            _write_cache(cached, packed)
    return MergeTable(packed)


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte value in the two files. Source: GPT-2, encoder.py."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _pack(vocab: bytes, merges: bytes, vocab_path: Path, merges_path: Path, digest: bytes) -> bytes:
    """Build the packed table from the contents of the two files. Raises CheckpointError."""
    ids = _parse_vocab(vocab, vocab_path)
    byte_ids = array("I")
    for byte, character in enumerate(byte_alphabet()):
        if character not in ids:
            raise CheckpointError(f"{vocab_path}: no token {short_repr(character)} for the byte 0x{byte:02x}")
        byte_ids.append(ids[character])
    table = _parse_merges(merges, merges_path, ids)
    pairs = sorted(table)
    body = byte_ids.tobytes() + array("Q", pairs).tobytes() + array("Q", map(table.__getitem__, pairs)).tobytes()
    return _HEADER.pack(_MAGIC, digest, zlib.crc32(body), _BYTE_ORDER, len(pairs), max(ids.values())) + body


def _parse_vocab(data: bytes, path: Path) -> dict[str, int]:
    """vocab.json: token -> id, each id once and in [0, MAX_ID]."""
    ids = parse_json(data, path)
    if not isinstance(ids, dict):
        raise CheckpointError(f"{path}: found {short_repr(ids)}, expected an object")
    for token, value in ids.items():
        if type(value) is not int or not 0 <= value <= MAX_ID:
            found = f"token {short_repr(token)}: found {short_repr(value)}"
            raise CheckpointError(f"{path}: {found}, expected an id from 0 to {MAX_ID}")
    if len(set(ids.values())) != len(ids):
        seen: dict[int, str] = {}
        for token, value in ids.items():
            if value in seen:
                raise CheckpointError(
                    f"{path}: id {value} is of both {short_repr(seen[value])} and {short_repr(token)}"
                )
            seen[value] = token
    return ids


def _parse_merges(data: bytes, path: Path, ids: dict[str, int]) -> dict[int, int]:
    """merges.txt: pair -> rank << 32 | merged id, in the encoding of MergeTable. The rank is the place in the file.

    Only a first line may be a comment: genuine merges begin with '#' too.
    """
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8 at byte {error.start}") from None
    if len(lines) > MAX_MERGES:
        raise CheckpointError(f"{path}: {len(lines)} lines, the limit is {MAX_MERGES}")
    table: dict[int, int] = {}
    get = ids.get
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        a, b, merged = get(left), get(right), get(left + right)
        if a is None or b is None or merged is None:
            if not left or not right or " " in right:
                raise CheckpointError(f"{path}: line {number}: found {short_repr(line)}, expected two tokens")
            absent = left if a is None else right if b is None else left + right
            raise CheckpointError(f"{path}: line {number}: token {short_repr(absent)} is not in vocab.json")
        pair = a << 32 | b
        if pair in table:
            raise CheckpointError(f"{path}: line {number}: {short_repr(line)} occurs twice")
        table[pair] = len(table) << 32 | merged
    return table


def _cache_path(digest: bytes) -> Path | None:
    """Where the packed table of these sources is cached; None where there is no such place."""
    root = user_folders.cache_folder()
    return None if root is None else root / f"tokenizer-{digest.hex()[:32]}.bin"


def _read_cache(path: Path, digest: bytes) -> bytes | None:
    """The packed table in a cache file, None unless it is whole, of this machine's byte order and of these sources."""
    try:
        descriptor, size = open_regular(path)
        with open(descriptor, "rb") as file:
            packed = file.read(size) if size <= _HEADER.size + 1024 + 16 * MAX_MERGES else b""
    except (CheckpointError, OSError):
        return None
    if len(packed) < _HEADER.size + 1024:
        return None
    magic, sources, checksum, order, count, _ = _HEADER.unpack_from(packed)
    if (magic, sources, order) != (_MAGIC, digest, _BYTE_ORDER) or len(packed) != _HEADER.size + 1024 + 16 * count:
        return None
    return packed if zlib.crc32(memoryview(packed)[_HEADER.size :]) == checksum else None


def _write_cache(path: Path, packed: bytes) -> None:
    """Put a packed table in place in one step, or leave it: the cache only saves time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, packed, mode=0o600, durable=False)
