"""Any input of `narrate` as a document: what format it has, and reading it."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..common import file_kinds, text_decoding
from ..errors import InputError, UsageError
from .document import Document
from .headings import speaks

LIMIT_BYTES = 64_000_000
FORMATS = ("txt", "md", "html", "epub")
_EXTENSIONS = {
    ".txt": "txt",
    ".text": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".epub": "epub",
}
_READER = "qwen3tts narrate - -o OUT"
_MAX_EPUB_BYTES = 1 << 30


def read_document(
    source: str | Path | bytes,
    *,
    format: str | None = None,
    alt: bool = False,
    code: bool = False,
    markup: bool = True,
    name: str = "standard input",
) -> Document:
    """Return the chapters and paragraphs of a text, and its title, author, language and cover; never without a text.

    source: a file, or the bytes that were read from elsewhere. format: one of FORMATS; None: by the extension of the
    file, txt for bytes. alt: images are spoken as their alternative text. code: blocks of code are spoken. markup:
    brackets and `<break>` of a txt or md are markup. name: of the bytes, for messages. Raises UsageError for an unknown
    format, a file that is not there, is no text or has nothing to speak; InputError for one that cannot be read, is
    broken or is over a limit.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"--input-format {format[:40]!r}: expected one of {', '.join(FORMATS)}")
    if isinstance(source, bytes):
        document = _parse(name, io.BytesIO(source), format or "txt", alt, code, markup)
    else:
        name = os.fspath(source)
        with _open(name) as file:
            document = _parse(name, file, format or _format(name, file), alt, code, markup)
    if not any(
        speaks(paragraph.text, document.has_markup) for chapter in document.chapters for paragraph in chapter.paragraphs
    ):
        raise UsageError(f"{name}: nothing to speak")
    return document


def _parse(name: str, file: BinaryIO, format: str, alt: bool, code: bool, markup: bool) -> Document:
    if format == "epub":
        return _parse_epub(name, file, alt, code)
    data = _read(name, file, LIMIT_BYTES)
    if file_kinds.file_kind(data[: file_kinds.HEAD_BYTES]) == "an EPUB book":
        raise UsageError(f"{name}: an EPUB book; to read it: --input-format epub")
    if format == "html":
        from .html_text import parse_html

        _refuse_other_kinds(name, data[: file_kinds.HEAD_BYTES])
        return parse_html(name, data, alt=alt, code=code)
    text = text_decoding.decode(name, data, LIMIT_BYTES, _READER, strip=False)
    if format == "md":
        from .markdown import parse_markdown

        return parse_markdown(name, text, alt=alt, code=code, markup=markup)
    from .plain_text import parse_plain_text

    return parse_plain_text(text, markup)


def _parse_epub(name: str, file: BinaryIO, alt: bool, code: bool) -> Document:
    from .epub import parse_epub

    head = _read(name, file, file_kinds.HEAD_BYTES - 1)
    if not head.startswith(b"PK"):
        _refuse_other_kinds(name, head)
        raise InputError(f"{name}: not an EPUB: it is no ZIP archive")
    if file.seekable():
        file.seek(0)
    else:
        file = io.BytesIO(head + _read(name, file, _MAX_EPUB_BYTES))
    return parse_epub(name, file, alt=alt, code=code)


def _refuse_other_kinds(name: str, head: bytes) -> None:
    if why := file_kinds.why_not_text(head, text_decoding.shown_name(name, head), _READER):
        raise UsageError(f"{name}: {why}")


def _format(name: str, file: BinaryIO) -> str:
    extension = os.path.splitext(name)[1].lower()
    if (format := _EXTENSIONS.get(extension)) is not None:
        return format
    head = b"%PDF-" if extension == ".pdf" else _read(name, file, file_kinds.HEAD_BYTES - 1)
    _refuse_other_kinds(name, head)
    what = f"the extension {extension[:20]!r} is unknown" if extension else "its name has no extension"
    raise UsageError(f"{name}: {what}; give its format: --input-format {'|'.join(FORMATS)}")


def _read(name: str, file: BinaryIO, limit: int) -> bytes:
    """The bytes of a file, at most one more than the limit."""
    try:
        return file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None


def _open(name: str) -> BinaryIO:
    try:
        if stat.S_ISDIR(os.stat(name).st_mode):
            raise UsageError(f"{name}: a directory, expected a file")
        return open(name, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{name}: no such file") from None
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name!r}: {error}") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
