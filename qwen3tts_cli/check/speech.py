"""Check the language models: greedy speech has the recorded codes; what other precisions lose against bf16.

A code is chosen by the largest score. Two correct programs add floats in another order, so that they may choose
differently if the largest scores are almost equal: a near tie, which is no failure. From a near tie on, both go on with
other codes; the rest is compared under teacher forcing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.forced import GREEDY, Trace, trace
from ..engine.session import Sampling
from ..errors import InputError
from ..text.prompt import Prompt, build_prompt
from .result import NOT_APPLICABLE, PASSED, Result, judged

if TYPE_CHECKING:
    from ..engine.model import Model
    from .answers import PositionsAnswer, SpeechAnswer
    from .subject import Subject

EXACT = "speech bf16"
NEAR_TIE = 2e-5  # of the largest score of a row: what the order of float32 sums may change
LONG_FACTOR = 1.3  # a precision whose speech is longer than bf16's by this factor gets a warning
_MORE_FRAMES = 16  # after the recorded end, to see by how much an utterance is too long


def check_exact(subject: Subject, model: Model, traces: dict[str, Trace]) -> Result:
    """Compare greedy speech in bf16 with the recorded codes. traces: gets the trace of each recorded utterance under
    teacher forcing, by its id, with which other precisions are compared."""
    answers = [] if subject.known is None else subject.answers.speech(subject.known)
    positions = [] if subject.known is None else subject.answers.positions(subject.known)
    if not answers and not positions:
        return Result(EXACT, NOT_APPLICABLE, "no speech of this model was recorded")
    problems, notes, measured = [], [], {}
    for number, each in enumerate(positions):
        problems += _check_positions(model, each)
        measured[f"positions {number + 1}"] = {"rows": len(each.text_ids)}
    for answer in answers:
        found, forced = _compare(subject, model, answer)
        measured[answer.id] = found
        if forced is not None:
            traces[answer.id] = forced
        if (difference := found.get("difference")) is not None:
            text = f"{answer.id}: {_difference_text(difference)}"
            if difference["near_tie"]:
                notes.append(f"{text}: a near tie")
            elif answer.trusted:
                problems.append(text)
            else:
                notes.append(f"{text}, in a record that may itself be wrong")
    frames = sum(each.get("frames", 0) for each in measured.values())
    equal = len(answers) - len(notes)
    good = f"{equal} of {len(answers)} utterances have the recorded codes, {frames} frames in all"
    leads = [each["smallest_lead"] for each in measured.values() if "smallest_lead" in each]
    good += f", smallest lead {min(leads):.2g}" if leads else ""
    return judged(EXACT, problems, "; ".join([good, *notes]), measured)


def _compare(subject: Subject, model: Model, answer: SpeechAnswer) -> tuple[dict[str, Any], Trace | None]:
    """What was measured of one utterance, with `difference` if a code differs; and the trace under teacher forcing."""
    given, prompt = _arguments(answer), prompt_of(model, answer)
    if answer.codes.shape[1] != model.config.num_code_groups:
        wanted = model.config.num_code_groups
        raise InputError(f"answers: {answer.id}: {answer.codes.shape[1]} code groups, the model has {wanted}")
    known = (answer.codes >= 0).all(axis=1)
    complete = len(known) if known.all() else int(known.argmin())  # frames before the first that lacks a code
    given["on_frame"] = lambda n: subject.report(f"speech: {answer.id}, frame {n} of {len(answer.codes)}")
    forced, end = None, model.config.codec_eos_id
    if complete:
        forced = trace(model, prompt, forced_codes=np.ascontiguousarray(answer.codes[:complete]), **given)
    if answer.first_only and forced is not None:
        found: dict[str, Any] = {"frames": complete, "smallest_lead": float(forced.leads()[:, 0].min())}
        difference = _first_difference(forced, answer.codes[:complete], end, groups=1)
    else:
        limit = len(answer.codes) + (_MORE_FRAMES if answer.ended else 0)
        free = trace(model, prompt, max_frames=limit, **given)
        found = {"frames": len(free.codes)}
        if len(free.codes):
            found["smallest_lead"] = float(free.leads().min())
        difference = _first_difference(free, answer.codes, end, ended=answer.ended)
        if difference is not None and difference["near_tie"] and forced is not None:
            # every later difference must be a near tie too
            rest = {"ended": answer.ended and complete == len(answer.codes), "skip_near_ties": True}
            difference = _first_difference(forced, answer.codes[:complete], end, **rest) or difference
    if difference is not None:
        found["difference"] = difference
    return found, forced


def _first_difference(
    found: Trace,
    codes: np.ndarray,
    end: int,
    *,
    groups: int | None = None,
    ended: bool = False,
    skip_near_ties: bool = False,
) -> dict[str, Any] | None:
    """The first place where a greedy choice from the scores of a trace is not the recorded code (-1: not recorded), or
    where the utterance ends earlier or later than recorded. None if there is none.

    end: the id of the end of speech. groups: only so many code groups are compared, and not the end.
    """
    chosen = found.greedy_codes()
    count = min(len(chosen), len(codes))
    differ = (chosen[:count] != codes[:count]) & (codes[:count] >= 0)
    for frame, group in np.argwhere(differ[:, :groups]):
        recorded = int(codes[frame, group])
        difference = _difference(found.frame_scores(frame, group), int(frame), int(group), recorded)
        if not (skip_near_ties and difference["near_tie"]):
            return difference
    if groups is not None or (len(chosen) == len(codes) and found.ended >= ended):
        return None
    # one of both goes on: the row from which the other one chose the end of speech
    recorded = end if count == len(codes) else int(codes[count, 0])
    difference = _difference(found.scores[count], count, 0, recorded)
    return None if skip_near_ties and difference["near_tie"] else difference


def _difference(scores: np.ndarray, frame: int, group: int, recorded: int) -> dict[str, Any]:
    """lead: the score of the chosen code minus that of the recorded one, None if that one is suppressed. Where the
    recorded code is the second best, it is the lead of the choice."""
    chosen = int(scores.argmax())
    lead = float(scores[chosen] - scores[recorded])
    noise = NEAR_TIE * float(np.abs(scores[np.isfinite(scores)]).max())
    return {
        "frame": frame, "group": group, "chosen": chosen, "recorded": recorded,
        "lead": lead if np.isfinite(lead) else None, "near_tie": lead <= noise,
    }  # fmt: skip


def _difference_text(difference: dict[str, Any]) -> str:
    lead = "" if difference["lead"] is None else f", which led by {difference['lead']:.3g}"
    place = f"frame {difference['frame']}, group {difference['group']}"
    return f"{place}: code {difference['chosen']}{lead}, recorded is {difference['recorded']}"


def _check_positions(model: Model, record: PositionsAnswer) -> list[str]:
    """Problems of a record of text ids without codes."""
    ids, problems = np.array(record.text_ids, np.int32), []
    for rows, recorded in enumerate(record.argmax, 1):
        prompt = Prompt(ids[:rows].copy(), np.full(rows, -1, np.int32), np.zeros(0, np.int32), 0, [], [])
        found = trace(model, prompt, max_frames=1)
        if (code := int(found.logits[0].argmax())) != recorded:
            problems.append(f"text ids: row {rows}: code {code}, recorded is {recorded}")
    if record.next_code is not None:
        given = np.zeros((1, model.config.num_code_groups), np.int32)
        given[0, 0] = record.argmax[-1]
        if (code := int(trace(model, prompt, forced_codes=given).groups[0, 0].argmax())) != record.next_code:
            problems.append(f"text ids: code 1: {code}, recorded is {record.next_code}")
    return problems


def check_rounded(subject: Subject, model: Model, precision: str, exact: dict[str, Trace]) -> Result:
    """Measure what a precision loses against bf16 under teacher forcing, and how long its speech is.

    exact: traces of bf16, as check_exact returns them. Nothing is required but finite values; speech that is more than
    LONG_FACTOR longer than that of bf16 gets a warning.
    """
    check = f"speech {precision}"
    answers = [] if subject.known is None else subject.answers.speech(subject.known)
    answers = [each for each in answers if each.id in exact]
    if not answers:
        return Result(check, NOT_APPLICABLE, "no speech of this model was recorded")
    measured, warnings, divergences = {}, [], []
    same = same_first = frames = 0
    for answer in answers:
        want, given, prompt = exact[answer.id], _arguments(answer), prompt_of(model, answer)
        given["on_frame"] = lambda n: subject.report(f"speech {precision}: frame {n}")
        found = trace(model, prompt, forced_codes=want.codes, **given)
        equal = found.greedy_codes() == want.greedy_codes()
        kl = np.array([divergence(a, b) for a, b in zip(want.logits, found.logits, strict=True)])
        measured[answer.id] = {
            "frames": len(equal), "same_codes": float(equal.mean()), "same_code_0": float(equal[:, 0].mean()),
            "kl_code_0": float(kl.mean()), "kl_code_0_largest": float(kl.max()),
        }  # fmt: skip
        if answer.ended:
            limit = min(2 * len(want.codes), model.config.max_position_embeddings - len(prompt.text_ids))
            length = len(trace(model, prompt, max_frames=limit, **given).codes)
            measured[answer.id] |= {"length": length, "length_bf16": len(want.codes)}
            if length > LONG_FACTOR * len(want.codes):
                warnings.append(f"warning: {answer.id}: {length} frames, bf16 has {len(want.codes)}")
        divergences.append(kl)
        same, same_first, frames = same + equal.sum(), same_first + equal[:, 0].sum(), frames + len(equal)
    groups = model.config.num_code_groups
    shares = f"{100 * same / (frames * groups):.1f} % of the codes and {100 * same_first / frames:.1f} % of code 0"
    why = f"under teacher forcing {shares} as in bf16, KL of code 0 {np.concatenate(divergences).mean():.2g}"
    return Result(check, PASSED, "; ".join([why, *warnings]), measured)


def divergence(want: np.ndarray, got: np.ndarray) -> float:
    """The KL divergence in nats of the softmax of two rows of logits."""
    p, q = (x.astype(np.float64) - x.max() for x in (want, got))
    p, q = (x - np.log(np.exp(x).sum()) for x in (p, q))
    return float((np.exp(p) * (p - q)).sum())


def prompt_of(model: Model, answer: SpeechAnswer) -> Prompt:
    """The prompt of a recorded utterance; its text is used unchanged. Raises UsageError."""
    return build_prompt(
        model.config,
        model.checkpoint.tokenizer,
        answer.text,
        language=answer.language,
        speaker=answer.voice,
        instruct=answer.instruct,
        text_mode=answer.text_mode,
        speaker_row=answer.speaker is not None,
        reference_codes=answer.reference_codes,
        reference_text=answer.reference_text,
    )


def _arguments(answer: SpeechAnswer) -> dict[str, Any]:
    return {
        "talker": Sampling(greedy=True, repetition_penalty=answer.repetition_penalty),
        "predictor": GREEDY,
        "speaker": answer.speaker,
        "reference_codes": answer.reference_codes,
    }
