"""The merge table of a byte-level BPE vocabulary, and its cache file.

Building the table of a large vocabulary takes dictionaries of all tokens and merges. The finished table is one array of
integers, which a cache file keeps for later processes.
"""

from __future__ import annotations

import contextlib
import hashlib
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
CACHE_MERGES = 8192  # smaller tables are built as fast as they are read from a file
MISSING = (1 << 63) - 1  # above every rank << 32 | id
_PAIR_CACHE = 1 << 15
_FIXED_ITEMS = 257  # a table: the token id of each byte (256), the largest id (1), pairs (n), merges (n)


class MergeTable(dict):  # type: ignore[type-arg]
    """Maps a pair of token ids, left << 32 | right, to rank << 32 | merged id, or to MISSING if the pair never merges.

    table: the array("Q") that `_build_table` returns; its pairs are sorted. The dictionary itself only caches a bounded
    number of lookups. byte_ids: the token id of each byte value. max_id: the largest token id.
    """

    def __init__(self, table: array[int]) -> None:
        super().__init__()
        items = memoryview(table)
        count = (len(items) - _FIXED_ITEMS) // 2
        self.byte_ids, self.max_id = items[:256].tolist(), items[256]
        self._pairs, self._merges = items[_FIXED_ITEMS : _FIXED_ITEMS + count], items[_FIXED_ITEMS + count :]

    def __missing__(self, pair: int) -> int:
        at = bisect_left(self._pairs, pair)
        value = self._merges[at] if at < len(self._pairs) and self._pairs[at] == pair else MISSING
        if len(self) >= _PAIR_CACHE:
            self.clear()
        self[pair] = value
        return value


def load_merge_table(folder: Path, *, keep: bool = True) -> MergeTable:
    """Load the merge table of vocab.json and merges.txt in a folder, from the cache folder if it has their table.

    keep: whether to write a table that the cache folder lacks. A cache folder that cannot be read or written is
    ignored. Raises CheckpointError for malformed files.
    """
    vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    vocab, merges = read_bytes(vocab_path, MAX_FILE_BYTES), read_bytes(merges_path, MAX_FILE_BYTES)
    if merges.count(b"\n") < CACHE_MERGES:
        return MergeTable(_build_table(vocab, merges, vocab_path, merges_path))
    digest = hashlib.sha256(hashlib.sha256(vocab).digest() + hashlib.sha256(merges).digest()).digest()
    cached = _cache_path(digest)
    table = _read_cache(cached, digest) if cached else None
    if table is None:
        table = _build_table(vocab, merges, vocab_path, merges_path)
        if cached and keep:
            _write_cache(cached, table, digest)
    return MergeTable(table)


def byte_alphabet() -> list[str]:
    """Return the printable character that represents each byte value in the two files. Source: GPT-2, encoder.py."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _build_table(vocab: bytes, merges: bytes, vocab_path: Path, merges_path: Path) -> array[int]:
    """Build the table from the contents of the two files: array("Q") of 257 + 2 n items. Raises CheckpointError."""
    ids = _parse_vocab(vocab, vocab_path)
    table = array("Q")
    for byte, character in enumerate(byte_alphabet()):
        if character not in ids:
            raise CheckpointError(f"{vocab_path}: no token {short_repr(character)} for the byte 0x{byte:02x}")
        table.append(ids[character])
    table.append(max(ids.values()))
    merged = _parse_merges(merges, merges_path, ids)
    pairs = sorted(merged)
    table.extend(pairs)
    table.extend(map(merged.__getitem__, pairs))
    return table


def _parse_vocab(data: bytes, path: Path) -> dict[str, int]:
    """Parse vocab.json, which maps tokens to ids, each id once and in [0, MAX_ID]. Raises CheckpointError."""
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
                both = f"{short_repr(seen[value])} and {short_repr(token)}"
                raise CheckpointError(f"{path}: id {value} is of both {both}")
            seen[value] = token
    return ids


def _parse_merges(data: bytes, path: Path, ids: dict[str, int]) -> dict[int, int]:
    """Parse merges.txt: map pairs to rank << 32 | merged id, as in MergeTable. The rank is the position in the file.

    Only the first line may be a comment, because merges may begin with '#' too. Raises CheckpointError.
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
    """Return the path of the cached table of these sources, or None if there is no cache folder."""
    root = user_folders.cache_folder()
    return None if root is None else root / f"tokenizer-{digest.hex()[:32]}.bin"


def _read_cache(path: Path, digest: bytes) -> array[int] | None:
    """Read a table from a cache file; None if the file is missing, damaged, or from other sources or a machine with
    another byte order."""
    items = array("Q")
    try:
        descriptor, size = open_regular(path)
        with open(descriptor, "rb") as file:
            if size % 8 == 0 and size <= 8 * (_FIXED_ITEMS + 2 * MAX_MERGES + 1):
                items.frombytes(file.read(size))
        checksum = items.pop()
    except (CheckpointError, OSError, ValueError, IndexError):
        return None
    return items if len(items) >= _FIXED_ITEMS and checksum == _checksum(items, digest) else None


def _write_cache(path: Path, table: array[int], digest: bytes) -> None:
    """Write a table and its checksum to a cache file. Errors are ignored: the next process builds the table again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = table.tobytes() + array("Q", [_checksum(table, digest)]).tobytes()
        write_whole(path, data, mode=0o600, durable=False)


def _checksum(table: array[int], digest: bytes) -> int:
    """CRC-32 of the digest of the sources and of the table. It differs also for a table in the other byte order."""
    return zlib.crc32(table, zlib.crc32(digest))
