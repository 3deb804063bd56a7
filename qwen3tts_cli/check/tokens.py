"""Check the tokenizer: texts whose ids the official tokenizer gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.chat_template import HEAD_TEXT, TAIL_TEXT
from ..models.tokenizer import load_tokenizer
from .result import NOT_APPLICABLE, Result, judged

if TYPE_CHECKING:
    from .subject import Subject

CHECK = "tokenizer"


def check_tokenizer(subject: Subject) -> Result:
    """Encode the recorded texts, and those of the recorded utterances in the chat template."""
    cases = []
    if subject.known is not None:
        cases += subject.answers.tokenizer(subject.known)
        for each in subject.answers.speech(subject.known):
            if each.text_ids is not None:
                cases.append((HEAD_TEXT + each.text + TAIL_TEXT, each.text_ids))
    if not cases:
        return Result(CHECK, NOT_APPLICABLE, "no ids were recorded for this model")
    tokenizer = load_tokenizer(subject.folder, keep=False)
    problems = [_difference(text, tokenizer.encode(text), ids) for text, ids in cases]
    wrong = [each for each in problems if each is not None]
    return judged(CHECK, wrong, f"{len(cases)} texts have the recorded ids", {"texts": len(cases)})


def _difference(text: str, found: list[int], recorded: list[int]) -> str | None:
    if found == recorded:
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(found, recorded, strict=False)) if a != b), min(map(len, (found, recorded)))
    )
    return f"{text[:30]!r}: id {at} is {found[at : at + 1]}, recorded is {recorded[at : at + 1]}"
