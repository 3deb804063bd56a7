"""The ZIP archive of an EPUB: limits before anything is unpacked, and reading of entries."""

from __future__ import annotations

import contextlib
import re
import stat
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from ..errors import InputError
from .headings import one_line

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 512 << 20
MAX_RATIO = 200
_RATIO_FROM_BYTES = 1 << 20  # smaller entries may have any ratio
_MAX_DIRECTORY_BYTES = 16 << 20
_MAX_XML_BYTES = 32_000_000
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES = 22, 20, 56
_STORED, _DEFLATED = 0, 8
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


class Archive:
    """The entries of an EPUB. Errors are InputError, one line with the names of the book and the entry."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        """name: of the book, for messages. file: the archive, which can seek; it stays open as long as this object."""
        import zipfile

        self.name = name
        with _explained(name):
            _check_directory(name, file)
            self._zip = zipfile.ZipFile(file)
        self._read_bytes = 0
        self.entries = {info.filename: info for info in self._zip.infolist()}
        self._check()

    def _check(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > MAX_ENTRIES:
            raise InputError(f"{self.name}: more than {MAX_ENTRIES:,} entries, the limit")
        for info in infos:
            self._check_entry(info.filename, info.orig_filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise InputError(f"{self.name}: the entry {_shown(info.filename)} is a link")
            if info.flag_bits & 1:
                raise InputError(f"{self.name}: the entry {_shown(info.filename)} is encrypted (DRM)")
            if info.file_size > max(_RATIO_FROM_BYTES, MAX_RATIO * info.compress_size):
                raise InputError(
                    f"{self.name}: the entry {_shown(info.filename)} unpacks to over {MAX_RATIO} times its size"
                )
            if info.compress_type not in (_STORED, _DEFLATED):
                raise InputError(
                    f"{self.name}: the entry {_shown(info.filename)} is compressed in a way EPUB does not have"
                )
        if sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
            raise InputError(f"{self.name}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MB, the limit")
        self._check_rights()

    def _check_entry(self, *names: str) -> None:
        for name in names:
            if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
                raise InputError(f"{self.name}: the entry {_shown(name)} lies outside of the book")

    def _check_rights(self) -> None:
        for entry in ("META-INF/rights.xml", "META-INF/sinf.xml"):
            if entry in self.entries:
                raise InputError(f"{self.name}: the book is encrypted (DRM): it has an entry {entry}")
        if "META-INF/encryption.xml" not in self.entries:
            return
        for element in self.read_xml("META-INF/encryption.xml").iter():
            if local_name(element) == "EncryptionMethod" and element.get("Algorithm") not in _FONT_ALGORITHMS:
                raise InputError(f"{self.name}: the book is encrypted (DRM): see its entry META-INF/encryption.xml")

    def find(self, folder: str, reference: str) -> tuple[str, str]:
        """Return the entry and the fragment that a reference in an entry of a folder names.

        folder: with a slash at its end, or empty. The reference may be percent-encoded. The entry need not exist; it is
        empty for a reference to another place than the book.
        """
        import posixpath

        path, _, fragment = reference.strip().partition("#")
        if re.match(r"[A-Za-z][\w+.-]*:|//", path):
            return "", ""
        entry = unquote(path.partition("?")[0])
        whole = posixpath.normpath(posixpath.join(folder, entry)) if entry else ""
        self._check_entry(whole)
        return whole, unquote(fragment)

    def read(self, entry: str, limit: int) -> bytes:
        """Return the bytes of an entry. limit: the most bytes."""
        info = self.entries.get(entry)
        if info is None:
            raise InputError(f"{self.name}: the entry {_shown(entry)} is missing")
        if info.file_size > limit:
            raise InputError(f"{self.name}: the entry {_shown(entry)} has more than {limit:,} bytes, the limit")
        with _explained(f"{self.name}: the entry {_shown(entry)}"), self._zip.open(info) as opened:
            data = opened.read(limit + 1)
        self._read_bytes += len(data)
        if len(data) > limit or self._read_bytes > MAX_UNPACKED_BYTES:
            raise InputError(f"{self.name}: the entry {_shown(entry)} is larger than it says")
        return data

    def read_xml(self, entry: str) -> Element:
        """Return the root of an XML entry. Entities that it defines itself are refused."""
        from xml.etree.ElementTree import ParseError

        from defusedxml import ElementTree
        from defusedxml.common import DefusedXmlException

        data = self.read(entry, _MAX_XML_BYTES)
        try:
            return ElementTree.fromstring(data)
        except DefusedXmlException:
            raise InputError(f"{self.name}: the entry {_shown(entry)} defines entities, which are refused") from None
        except (ParseError, ValueError, LookupError) as error:
            raise InputError(f"{self.name}: the entry {_shown(entry)} is broken: {one_line(str(error))}") from None


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn an error of zipfile into InputError."""
    import zipfile
    import zlib

    broken = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)
    try:
        yield
    except InputError:
        raise
    except (*broken, OSError, OverflowError) as error:
        raise InputError(f"{name}: cannot be unpacked: {one_line(str(error)) or 'it is cut off'}") from None


def _shown(entry: str) -> str:
    return repr(entry if len(entry) <= 100 else entry[:100] + "...")


def _check_directory(name: str, file: BinaryIO) -> None:
    """Refuse an archive whose directory is larger than that of MAX_ENTRIES, before it is read into memory."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES - 0xFFFF))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END_BYTES:
        raise InputError(f"{name}: not an EPUB: no end of a ZIP archive, it may be cut off")
    entries, directory = struct.unpack_from("<HI", tail, place + 10)
    locator = place - _LOCATOR_BYTES
    if locator >= 0 and tail.startswith(b"PK\x06\x07", locator):
        file.seek(min(struct.unpack_from("<Q", tail, locator + 8)[0], size))
        end = file.read(_END64_BYTES)
        at = place - _LOCATOR_BYTES - _END64_BYTES  # zipfile looks here, whatever the locator says
        for record in (end, tail[at : at + _END64_BYTES] if at >= 0 else b""):
            if len(record) == _END64_BYTES and record.startswith(b"PK\x06\x06"):
                more, bytes64 = struct.unpack_from("<QQ", record, 32)
                entries, directory = max(entries, more), max(directory, bytes64)
    if entries > MAX_ENTRIES:
        raise InputError(f"{name}: more than {MAX_ENTRIES:,} entries, the limit")
    if directory > _MAX_DIRECTORY_BYTES:
        raise InputError(
            f"{name}: the directory of the archive has more than {_MAX_DIRECTORY_BYTES:,} bytes, the limit"
        )
    file.seek(0)
