"""The encoders of a server: bytes as they come, pages and frames, ffmpeg as a process, tasks that are cancelled."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import shutil
import stat
import threading
import time

import numpy as np
import pytest
import soundfile
from serving import need_server

need_server()

from qwen3tts_cli.common.audio_constants import RATES  # noqa: E402
from qwen3tts_cli.errors import OutputError  # noqa: E402
from qwen3tts_cli.output.formats import AudioFormat  # noqa: E402
from qwen3tts_cli.output.tagged_file import write_tagged  # noqa: E402
from qwen3tts_cli.output.tagging import Tags  # noqa: E402
from qwen3tts_cli.serve.openai import aac  # noqa: E402
from qwen3tts_cli.serve.openai.encoders import FORMATS, StreamEncoder, content_type, sample_rates  # noqa: E402
from qwen3tts_cli.serve.openai.encoding import Encoders  # noqa: E402

SECONDS = 2
BY_LIBSNDFILE = ("mp3", "opus", "flac")


def tone(rate=24000, seconds=SECONDS):
    return (0.3 * np.sin(np.arange(rate * seconds) * 0.05)).astype(np.float32)


def need_ffmpeg():
    if shutil.which("ffmpeg") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ffmpeg: nothing may be skipped under CI=true")
        pytest.skip("no ffmpeg here")


def encode(name, samples, rate=24000, block=1920):
    encoder = StreamEncoder(name, rate, 7)
    try:
        out = [encoder.feed(samples[start : start + block]) for start in range(0, len(samples), block)]
        return [*out, encoder.finish()]
    finally:
        encoder.discard()


def decoded(body):
    """The samples of a body, and their rate."""
    with soundfile.SoundFile(io.BytesIO(body)) as file:
        file.seekable = lambda: False  # FLAC has no length here
        blocks = [file.read(4096)]
        while len(blocks[-1]):
            blocks.append(file.read(4096))
        return np.concatenate(blocks), file.samplerate


@pytest.mark.parametrize("name", BY_LIBSNDFILE)
@pytest.mark.parametrize("rate", RATES)
def test_bodies_decode_at_every_rate(name, rate):
    if rate not in sample_rates(name):
        return
    body = b"".join(encode(name, tone(rate), rate))
    samples, found = decoded(body)
    assert found == rate
    assert len(samples) == pytest.approx(rate * SECONDS, abs=0 if name == "flac" else 3 * 1152)
    if name == "mp3":
        assert body[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xe3")
        assert body[4:100].strip(b"\0")  # the first frame has audio in it
    assert content_type(name, rate).startswith("audio/")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "aac"])
def test_bytes_come_while_samples_do_and_do_not_depend_on_the_blocks(name):
    parts = encode(name, tone())
    assert sum(map(bool, parts[:5])) >= 2
    assert b"".join(parts) == b"".join(encode(name, tone(), block=1000)) == b"".join(encode(name, tone(), block=50_000))


def test_opus_has_a_page_each_80_ms():
    body, positions = b"".join(encode("opus", tone())), []
    while body:
        positions.append(int.from_bytes(body[6:14], "little"))
        lengths = body[27 : 27 + body[26]]
        body = body[27 + len(lengths) + sum(lengths) :]
    steps = np.diff(positions[2:-1])
    assert set(steps) == {3840}  # at 48 kHz
    assert len(positions) >= 2 + SECONDS / 0.08


# ---------------------------------------------------------------- ffmpeg
def test_aac_has_the_frames_of_a_file(tmp_path):
    need_ffmpeg()
    encoder, parts = StreamEncoder("aac", 24000, 7), []
    samples = tone()
    for start in range(0, len(samples), 1920):
        parts.append(encoder.feed(samples[start : start + 1920]))
        time.sleep(0.02)
    body = b"".join([*parts, encoder.finish()])
    encoder.discard()
    path = tmp_path / "a.aac"
    write_tagged(str(path), [samples], AudioFormat("AAC", "AAC"), rate=24000, tags=Tags())
    file = path.read_bytes()
    assert body == file[file.index(body[:4]) :]  # a file begins with its tags


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell script in the place of ffmpeg. Returns a function of its text."""

    def make(text):
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


def test_more_than_the_pipes_hold_goes_through(program):
    program("exec cat")
    samples = tone(seconds=60)
    assert b"".join(encode("aac", samples, block=700_000)) == samples.tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'no such codec' >&2; exit 1", "no such codec"),
        ("exit 3", "ended before the samples did|exit code 3"),
        ("head -c 100 >/dev/null", "ended before the samples did"),
        ("exec sleep 60", "takes no samples"),
        ("cat >/dev/null; exec sleep 60", "does not end"),
        ("cat >/dev/null; echo late >&2; exit 1", "late"),
    ],
)
def test_a_program_that_fails_or_hangs_is_an_error(program, monkeypatch, text, message):
    monkeypatch.setattr(aac, "_WAIT_SECONDS", 0.5)
    program(text)
    with pytest.raises(OutputError, match=f"ffmpeg: .*({message})"):
        encode("aac", tone(seconds=20))


# ---------------------------------------------------------------- beside an event loop
def test_the_bytes_beside_an_event_loop_are_the_same():
    samples = tone()

    async def run(encoders, name):
        async with encoders.open(name, 24000, 7) as encoder:
            out = [await encoder.feed(samples[start : start + 1920]) for start in range(0, len(samples), 1920)]
            return b"".join([*out, await encoder.finish()])

    async def together():
        encoders, names = Encoders(), ("mp3", "opus", "flac", "wav", "pcm", "opus")
        return names, await asyncio.gather(*(run(encoders, name) for name in names))

    names, found = asyncio.run(together())
    assert found == [b"".join(encode(name, samples)) for name in names]


def test_a_cancelled_task_leaves_nothing_behind(program):
    program("exec sleep 60")
    before, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def hang(encoders):
        async with encoders.open("aac", 24000, 7) as encoder:
            await encoder.feed(tone(seconds=20))

    async def cut(encoders, name):
        async with encoders.open(name, 24000, 7) as encoder:
            await encoder.feed(tone(seconds=5))

    async def run():
        encoders = Encoders()
        tasks = [asyncio.create_task(hang(encoders))] + [asyncio.create_task(cut(encoders, n)) for n in BY_LIBSNDFILE]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 15
    deadline = time.monotonic() + 20
    while (threading.active_count() > before or len(os.listdir("/proc/self/fd")) > descriptors) and (
        time.monotonic() < deadline
    ):
        gc.collect()  # the threads end with their Encoders
        time.sleep(0.05)
    assert threading.active_count() <= before
    assert len(os.listdir("/proc/self/fd")) <= descriptors
