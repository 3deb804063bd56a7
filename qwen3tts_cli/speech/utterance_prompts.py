"""Make the prompts of the utterances of a text, each prompt when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..text.prompt import build_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..common.lifetime import Lifetime
    from ..engine.model import Model
    from ..models.tokenizer import Tokenizer
    from ..text.prompt import Prompt
    from .plan import SpeechPlan

DEFAULT_UTTERANCE_CHARACTERS = 300


def make_prompts(
    model: Model, within: Lifetime, text: str, plan: SpeechPlan, split: bool
) -> Iterator[tuple[str, Prompt]]:
    """Return an iterator of (text, prompt), one pair for each utterance of a text. Raises UsageError for a text that
    cannot be spoken, CheckpointError for a damaged tokenizer.

    The first prompt is made at once, so that an error is raised before any audio is made. within: each prompt is made
    inside `within.alone`, which refuses a signal handler that speaks at that moment: the handler would otherwise enter
    a module that is being imported or a table that is being read. split: see SpeakOptions.
    """
    with within.alone():
        texts = utterance_texts(model, text, plan, split)
        tokenizer = model.checkpoint.tokenizer
        first = next(texts)
        first_prompt = make_prompt(model, tokenizer, first, plan)

    def prompts() -> Iterator[tuple[str, Prompt]]:
        yield first, first_prompt
        while True:
            with within.alone():
                utterance = next(texts, None)
                if utterance is None:
                    return
                prompt = make_prompt(model, tokenizer, utterance, plan)
            yield utterance, prompt

    return prompts()


def utterance_texts(model: Model, text: str, plan: SpeechPlan, split: bool) -> Iterator[str]:
    """The texts of the utterances, with only the characters that the model can read. Raises UsageError."""
    # Imported here, because only speaking needs these modules.
    from ..text.markup import strip_markup
    from ..text.preparation import fold_and_spell, prepare
    from ..text.script_check import check_script
    from ..text.utterances import utterance, utterances

    config, manifest = model.config, model.config.voice
    rewrite = (
        (lambda sentence: fold_and_spell(sentence, manifest)) if manifest is not None and manifest.spell_out else None
    )
    bare = strip_markup(text) if rewrite else text
    check_script(bare, config)
    limit = manifest.max_characters if manifest else DEFAULT_UTTERANCE_CHARACTERS
    if not split:
        return iter([utterance(text, rewrite and (lambda whole: prepare(whole, manifest)))])
    return utterances(bare, limit, plan.language, rewrite)


def make_prompt(model: Model, tokenizer: Tokenizer, text: str, plan: SpeechPlan) -> Prompt:
    """The prompt of one utterance."""
    cloned = plan.cloned
    return build_prompt(
        model.config,
        tokenizer,
        text,
        language=plan.language,
        speaker=None if cloned else plan.voice,
        instruct=plan.instruct,
        text_mode=plan.text_mode,
        speaker_row=cloned is not None,
        reference_codes=cloned.codes if cloned else None,
        reference_text=cloned.transcript if cloned else None,
    )
