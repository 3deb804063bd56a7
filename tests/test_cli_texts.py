"""The text of `say`: encodings of files and stdin, files that are not text, and arguments in an ASCII locale."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

import pytest
from helpers import TESTS

from qwen3tts_cli.cli.commands.say_text import LIMIT_BYTES
from qwen3tts_cli.common import file_kinds, text_decoding
from qwen3tts_cli.errors import UsageError

TEXTS = {
    "latin": "Grüße aus Köln.\nIt was the best of times.",
    "short": "Hi",
    "russian": "Привет, мир. Это первая строка.",
    "chinese": "一个人\n今天天气很好，我们去公园。\n",
    "chinese in one line": "一个人，今天天气很好。",
    "japanese without a space": "吾輩は猫である。名前はまだ無い。",
    "japanese": "吾輩は猫である。 名前はまだ無い。",
    "emoji": "Well done 👍 everyone",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", [False, True])
def test_utf_16_and_utf_32_are_read_with_and_without_a_mark(text, encoding, mark):
    data = ("\ufeff" * mark + text).encode(encoding)
    assert text_decoding.decode("a.txt", data, LIMIT_BYTES) == text.strip()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_unchanged(text, encoding):
    assert text_decoding.decode("a.txt", text.encode(encoding), LIMIT_BYTES) == text.strip()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one.txt\0two.txt\0", "a.txt: binary data (a zero byte at offset 7), expected a text in UTF-8"),
        (b"ab\0c", "binary data (a zero byte at offset 2)"),
        (b"\0" * 100, "binary data"),
        (b"\x01\x00\x00\x00\x02\x00\x00\x00" * 20, "binary data"),
        (bytes(range(256)) * 8, "binary data"),
        ("Hello.".encode("utf-16-le") + b"x", "binary data"),
        (b"\xff\xfeH\0i", "not valid UTF-16 at offset 4"),
        (b"caf\xe9", "not valid UTF-8: byte 0xE9 at offset 3; if it is Latin-1: iconv -f CP1252 -t UTF-8 a.txt | "),
    ],
)
def test_bytes_that_are_not_text_are_refused(data, message):
    with pytest.raises(UsageError) as caught:
        text_decoding.decode("a.txt", data, LIMIT_BYTES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def zipped(*names, mimetype=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x" * 10)
    return file.getvalue()


KINDS = {
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF file", "pdftotext 'my a.pdf' - | qwen3tts say"),
    "pdf after a mark": (b"\xef\xbb\xbf%PDF-1.4 Hello.", "a PDF file", "pdftotext "),
    "pdf after a line": (b"\r\n\n%PDF-1.4\n\0", "a PDF file", "pdftotext "),
    "epub": (zipped(mimetype="application/epub+zip"), "an EPUB book", "pandoc -t plain 'my a.epub' | qwen3tts say"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document", "pandoc -t plain 'my a.docx' | "),
    "odt": (zipped(mimetype="application/vnd.oasis.opendocument.text"), "an OpenDocument text", "pandoc -t plain "),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", "expected a text"),
    "zip": (zipped("a.txt"), "a zip archive", "unzip -p 'my a.zip' | qwen3tts say"),
    "rtf": (b"{\\rtf1\\ansi Hello.}", "an RTF document", "pandoc -t plain 'my a.rtf' | qwen3tts say"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "a Word document (.doc)", "antiword 'my a.doc' | "),
    "ps": (b"%!PS-Adobe-3.0\n", "a PostScript file", "ps2ascii 'my a.ps' | qwen3tts say"),
    "mobi": (b"title".ljust(60, b"\0") + b"BOOKMOBI", "a Mobipocket e-book", "ebook-convert 'my a.mobi' "),
    "gz": (b"\x1f\x8b\x08\0", "a gzip file", "gzip -dc 'my a.gz' | qwen3tts say"),
    "bz2": (b"BZh91AY&SY", "a bzip2 file", "bzip2 -dc 'my a.bz2' | "),
    "xz": (b"\xfd7zXZ\0", "an xz file", "xz -dc 'my a.xz' | "),
    "zst": (b"\x28\xb5\x2f\xfd\x04", "a zstd file", "zstd -dc 'my a.zst' | "),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image", "tesseract 'my a.png' - | qwen3tts say"),
    "jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image", "tesseract"),
    "webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "an image", "tesseract"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "audio or video", "--ref FILE"),
    "mp3": (b"ID3\x04\0\0\0\0\0\0", "audio or video", "--ref FILE"),
    "mpga": (b"\xff\xfb\x90\x64", "audio or video", "--ref FILE"),
    "ogg": (b"OggS\0\x02", "audio or video", "--ref FILE"),
    "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0", "audio or video", "--ref FILE"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f", "audio or video", "--ref FILE"),
    "elf": (b"\x7fELF\x02\x01\x01\0", "a program", "expected a text"),
    "npy": (b"\x93NUMPY\x01\0v\0{", "a NumPy array", "expected a text"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
}


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("size", [0, 17_000_000])
def test_a_file_that_is_not_text_is_refused_with_a_hint(suffix, size):
    data, kind, advice = KINDS[suffix]
    with pytest.raises(UsageError) as caught:
        text_decoding.decode(f"my a.{suffix}", data.ljust(size, b"x"), LIMIT_BYTES)
    line = str(caught.value)
    assert line.startswith(f"my a.{suffix}: {kind}")
    assert advice in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "text",
    [
        "BMW is a car.",
        "ID3 tags are in it.",
        "PK is short.",
        "RIFF raff, WAVE",
        "<p>Hello.</p>",
        "# Title",
        "BZh9 is it",
    ],
)
def test_texts_that_begin_like_other_file_types_are_read(text):
    assert text_decoding.decode("a.txt", text.encode(), LIMIT_BYTES) == text
    assert file_kinds.file_kind(text.encode()) is None


def say(*arguments, code=0, env=None, cwd=None, **given):
    command = [sys.executable, str(TESTS / "standin.py"), "say", "-q", "--raw", *arguments]
    if "input" not in given:
        given["stdin"] = subprocess.DEVNULL
    done = subprocess.run(command, capture_output=True, env={**os.environ, **(env or {})}, cwd=cwd, timeout=60, **given)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-f", "nowhere.txt"), 2, "--file: no such file (nowhere.txt)"),
        (("-f", "a.txt/b.txt"), 2, "--file: no such file (a.txt/b.txt)"),
        (("-f", ""), 2, "--file: an empty name"),
        (("-f", "."), 2, "--file .: a directory, expected a file of text"),
        (("-f", "/dev/zero"), 2, "more than 16,000,000 bytes of text, the limit"),
        (("-f", "/dev/null"), 2, "the text is empty"),
        (("-f", "a" * 300), 1, "cannot be read: File name too long"),
    ],
)
def test_an_error_of_reading_a_file_is_one_line(tmp_path, arguments, code, message):
    (tmp_path / "a.txt").write_text("Hello.")
    (line,) = say(*arguments, code=code, cwd=tmp_path).stderr.decode().splitlines()
    assert message in line


def test_a_fifo_is_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["sh", "-c", "echo 3 frames > fifo"], cwd=tmp_path):
        assert len(say("-f", "fifo", cwd=tmp_path).stdout) == 3 * 1920 * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_file_is_one_line(tmp_path):
    (tmp_path / "a.txt").touch(mode=0o000)
    assert b"a.txt: cannot be read: Permission denied\n" in say("-f", str(tmp_path / "a.txt"), code=1).stderr


def test_binary_data_on_standard_input_is_named():
    assert b"error: standard input: a PDF file" in say(code=2, input=b"%PDF-1.4\n").stderr
    assert say("--seed", "1", input="3 frames".encode("utf-16-le")).stdout == say("--seed", "1", "3 frames").stdout


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [C_LOCALE, {**C_LOCALE, "LC_ALL": "POSIX"}])
def test_an_ascii_locale_uses_utf_8_everywhere(tmp_path, locale):
    (tmp_path / "Grüße.txt").write_text("3 frames schöne Grüße", encoding="utf-8")
    spoken = say("--seed", "1", "3 frames").stdout
    for arguments in (("3 frames schöne Grüße",), ("--", "3 frames 你好"), ("3 frames", "--instruct", "fröhlich 👍")):
        assert say("--seed", "1", *arguments, env=locale).stdout == spoken
    assert say("--seed", "1", "-f", "Grüße.txt", env=locale, cwd=tmp_path).stdout == spoken
    assert say("--seed", "1", env=locale, input="3 frames für Zoë".encode()).stdout == spoken
    say("--seed", "1", "3 frames", "-o", "Übung.pcm", env=locale, cwd=tmp_path)
    assert (tmp_path / "Übung.pcm").read_bytes() == spoken
    (line,) = say("-f", "Tür.txt", env=locale, code=2).stderr.decode().splitlines()
    assert line == "error: --file: no such file (Tür.txt)"


def test_bytes_that_are_not_utf_8_are_refused_in_an_ascii_locale_too():
    line = say(b"caf\xe9", env=C_LOCALE, code=2).stderr
    assert line == b"error: TEXT: not valid UTF-8: byte 0xE9 at character 3\n"


def qwen3tts(*arguments, env=None):
    command = [sys.executable, "-m", "qwen3tts_cli", *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **(env or {})}, timeout=60)


@pytest.mark.parametrize("env", [C_LOCALE, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_printing_never_fails_for_a_character(tmp_path, env):
    (tmp_path / "config.json").touch()
    done = qwen3tts("models", "path", str(tmp_path), env=env)
    assert done.stdout.decode().strip() == str(tmp_path)
    (tmp_path / "Tür 门").mkdir()
    (tmp_path / "Tür 门" / "config.json").touch()
    done = qwen3tts("models", "path", str(tmp_path / "Tür 门"), env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    if env is C_LOCALE:
        assert done.stdout == os.fsencode(tmp_path / "Tür 门\n")


def test_a_path_that_is_not_utf_8_is_printed_bytewise(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("names are UTF-8 here")
    with open(folder + b"/config.json", "wb"):
        pass
    assert qwen3tts("models", "path", folder).stdout == folder + b"\n"
