"""Speak many texts, several together, and yield their samples in order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..cloning.resolve_voice import CloneCache
from ..common import arguments
from ..common.shared_iterator import SharedIterator
from ..errors import UsageError
from ..scheduling.policy import MAX_BATCH
from .delivery import Delivery
from .reader import InOrder, default_batch
from .speak_options import iterate_items, make_options, parse_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np

    from .synthesizer import Synthesizer


def speak_many(
    synthesizer: Synthesizer,
    items: Iterable[str | Mapping[str, Any]],
    batch: int,
    options: dict[str, object],
    results: list[list[Any]],
) -> Iterator[tuple[int, np.ndarray]]:
    """Speak the items of Synthesizer.say_many. Yields (index of the item, samples) in order.

    results: gets an empty list for each item that has begun. Raises UsageError for wrong options, at once.
    """
    synthesizer.lifetime.check()
    batch = arguments.integer("batch", batch, 0, MAX_BATCH)
    checked = make_options(options)  # raises for wrong options before the first item
    if checked.lexicon is not None:
        options = {**options, "lexicon": checked.lexicon}  # the file is read once
    iterator, clones, model = iterate_items(items), CloneCache(synthesizer), synthesizer.model

    def utterances() -> Iterator[Any]:
        for index, item in enumerate(iterator):
            try:
                text, o = parse_item(item, options)
                if o.ref_audio is not None and o.voice is None:
                    voice = clones.voice(o.ref_audio, o.ref_text, o.on_warning)
                    o = replace(o, voice=voice, ref_audio=None, ref_text=None)
                speech = synthesizer.speak(text, o)
            except UsageError as error:
                raise UsageError(f"item {index}: {error}") from None
            speech.index = index
            results.append([])
            yield from speech.utterances()

    def chunks() -> Iterator[tuple[int, np.ndarray]]:
        jobs = utterances()
        reader = InOrder(
            synthesizer.scheduler, lambda: next(jobs, None), batch or default_batch(model), bool(options["live"])
        )
        delivery = Delivery(reader)
        try:
            while (found := delivery.next(model.lifetime.check)) is not None:
                speech, pcm = found
                yield speech.index, pcm
        finally:
            reader.cancel()
        synthesizer.begin_packing()

    return SharedIterator("stream", chunks(), synthesizer.lifetime)
