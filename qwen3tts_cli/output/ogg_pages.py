"""Replaces the random serial number that libsndfile gives an Ogg stream, so that the same speech gives the same file.

The new serial number is the checksum that the first page of audio would have if its serial number were `origin`. The
logical streams of a chained file must differ in their serial numbers. The audio alone is not enough for that: the first
page of Opus is 80 ms, which different texts may share. Therefore `origin` is computed from text and seed.
Source: RFC 3533, section 6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_CAPTURE = b"OggS"
_HEADER_BYTES = 27  # without the table of segment lengths
_GRANULE, _SERIAL, _CHECKSUM, _SEGMENTS = 6, 14, 22, 26
_NO_AUDIO = (0, -1)  # granule positions of header pages
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_crc(data: bytes | bytearray) -> int:
    """The CRC-32 of Ogg: polynomial 0x04C11DB7, most significant bit first, starting at 0, not inverted."""
    # zlib has the same polynomial with the least significant bit first, and inverts before and after.
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


class OggPages:
    """Takes the bytes of one logical stream in parts of any size, and returns whole pages with the new serial number.

    origin: a 32-bit number that differs for different speech, see formats.origin_of.
    """

    def __init__(self, origin: int = 0) -> None:
        self._origin = origin
        self._rest = bytearray()  # an incomplete page
        self._held: list[bytearray] = []  # header pages, until the serial number is known
        self._serial: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes; returns the pages that are complete. Raises ValueError if the bytes are not Ogg."""
        self._rest += data
        out = bytearray()
        for page in self._whole_pages():
            self._held.append(page)
            (granule,) = struct.unpack_from("<q", page, _GRANULE)
            if self._serial is None and granule in _NO_AUDIO:
                continue
            out += self._renumber_held(page)
        return bytes(out)

    def finish(self) -> bytes:
        """The header pages of a stream without audio, else b"". Raises ValueError if the last page is incomplete."""
        if self._rest:
            raise ValueError(f"{len(self._rest)} bytes are an incomplete Ogg page")
        return self._renumber_held(self._held[-1]) if self._held else b""

    def _whole_pages(self) -> Iterator[bytearray]:
        while len(self._rest) >= _HEADER_BYTES:
            if not self._rest.startswith(_CAPTURE):
                raise ValueError(f"not an Ogg page: begins with {bytes(self._rest[:4])!r}")
            lengths = self._rest[_HEADER_BYTES : _HEADER_BYTES + self._rest[_SEGMENTS]]
            size = _HEADER_BYTES + self._rest[_SEGMENTS] + sum(lengths)
            if len(lengths) < self._rest[_SEGMENTS] or len(self._rest) < size:
                return
            page, self._rest = self._rest[:size], self._rest[size:]
            yield page

    def _renumber_held(self, first: bytearray) -> bytes:
        """The held pages with the new serial number, which is computed from the page `first`."""
        if self._serial is None:
            blank = bytearray(first)
            struct.pack_into("<I", blank, _SERIAL, self._origin)
            struct.pack_into("<I", blank, _CHECKSUM, 0)
            self._serial = ogg_crc(blank)
        pages, self._held = self._held, []
        for page in pages:
            struct.pack_into("<I", page, _SERIAL, self._serial)
            struct.pack_into("<I", page, _CHECKSUM, 0)
            struct.pack_into("<I", page, _CHECKSUM, ogg_crc(page))
        return b"".join(pages)
