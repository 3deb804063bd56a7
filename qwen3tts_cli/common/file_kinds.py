"""Recognise the kind of a file by its first bytes, for errors about a file given as a text, a recording or a model."""

from __future__ import annotations

import os
import re

HEAD_BYTES = 4096

# (kind, first bytes of such a file); the first match is used
_MAGIC = (
    ("a PostScript file", b"%!PS"),
    ("an RTF document", b"{\\rtf"),
    ("a Word document (.doc)", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("a DjVu file", b"AT&TFORM"),
    ("a gzip file", b"\x1f\x8b"),
    ("an xz file", b"\xfd7zXZ\x00"),
    ("a zstd file", b"\x28\xb5\x2f\xfd"),
    ("a 7z archive", b"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", b"Rar!\x1a\x07"),
    ("an image", b"\x89PNG\r\n\x1a\n"),
    ("an image", b"\xff\xd8\xff"),
    ("an image", b"GIF87a"),
    ("an image", b"GIF89a"),
    ("an image", b"II*\x00"),
    ("an image", b"MM\x00*"),
    ("audio", b"fLaC"),
    ("audio", b"OggS"),
    ("audio", b"ID3\x02"),
    ("audio", b"ID3\x03"),
    ("audio", b"ID3\x04"),
    ("audio", b"caff\x00\x01"),
    ("audio", b"#!AMR"),
    ("audio", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("audio", b"\x1a\x45\xdf\xa3"),
    ("a program", b"\x7fELF"),
    ("a program", b"\xcf\xfa\xed\xfe"),
    ("a program", b"\xca\xfe\xba\xbe"),
    ("an SQLite database", b"SQLite format 3\x00"),
    ("a NumPy array", b"\x93NUMPY"),
)
# (kind, first bytes, offset of further bytes, alternatives for the bytes at that offset)
_AT = (
    ("audio", b"RIFF", 8, (b"WAVE", b"AVI ")),
    ("audio", b"RF64", 8, (b"WAVE",)),
    ("audio", b"FORM", 8, (b"AIFF", b"AIFC")),
    ("an image", b"RIFF", 8, (b"WEBP",)),
    ("an image", b"BM", 6, (b"\x00\x00\x00\x00",)),
    ("an image", b"\x00\x00", 4, (b"ftypavif", b"ftyphei", b"ftypmif1")),
    ("audio", b"\x00\x00", 4, (b"ftyp",)),
    ("a Mobipocket e-book", b"", 60, (b"BOOKMOBI",)),
    ("a tar archive", b"", 257, (b"ustar",)),
)
_PDF = re.compile(rb"(?:\xef\xbb\xbf)?\s*%PDF-")
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_MPEG = re.compile(rb"\xff[\xe2-\xef\xf2-\xff][\x00-\xef]|\xff[\xf0\xf1\xf8\xf9]")
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
# file extensions of audio that ffmpeg reads and libsndfile does not
_ENCODED = (
    *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".webm", ".mka", ".mkv", ".weba", ".wma", ".asf", ".amr", ".ac3"),
    *(".dts", ".ape", ".wv", ".mpc", ".tta", ".spx", ".avi", ".mpg", ".ts", ".flv", ".ra", ".dsf"),
)
_POINTER = b"version https://git-lfs.github.com/spec/"
# kind of a file: the command that prints its text
_TEXT_COMMANDS = {
    "a PDF file": "pdftotext {} -",
    "a PostScript file": "ps2ascii {}",
    "an EPUB book": "pandoc -t plain {}",
    "a Word document": "pandoc -t plain {}",
    "an OpenDocument text": "pandoc -t plain {}",
    "an RTF document": "pandoc -t plain {}",
    "a Word document (.doc)": "antiword {}",
    "a Mobipocket e-book": "ebook-convert {} book.txt && cat book.txt",
    "a DjVu file": "djvutxt {}",
    "a gzip file": "gzip -dc {}",
    "a bzip2 file": "bzip2 -dc {}",
    "an xz file": "xz -dc {}",
    "a zstd file": "zstd -dc {}",
    "a zip archive": "unzip -p {}",
    "a 7z archive": "7z x -so {}",
    "a tar archive": "tar -xOf {}",
    "an image": "tesseract {} -",
}


def file_kind(head: bytes) -> str | None:
    """Return the kind of a file, such as "a PDF file", from its first HEAD_BYTES; None if they match no known kind."""
    if is_lfs_pointer(head):
        return "a Git LFS pointer"
    if _PDF.match(head):
        return "a PDF file"
    if head[:4] == b"PK\x03\x04":
        return _zip_kind(head)
    for kind, magic in _MAGIC:
        if head.startswith(magic):
            return kind
    for kind, start, place, marks in _AT:
        if head.startswith(start) and head.startswith(marks, place):
            return kind
    if _BZIP2.match(head):
        return "a bzip2 file"
    return "audio" if _MPEG.match(head) and head[:2] != b"\xff\xfe" else None


def _zip_kind(head: bytes) -> str:
    kinds = (
        (b"mimetypeapplication/epub+zip", "an EPUB book"),
        (b"mimetypeapplication/vnd.oasis.opendocument.text", "an OpenDocument text"),
        (b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDocument file"),
        (b"word/", "a Word document"),
        (b"xl/", "an Excel workbook"),
        (b"ppt/", "a PowerPoint presentation"),
        (b"[Content_Types].xml", "a Word document"),
        (b"META-INF/container.xml", "an EPUB book"),
    )
    return next((kind for mark, kind in kinds if mark in head), "a zip archive")


def why_not_text(head: bytes, name: str, reader: str = "qwen3tts say") -> str | None:
    """Return why a file is not a text to speak, and a command that extracts its text; None if it may be a text.

    head: the first HEAD_BYTES of the file. name: the file's name in the command. reader: the command that speaks.
    """
    kind = file_kind(head)
    if kind is None:
        return None
    if kind == "a Git LFS pointer":
        return f"a Git LFS pointer, not the file itself; {_fetch_hint(name)}"
    if kind == "audio":
        return "audio or video, expected a text; to clone the voice of a recording: --ref FILE"
    if command := _TEXT_COMMANDS.get(kind):
        return f"{kind}, expected a text; try: {command.format(shell_quote(name))} | {reader}"
    return f"{kind}, expected a text"


def why_not_model_file(head: bytes, path: str | os.PathLike[str]) -> str | None:
    """Return why a file is not the file of a model or voice, and what to do: it is a Git LFS pointer or a web page.

    head: the first HEAD_BYTES of the file. Returns None for any other file.
    """
    if is_lfs_pointer(head):
        return f"a Git LFS pointer, not the file itself; {_fetch_hint(path)}"
    if _HTML.match(head):
        return (
            f"a web page (HTML), not the file itself, as a login or error page is saved; {_download_again_hint(path)}"
        )
    return None


def why_not_recording(head: bytes, path: str) -> str | None:
    """Return why libsndfile cannot read a recording from a file, and a command that converts it; None if unknown.

    head: the first HEAD_BYTES of the file.
    """
    if why := why_not_model_file(head, path):
        return why
    kind, (stem, suffix) = file_kind(head), os.path.splitext(path)
    if suffix.lower() == ".wav" and kind == "audio":
        return None  # a damaged WAV file: converting it into a file of the same name would not help
    if kind == "audio" or (kind is None and suffix.lower() in _ENCODED):
        command = f"ffmpeg -i {shell_quote(path)} {shell_quote(stem + '.wav')}"
        return f"audio that libsndfile does not read; convert it: {command}"
    return f"{kind}, expected a recording" if kind else None


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file with these first bytes is a Git LFS pointer."""
    return head.startswith(_POINTER)


def shell_quote(path: str | os.PathLike[str]) -> str:
    """Quote a path for a shell command line; a path that begins with a dash gets "./" in front."""
    text = os.fspath(path)
    import shlex

    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _fetch_hint(path: str | os.PathLike[str]) -> str:
    if pull := _pull_command(path):
        return f"fetch it with: {pull}"
    folder = os.path.dirname(os.fspath(path))
    there = f"cd {shell_quote(folder)} && " if folder not in ("", ".") else ""
    return f"fetch it with: {there}git lfs pull"


def _download_again_hint(path: str | os.PathLike[str]) -> str:
    pull = _pull_command(path)
    return (
        f"fetch it again with: {pull}" if pull else "download it again (`qwen3tts models pull` checks what it fetches)"
    )


def _pull_command(path: str | os.PathLike[str]) -> str | None:
    """Return the command that downloads the model again, if `path` lies in the Hugging Face cache."""
    found = re.search(r"(?:^|/)models--([^/]+?)--([^/]+)/snapshots/", os.fspath(path))
    return f"qwen3tts models pull {found[1]}/{found[2]}" if found else None
