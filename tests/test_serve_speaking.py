"""Places, readers and lateness, with a speech that is made by the test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from serving import need_server

need_server()

from qwen3tts_cli.errors import GenerationError, OutOfMemoryError, UsageError  # noqa: E402
from qwen3tts_cli.serve import speaking  # noqa: E402
from qwen3tts_cli.serve.errors import AudioLimitError, BusyError, StalledError, StoppingError, to_api_error  # noqa: E402
from qwen3tts_cli.serve.metrics import Metrics  # noqa: E402
from qwen3tts_cli.serve.places import Places  # noqa: E402
from qwen3tts_cli.serve.settings import ServeSettings  # noqa: E402
from qwen3tts_cli.speech.speak_options import SpeakOptions  # noqa: E402

FRAME = np.zeros(1920, np.float32)


class MadeSpeech:
    """In place of AsyncSpeech: yields what a script says: numbers are seconds to wait, errors are raised."""

    script: tuple = (0, 0, 0)
    open = 0

    def __init__(self, synthesizer, text, options):
        self.speech = None
        self.text, self.options = text, options
        self._parts = self._iterate()

    async def _iterate(self):
        MadeSpeech.open += 1
        try:
            self.speech = SimpleNamespace(rate=24000, samples=0, seconds=0.0)
            if not isinstance(self.text, str):
                async for _ in self.text:
                    pass
            for part in self.script:
                if isinstance(part, BaseException):
                    raise part
                await asyncio.sleep(part)
                self.speech.samples += len(FRAME)
                self.speech.seconds = self.speech.samples / 24000
                yield FRAME
        finally:
            MadeSpeech.open -= 1

    async def __anext__(self):
        return await self._parts.__anext__()

    async def aclose(self):
        await self._parts.aclose()


@pytest.fixture
def make(monkeypatch):
    """Make a Speaker whose speech follows a script."""
    monkeypatch.setattr(speaking, "AsyncSpeech", MadeSpeech)

    @asynccontextmanager
    async def use(served):
        yield None

    def make(*script, max_batch=2, **settings):
        monkeypatch.setattr(MadeSpeech, "script", script)
        engines = SimpleNamespace(use=use, max_batch=max_batch)
        return speaking.Speaker(ServeSettings(max_queue=1, **settings), engines, Metrics())

    yield make
    assert MadeSpeech.open == 0


def value(metrics, name):
    return metrics.registry.get_sample_value(name)


async def speak(speaker, text="text", pause=0.0, **more):
    """The number of frames of a speech that is read with a pause after each."""
    count = 0
    async with speaker.speak(None, text, SpeakOptions(), **more) as spoken:
        async for _ in spoken:
            count += 1
            await asyncio.sleep(pause)
    return count


def is_free(speaker):
    return (speaker.places.taken, speaker.places.waiting, speaker.open) == (0, 0, 0)


def test_samples_of_a_speech_and_its_metrics(make):
    speaker = make(0.05, 0, 0, 0)
    assert asyncio.run(speak(speaker)) == 4
    assert is_free(speaker)
    assert value(speaker.metrics, "qwen3tts_first_audio_seconds_sum") >= 0.05
    assert value(speaker.metrics, "qwen3tts_audio_seconds_total") == pytest.approx(0.32)
    assert value(speaker.metrics, "qwen3tts_late_seconds_total") == 0
    assert value(speaker.metrics, "qwen3tts_real_time_factor_count") == 1


def test_lateness_is_what_a_listener_waited(make):
    speaker = make(0, 0.5, 0)
    asyncio.run(speak(speaker))
    late = value(speaker.metrics, "qwen3tts_late_seconds_total")
    assert 0.4 <= late < 0.5 + 1  # the second frame was due 0.08 s after the first
    slow = make(0, 0, 0)
    asyncio.run(speak(slow, pause=0.2))  # the reader is slow, and finds samples whenever it comes
    assert value(slow.metrics, "qwen3tts_late_seconds_total") < 0.1


@pytest.mark.parametrize("error", [UsageError("text: x"), GenerationError("x"), OutOfMemoryError("x")])
def test_errors_before_and_after_the_first_samples(make, error):
    speaker = make(error)

    async def enter():
        async with speaker.speak(None, "text", SpeakOptions()):
            pytest.fail("the block was entered")

    with pytest.raises(type(error)):
        asyncio.run(enter())
    assert is_free(speaker)
    later = make(0, 0, error)
    with pytest.raises(type(error)):
        asyncio.run(speak(later))
    assert is_free(later)


def test_speech_that_is_too_long_is_an_error(make):
    speaker = make(*[0] * 20, max_audio_seconds=0.5)
    with pytest.raises(AudioLimitError):
        asyncio.run(speak(speaker))
    assert asyncio.run(speak(make(*[0] * 6, max_audio_seconds=0.5))) == 6


def test_a_task_that_takes_nothing_is_ended(make):
    speaker = make(0, 0, stall=0.1)

    async def run():
        with pytest.raises(StalledError):
            await speak(speaker, pause=5)
        assert is_free(speaker)
        await asyncio.sleep(0)  # the task itself goes on
        assert getattr(asyncio.current_task(), "cancelling", int)() == 0
        assert await speak(speaker) == 2
        assert await speak(speaker, pause=0.2, stall=False) == 2

    asyncio.run(run())


def test_a_reader_that_takes_something_is_not_ended(make):
    speaker, left = make(0, 0, stall=0.3), [1000]

    def unsent():
        left[0] -= 1
        return left[0]

    assert asyncio.run(speak(speaker, pause=0.6, unsent=unsent)) == 2
    with pytest.raises(StalledError):
        asyncio.run(speak(make(0, 0, stall=0.3), pause=5, unsent=lambda: 5))


def test_a_text_that_is_still_coming_takes_a_place_when_it_comes(make):
    speaker = make(0, 0)

    async def run():
        came = asyncio.Event()

        async def texts():
            await came.wait()
            yield "text"

        async with speaker.speak(None, texts(), SpeakOptions()) as spoken:
            following = asyncio.ensure_future(spoken.__anext__())
            await asyncio.sleep(0.05)
            assert speaker.places.taken == 0
            assert speaker.open == 1
            came.set()
            await following
            assert speaker.places.taken == 1
        assert is_free(speaker)

        async def nothing():
            return
            yield

        assert await speak(speaker, nothing()) == 2

    asyncio.run(run())


def test_the_end_of_the_server_ends_who_speaks_and_who_waits(make):
    speaker = make(0, *[0.05] * 1000, max_batch=1)

    async def run():
        first, second = asyncio.ensure_future(speak(speaker)), asyncio.ensure_future(speak(speaker))
        await asyncio.sleep(0.1)
        assert (speaker.places.taken, speaker.places.waiting, speaker.open) == (1, 1, 2)
        with pytest.raises(BusyError):
            await speak(speaker)
        speaker.fail_all()
        for task in (first, second):
            with pytest.raises(StoppingError):
                await task
        with pytest.raises(StoppingError):
            await speak(speaker)

    asyncio.run(run())
    assert is_free(speaker)


def test_places_are_given_in_order_and_never_lost():
    async def run():
        places, order = Places(2, 50), []
        for _ in range(2):
            await places.take()

        async def wait(number):
            await places.take()
            order.append(number)

        tasks = [asyncio.ensure_future(wait(number)) for number in range(10)]
        await asyncio.sleep(0)
        for number in (0, 3, 4):
            tasks[number].cancel()
        places.leave()
        tasks[1].cancel()  # in the moment in which its turn came
        await asyncio.sleep(0.01)
        places.leave()
        await asyncio.sleep(0.01)
        assert order == [2, 5]
        assert (places.taken, places.waiting) == (2, 4)
        places.places = 4  # more are allowed now
        places.leave()
        await asyncio.sleep(0.01)
        assert order == [2, 5, 6, 7, 8]
        places.refuse_waiting(StoppingError())
        with pytest.raises(StoppingError):
            await tasks[9]
        assert (places.taken, places.waiting) == (4, 0)

    asyncio.run(run())


def test_errors_that_no_module_has_foreseen_say_nothing():
    found = to_api_error(ZeroDivisionError("/secret"))
    assert (found.status, found.code, found.exit_code) == (500, "internal", 1)
    assert "secret" not in found.message
    assert to_api_error(OSError(28, "No space left on device")).code == "storage_failed"
    assert to_api_error(GenerationError("x")).exit_code == 4
    assert to_api_error(UsageError("language: found x")).param == "language"
    assert to_api_error(UsageError("nothing: x")).param is None
