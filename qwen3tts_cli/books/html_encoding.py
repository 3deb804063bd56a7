"""Bytes of an HTML document to text: its encoding, and whether it is XHTML."""

from __future__ import annotations

import codecs
import re

from ..errors import InputError

MAX_BYTES = 32_000_000
_HEAD_BYTES = 4096
_TEXT_ENCODING = re.compile(
    r"(?:iso-?8859-\d+|latin-?\d|windows-\d+|cp-?\d+|koi8-[ru]|gbk?|gb2312|gb18030|big5(?:-hkscs)?|"
    r"euc-(?:jp|kr)|shift_?-?jis|us-ascii|ascii|macintosh|tis-620|utf-?8)"
)
_DECLARED = re.compile(
    rb"<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([\w.:-]{1,40})|"
    rb"<meta[^>]{0,400}?\bcharset\s*=\s*[\"']?\s*([\w.:-]{1,40})",
    re.IGNORECASE,
)


def decode_html(name: str, data: bytes) -> str:
    """Return the bytes of an HTML document as text.

    The encoding is that of a byte order mark, else the one that the XML declaration or a meta element names, else
    UTF-8, else Windows-1252. name: for messages. Raises InputError for more than MAX_BYTES, and for bytes in no
    encoding.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: an HTML document of more than {MAX_BYTES:,} bytes, the limit")
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if "\0" in text:
            break
        return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    raise InputError(f"{name}: not a text in UTF-8, nor in the encoding that it declares")


def _encodings(data: bytes) -> list[str]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if data.startswith(codecs.BOM_UTF8):
        return ["utf-8-sig"]
    if data[:2] in (b"<\0", b"\0<"):
        return ["utf-16-le" if data[0] else "utf-16-be"]
    found = _DECLARED.search(data[:_HEAD_BYTES])
    declared = (found[1] or found[2]).decode("ascii").lower() if found else "utf-8"
    if not _TEXT_ENCODING.fullmatch(declared):
        declared = "utf-8"
    if declared in ("iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii"):
        declared = "utf-8"  # what documents so declared hold is UTF-8 or Windows-1252
    return [declared, "utf-8", "cp1252"]


def is_xhtml(text: str) -> bool:
    """Whether a document says that it is XHTML, where `<a id="x"/>` has no content."""
    head = text[:_HEAD_BYTES].lstrip()
    return head.startswith("<?xml") or "http://www.w3.org/1999/xhtml" in head
