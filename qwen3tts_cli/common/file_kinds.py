"""What a file is by its first bytes: to name what was given in place of a text, a recording or a model's file."""

from __future__ import annotations

import os
import re

HEAD_BYTES = 4096

# kind, and the bytes that a file of it begins with; the first that fits counts
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
# kind, the bytes at the start, and at another place
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
# of audio that ffmpeg reads and libsndfile does not
_ENCODED = (
    *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".webm", ".mka", ".mkv", ".weba", ".wma", ".asf", ".amr", ".ac3"),
    *(".dts", ".ape", ".wv", ".mpc", ".tta", ".spx", ".avi", ".mpg", ".ts", ".flv", ".ra", ".dsf"),
)
_POINTER = b"version https://git-lfs.github.com/spec/"
_READS_TEXT = {
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


def kind_of(head: bytes) -> str | None:
    """ "a PDF file" and the like, from the first HEAD_BYTES of a file; None where nothing is known."""
    if is_pointer(head):
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


def no_text(head: bytes, name: str) -> str | None:
    """Why a file is no text to speak, and the command that makes one of it; None for what may be text."""
    kind = kind_of(head)
    if kind is None:
        return None
    if kind == "a Git LFS pointer":
        return f"a Git LFS pointer, not the file itself; {_fetch(name)}"
    if kind == "audio":
        return "audio or video, expected a text; a recording to speak with the voice of is --ref FILE"
    if reads := _READS_TEXT.get(kind):
        return f"{kind}, expected a text; try: {reads.format(quoted(name))} | qwen3tts say"
    return f"{kind}, expected a text"


def impostor(head: bytes, path: str | os.PathLike[str]) -> str | None:
    """What stands in place of a model's or voice's file: a Git LFS pointer, a web page; with what to do about it."""
    if is_pointer(head):
        return f"a Git LFS pointer, not the file itself; {_fetch(path)}"
    if _HTML.match(head):
        return f"a web page (HTML), not the file itself, as a login or error page is saved; {_again(path)}"
    return None


def no_recording(head: bytes, path: str) -> str | None:
    """Why libsndfile reads no recording from a file, and the command that makes one of it, where that is known."""
    if why := impostor(head, path):
        return why
    kind, (stem, suffix) = kind_of(head), os.path.splitext(path)
    if suffix.lower() == ".wav" and kind == "audio":
        return None  # damaged, and not to be converted into itself
    if kind == "audio" or (kind is None and suffix.lower() in _ENCODED):
        return f"audio that libsndfile does not read; convert it: ffmpeg -i {quoted(path)} {quoted(stem + '.wav')}"
    return f"{kind}, expected a recording" if kind else None


def is_pointer(head: bytes) -> bool:
    """Whether these bytes begin a Git LFS pointer."""
    return head.startswith(_POINTER)


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as a shell takes it, also one that begins with a dash."""
    text = os.fspath(path)
    import shlex

    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _fetch(path: str | os.PathLike[str]) -> str:
    if pull := _pull(path):
        return f"fetch it with: {pull}"
    folder = os.path.dirname(os.fspath(path))
    there = f"cd {quoted(folder)} && " if folder not in ("", ".") else ""
    return f"fetch it with: {there}git lfs pull"


def _again(path: str | os.PathLike[str]) -> str:
    pull = _pull(path)
    return (
        f"fetch it again with: {pull}" if pull else "download it again (`qwen3tts models pull` checks what it fetches)"
    )


def _pull(path: str | os.PathLike[str]) -> str | None:
    """The command that fetches a file of the Hugging Face cache."""
    found = re.search(r"(?:^|/)models--([^/]+?)--([^/]+)/snapshots/", os.fspath(path))
    return f"qwen3tts models pull {found[1]}/{found[2]}" if found else None
