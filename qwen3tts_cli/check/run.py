"""Run the checks one after the other: files, structure, tokenizer, decoder, speech, same bytes."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from ..engine.model import Model
from ..errors import Qwen3TTSError
from ..models.checkpoint import open_checkpoint
from ..packed.file_writer import BackgroundWriter
from ..packed.load import load_packed_weights
from ..packed.precision import choose_precision
from . import decoder, files, same_bytes, structure, tokens
from .result import FAILED, Result
from .same_bytes import check_same_bytes
from .speech import EXACT, check_exact, check_rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .subject import Subject


def run_checks(subject: Subject, *, precision: str | None = None, fast: bool = False) -> Iterator[Result]:
    """Yield the result of each check as soon as it is known. An error of the model is a failed check.

    precision: "bf16", "int8", "int4" or "int4-calibrated", which is measured beside bf16; None: the one that "auto"
    means for this model.
    fast: see check_files.
    """
    yield _attempt(files.CHECK, lambda: files.check_files(subject, fast))
    yield _attempt(structure.CHECK, lambda: structure.check_structure(subject))
    yield _attempt(tokens.CHECK, lambda: tokens.check_tokenizer(subject))
    yield _attempt(decoder.CHECK, lambda: decoder.check_decoder(subject))
    yield from _speech(subject, precision)


def _attempt(check: str, run: Callable[[], Result]) -> Result:
    try:
        return run()
    except Qwen3TTSError as error:
        return Result(check, FAILED, str(error))


def _speech(subject: Subject, precision: str | None) -> Iterator[Result]:
    """The checks for which the language models are opened, in bf16 and in one other precision at most."""
    try:
        with ExitStack() as opened:
            checkpoint = opened.enter_context(open_checkpoint(subject.folder, codec=subject.embedded, cache=False))
            writer = opened.enter_context(closing(BackgroundWriter(subject.threads)))
            options: dict[str, Any]
            options = {"name": subject.name, "cache": False, "progress": None, "warn": lambda line: None}
            subject.report("speech: opening the model in bf16")
            matrices, codec = load_packed_weights(checkpoint, "bf16", writer, codec=not subject.embedded, **options)
            last = choose_precision(checkpoint) if precision is None else precision

            def open_model(threads: int) -> Model:
                return opened.enter_context(Model(checkpoint, threads=threads, packed=matrices, codec=codec))

            model, exact = open_model(subject.threads), {}
            yield _attempt(EXACT, lambda: check_exact(subject, model, exact))
            if last != "bf16":
                model.close()
                matrices = None  # freed before the next ones are made
                subject.report(f"speech: opening the model in {last}")
                matrices, _ = load_packed_weights(checkpoint, last, writer, codec=False, **options)
                model = open_model(subject.threads)
                yield _attempt(f"speech {last}", lambda: check_rounded(subject, model, last, exact))
            yield _attempt(same_bytes.CHECK, lambda: check_same_bytes(subject, open_model(1), model, last))
    except Qwen3TTSError as error:
        yield Result("opening", FAILED, str(error))
