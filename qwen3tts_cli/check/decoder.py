"""Check the codec's decoder: recorded codes give the samples that the official decoder makes in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio.codec import Codec
from ..errors import InputError
from .result import NOT_APPLICABLE, Result, judged

if TYPE_CHECKING:
    from .answers import DecoderAnswer
    from .subject import Subject

CHECK = "decoder"
_FULL_SCALE = 32768  # differences are given in units of a 16-bit sample


def check_decoder(subject: Subject) -> Result:
    """Decode the recorded codes and compare the recorded samples."""
    known = subject.known or subject.known_codec
    answers = [] if known is None else subject.answers.decoder(known)
    if not answers:
        return Result(CHECK, NOT_APPLICABLE, "no samples were recorded for this model")
    problems, measured = [], {}
    with Codec(subject.folder / "speech_tokenizer", subject.name, threads=subject.threads) as codec:
        for answer in answers:
            subject.report(f"decoder: {answer.id}, {len(answer.codes)} frames")
            found = _compare(codec.decode(answer.codes), answer)
            measured[answer.id] = found
            if found["largest_difference"] > found["allowed"]:
                problems.append(
                    f"{answer.id}: sample {found['at']} differs by {found['largest_difference']:.1f} of {_FULL_SCALE}, "
                    f"{found['allowed']:.1f} is allowed; {found['snr_db']:.0f} dB"
                )
    worst = max(measured.values(), key=lambda each: each["largest_difference"])
    good = f"{len(answers)} recordings, largest difference {worst['largest_difference']:.2f} of {_FULL_SCALE}"
    decibels = min(each["snr_db"] for each in measured.values())
    return judged(CHECK, problems, f"{good}, {decibels:.0f} dB", measured)


def _compare(samples: np.ndarray, answer: DecoderAnswer) -> dict[str, Any]:
    """Differences in units of a 16-bit sample, the sample where it is largest, and the signal-to-noise ratio."""
    largest, at, signal, noise = 0.0, 0, 0.0, 0.0
    for first, recorded in answer.samples:
        found = samples[first : first + len(recorded)].astype(np.float64)
        if found.shape != recorded.shape or not len(recorded):
            raise InputError(f"answers: {answer.id}: {len(recorded)} samples at {first}, which the codes do not have")
        difference = np.abs(found - recorded)
        if difference.max() > largest:
            largest, at = float(difference.max()), first + int(difference.argmax())
        signal += float(np.square(recorded.astype(np.float64)).sum())
        noise += float(np.square(difference).sum())
    return {
        "frames": len(answer.codes),
        "largest_difference": largest * _FULL_SCALE,
        "allowed": answer.tolerance * _FULL_SCALE,
        "at": at,
        "snr_db": 10 * float(np.log10(signal / noise)) if noise and signal else 999.0,
    }
