"""The class Synthesizer, the Python API: open a model once, and speak with it from any number of threads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloning import clone as cloning
from ..common import arguments
from ..common.lifetime import Lifetime
from ..common.machine import default_threads
from ..engine.cpu import kernels_text
from ..engine.model import Model
from ..errors import UsageError
from ..models import local_models
from ..models.checkpoint import open_checkpoint
from ..packed.file_writer import BackgroundWriter, PackingMixin
from ..packed.load import load_packed_weights
from ..packed.precision import choose_precision
from ..scheduling.scheduler import Scheduler
from .many import speak_many
from .plan import make_plan
from .speak_options import SpeakOptions, check_audio, check_voice_fields, make_options
from .stream import Speech
from .utterance_prompts import make_prompts

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator

    from ..cloning.clone import Audio, OnWarning
    from ..cloning.voice_file import Voice
    from ..models.config.model import ModelConfig
    from .asynchronous import AsyncSpeech
    from .incoming import IncomingSpeech

PRECISIONS = ("auto", "bf16", "int8", "int4", "int4-calibrated")
DECODER_PRECISIONS = ("auto", "f32")


class Synthesizer(PackingMixin):
    """An opened model that speaks texts. A context manager. Any thread may use and close it; `open` makes one.

    Samples are float32 arrays of shape (n,), mono, full scale 1, 24 kHz or the option `rate`. Every call after `close`
    raises EngineError.

    >>> with Synthesizer.open("0.6b") as synthesizer:
    ...     samples = synthesizer.say("Good morning.", voice="ryan", seed=1)  # float32 (n,)
    ...     for chunk in synthesizer.stream("It is late.", voice="ryan"):     # float32 (n,), as they are decoded
    ...         play(chunk)
    """

    def __init__(
        self,
        model: Model,
        name: str,
        precision: str = "bf16",
        on_warning: OnWarning = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        """model: is closed with the synthesizer. name, precision: for reports. on_warning, scheduler: see `open`."""
        self.model, self.name, self.precision = model, name, precision
        self.on_warning = on_warning
        self.lifetime = Lifetime("synthesizer", model.checkpoint.close)
        self.lifetime.adopt(model.lifetime)
        self.scheduler = scheduler or Scheduler()
        self._writer, self._spoke = BackgroundWriter(), False

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        precision: str = "auto",
        decoder_precision: str = "auto",
        threads: int | None = None,
        scheduler: Scheduler | None = None,
        cache: bool = True,
        progress: Callable[[int, int], None] | None = None,
        on_warning: OnWarning = None,
    ) -> Synthesizer:
        """Open a model on this machine; never downloads.

        model: an alias ("0.6b"), a repository id, or a pathlib.Path of a folder; None: the embedded voice.
        precision: the precision of the language models, "auto", "bf16", "int8", "int4" or "int4-calibrated". "bf16" is
        exact; "auto" is "int8" for a large model, else "bf16"; "int4-calibrated" is int4 with weights that
        `qwen3tts models pack` has made. decoder_precision: "auto" or "f32", which are the same.
        threads: 1 to 1024; None: one for each core that this process may use. scheduler: generates the speech of
        several models, which share its threads; None: one for this model alone.
        cache: whether to write files that the cache folder lacks. The first opening packs the weights into memory, and
        a thread then writes packed files for the next opening; see finish_packing.
        progress: called with the bytes packed and the bytes in all while the first opening packs.
        on_warning: called with one line for each warning, now and later; None means Python's UserWarning.
        Raises ModelNotFoundError, CheckpointError, EngineError, UsageError for an argument of another type or out of
        range.

        >>> synthesizer = Synthesizer.open(Path("models/my-checkpoint"), precision="int8", threads=4)
        """
        for name, value, known in (
            ("precision", precision, PRECISIONS),
            ("decoder_precision", decoder_precision, DECODER_PRECISIONS),
        ):
            if arguments.text(name, value) not in known:
                arguments.refuse(name, value, f"one of {', '.join(known)}")
        if threads is not None:
            threads = arguments.integer("threads", threads, 1, 1024)
            if scheduler is not None:
                raise UsageError("threads and scheduler are both given; give the threads to the scheduler")
        if scheduler is not None and not isinstance(scheduler, Scheduler):
            arguments.refuse("scheduler", scheduler, "a Scheduler")
        if progress is not None and not callable(progress):
            arguments.refuse("progress", progress, "a function of two integers")
        cache = arguments.boolean("cache", cache)
        cloning.check_on_warning(on_warning)
        resolved = local_models.resolve_model(None if model is None else arguments.name_or_path("model", model))
        checkpoint = open_checkpoint(resolved.path, codec=resolved.embedded, cache=cache)
        pool = None if scheduler is None else scheduler.pool
        writer = BackgroundWriter(pool.threads if pool else threads or default_threads())
        try:
            precision = choose_precision(checkpoint) if precision == "auto" else precision
            options = {"codec": not resolved.embedded, "cache": cache, "progress": progress}
            warn = warnings.warn if on_warning is None else on_warning
            matrices, codec = load_packed_weights(checkpoint, precision, writer, resolved.name, **options, warn=warn)
            model = Model(checkpoint, threads=writer.threads, pool=pool, packed=matrices, codec=codec)
            opened = cls(model, resolved.name, precision, on_warning, scheduler)
            opened._writer = writer
            return opened
        except BaseException:
            writer.close()
            checkpoint.close()
            raise

    def begin_packing(self) -> None:
        """Let the thread that writes packed files begin: nobody waits for speech now."""
        self._writer.begin()

    def close(self) -> None:
        """Stop the speech and cloning of other threads, which get EngineError, and free the model and its files.

        Packed files that are not complete are discarded. A child forked during a step frees nothing.
        """
        self._writer.close()
        self.lifetime.close()

    def __enter__(self) -> Synthesizer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def config(self) -> ModelConfig:
        """The configuration of the checkpoint: speakers, languages, dimensions, defaults."""
        return self.model.config

    @property
    def threads(self) -> int:
        """The number of threads that compute, the caller's included."""
        return self.model.threads

    @property
    def kernels(self) -> str:
        """Kernels, compiler and C library: `entry=isa entry=isa ...; compiler version, libc version`."""
        return kernels_text(self.model.cpu_mask)

    def speak(self, text: str | Iterable[str], options: SpeakOptions | None = None) -> Speech:
        """Begin to speak a text. Returns a Speech, an iterator of samples with counters.

        text: a text, or an iterable of texts, such as the words of a language model as they come: they are spoken while
        they come, and `options.live` counts as True. A thread reads the iterable. See docs/streaming.md.
        Raises UsageError for a text that cannot be spoken or options that do not suit the model, EngineError, and as
        `clone` does for options.ref_audio.

        >>> with synthesizer.speak("Good morning.", SpeakOptions(voice="ryan", seed=1)) as speech:
        ...     samples = np.concatenate(list(speech))
        >>> speech.codes.shape, speech.seconds, speech.stop
        ((19, 16), 1.52, 'eos')
        """
        with self.lifetime.call():
            options = self._begin_to_speak(text, options)
            if not isinstance(text, str):
                from .incoming import start_giving

                speech, incoming = self.speak_incoming(options)
                start_giving(text, options.idle_ms / 1000, incoming)
                return speech
            plan = make_plan(self, options)
            prompts = make_prompts(self, text, plan, options)
            return Speech(self.scheduler, self.model, plan, prompts, at_end=self._writer.begin)

    def _begin_to_speak(self, text: object, options: SpeakOptions | None) -> SpeakOptions:
        if isinstance(text, (bytes, bytearray, Mapping, np.ndarray)) or not isinstance(text, Iterable):
            arguments.refuse("text", text, "a string or an iterable of strings")
        if options is not None and not isinstance(options, SpeakOptions):
            arguments.refuse("options", options, "SpeakOptions")
        if self._spoke:
            self._writer.begin()
        self._spoke = True
        return options or SpeakOptions()

    def speak_incoming(self, options: SpeakOptions) -> tuple[Speech, IncomingSpeech]:
        """The speech of a text that is still coming, and the object that takes the text."""
        from .incoming import IncomingSpeech  # only few programs speak a text that is still coming

        if options.key is not None:
            raise UsageError("key: found a key with a text that is still coming; its utterances have keys by number")
        plan = make_plan(self, options, incoming=True)
        incoming = IncomingSpeech(self.model, self.lifetime, plan, options)
        return Speech(self.scheduler, self.model, plan, None, incoming, at_end=self._writer.begin), incoming

    def clone(self, audio: Audio, text: str | None = None, *, on_warning: OnWarning = None, **facts: Any) -> Voice:
        """Clone the voice of a recording with a base model. Returns a Voice.

        audio: a pathlib.Path of a file, (samples, rate), or a Recording; see load_recording. text: exactly what the
        recording says; without it the voice is the speaker vector alone, and less like the recording.
        on_warning: called with one line for each property of the recording that makes a worse voice; None: the
        function given to `open`. facts: the fields name, language, description and note of the voice.
        Raises UsageError for a model that cannot clone or a text that a voice file cannot hold, InputError for a
        recording that cannot be used, CheckpointError, EngineError.

        >>> voice = base.clone(Path("anna.wav"), "The train leaves at seven.", name="anna", language="english")
        """
        audio, (text, fields) = check_audio("audio", audio), check_voice_fields(text, facts)
        fields["on_warning"] = self.on_warning if on_warning is None else on_warning
        with self.lifetime.call():
            voice = cloning.clone(
                self.model.checkpoint,
                audio,
                text,
                model=self.name,
                threads=self.threads,
                within=self.lifetime,
                **fields,
            )
            self.lifetime.check()
        return voice

    def say(self, text: str, **options: object) -> np.ndarray:
        """Speak a text. Returns the samples, float32 of shape (n,) at 24 kHz or `rate`.

        options: fields of SpeakOptions. Raises as `speak` and Speech do.
        """
        with self.speak(arguments.text("text", text), make_options(options)) as speech:
            chunks = list(speech)
        return np.concatenate(chunks) if chunks else np.empty(0, np.float32)

    def stream(self, text: str | Iterable[str], **options: object) -> Speech:
        """Speak a text live. Returns a Speech, which yields samples as soon as they are decoded.

        Each array is float32 of shape (n,) at 24 kHz or `rate`. text: see `speak`. options: fields of SpeakOptions.
        Raises as `speak` does.
        """
        return self.speak(text, make_options({"live": True, **options}))

    def astream(self, text: str | Iterable[str] | AsyncIterable[str], **options: object) -> AsyncSpeech:
        """Speak a text live in an asyncio event loop. Returns an async iterator of samples; see `stream`.

        text: may also be an async iterable of texts. Waiting for samples takes no thread.

        >>> async for samples in synthesizer.astream(words_of_a_language_model(), voice="ryan"):
        ...     await play(samples)
        """
        from .asynchronous import AsyncSpeech  # the import of asyncio is slow

        return AsyncSpeech(self, text, make_options({"live": True, **options}))

    async def asay(self, text: str | Iterable[str] | AsyncIterable[str], **options: object) -> np.ndarray:
        """Speak a text in an asyncio event loop; see `say`."""
        from .asynchronous import AsyncSpeech

        chunks = [pcm async for pcm in AsyncSpeech(self, text, make_options(options))]
        return np.concatenate(chunks) if chunks else np.empty(0, np.float32)

    def say_many(
        self, items: Iterable[str | Mapping[str, Any]], *, batch: int = 0, **options: object
    ) -> list[np.ndarray]:
        """Speak many texts, several together. Returns for each text, in order, the samples that `say` returns.

        items: texts, or mappings with "text" and fields of SpeakOptions, which override `options`. batch: utterances
        generated together, 0 to 64; 0: automatic. Raises the error of the first item that fails, after the items
        before it are finished; `stream_many` has yielded them by then.

        >>> samples = synthesizer.say_many(["One.", {"text": "Two.", "voice": "ryan"}], seed=1)
        """
        out: list[list[np.ndarray]] = []
        for index, pcm in speak_many(self, items, batch, {**options, "live": False}, out):
            out[index].append(pcm)
        return [np.concatenate(chunks) if chunks else np.empty(0, np.float32) for chunks in out]

    def stream_many(
        self, items: Iterable[str | Mapping[str, Any]], *, batch: int = 0, **options: object
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Speak many texts live; see `say_many`. Yields (index of the item, samples) in the order of the items.

        samples: float32 of shape (n,). `items` is read only as far as needed, and may be endless.
        """
        return speak_many(self, items, batch, {**options, "live": True}, [])
