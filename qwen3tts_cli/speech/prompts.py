"""From a text to the prompts of its utterances, one after another as they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..text.prompt import build_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..common.lifetime import Lifetime
    from ..engine.model import Model
    from ..models.tokenizer import Tokenizer
    from ..text.prompt import Prompt
    from .seeds import Plan

DEFAULT_UTTERANCE_CHARACTERS = 300


def prompts(model: Model, within: Lifetime, text: str, plan: Plan, split: bool) -> Iterator[tuple[str, Prompt]]:
    """(utterance, its prompt) of a text. The first is made at once: errors of the options show before any audio.

    within: whose calls take turns with this. A signal handler that speaks is refused in between, rather than let into a
    module that is being imported or a table that is being read. split: see SpeakOptions.
    Raises UsageError for a text that cannot be spoken, CheckpointError for a damaged tokenizer.
    """
    with within.alone():
        pieces = _pieces(model, text, plan, split)
        tokenizer = model.checkpoint.tokenizer
        first = _build(model, tokenizer, next(pieces), plan)

    def each() -> Iterator[tuple[str, Prompt]]:
        yield first
        while True:
            with within.alone():
                piece = next(pieces, None)
                if piece is None:
                    return
                built = _build(model, tokenizer, piece, plan)
            yield built

    return each()


def _pieces(model: Model, text: str, plan: Plan, split: bool) -> Iterator[str]:
    from ..text.alphabet import prepare, spoken
    from ..text.plain_text import plain
    from ..text.scripts import check_script
    from ..text.utterances import utterance, utterances  # only speaking needs it

    config, manifest = model.config, model.config.voice
    rewrite = (lambda sentence: spoken(sentence, manifest)) if manifest is not None and manifest.spell_out else None
    bare = plain(text) if rewrite else text
    check_script(bare, config)
    limit = manifest.max_characters if manifest else DEFAULT_UTTERANCE_CHARACTERS
    if not split:
        return iter([utterance(text, rewrite and (lambda whole: prepare(whole, manifest)))])
    return utterances(bare, limit, plan.language, rewrite)


def _build(model: Model, tokenizer: Tokenizer, piece: str, plan: Plan) -> tuple[str, Prompt]:
    cloned = plan.cloned
    prompt = build_prompt(
        model.config,
        tokenizer,
        piece,
        language=plan.language,
        speaker=None if cloned else plan.voice,
        instruct=plan.instruct,
        text_mode=plan.text_mode,
        speaker_row=cloned is not None,
        reference_codes=cloned.codes if cloned else None,
        reference_text=cloned.transcript if cloned else None,
    )
    return piece, prompt
