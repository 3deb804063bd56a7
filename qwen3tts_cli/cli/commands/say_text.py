"""The text that `say` speaks: from the argument, a file or standard input, read whole or as it comes."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterator

from ...errors import InputError, UsageError

LIMIT_BYTES = 16_000_000
_STDIN = "standard input"
_MARKS = (
    ("utf-8-sig", codecs.BOM_UTF8),
    ("utf-32", codecs.BOM_UTF32_LE),
    ("utf-32", codecs.BOM_UTF32_BE),
    ("utf-16", codecs.BOM_UTF16_LE),
    ("utf-16", codecs.BOM_UTF16_BE),
)
_COMMON = r"[\n !-~\u3001\u3002\uff0c]"
_SPACES = dict.fromkeys(b"\t\n\v\f\r\x1b\x85", " ")
_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".raw", ".pcm", ".m4a", ".aac")
_SHOWN_CHARACTERS = 200
_LEAST_ZEROS = 0.4  # the least share of zero bytes in UTF-16 text of Latin letters
_SAMPLE_CHARACTERS = 1 << 16
_PIECE_BYTES = 4096  # read at a time from a text that is still coming


def read_text(text: str | None, file: str | None) -> str | None:
    """The text to speak. text: the argument TEXT. file: the option --file. `-`, or None for both, means stdin.

    Returns None if both are None and stdin is a terminal. TEXT is returned unchanged. Text of a file or of stdin is
    decoded from UTF-8, or from UTF-16 or UTF-32 if a byte order mark or zero bytes show it. The mark and the whitespace
    around the text are removed; lines end in LF. Raises UsageError if both arguments are given, or the file does not
    exist or holds no text in these encodings, too much text or none; InputError if it cannot be read.
    """
    if text is not None and file is not None:
        raise UsageError("TEXT and --file are both given, leave one out")
    if text is not None and text != "-":
        _check_argument("TEXT", text)
        result, name = text, "TEXT"
    elif file is not None and file != "-":
        result, name = decode(file, _read_file(file)), file
    else:
        if sys.stdin is None or (text is None and file is None and sys.stdin.isatty()):
            return None
        result, name = decode(_STDIN, _read_stdin()), _STDIN
    if not result.strip():
        hint = "; give TEXT, or a file with -f" if text is None and file is None else ""
        raise UsageError(f"{name}: the text is empty{hint}")
    return result


def read_live(file: str | None, limit: int | None = None) -> tuple[Iterator[str], bool]:
    """Return the text of a file, a FIFO or stdin in pieces as they come, and whether a terminal is read line by line.

    file: the option --file. `-` or None means stdin. limit: the most bytes; None: no limit. The text is UTF-8; a byte
    order mark is removed. Raises UsageError if the file does not exist, InputError if it cannot be read. The iterator
    raises them too, and UsageError after the text before bytes that are not UTF-8, or if there is no text.
    """
    if file is None or file == "-":
        if sys.stdin is None:
            raise UsageError(f"{_STDIN} is closed")
        descriptor = sys.stdin.fileno()
        return _pieces(_STDIN, descriptor, limit), os.isatty(descriptor)
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISFIFO(os.stat(file).st_mode):
            return _file_pieces(file, lambda: _open_file(file), limit), False  # opening it waits for a writer
    descriptor = _open_file(file)
    return _file_pieces(file, lambda: descriptor, limit), os.isatty(descriptor)


def single_text(texts: tuple[str, ...], as_one: Callable[[], str | None]) -> str | None:
    """The argument TEXT, or None if there is none. Raises UsageError for several arguments.

    texts: all arguments. as_one: returns the command line with all words as one argument, for the message.
    """
    if len(texts) <= 1:
        return texts[0] if texts else None
    if os.path.splitext(texts[-1])[1].lower() in _AUDIO and len(texts[-1].split()) == 1:
        from ...common import file_kinds

        raise UsageError(
            f"{len(texts)} texts are given; to write to {texts[-1]}: -o {file_kinds.shell_quote(texts[-1])}"
        )
    line = as_one()
    raise UsageError(f"{len(texts)} texts are given, put quotes around one{f': {line}' if line else ''}")


def file_hint(text: str | None) -> str | None:
    """A note for a TEXT that is also the name of a file; None for other texts."""
    if text is None or len(text) > _SHOWN_CHARACTERS or not text.isprintable() or not os.path.isfile(text):
        return None
    from ...common import file_kinds

    line = f"qwen3tts say -f {file_kinds.shell_quote(text)}"
    return f"note: the text is {text!r}; to speak what is in that file: {line}"


def check_arguments(**arguments: str | None) -> None:
    """Raise UsageError for an argument that is not valid Unicode. arguments: values by the name of their option."""
    for name, value in arguments.items():
        if value is not None:
            _check_argument(f"--{name.replace('_', '-')}", value)


def _check_argument(name: str, value: str) -> None:
    # Python decodes argument bytes that are not UTF-8 to lone surrogates.
    for place, character in enumerate(value):
        if "\ud800" <= character <= "\udfff":
            code = ord(character)
            what = f"byte 0x{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"
            raise UsageError(f"{name}: not valid UTF-8: {what} at character {place}")


def _read_file(path: str) -> bytes:
    with _explained(path), open(path, "rb") as opened:
        return opened.read(LIMIT_BYTES + 1)


def _open_file(path: str) -> int:
    with _explained(path):
        return os.open(path, os.O_RDONLY)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn an error of opening or reading a file, or stdin, into UsageError or InputError."""
    name = path if path == _STDIN else f"--file {path}"
    try:
        yield
    except IsADirectoryError:
        raise UsageError(f"{name}: a directory, expected a file of text") from None
    except (FileNotFoundError, NotADirectoryError):
        what = f"no such file ({path})" if path else "an empty name"
        raise UsageError(f"--file: {what}") from None
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None


def _read_stdin() -> bytes:
    with _explained(_STDIN):
        return sys.stdin.buffer.read(LIMIT_BYTES + 1)


def _read_some(descriptor: int) -> bytes:
    """Wait for the next bytes; none at the end."""
    while True:
        try:
            return os.read(descriptor, _PIECE_BYTES)
        except BlockingIOError:  # another process made the pipe non-blocking
            select.select([descriptor], [], [])


def _file_pieces(file: str, open_it: Callable[[], int], limit: int | None) -> Iterator[str]:
    """Yield the text of a file in pieces; see `read_live`. open_it: returns its descriptor, which is then closed."""
    descriptor = open_it()
    try:
        yield from _pieces(file, descriptor, limit)
    finally:
        os.close(descriptor)


def _pieces(name: str, descriptor: int, limit: int | None) -> Iterator[str]:
    """Yield the text of a descriptor in pieces; see `read_live`."""
    from ...common import file_kinds

    head, rest, offset, blank = b"", b"", 0, True
    while True:
        with _explained(name):
            data = _read_some(descriptor)
        if len(head) < file_kinds.HEAD_BYTES:
            head += data[: file_kinds.HEAD_BYTES - len(head)]
            if why := file_kinds.why_not_text(head, _shown(name, head)):
                raise UsageError(f"{name}: {why}")
        text, rest, fault = _decode_piece(rest + data, not data)
        offset += len(text.encode())
        text = text.removeprefix("\ufeff") if blank else text
        blank = blank and not text.strip()
        if text:
            yield text
        if fault is not None:
            raise _not_utf8(name, _shown(name, head), fault, offset)
        if limit is not None and offset > limit:
            raise UsageError(f"{name}: more than {limit:,} bytes of text, the limit")
        if not data:
            break
    if blank:
        raise UsageError(f"{name}: the text is empty")


def _decode_piece(data: bytes, final: bool) -> tuple[str, bytes, int | None]:
    """Decode UTF-8: (text, bytes of a character that is not complete, the first byte that is no text or None)."""
    end = data.find(0)
    piece = data if end < 0 else data[:end]
    try:
        text, used = codecs.utf_8_decode(piece, "strict", final or end >= 0)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(), b"", data[error.start]
    return text, data[used:], None if end < 0 else 0


def decode(name: str, data: bytes) -> str:
    """Decode the bytes of a file to text, without the whitespace around it. Raises UsageError if it is not a text.

    name: the file's name, for messages.
    """
    shown = _shown(name, data)
    from ...common import file_kinds

    if why := file_kinds.why_not_text(data[: file_kinds.HEAD_BYTES], shown):
        raise UsageError(f"{name}: {why}")
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{name}: more than {LIMIT_BYTES:,} bytes of text, the limit")
    encoding = _find_encoding(data)
    if encoding is None:
        raise _not_utf8(name, shown, 0, data.index(0))
    try:
        return _lines(data.decode(encoding))
    except UnicodeDecodeError as error:
        if (text := _decode_unmarked_utf16(data)) is not None:
            return text
        if encoding != "utf-8-sig":
            raise UsageError(f"{name}: not valid {encoding.upper()} at offset {error.start}") from None
        raise _not_utf8(name, shown, error.object[error.start], error.start) from None


def _shown(name: str, data: bytes) -> str:
    """The name of a file in the commands of hints. data: its first bytes."""
    return "in.pdf" if name == _STDIN and data.startswith(b"%PDF") else "FILE" if name == _STDIN else name


def _not_utf8(name: str, shown: str, byte: int, offset: int) -> UsageError:
    """The error for a byte that is no text. shown: see `_shown`."""
    if byte == 0:
        return UsageError(f"{name}: binary data (a zero byte at offset {offset}), expected a text in UTF-8")
    from ...common import file_kinds

    hint = f"; if it is Latin-1: iconv -f CP1252 -t UTF-8 {file_kinds.shell_quote(shown)} | qwen3tts say"
    return UsageError(f"{name}: not valid UTF-8: byte 0x{byte:02X} at offset {offset}{hint}")


def _decode_unmarked_utf16(data: bytes) -> str | None:
    """Decode UTF-16 without a byte order mark and without zero bytes, which Chinese and Japanese text may be.

    Returns None for other bytes. The text must contain an ideographic comma or full stop: one of its two bytes is a
    control character, which text in older encodings lacks.
    """
    for encoding in ("utf-16-le", "utf-16-be"):
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if ("\u3001" in text or "\u3002" in text) and _is_text(text):
                return _lines(text)
    return None


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _find_encoding(data: bytes) -> str | None:
    """The encoding that a byte order mark or zero bytes show, else UTF-8; None if the bytes are not text."""
    for encoding, mark in _MARKS:
        if data.startswith(mark):
            return encoding
    if 0 not in data:
        return "utf-8-sig"
    plain = data.replace(b"\0", b"")
    if len(data) - len(plain) < _LEAST_ZEROS * len(data) and _is_text(plain.decode("utf-8", "replace")):
        return None  # UTF-8 with zero bytes between words, such as the output of find -print0
    best, most = None, -1
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # The wrong byte order is often valid too, but it turns spaces and line ends into other characters.
        common = len(re.findall(_COMMON, text[:_SAMPLE_CHARACTERS]))
        if common > most and _is_text(text):
            best, most = encoding, common
    return best


def _is_text(text: str) -> bool:
    """Whether a decoded text is free of control characters and of unassigned and private code points."""
    import unicodedata

    never = ("Cc", "Cn", "Co", "Cs")
    sample = text[:_SAMPLE_CHARACTERS].translate(_SPACES)
    return "\0" not in text and "\ufffd" not in text and all(unicodedata.category(c) not in never for c in sample)
