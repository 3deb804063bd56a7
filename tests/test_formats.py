"""Choice of formats, raw audio and WAV, and output files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import threading

import numpy as np
import pytest
import soundfile

from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.errors import OutputError, UsageError
from qwen3tts_cli.output import files as output_files
from qwen3tts_cli.output import formats

RATE = 24000
SAMPLES = np.random.default_rng(0).uniform(-1.05, 1.05, RATE).astype(np.float32)


class Memory:
    """An output in memory that holds at most `room` bytes."""

    name = "memory"

    def __init__(self, seekable=True, room=1 << 40):
        self.data, self.seekable, self.room = bytearray(), seekable, room

    def write(self, data):
        if len(self.data) + len(data) > self.room:
            raise OutputError(f"{self.name}: {os.strerror(errno.ENOSPC)}")
        self.data += data

    def patch(self, offset, data):
        self.data[offset : offset + len(data)] = data


def written(output, audio, chunks=7):
    sink = formats.open_sink(output, audio, RATE)
    for part in np.array_split(SAMPLES, chunks):
        sink.write(part)
    sink.finish()
    return bytes(output.data)


def test_wav_is_the_canonical_header_and_pcm():
    audio = formats.choose_format("a.wav", None, False, RATE)
    data = written(Memory(), audio)
    pcm = to_pcm16(SAMPLES).tobytes()
    assert data[44:] == pcm
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", data[:44])
    assert fields == (b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", len(pcm))
    assert written(Memory(), audio, chunks=1) == data
    assert soundfile.read(io.BytesIO(data), dtype="int16")[0].tolist() == to_pcm16(SAMPLES).tolist()


def test_wav_on_a_pipe_has_unknown_sizes():
    data = written(Memory(seekable=False), formats.AudioFormat("WAV", "PCM_16"))
    assert data[4:8] == data[40:44] == b"\xff" * 4
    assert data[44:] == to_pcm16(SAMPLES).tobytes()


def test_raw_is_the_same_pcm():
    audio = formats.choose_format("anything at all", None, True, RATE)
    assert written(Memory(), audio) == to_pcm16(SAMPLES).tobytes()


@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", "float32"), ("DOUBLE", "float64")])
@pytest.mark.parametrize("seekable", [True, False])
def test_float_wav_is_exact(subtype, dtype, seekable):
    data = written(Memory(seekable), formats.choose_format(None, subtype, False, RATE))
    if not seekable:  # readers that use the sizes of the header
        fixed = written(Memory(), formats.choose_format(None, subtype, False, RATE))
        assert len(fixed) == len(data)
        data = fixed
    read, rate = soundfile.read(io.BytesIO(data), dtype=dtype)
    assert rate == RATE
    assert np.array_equal(read, SAMPLES.astype(dtype))
    assert soundfile.info(io.BytesIO(data)).subtype == subtype


def test_no_samples_are_a_wav_without_samples():
    output = Memory()
    sink = formats.open_sink(output, formats.AudioFormat("WAV", "PCM_16"), RATE)
    sink.finish()
    assert soundfile.info(io.BytesIO(bytes(output.data))).frames == 0


def test_sizes_beyond_the_header_stay_unknown():
    output = Memory()
    sink = formats.WavSink(output, RATE, "PCM_16")
    sink.write(SAMPLES[:10])
    sink._data_bytes = 1 << 32
    sink.finish()
    assert output.data[4:8] == output.data[40:44] == b"\xff" * 4


@pytest.mark.parametrize(
    ("name", "subtype", "expected"),
    [
        ("a.flac", None, ("FLAC", "PCM_16")),
        ("a.FLAC", "pcm_24", ("FLAC", "PCM_24")),
        ("a.ogg", None, ("OGG", "VORBIS")),
        ("a.ogg", "OPUS", ("OGG", "OPUS")),
        ("a.opus", None, ("OGG", "OPUS")),
        ("a.mp3", None, ("MP3", "MPEG_LAYER_III")),
        ("a.wav", "pcm-24", ("WAV", "PCM_24")),
        ("a.wav", "ulaw", ("WAV", "ULAW")),
    ],
)
def test_encoded_files(tmp_path, name, subtype, expected):
    audio = formats.choose_format(name, subtype, False, RATE)
    assert (audio.container, audio.subtype) == expected
    path = tmp_path / name
    output = output_files.open_output(str(path))
    sink = formats.open_sink(output, audio, RATE)
    sink.write(SAMPLES)
    sink.finish()
    assert not path.exists()
    output.finish()
    output.commit()
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.samplerate, info.channels) == (*expected, RATE, 1)
    assert os.listdir(tmp_path) == [name]
    assert abs(info.frames - len(SAMPLES)) <= (0 if expected[0] != "MP3" else 2400)
    if audio.subtype == "PCM_16":
        assert soundfile.read(path, dtype="int16")[0].tolist() == to_pcm16(SAMPLES).tolist()


@pytest.mark.parametrize(
    ("name", "subtype", "raw", "message"),
    [
        ("a.aac", None, False, "unknown extension .aac, known are .wav, .flac, .ogg, .opus, .mp3"),
        ("speech", None, False, "no extension"),
        ("a.flac", "FLOAT", False, "which has PCM_S8, PCM_16, PCM_24"),
        ("a.opus", "VORBIS", False, "which has OPUS"),
        ("a.mp3", "PCM_16", False, "MPEG_LAYER_III"),
        ("a.wav", "VORBIS", False, "PCM_16, PCM_24"),
        ("a.wav", "nonsense", False, "NONSENSE"),
        ("a", "FLOAT", True, "--raw writes PCM_16, ULAW or ALAW"),
    ],
)
def test_refused_formats(name, subtype, raw, message):
    with pytest.raises(UsageError, match=message):
        formats.choose_format(name, subtype, raw, RATE)


def test_a_new_file_honours_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    old = os.umask(0o027)
    try:
        for mode in (0o640, 0o604):
            output = output_files.open_output(str(tmp_path / "a"))
            output.write(b"x")
            output.finish()
            output.commit()
            assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
            (tmp_path / "a").chmod(0o604)
    finally:
        os.umask(old)


def test_a_link_keeps_pointing_to_its_target(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/target")
    for content in (b"first", b"second"):
        output = output_files.open_output(str(tmp_path / "link"))
        output.write(content)
        output.finish()
        output.commit()
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "target").read_bytes() == content
    assert os.listdir(tmp_path / "real") == ["target"]


def test_discarding_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    output = output_files.open_output(str(path))
    output.write(b"new")
    output.discard()
    output.discard()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_fifo_is_written_in_place(tmp_path):
    path = tmp_path / "fifo.flac"
    os.mkfifo(path)
    read = []
    thread = threading.Thread(target=lambda: read.append(path.read_bytes()))
    thread.start()
    output = output_files.open_output(str(path))
    sink = formats.open_sink(output, formats.choose_format(str(path), None, False, RATE), RATE)
    sink.write(SAMPLES)
    sink.finish()
    output.finish()
    thread.join()
    assert soundfile.info(io.BytesIO(read[0])).format == "FLAC"
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("kind", ["WAV", "RAW", "FLAC", "OGG", "MP3"])
def test_a_full_device(kind):
    subtypes = {"WAV": "PCM_16", "RAW": "PCM_16", "FLAC": "PCM_16", "OGG": "OPUS", "MP3": "MPEG_LAYER_III"}
    output = output_files.open_output("/dev/full")
    sink = formats.open_sink(output, formats.AudioFormat(kind, subtypes[kind]), RATE)
    with pytest.raises(OutputError, match="/dev/full: No space left on device"):  # noqa: PT012
        sink.write(SAMPLES)
        sink.finish()
    sink.discard()
    output.discard()


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3"])
@pytest.mark.parametrize("seekable", [True, False])
def test_a_full_disk_is_an_error_at_any_byte(name, seekable):
    """Also at the bytes that are written when the encoder is closed."""
    audio = formats.choose_format(name, None, False, RATE)
    whole = len(written(Memory(seekable), audio))
    for room in (10, 1000, whole // 2, whole - 300, whole - 1):
        output = Memory(seekable, room)
        sink = formats.open_sink(output, audio, RATE)
        with pytest.raises(OutputError, match="memory: No space left on device"):  # noqa: PT012
            sink.write(SAMPLES)
            sink.finish()
        sink.discard()
        sink.discard()
        assert len(output.data) <= room


def test_outputs_that_cannot_be_opened(tmp_path):
    with pytest.raises(OutputError, match="no folder"):
        output_files.open_output(str(tmp_path / "no" / "a.wav"))
    with pytest.raises(OutputError, match="is a folder"):
        output_files.open_output(str(tmp_path))
