"""The text that `say` speaks: from the argument, a file or standard input, read whole or as it comes."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator

from ...errors import InputError, UsageError

LIMIT_BYTES = 16_000_000
_STDIN = "standard input"
_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".raw", ".pcm", ".m4a", ".aac")
_SHOWN_CHARACTERS = 200
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
        result, name = _decode(file, _read_file(file)), file
    else:
        if sys.stdin is None or (text is None and file is None and sys.stdin.isatty()):
            return None
        result, name = _decode(_STDIN, _read_stdin()), _STDIN
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


def _decode(name: str, data: bytes) -> str:
    from ...common import text_decoding

    return text_decoding.decode(name, data, LIMIT_BYTES)


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
    from ...common import file_kinds, text_decoding

    head, rest, offset, blank = b"", b"", 0, True
    while True:
        with _explained(name):
            data = _read_some(descriptor)
        if len(head) < file_kinds.HEAD_BYTES:
            head += data[: file_kinds.HEAD_BYTES - len(head)]
            if why := file_kinds.why_not_text(head, text_decoding.shown_name(name, head)):
                raise UsageError(f"{name}: {why}")
        text, rest, fault = _decode_piece(rest + data, not data)
        offset += len(text.encode())
        text = text.removeprefix("\ufeff") if blank else text
        blank = blank and not text.strip()
        if text:
            yield text
        if fault is not None:
            raise text_decoding.not_utf8(name, text_decoding.shown_name(name, head), fault, offset)
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
