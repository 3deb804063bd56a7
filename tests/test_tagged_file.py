"""Finished files, read back by soundfile and by ffprobe: tags, chapters, cover, length; the same bytes; failures."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.errors import InputError, OutputError, UsageError
from qwen3tts_cli.output import ffmpeg, id3, tagged_file, tagging
from qwen3tts_cli.output.tagged_file import choose_tagged_format, write_tagged
from qwen3tts_cli.output.tagging import ChapterMark, Tags

RATE = 24000
SECONDS = 2.717
TIME = np.arange(round(SECONDS * RATE)) / RATE
SPEECH = (0.3 * np.sin(2 * np.pi * (200 * TIME + 90 * TIME**2)) * (1 + np.sin(9 * TIME))).astype(np.float32)
MARKS = [ChapterMark("Öne = 1", 0, 1.5), ChapterMark("", 1.5, 2.25), ChapterMark("第三章 " * 80, 2.25, SECONDS)]
ASCII = Tags("The Title", "An Author", "The Book", 3, 12, "english")
OTHERS = Tags("Tést = 日本; #1 \\ [x]", "Ærøskøbing 😀", "Книга", 2, None, "de-AT")
BY_SOUNDFILE = ("wav", "flac", "ogg", "opus", "mp3")
IN_MP4 = ("m4b", "m4a")
EXACT = (*BY_SOUNDFILE, *IN_MP4)  # the length of .aac is nowhere in the file


def require_ffmpeg_for(extension):
    """Skip the test if the extension needs ffmpeg and there is none."""
    if extension not in ffmpeg.EXTENSIONS:
        return
    if shutil.which("ffprobe") is None or shutil.which("ffmpeg") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ffmpeg and ffprobe: nothing may be skipped under CI=true")
        pytest.skip("no ffmpeg and ffprobe here")


@pytest.fixture
def needs_ffmpeg():
    require_ffmpeg_for("m4b")


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


ROWS = zlib.compress(b"\0\xff\0\0" * 8)
PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 8, 8, 2, 0, 0, 0)) + chunk(b"IDAT", ROWS)
PNG += chunk(b"IEND", b"")


def write(path, *, samples=SPEECH, cuts=None, tags=ASCII, subtype=None, rate=RATE, **options):
    parts = np.split(samples, range(1920, len(samples), 1920) if cuts is None else cuts)
    audio = choose_tagged_format(str(path), subtype, rate)
    write_tagged(str(path), iter(parts), audio, rate=rate, tags=tags, **options)
    return path.read_bytes()


def probe(path):
    """(format with its duration, tags in lower case, streams, chapters) as ffprobe reads them."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters", path]
    read = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    tags = {**read["streams"][0].get("tags", {}), **read["format"].get("tags", {})}
    return read["format"], {name.lower(): text for name, text in tags.items()}, read["streams"], read["chapters"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A function that returns the path of a file with tags, MARKS and a cover, which is written once."""
    made = {}

    def finished(extension, tags=OTHERS):
        require_ffmpeg_for(extension)
        if (extension, tags) not in made:
            path = made[extension, tags] = tmp_path_factory.mktemp("finished") / f"a.{extension}"
            write(path, tags=tags, marks=MARKS, cover=PNG)
        return made[extension, tags]

    return finished


@pytest.mark.parametrize(
    ("extension", "tags"),
    [
        *((name, OTHERS) for name in tagged_file.EXTENSIONS),
        ("wav", ASCII),
        ("opus", ASCII),
        ("mp3", ASCII),
        ("m4b", ASCII),
    ],
)
def test_ffprobe_reads_tags_and_length(finished, needs_ffmpeg, extension, tags):
    found, texts, _, _ = probe(finished(extension, tags))
    assert (texts["title"], texts["artist"], texts["album"]) == (tags.title, tags.author, tags.album)
    numbers = ("3", "3/12") if tags is ASCII else ("2", "2")
    assert texts["track"] == numbers[extension in ("mp3", "m4b", "m4a", "aac")]
    if extension not in ("flac", "ogg", "opus"):
        assert texts["language"] == ("eng" if tags is ASCII else "deu")
    if extension in EXACT:
        assert abs(float(found["duration"]) - SECONDS) < 0.05


@pytest.mark.parametrize("tags", [ASCII, OTHERS], ids=["ascii", "others"])
@pytest.mark.parametrize(("extension", "subtype"), [*((name, None) for name in BY_SOUNDFILE), ("wav", "PCM_24")])
def test_soundfile_reads_tags_and_length(tmp_path, finished, extension, subtype, tags):
    path = finished(extension, tags)
    if subtype is not None:
        write(path := tmp_path / f"a.{extension}", tags=tags, subtype=subtype, marks=MARKS, cover=PNG)
    with soundfile.SoundFile(path) as file:
        assert (file.title, file.artist, file.album) == (tags.title, tags.author, tags.album)
        assert file.tracknumber.split("/")[0] == str(tags.track)
        samples = file.read(dtype="float32")
        assert abs(file.frames - len(SPEECH)) < 0.05 * RATE
    allowed = 0 if extension != "mp3" else 0.021 * RATE
    assert len(SPEECH) - allowed <= len(samples) <= len(SPEECH)
    assert np.corrcoef(samples, SPEECH[: len(samples)])[0, 1] > 0.95


@pytest.mark.parametrize("extension", tagged_file.WITH_CHAPTERS)
def test_ffprobe_reads_chapters_and_cover(finished, needs_ffmpeg, extension):
    path = finished(extension)
    _, _, streams, chapters = probe(path)
    times = [(float(chapter["start_time"]), float(chapter["end_time"])) for chapter in chapters]
    assert np.allclose(times, [(mark.start, mark.end) for mark in MARKS], atol=0.0011)
    titles = [chapter["tags"]["title"] for chapter in chapters]
    assert titles[:2] == ["Öne = 1", "2"]
    assert len(titles[2]) > 20
    assert tagging.one_line(MARKS[2].title).startswith(titles[2])
    pictures = [stream for stream in streams if stream["disposition"]["attached_pic"]]
    assert [(picture["codec_name"], picture["width"], picture["height"]) for picture in pictures] == [("png", 1, 8)]
    copy = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "image2pipe"]
    assert subprocess.run([*copy, "-"], capture_output=True, check=True).stdout == PNG


def test_a_jpeg_is_a_cover(tmp_path, needs_ffmpeg):
    made = ["ffmpeg", "-v", "error", "-f", "png_pipe", "-i", "-", "-f", "mjpeg", "-"]
    jpeg = subprocess.run(made, input=PNG, capture_output=True, check=True).stdout
    assert tagging.cover_type(jpeg) == "image/jpeg"
    for extension in ("mp3", "m4b"):
        write(tmp_path / f"a.{extension}", cover=jpeg)
        _, _, streams, _ = probe(tmp_path / f"a.{extension}")
        assert [stream["codec_name"] for stream in streams if stream["codec_type"] == "video"] == ["mjpeg"]


@pytest.mark.parametrize("extension", tagged_file.EXTENSIONS)
def test_the_same_samples_are_the_same_file(tmp_path, finished, extension):
    first = finished(extension).read_bytes()
    path = tmp_path / f"a.{extension}"
    cuts = (1, *range(777, len(SPEECH), 777))
    assert write(path, cuts=cuts, tags=OTHERS, marks=MARKS, cover=PNG) == first
    assert os.listdir(tmp_path) == [path.name]
    assert b"Lavf" not in first  # the version of ffmpeg's libraries
    assert b"Lavc" not in first


@pytest.mark.parametrize(("rate", "rest"), [(24000, 0), (24000, 192), (24000, 384), (48000, 192)])
def test_the_length_of_mp3_is_right_to_50_ms(tmp_path, needs_ffmpeg, rate, rest):
    samples = np.tile(SPEECH, 2)[: 72_000 + rest]
    write(tmp_path / "a.mp3", samples=samples, rate=rate)
    seconds = len(samples) / rate
    lost = len(samples) - soundfile.info(tmp_path / "a.mp3").frames
    assert 0 <= lost <= 0.021 * rate if rate < 32_000 else lost == 0
    assert abs(float(probe(tmp_path / "a.mp3")[0]["duration"]) - seconds) < 0.05
    decode = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.mp3", "-f", "s16le", "-"]
    decoded = subprocess.run(decode, capture_output=True, check=True)
    assert not decoded.stderr
    assert abs(len(decoded.stdout) / 2 / rate - seconds) < 0.05


def test_a_frame_without_the_tag_of_lame_stays():
    for frame in (b"", b"\xff\xf3Xing", bytes(500), bytes(20) + b"Xing\0\0\0\x0f" + bytes(300)):
        assert tagged_file.shorten_length(frame, RATE) == frame
    wrong = bytearray(bytes(13) + b"Info\0\0\0\x0f" + bytes(300))
    wrong[154:157] = (576 << 12 | 1700).to_bytes(3, "big")
    assert tagged_file.shorten_length(bytes(wrong), RATE) == wrong  # its checksum does not fit


FIVE_SECONDS = np.zeros(5 * RATE, np.float32)
HOSTILE = ["a\nb\r\n\x00c=;#\\", "[CHAPTER]\nSTART=0", "é" * 10_000, "\ud800\u2028", " \x00"]


@pytest.mark.parametrize("extension", ["wav", "opus", "mp3", "m4b"])
def test_hostile_titles(tmp_path, needs_ffmpeg, extension):
    """Each in a file as a title, and as an author beside another title; all as chapters."""
    marks = [ChapterMark(title, number, number + 1) for number, title in enumerate(HOSTILE)]
    for title, author, album in (HOSTILE[:3], [*HOSTILE[3:], HOSTILE[0]]):
        write(tmp_path / f"a.{extension}", samples=FIVE_SECONDS, tags=Tags(title, author, album), marks=marks)
        found, texts, _, chapters = probe(tmp_path / f"a.{extension}")
        for name, text in (("title", title), ("artist", author), ("album", album)):
            shown = tagging.one_line(text)
            assert texts.get(name, "") == shown + " " * (extension == "m4b" and shown.endswith("\\"))
        assert abs(float(found["duration"]) - 5) < 0.05
        if extension in tagged_file.WITH_CHAPTERS:
            for number, (chapter, text) in enumerate(zip(chapters, HOSTILE, strict=True), 1):
                assert (tagging.one_line(text) or f"{number}").startswith(chapter["tags"]["title"].rstrip())


def test_titles_in_one_line():
    assert tagging.one_line("a\nb\r\n\x00c \u2028d") == "a b c d"
    assert tagging.one_line("é" * 10_000) == "é" * 1000
    assert tagging.one_line("\ud800") == "?"


@pytest.mark.parametrize(
    ("language", "code"),
    [("en", "eng"), ("German", "deu"), ("zh-Hans-CN", "zho"), ("pt_BR.UTF-8", "por"), ("nld", "nld"), ("", "")],
)
def test_codes_of_languages(language, code):
    assert tagging.language_code(language) == code


def test_wav_has_its_tags_before_the_samples(tmp_path):
    data = write(tmp_path / "a.wav", tags=Tags("abc", "", "ü", 7))
    info = b"LIST\x26\0\0\0INFOINAM\x04\0\0\0abc\0IPRD\x03\0\0\0\xc3\xbc\0\0ITRK\x02\0\0\x007\0"
    assert data[36 : 36 + len(info)] == info
    assert data[36 + len(info) :][:4] == b"data"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert (
        write(tmp_path / "b.wav", tags=Tags())
        == data[:4] + struct.pack("<I", 36 + 2 * len(SPEECH)) + data[8:36] + data[36 + len(info) :]
    )


def frames_of(body):
    """(name, body) of each frame of an ID3v2.4 tag."""
    at = 0
    while at < len(body):
        size = sum(byte << shift for byte, shift in zip(body[at + 4 : at + 8], (21, 14, 7, 0), strict=True))
        assert max(body[at + 4 : at + 8]) < 128
        yield body[at : at + 4], body[at + 10 : at + 10 + size]
        at += 10 + size


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 700), st.text(min_size=1, max_size=300))
def test_id3_lists_every_chapter(count, title):
    marks = [ChapterMark(f"{number} {title}", number, number + 0.5) for number in range(count)]
    header = id3.id3_header(Tags(), marks)
    assert header[:6] == b"ID3\x04\0\0"
    frames = list(frames_of(header[10:]))
    chapters = [body.split(b"\0", 1) for name, body in frames if name == b"CHAP"]
    contents = {body.split(b"\0", 1)[0]: body.split(b"\0", 1)[1] for name, body in frames if name == b"CTOC"}

    def below(name):
        names = contents[name][2:].split(b"\0")[:-1]
        assert len(names) == contents[name][1]
        return [inner for child in names for inner in (below(child) if child in contents else [child])]

    assert [flags[0] for flags in contents.values()] == [3] + [1] * (len(contents) - 1)
    assert below(b"toc") == [name for name, _ in chapters]
    for number, (_, body) in enumerate(chapters):
        assert struct.unpack(">II", body[:8]) == (1000 * number, 1000 * number + 500)
        ((name, text),) = frames_of(body[16:])
        assert name == b"TIT2"
        assert text[:1] == b"\x03"
        assert len(text) < 128
        assert tagging.one_line(marks[number].title).startswith(text[1:].decode())


def test_no_tags_are_no_header():
    assert id3.id3_header(Tags()) == b""


@pytest.mark.parametrize(
    ("cover", "reason"),
    [
        (b"GIF89a" + bytes(40), "neither"),
        (PNG[:20], "damaged"),
        (b"\xff\xd8\xff\xe0\0\x10", "damaged"),
        (b"", "neither"),
        (b"\xff\xd8\xff" * (6 << 20), "at most"),
    ],
)
@pytest.mark.parametrize("extension", ["mp3", "m4b"])
def test_covers_that_are_none(tmp_path, extension, cover, reason):
    require_ffmpeg_for(extension)
    with pytest.raises(InputError, match=reason):
        write(tmp_path / f"a.{extension}", cover=cover)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("extension", ffmpeg.EXTENSIONS)
def test_without_ffmpeg_one_line_names_it(tmp_path, monkeypatch, extension):
    monkeypatch.setenv("PATH", str(tmp_path))
    audio = choose_tagged_format(f"a.{extension}", None, RATE)
    with pytest.raises(OutputError, match=rf"^\.{extension} needs the program ffmpeg, [^\n]*$"):
        tagged_file.require_encoder(audio)
    with pytest.raises(OutputError, match="needs the program ffmpeg"):
        write(tmp_path / f"a.{extension}")
    assert os.listdir(tmp_path) == []
    for other in BY_SOUNDFILE:
        tagged_file.require_encoder(choose_tagged_format(f"a.{other}", None, RATE))


def test_the_last_line_of_ffmpeg_is_the_reason(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho first >&2\necho 'Unknown encoder aac' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "a.m4b").write_bytes(b"before")
    with pytest.raises(OutputError, match=r"a\.m4b: ffmpeg: Unknown encoder aac$"):
        write(tmp_path / "a.m4b", samples=np.tile(SPEECH, 10))
    assert (tmp_path / "a.m4b").read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["a.m4b", "bin"]


@pytest.mark.parametrize("extension", [*BY_SOUNDFILE, "m4b"])
def test_an_interrupt_leaves_nothing(tmp_path, extension):
    require_ffmpeg_for(extension)

    def chunks():
        yield SPEECH
        raise KeyboardInterrupt

    audio = choose_tagged_format(f"a.{extension}", None, RATE)
    with pytest.raises(KeyboardInterrupt):
        write_tagged(str(tmp_path / f"a.{extension}"), chunks(), audio, rate=RATE, tags=ASCII, cover=PNG)
    assert os.listdir(tmp_path) == []
    with pytest.raises(ChildProcessError):  # ffmpeg has ended and was waited for
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("extension", [*BY_SOUNDFILE, "m4b"])
def test_a_full_disk_leaves_nothing(tmp_path, extension):
    """A limit on the size of files stands for the disk; ffmpeg is killed by it or writes why."""
    require_ffmpeg_for(extension)
    samples = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    try:
        with pytest.raises(OutputError, match=rf"a\.{extension}: "):
            write(tmp_path / f"a.{extension}", samples=samples)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("extension", [*BY_SOUNDFILE, "m4b"])
def test_a_folder_that_is_removed_meanwhile(tmp_path, extension):
    require_ffmpeg_for(extension)
    folder = tmp_path / "book"
    folder.mkdir()

    def chunks():
        yield SPEECH
        shutil.rmtree(folder)
        yield SPEECH

    audio = choose_tagged_format(f"a.{extension}", None, RATE)
    with pytest.raises(OutputError, match=rf"a\.{extension}: .*No such file"):
        write_tagged(str(folder / f"a.{extension}"), chunks(), audio, rate=RATE, tags=ASCII)
    assert os.listdir(tmp_path) == []


def test_no_room_for_temporary_files(tmp_path, monkeypatch, needs_ffmpeg):
    monkeypatch.setattr(ffmpeg.tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match=r"a\.m4b: .*ffmpeg: No such file"):
        write(tmp_path / "a.m4b")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors are those of Linux")
@pytest.mark.parametrize("extension", ["flac", "m4b"])
def test_no_descriptor_stays_open(tmp_path, extension):
    require_ffmpeg_for(extension)
    write(tmp_path / f"a.{extension}", cover=PNG)
    before = os.listdir("/proc/self/fd")
    write(tmp_path / f"a.{extension}", cover=PNG)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("extension", ["flac", "m4b"])
def test_memory_does_not_grow_with_the_length(tmp_path, extension):
    require_ffmpeg_for(extension)
    audio = choose_tagged_format(f"a.{extension}", None, RATE)
    peaks = []
    for count in (2, 8):
        tracemalloc.start()
        chunks = (SPEECH for _ in range(count))
        write_tagged(str(tmp_path / f"a.{extension}"), chunks, audio, rate=RATE, tags=ASCII)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + SPEECH.nbytes


def test_choice_of_formats():
    def chosen(path, subtype=None, rate=RATE, **options):
        audio = choose_tagged_format(path, subtype, rate, **options)
        return audio.container, audio.subtype

    assert chosen("a.M4B") == ("M4B", "AAC")
    assert chosen("a.m4a", "aac") == ("M4A", "AAC")
    assert chosen("a.aac") == chosen("x", requested="aac") == chosen("a.b", requested="aac") == ("AAC", "AAC")
    assert chosen(None, default="opus") == chosen("a", default="opus") == ("OGG", "OPUS")
    assert chosen("a.flac", "pcm_24") == ("FLAC", "PCM_24")
    for path, options, reason in (
        ("a.xyz", {}, r"unknown extension \.xyz, known are .*\.mp3, \.m4b, \.m4a, \.aac \(or --audio-format"),
        ("a", {}, "no extension"),
        ("a.m4b", {"requested": "m4a"}, "another format"),
        ("a.m4b", {"requested": "flac"}, "another format"),
        ("a.flac", {"requested": "m4b"}, "another format"),
        ("a.flac", {"requested": "mp3"}, "another format"),
        ("a.m4b", {"subtype": "PCM_16"}, r"not available for \.m4b, which has AAC"),
        ("a.opus", {"rate": 44100}, "--rate 44100"),
    ):
        with pytest.raises(UsageError, match=reason):
            chosen(path, **options)


def test_a_device_is_no_m4b(tmp_path, needs_ffmpeg):
    with pytest.raises(OutputError, match="needs a regular file"):
        write_tagged("/dev/null", [SPEECH], choose_tagged_format("a.m4b", None, RATE), rate=RATE, tags=ASCII)
