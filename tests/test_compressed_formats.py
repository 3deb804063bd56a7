"""Formats that libsndfile writes: the same bytes for the same samples, Ogg pages, and pipes."""

from __future__ import annotations

import io
import struct
import sys
import types

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.common.sample_conversion import to_pcm16
from qwen3tts_cli.output import files as output_files
from qwen3tts_cli.output import formats
from qwen3tts_cli.output.ogg_pages import OggPages, ogg_crc

RATE, FRAME = 24000, 1920
_TIME = np.arange(3 * RATE) / RATE
SPEECH = (0.3 * np.sin(2 * np.pi * (200 * _TIME + 90 * _TIME**2)) * (1 + np.sin(9 * _TIME))).astype(np.float32)
NAMES = ("a.flac", "a.ogg", "a.opus", "a.mp3")
DELAY = 2400  # samples that an MP3 decoder may add before the speech; it adds fewer after it


class Output:
    """An output in memory; `mark` records the number of bytes written so far."""

    name = "memory"

    def __init__(self, seekable):
        self.data, self.seekable, self.marks = bytearray(), seekable, []

    def write(self, data):
        self.data += data

    def patch(self, offset, data):
        assert self.seekable
        self.data[offset : offset + len(data)] = data

    def mark(self):
        self.marks.append(len(self.data))


def encoded(name, *, seekable=False, samples=SPEECH, cuts=None, subtype=None, origin=0):
    output = Output(seekable)
    sink = formats.open_sink(output, formats.choose_format(name, subtype, False, RATE), RATE, origin)
    for part in np.split(samples, range(FRAME, len(samples), FRAME) if cuts is None else cuts):
        sink.write(part)
        output.mark()
    sink.finish()
    return output


def pages_of(data):
    """(type, granule position, serial number, packets) of each page; asserts the checksum."""
    at, found = 0, []
    while at < len(data):
        assert data[at : at + 4] == b"OggS"
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = bytearray(data[at : at + size])
        kind, granule, serial, _, checksum = struct.unpack_from("<BqIII", page, 5)
        page[22:26] = bytes(4)
        assert crc_bit_by_bit(page) == checksum
        found.append((kind, granule, serial, sum(length < 255 for length in page[27 : 27 + segments])))
        at += size
    return found


def crc_bit_by_bit(data):
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 1 << 31 else 0)
        table.append(value & 0xFFFFFFFF)
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return crc


def decoded(data, dtype="float32"):
    """The samples, read in blocks: soundfile cannot seek to the end of a file without a length."""
    with soundfile.SoundFile(io.BytesIO(bytes(data))) as file:
        file.seekable = lambda: False
        blocks = [file.read(1 << 14, dtype)]
        while len(blocks[-1]):
            blocks.append(file.read(1 << 14, dtype))
    return np.concatenate(blocks)


@given(st.binary(max_size=500))
def test_the_checksum_of_ogg_is_the_one_of_its_definition(data):
    assert ogg_crc(data) == crc_bit_by_bit(data)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seekable", [True, False])
def test_the_same_samples_are_the_same_file(name, seekable):
    rng = np.random.default_rng(1)
    first = encoded(name, seekable=seekable).data
    assert encoded(name, seekable=seekable).data == first
    for cuts in ([], [1], range(777, len(SPEECH), 777), np.sort(rng.integers(0, len(SPEECH), 20))):
        assert encoded(name, seekable=seekable, cuts=cuts).data == first


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_a_file_and_a_stream_are_the_same_ogg(name):
    assert encoded(name, seekable=True).data == encoded(name, seekable=False).data


@pytest.mark.parametrize(("name", "headers"), [("a.ogg", 3), ("a.opus", 2)])
def test_ogg_pages_have_one_serial_number_and_valid_checksums(name, headers):
    data = bytes(encoded(name).data)
    pages = pages_of(data)
    kinds, granules, serials, packets = zip(*pages, strict=True)
    assert kinds[0] == 2
    assert kinds[-1] & 4
    assert not any(kind & 6 for kind in kinds[1:-1])
    assert len(set(serials)) == 1
    first = next(number for number, granule in enumerate(granules) if granule > 0)
    assert sum(packets[:first]) == headers
    assert np.corrcoef(decoded(data)[: len(SPEECH)], SPEECH)[0, 1] > 0.9
    assert len(decoded(data)) == len(SPEECH)


@pytest.mark.parametrize("origin", [0, 7])
def test_the_serial_number_is_the_checksum_of_the_first_page_of_audio(origin):
    data = bytes(encoded("a.opus", origin=origin).data)
    at = [place for place in range(len(data)) if data.startswith(b"OggS", place)][2]
    size = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
    page = bytearray(data[at : at + size])
    (serial,) = struct.unpack_from("<I", page, 14)
    page[14:18], page[22:26] = origin.to_bytes(4, "little"), bytes(4)
    assert serial == crc_bit_by_bit(page)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_two_files_can_be_joined(name):
    """Logical streams of one physical stream differ in serial number; each ends before the next begins."""
    one, other = encoded(name).data, encoded(name, samples=SPEECH[::-1].copy()).data
    pages = pages_of(bytes(one + other))
    serials = [serial for _, _, serial, _ in pages]
    assert sorted(set(serials), key=serials.index) == [serials[0], serials[-1]]
    begins = [number for number, (kind, *_) in enumerate(pages) if kind & 2]
    ends = [number for number, (kind, *_) in enumerate(pages) if kind & 4]
    assert begins == [0, ends[0] + 1]


def test_speech_that_begins_alike_can_be_joined():
    """The first 80 ms may be the same; text and seed make the serial numbers differ."""
    later = SPEECH.copy()
    later[FRAME * 3 :] = later[FRAME * 3 :][::-1]
    texts = [("Chapter one.", 7), ("Chapter two.", 7), ("Chapter one.", 8)]
    files = [
        bytes(encoded("a.opus", samples=samples, origin=formats.origin_of(*text)).data)
        for text, samples in zip(texts, [SPEECH, later, later], strict=True)
    ]
    pages = [pages_of(data) for data in files]
    assert pages[0][2][1] == pages[1][2][1]
    assert len({serial for of_file in pages for _, _, serial, _ in of_file}) == 3


def test_whitespace_does_not_change_the_origin():
    assert formats.origin_of("A b\r\nc. ", 7) == formats.origin_of("A  b\nc.", 7) != formats.origin_of("A b d.", 7)


def test_opus_has_a_page_for_each_frame():
    pages = pages_of(bytes(encoded("a.opus", seekable=True).data))[2:]
    assert len(pages) >= len(SPEECH) // FRAME
    assert max(packets for *_, packets in pages) <= 4  # of 20 ms


class NoHandle:
    """A soundfile.SoundFile without the private attribute of its handle."""

    def __init__(self, *arguments, **options):
        self.sound = soundfile.SoundFile(*arguments, **options)
        self.write, self.close = self.sound.write, self.sound.close


def test_opus_without_the_private_handle_of_soundfile(monkeypatch):
    stand_in = types.ModuleType("soundfile")
    for name in ("LibsndfileError", "available_formats", "available_subtypes", "check_format"):
        setattr(stand_in, name, getattr(soundfile, name))
    stand_in.SoundFile = NoHandle
    monkeypatch.setitem(sys.modules, "soundfile", stand_in)
    data = bytes(encoded("a.opus").data)
    assert len(decoded(data)) == len(SPEECH)
    assert 4 < len(pages_of(data)) < 10


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_short_ogg_files(name, samples):
    data = bytes(encoded(name, samples=SPEECH[:samples], cuts=[]).data)
    assert len({serial for _, _, serial, _ in pages_of(data)}) == 1
    assert data == bytes(encoded(name, samples=SPEECH[:samples]).data)
    assert len(decoded(data)) == samples


OPUS = bytes(encoded("a.opus").data)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(OPUS)), max_size=40), st.integers(0, 2**32 - 1))
def test_pages_are_whole_whatever_the_portions_of_bytes(cuts, serial):
    """Pages with any serial number, in any portions of bytes, give the same pages; each call returns whole pages."""
    renumbered = bytearray(OPUS)
    for at in [place for place in range(len(OPUS)) if OPUS.startswith(b"OggS", place)]:
        struct.pack_into("<I", renumbered, at + 14, serial)
    pages, out = OggPages(), b""
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(OPUS)], strict=True):
        data = pages.feed(bytes(renumbered[begin:end]))
        pages_of(data)
        out += data
    assert out + pages.finish() == OPUS


def test_bytes_that_are_not_ogg_are_refused():
    with pytest.raises(ValueError, match="not an Ogg page"):
        OggPages().feed(b"RIFF" + bytes(50))
    pages = OggPages()
    pages.feed(OPUS[:-1])
    with pytest.raises(ValueError, match="incomplete Ogg page"):
        pages.finish()


@pytest.mark.parametrize("name", NAMES)
def test_streams_decode(name):
    data = bytes(encoded(name).data)
    samples = decoded(data)
    assert len(SPEECH) <= len(samples) <= len(SPEECH) + 2 * DELAY
    delay = np.argmax(np.correlate(samples[: RATE + DELAY], SPEECH[:RATE], "valid"))
    assert np.corrcoef(samples[delay : delay + len(SPEECH)], SPEECH)[0, 1] > 0.98
    if name == "a.flac":
        assert np.array_equal(decoded(data, "int16"), to_pcm16(SPEECH))
    else:
        assert len(soundfile.read(io.BytesIO(data))[0]) == len(samples)


def test_flac_on_a_pipe_has_neither_length_nor_md5():
    for seekable in (True, False):
        data = encoded("a.flac", seekable=seekable).data
        total, md5 = int.from_bytes(data[18:26], "big") & (1 << 36) - 1, bytes(data[26:42])
        assert (total == len(SPEECH)) is seekable
        assert any(md5) is seekable


@pytest.mark.parametrize(("name", "frames"), [("a.flac", 4), ("a.opus", 3), ("a.mp3", 3)])
def test_the_first_audio_of_a_stream_is_early(name, frames):
    marks = encoded(name).marks
    assert marks[frames - 1] > 300
    assert marks[len(marks) // 2] < marks[-1]


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_wav_of_every_subtype_goes_through_a_pipe(subtype):
    data = encoded("a.wav", subtype=subtype).data
    assert data[4:8] == b"\xff" * 4
    assert soundfile.info(io.BytesIO(bytes(data))).subtype == subtype
    samples = decoded(data)
    assert len(SPEECH) <= len(samples) <= len(SPEECH) + 2000
    assert np.corrcoef(samples[: len(SPEECH)], SPEECH)[0, 1] > 0.9
    file = encoded("a.wav", subtype=subtype, seekable=True).data
    assert int.from_bytes(file[4:8], "little") == len(file) - 8
    assert np.array_equal(decoded(file), samples[: len(decoded(file))])


@pytest.mark.parametrize("name", [*NAMES, "a.wav"])
def test_the_bytes_of_a_seekable_output_are_those_of_libsndfile(tmp_path, name):
    audio = formats.choose_format(name, "PCM_24" if name == "a.wav" else None, False, RATE)
    output = output_files.open_output(str(tmp_path / name))
    sink = formats.open_sink(output, audio, RATE)
    sink.write(SPEECH)
    sink.finish()
    output.finish()
    output.commit()
    pcm = to_pcm16(SPEECH) if name == "a.flac" else SPEECH
    soundfile.write(tmp_path / f"other-{name}", pcm, RATE, audio.subtype, format=audio.container)
    ours, theirs = decoded((tmp_path / name).read_bytes()), decoded((tmp_path / f"other-{name}").read_bytes())
    assert len(ours) == len(theirs)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    if name not in ("a.ogg", "a.opus"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"other-{name}").read_bytes()


def test_encoded_bytes_are_not_held_back():
    """Only the last block is written by `finish`."""
    output = Output(seekable=False)
    sink = formats.open_sink(output, formats.AudioFormat("FLAC", "PCM_16"), RATE)
    sink.write(SPEECH)
    output.mark()
    sink.finish()
    assert output.marks[0] > 0.9 * len(output.data)
