"""Make the prompts of the utterances of a text, each prompt when it is needed."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from ..text.prompt import build_prompt
from .reader import Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.model import Model
    from ..models.tokenizer import Tokenizer
    from ..text.prompt import Prompt
    from .plan import SpeechPlan
    from .speak_options import SpeakOptions
    from .synthesizer import Synthesizer

DEFAULT_UTTERANCE_CHARACTERS = 300


def make_prompts(
    synthesizer: Synthesizer, text: str, plan: SpeechPlan, options: SpeakOptions
) -> Iterator[tuple[str, Prompt, SpeechPlan] | Silence]:
    """Return an iterator of (text, prompt, plan), one for each utterance of a text, and of the silence of its pauses.

    The first prompt is made at once, so that an error is raised before any audio is made. plan: that of the options; a
    part of the text with another voice has its own. Each prompt is made inside `alone` of the synthesizer's lifetime,
    which refuses a signal handler that speaks at that moment: the handler would otherwise enter a module that is being
    imported or a table that is being read. Raises UsageError for a text that cannot be spoken, CheckpointError for a
    damaged tokenizer.
    """
    model, within = synthesizer.model, synthesizer.lifetime
    with within.alone():
        if options.markup or options.lexicon is not None:
            from .marked_text import marked_parts  # only few texts have markup or a lexicon

            parts = marked_parts(synthesizer, text, plan, options)
        else:
            parts = [(text, plan)]
        split = _split_parts(model, parts, options.split)
        tokenizer = model.checkpoint.tokenizer

    def all_prompts() -> Iterator[tuple[str, Prompt, SpeechPlan] | Silence]:
        for part in split:
            if isinstance(part, Silence):
                yield part
                continue
            texts, its_plan = part
            while True:
                with within.alone():
                    utterance = next(texts, None)
                    if utterance is None:
                        break
                    prompt = make_prompt(model, tokenizer, utterance, its_plan)
                yield utterance, prompt, its_plan

    prompts = all_prompts()
    first = [next(prompts)]
    while isinstance(first[-1], Silence):
        first.append(next(prompts))
    return chain(first, prompts)


def _split_parts(
    model: Model, parts: list[tuple[str, SpeechPlan] | Silence], split: bool
) -> list[tuple[Iterator[str], SpeechPlan] | Silence]:
    """The parts with the texts of their utterances. A part without a letter or digit is left out.

    Raises UsageError, for a text whose parts are all left out too.
    """
    from ..text.utterances import NothingToSpeakError

    found: list[tuple[Iterator[str], SpeechPlan] | Silence] = []
    nothing, is_silent = None, True
    for part in parts:
        if isinstance(part, Silence):
            found.append(part)
            continue
        text, plan = part
        try:
            found.append((utterance_texts(model, text, plan, split), plan))
            is_silent = False
        except NothingToSpeakError as error:
            nothing = nothing or error
    if is_silent and nothing is not None:
        raise nothing
    return found


def utterance_texts(model: Model, text: str, plan: SpeechPlan, split: bool) -> Iterator[str]:
    """The texts of the utterances, with only the characters that the model can read. Raises UsageError."""
    # Imported here, because only speaking needs these modules.
    from ..text.preparation import prepare
    from ..text.utterances import utterance, utterances

    bare, limit, rewrite = _splitting(model, text)
    if not split:
        return iter([utterance(text, rewrite and (lambda whole: prepare(whole, model.config.voice)))])
    return utterances(bare, limit, plan.language, rewrite)


def texts_with_written(model: Model, text: str, plan: SpeechPlan) -> Iterator[tuple[str, str]]:
    """The texts of the utterances as `utterance_texts` returns them, each with the part of `text` that it says, without
    markup, but with its numbers and signs as they are written. Raises UsageError."""
    from ..text.utterances import utterances_with_written

    bare, limit, rewrite = _splitting(model, text)
    return utterances_with_written(bare, limit, plan.language, rewrite)


def _splitting(model: Model, text: str) -> tuple[str, int, Callable[[str], str] | None]:
    """The text without markup that the model cannot read, the most characters of an utterance, and what rewrites a
    sentence for the model, or None. Raises UsageError for a text in a script that the model cannot read."""
    from ..text.markup import strip_markup
    from ..text.preparation import fold_and_spell
    from ..text.script_check import check_script

    config, manifest = model.config, model.config.voice
    rewrite = (
        (lambda sentence: fold_and_spell(sentence, manifest)) if manifest is not None and manifest.spell_out else None
    )
    bare = strip_markup(text) if rewrite else text
    check_script(bare, config)
    return bare, manifest.max_characters if manifest else DEFAULT_UTTERANCE_CHARACTERS, rewrite


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
