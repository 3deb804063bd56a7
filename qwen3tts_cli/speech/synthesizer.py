"""The Python API: open a model once, speak with it any number of times, from any number of threads."""

from __future__ import annotations

import os
import warnings
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloning import clone as cloning
from ..cloning.resolve_voice import CloneCache, resolve_instruct, resolve_voice
from ..common import arguments
from ..common.lifetime import Lifetime
from ..common.machine import default_threads
from ..common.reader import Reader
from ..engine.cpu import kernels_text
from ..engine.model import Model
from ..errors import UsageError
from ..models import hub_cache
from ..models.checkpoint import open_checkpoint
from ..packed.file_writer import BackgroundWriter, PackingMixin
from ..packed.load import load_packed_weights
from ..packed.precision import choose_precision
from ..text.languages import resolve_language, resolve_speaker
from ..text.prompt import default_text_mode
from .options import SpeakOptions, audio_of, facts_of, iterator_of, options_of, sampling_of, text_and_options
from .prompts import prompts
from .scheduler import MOST, default_batch, made
from .stream import Plan, Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..cloning.clone import Audio, OnWarning
    from ..cloning.voice_file import Voice
    from ..models.config.model import ModelConfig

PRECISIONS = ("auto", "bf16", "int8", "int4")
DECODER_PRECISIONS = ("auto", "f32")


class Synthesizer(PackingMixin):
    """An opened model that speaks. A context manager; safe to use, and to close, from several threads at once.

    >>> with Synthesizer.open() as voice:
    ...     samples = voice.say("Hello from two cores.", seed=1)
    """

    def __init__(self, model: Model, name: str, precision: str = "bf16", on_warning: OnWarning = None) -> None:
        self.model, self.name, self.precision = model, name, precision
        self.on_warning = on_warning
        self.lifetime = Lifetime("synthesizer", model.checkpoint.close)
        self.lifetime.adopt(model.lifetime)
        self._writer, self._spoke = BackgroundWriter(), False

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        precision: str = "auto",
        decoder_precision: str = "auto",
        threads: int | None = None,
        cache: bool = True,
        progress: Callable[[int, int], None] | None = None,
        on_warning: OnWarning = None,
    ) -> Synthesizer:
        """Open the embedded voice (None), an alias, a repository id in the local cache, or a pathlib.Path of a folder.
        Never downloads.

        precision: of the talker and the code predictor; "bf16" is exact; "auto" is int8 for a large model, else bf16.
        The first opening packs weights (int8, int4, and the speech decoder's) into memory, with progress called with
        bytes done and in all; a thread writes them into the cache folder for the next one, see finish_packing. cache:
        False writes nothing there, and uses what is there. on_warning: called with each warning, here and later, a
        line; None: it is a UserWarning.
        Raises ModelNotFoundError, CheckpointError, UsageError for a precision or thread count out of range.
        """
        for name, value, known in (
            ("precision", precision, PRECISIONS),
            ("decoder_precision", decoder_precision, DECODER_PRECISIONS),
        ):
            if arguments.text(name, value) not in known:
                arguments.refuse(name, value, f"one of {', '.join(known)}")
        if threads is not None:
            threads = arguments.integer("threads", threads, 1, 1024)
        if progress is not None and not callable(progress):
            arguments.refuse("progress", progress, "a function of two integers")
        cache = arguments.switch("cache", cache)
        cloning.check_on_warning(on_warning)
        resolved = hub_cache.resolve_model(None if model is None else arguments.name_or_path("model", model))
        checkpoint = open_checkpoint(resolved.path, codec=resolved.embedded, cache=cache)
        writer = BackgroundWriter(threads or default_threads())
        try:
            precision = choose_precision(checkpoint) if precision == "auto" else precision
            options = {"codec": not resolved.embedded, "cache": cache, "progress": progress}
            warn = warnings.warn if on_warning is None else on_warning
            matrices, codec = load_packed_weights(checkpoint, precision, writer, **options, warn=warn)
            model = Model(checkpoint, threads=writer.threads, packed=matrices, codec=codec)
            opened = cls(model, resolved.name, precision, on_warning)
            opened._writer = writer
            return opened
        except BaseException:
            writer.close()
            checkpoint.close()
            raise

    def close(self) -> None:
        """End what other threads have it speak or clone, at the next frame, and release the model and its files.

        They get EngineError, as every later call does. Packed weights that are not written yet are not kept. In a child
        of a fork that came during a step nothing is freed.
        """
        self._writer.close()
        self.lifetime.close()

    def __enter__(self) -> Synthesizer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def config(self) -> ModelConfig:
        """Everything the checkpoint says: speakers, languages, sizes, defaults."""
        return self.model.config

    @property
    def threads(self) -> int:
        """Threads in use."""
        return self.model.threads

    @property
    def kernels(self) -> str:
        """The kernel table in use, `entry=isa ...`."""
        return kernels_text()

    def speak(self, text: str, options: SpeakOptions | None = None) -> Speech:
        """Start to speak: float32 chunks, with a report of their own. Raises UsageError before the first of them, and
        EngineError if the synthesizer is closed."""
        with self.lifetime.call():
            text = arguments.text("text", text)
            if options is not None and not isinstance(options, SpeakOptions):
                arguments.refuse("options", options, "SpeakOptions")
            if self._spoke:
                self._writer.begin()
            self._spoke = True
            return self._begin(text, options or SpeakOptions())

    def _begin(self, text: str, o: SpeakOptions) -> Speech:
        config = self.config
        text_mode = o.text_mode or default_text_mode(config)
        if text_mode not in ("full", "streaming"):
            arguments.refuse("text_mode", text_mode, "full or streaming")
        instruct = resolve_instruct(config, self.name, o.instruct, o.design)
        cloned = resolve_voice(self, o.voice, o.ref_audio, o.ref_text, o.on_warning)
        voice = cloned.name if cloned else resolve_speaker(config, o.voice)
        language = resolve_language(config, o.language if o.language or not cloned else cloned.language)
        talker, predictor = sampling_of(o, config)
        plan = Plan(
            voice=voice,
            language=language,
            settings={
                "voice": cloned.digest if cloned else voice,
                "language": language,
                "instruct": instruct,
                "text_mode": text_mode,
                "talker": asdict(talker),
                "predictor": asdict(predictor),
            },
            talker=talker,
            predictor=predictor,
            seed=int.from_bytes(os.urandom(8), "little") if o.seed is None else o.seed,
            max_frames=o.max_frames,
            retries=o.retries,
            live=o.live,
            chunk_frames=o.chunk_frames,
            pipeline=o.pipeline,
            batch=o.batch,
            instruct=instruct,
            text_mode=text_mode,
            cloned=cloned,
        )
        spoken = prompts(self.model, self.lifetime, text, plan, o.split)
        return Speech(self.model, plan, spoken, at_end=self._writer.begin)

    def clone(self, audio: Audio, text: str | None = None, *, on_warning: OnWarning = None, **facts: Any) -> Voice:
        """The voice of a recording, to speak with or to keep; see cloning.clone for `facts` and what is raised.

        audio: a pathlib.Path of a file, (samples, rate), or what audio.load_recording made of one. text: what it says;
        without it the voice is less like the recording. on_warning: called with each line on what may spoil the voice;
        None: that of `open`.
        """
        audio, (text, kept) = audio_of("audio", audio), facts_of(text, facts)
        kept["on_warning"] = self.on_warning if on_warning is None else on_warning
        with self.lifetime.call():
            voice = cloning.clone(
                self.model.checkpoint, audio, text, model=self.name, threads=self.threads, within=self.lifetime, **kept
            )
            self.lifetime.check()
        return voice

    def say(self, text: str, **options: object) -> np.ndarray:
        """Speak all of it: float32 (samples,) at 24 kHz. options: fields of SpeakOptions."""
        with self.speak(text, options_of(options)) as speech:
            chunks = list(speech)
        return np.concatenate(chunks) if chunks else np.empty(0, np.float32)

    def stream(self, text: str, **options: object) -> Iterator[np.ndarray]:
        """Speak as it is made: an iterator of float32 chunks at 24 kHz. options: fields of SpeakOptions."""
        return self.speak(text, options_of({"live": True, **options}))

    def say_many(
        self, items: Iterable[str | Mapping[str, Any]], *, batch: int = 0, **options: object
    ) -> list[np.ndarray]:
        """Speak many texts, some of them at a time: the arrays that `say` would return for each, in order.

        items: texts, or mappings of "text" and fields of SpeakOptions that go before those of `options`. batch:
        utterances made at a time; 0: what suits the machine. Raises what the first item that fails raises, once
        those before it are done; `stream_many` has yielded them by then.
        """
        out: list[list[np.ndarray]] = []
        for index, pcm in self._many(items, batch, {**options, "live": False}, out):
            out[index].append(pcm)
        return [np.concatenate(chunks) if chunks else np.empty(0, np.float32) for chunks in out]

    def stream_many(
        self, items: Iterable[str | Mapping[str, Any]], *, batch: int = 0, **options: object
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The same as it is made: (index, float32 chunk), in order. `items` may be endless: it is read as needed."""
        return self._many(items, batch, {**options, "live": True}, [])

    def _many(
        self, items: Iterable[str | Mapping[str, Any]], batch: int, options: dict[str, object], begun: list[list[Any]]
    ) -> Iterator[tuple[int, np.ndarray]]:
        self.lifetime.check()
        batch = arguments.integer("batch", batch, 0, MOST)
        options_of(options)  # errors of those show at once
        asked, clones = iterator_of(items), CloneCache(self)

        def utterances() -> Iterator[Any]:
            for index, item in enumerate(asked):
                try:
                    text, o = text_and_options(item, options)
                    if o.ref_audio is not None and o.voice is None:
                        voice = clones.voice(o.ref_audio, o.ref_text, o.on_warning)
                        o = replace(o, voice=voice, ref_audio=None, ref_text=None)
                    speech = self.speak(text, o)
                except UsageError as error:
                    raise UsageError(f"item {index}: {error}") from None
                speech.index = index
                begun.append([])
                yield from speech.utterances()

        def chunks() -> Iterator[tuple[int, np.ndarray]]:
            size = batch or default_batch(self.model)
            with closing(made(self.model, utterances(), size, bool(options["live"]))) as all_of_them:
                for speech, pcm in all_of_them:
                    yield speech.index, pcm
            self._writer.begin()

        return Reader("stream", chunks(), self.lifetime)
