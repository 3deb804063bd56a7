"""Reference recordings: read and resampled as the reference does, refused only where nothing can be done."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from helpers import DATA, golden_rows, load_golden

from qwen3tts_cli import InputError, UsageError, load_recording
from qwen3tts_cli.audio.recording import resample, transcript_warning

RATE = 24000
RNG = np.random.default_rng(5)
SPEECH = (0.2 * RNG.standard_normal(4 * RATE)).astype(np.float32)


@pytest.mark.parametrize("row", golden_rows("tiny-base", "codec_encode"), ids=lambda row: row["wav"])
def test_samples_equal_the_reference(row):
    golden = load_golden("tiny-base", row)
    recording = load_recording(DATA / "wavs" / f"{row['wav']}.wav")
    assert recording.samples.dtype == np.float32
    assert recording.samples.shape == golden["input_values"].shape
    np.testing.assert_allclose(recording.samples, golden["input_values"], atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.txt"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_formats(tmp_path, name, channels):
    path = tmp_path / name
    samples = np.repeat(SPEECH[:, None], channels, axis=1)
    if name.endswith(".mp3") and channels > 2:
        pytest.skip("MP3 has two channels at most")
    soundfile.write(path, samples, RATE, format="WAV" if name.endswith(".txt") else None)
    recording = load_recording(path)
    assert abs(len(recording.samples) - len(SPEECH)) < 4000
    assert not recording.warnings


@pytest.mark.parametrize("rate", [1, 1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000, 655350])
def test_any_rate(tmp_path, rate):
    samples = np.sin(np.arange(int(rate * 3.5)) / 5).astype(np.float32) * 0.5
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    recording = load_recording(path)
    assert len(recording.samples) == np.ceil(len(samples) * (RATE / rate))
    assert recording.seconds == pytest.approx(len(samples) / rate)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_any_subtype(tmp_path, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, SPEECH, RATE, subtype=subtype)
    assert np.corrcoef(load_recording(path).samples, SPEECH)[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_in_memory_is_that_of_its_file(tmp_path, kind):
    path = tmp_path / "a"
    soundfile.write(path, SPEECH, RATE, format=kind)
    there, here = load_recording(path), load_recording(io.BytesIO(path.read_bytes()))
    assert (here.name, here.seconds, here.sha256) == ("recording", there.seconds, there.sha256)
    np.testing.assert_array_equal(here.samples, there.samples)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"%PDF-1.7 a page", b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\xff" * 64])
def test_bytes_that_are_no_recording_are_refused(data):
    with pytest.raises(InputError, match=r"^recording: "):
        load_recording(io.BytesIO(data))


def test_length_is_that_of_the_reference():
    for rate, n in ((44100, 147 * 7), (44100, 148), (22050, 9999), (16000, 3), (48000, 7)):
        assert len(resample(np.ones(n, np.float32), rate)) == int(np.ceil(n * (24000 / rate)))


def bad(case: str, tmp_path):
    """A recording that cannot be used."""
    path = tmp_path / "bad.wav"
    match case:
        case "missing":
            return tmp_path / "missing.wav"
        case "folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("This is not audio at all.\n" * 10)
        case "fifo":
            os.mkfifo(path)
        case "no samples":
            soundfile.write(path, np.empty(0, np.float32), RATE)
        case "short":
            soundfile.write(path, SPEECH[: RATE // 20], RATE)
        case "silent":
            soundfile.write(path, np.zeros(RATE, np.float32), RATE)
        case "NaN":
            soundfile.write(path, np.where(np.arange(RATE) == 99, np.nan, SPEECH[:RATE]), RATE, subtype="FLOAT")
        case "infinite":
            soundfile.write(path, np.where(np.arange(RATE) == 99, np.inf, SPEECH[:RATE]), RATE, subtype="DOUBLE")
        case "ten hours":
            soundfile.write(path, np.zeros(601 * 8000, np.int16), 8000, subtype="PCM_U8")
        case "no channels" | "no rate":
            channels, rate = (0, RATE) if case == "no channels" else (1, 0)
            head = struct.pack(
                "<4sI4s4sIHHIIHH4sI",
                b"RIFF",
                36 + 4800,
                b"WAVE",
                b"fmt ",
                16,
                1,
                channels,
                rate,
                rate * 2,
                2,
                16,
                b"data",
                4800,
            )
            path.write_bytes(head + bytes(4800))
    return path


@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        ("missing", UsageError, "no such file"),
        ("folder", InputError, "a folder"),
        ("empty", InputError, "an empty file"),
        ("text", InputError, "not audio"),
        ("fifo", InputError, "not a regular file"),
        ("no samples", InputError, "no samples"),
        ("short", InputError, "0.050 s, at least 0.1 s"),
        ("silent", InputError, "silence"),
        ("NaN", InputError, "not finite"),
        ("infinite", InputError, "not finite"),
        ("ten hours", InputError, "bad.wav: 601 s of audio, the limit is 600 s"),
        ("no channels", InputError, "bad.wav"),
        ("no rate", InputError, "bad.wav"),
    ],
)
def test_bad_recordings(tmp_path, case, error, words):
    path = bad(case, tmp_path)
    with pytest.raises(error) as caught:
        load_recording(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, SPEECH, RATE)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])  # truncated: what is there is used
    assert load_recording(path).seconds == pytest.approx(2, abs=0.01)
    data[40:44] = (0xFFFFFFFF).to_bytes(4, "little")
    path.write_bytes(data)
    assert load_recording(path).seconds == pytest.approx(4, abs=0.01)


def test_warnings_are_no_refusals():
    def lines(samples, rate=RATE):
        return " ".join(load_recording((samples, rate)).warnings)

    assert lines(SPEECH) == ""
    assert "2.0 s is too short" in lines(SPEECH[: 2 * RATE])
    assert "40.0 s is longer than needed" in lines(np.tile(SPEECH, 10))
    assert "clipped" in lines(np.clip(SPEECH * 20, -1, 1))
    assert transcript_warning("Hello world, how are you today?", 3) is None
    assert transcript_warning("你好，世界！今天天气很好。", 3) is None
    assert "more than anyone says" in transcript_warning("word " * 200, 3)
    assert "less than is spoken" in transcript_warning("Hi.", 20)


def test_silence_is_cut_and_added_only_when_asked():
    quiet = np.zeros(RATE, np.float32)
    samples = np.concatenate([quiet, SPEECH, quiet])
    assert len(load_recording((samples, RATE)).samples) == len(samples)
    trimmed = load_recording((samples, RATE), trim_silence=True)
    assert len(trimmed.samples) == len(SPEECH) + 2 * RATE // 10
    longer = load_recording((SPEECH, RATE), append_silence=True)
    assert len(longer.samples) == len(SPEECH) + RATE // 2
    assert not longer.samples[len(SPEECH) :].any()
    assert load_recording((SPEECH, RATE), trim_silence=True).sha256 == load_recording((SPEECH, RATE)).sha256


@pytest.mark.parametrize(
    ("samples", "rate", "error", "words"),
    [
        (np.ones((2, 2, 2)), RATE, UsageError, "shape (2, 2, 2)"),
        (np.float32(1), RATE, UsageError, "shape ()"),
        (np.ones((2, RATE)), RATE, UsageError, "transpose"),
        (np.ones(RATE), 0, InputError, "rate of 0 Hz"),
        (np.ones(RATE), 24000.5, UsageError, "rate: float"),
        (np.ones(RATE), True, UsageError, "rate: bool"),
        (np.ones(RATE), "24000", UsageError, "rate: str"),
        (RATE, np.ones(RATE), UsageError, "rate: ndarray"),  # the order of scipy
        (np.array(["a"] * RATE), RATE, UsageError, "str"),
        (np.ones(RATE, complex), RATE, UsageError, "complex128"),
        (np.ones(RATE, bool), RATE, UsageError, "bool"),
        (np.array([None] * RATE), RATE, UsageError, "object"),
        (None, RATE, UsageError, "NoneType"),
        ("a.wav", RATE, UsageError, "samples: str"),
        ([1, 2, 3] * RATE, RATE, UsageError, "list of integers"),
        ([[0.5], [0.5, 0.5]], RATE, UsageError, "list"),
        ((SPEECH * 32767).astype(np.int64), RATE, UsageError, "int64"),
        (np.empty(0), RATE, InputError, "no samples"),
        (np.empty((0, 2)), RATE, InputError, "no samples"),
        (np.full(RATE, 1e300), RATE, InputError, "not finite"),
        (np.ones(601 * 100), 100, InputError, "601 s"),
    ],
)
def test_bad_arrays(samples, rate, error, words):
    with pytest.raises(error) as caught:
        load_recording((samples, rate))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("source", [None, 5, SPEECH, [SPEECH, RATE], (SPEECH,), (SPEECH, RATE, 1)])
def test_what_is_no_recording_is_named(source):
    with pytest.raises(UsageError, match=r"recording: (NoneType|int|ndarray|list|a tuple of)") as caught:
        load_recording(source)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("subtype", "dtype"), [("PCM_16", "int16"), ("PCM_32", "int32"), ("FLOAT", "float32")])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_array_is_the_file_it_was_read_from(tmp_path, subtype, dtype, channels):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([SPEECH, SPEECH[::-1]][:channels], 1), RATE, subtype=subtype)
    from_file = load_recording(path)
    from_array = load_recording((soundfile.read(path, dtype=dtype)[0], np.int64(RATE)))
    assert np.array_equal(from_array.samples, from_file.samples)
    assert from_array.sha256 == from_file.sha256


def test_bytes_without_a_sign_keep_no_offset(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, SPEECH, RATE, subtype="PCM_U8")
    data = np.frombuffer(path.read_bytes()[-len(SPEECH) :], np.uint8)
    assert np.array_equal(load_recording((data, RATE)).samples, load_recording(path).samples)


def test_a_recording_does_not_change_with_its_array():
    samples = SPEECH.copy()
    recording = load_recording((samples, RATE))
    samples[:] = 0
    assert np.array_equal(recording.samples, SPEECH)


def test_flac_that_does_not_say_how_long_it_is(tmp_path):
    from qwen3tts_cli.output import formats

    with (tmp_path / "a.flac").open("wb", buffering=0) as file:

        class Pipe:
            name, seekable = "pipe", False
            write = file.write

        sink = formats.open_sink(Pipe, formats.AudioFormat("FLAC", "PCM_16"), RATE)
        sink.write(SPEECH)
        sink.finish()
    assert len(load_recording(tmp_path / "a.flac").samples) == len(SPEECH)
