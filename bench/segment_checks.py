"""Count the segments of the embedded voice that the checks of `narrate` refuse, for docs/narrate_checks.md.

    python bench/segment_checks.py [--texts N] [--seed SEED] [--threads N] [--verify MODEL]

Texts of 1 to 138 characters are drawn from lists of words; each is spoken once, with a seed of its own. Every text that
is refused is printed: listen to it before it counts as a false alarm. With --verify a model of faster-whisper also
hears each, as `narrate --verify MODEL` does.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from itertools import groupby

import numpy as np

from qwen3tts_cli.common.audio_constants import SAMPLE_RATE
from qwen3tts_cli.hearing.segment_checks import check_segment, trim
from qwen3tts_cli.hearing.word_errors import Verifier
from qwen3tts_cli.speech.synthesizer import Synthesizer

_SUBJECTS = [
    "the captain",
    "my sister",
    "an old friend",
    "the doctor",
    "nobody",
    "the river",
    "our neighbour",
    "a stranger",
    "the children",
    "her letter",
    "the engine",
    "winter",
    "the whole town",
    "a small dog",
    "the museum",
    "his voice",
    "Mr. Brown",
    "Anna",
    "the queen",
    "every student",
]
_VERBS = [
    "opened",
    "remembered",
    "followed",
    "carried",
    "forgot",
    "watched",
    "answered",
    "broke",
    "painted",
    "sold",
    "described",
    "lost",
    "measured",
    "repeated",
    "hid",
    "counted",
    "believed",
    "crossed",
    "noticed",
    "kept",
]
_OBJECTS = [
    "the door",
    "a long story",
    "the last train",
    "three apples",
    "the blue house",
    "a piece of bread",
    "the garden",
    "an empty bottle",
    "the bridge",
    "a heavy book",
    "the answer",
    "the window",
    "a thousand stars",
    "the road to the sea",
    "nothing at all",
    "the number 42",
    "a cup of tea",
    "the song",
    "2 tickets",
    "the year 1987",
]
_PLACES = [
    "in the morning",
    "without a word",
    "near the station",
    "at half past 6",
    "with great care",
    "under the trees",
    "before the war",
    "on a rainy Tuesday",
    "for the first time",
    "behind the church",
    "in silence",
    "as usual",
    "at the end of the street",
    "after supper",
    "somewhere in the north",
]
_SHORT = [
    "Yes.",
    "No!",
    "Why?",
    "Good morning.",
    "Stop.",
    "Well, well.",
    "Who is there?",
    "Come in!",
    "Not today.",
    "Of course.",
    "Chapter 7",
    "Thank you.",
    "Quite so.",
    "At last!",
    "Oh.",
    "Wait...",
    "Hello, hello?",
    "The end.",
]
_JOINS = [", and ", ", but ", "; ", ", because ", " while ", ", so ", ": ", " - "]
_MAX_CHARACTERS = 138
_MAX_WER = 0.3  # the default of --max-wer


def make_text(draw: random.Random) -> str:
    """A sentence of one or more clauses, or, one time in eight, a short one."""
    if draw.random() < 0.12:
        return draw.choice(_SHORT)
    text = _clause(draw)
    while len(text) < 90 and draw.random() < 0.35:
        text += draw.choice(_JOINS) + _clause(draw)
    return (text[0].upper() + text[1:])[:_MAX_CHARACTERS] + draw.choice("....?!")


def _clause(draw: random.Random) -> str:
    words = [draw.choice(_SUBJECTS), draw.choice(_VERBS), draw.choice(_OBJECTS)]
    if draw.random() < 0.6:
        words.append(draw.choice(_PLACES))
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--verify", metavar="MODEL")
    given = parser.parse_args()
    verifier = Verifier.open(given.verify) if given.verify else None
    draw = random.Random(given.seed)
    items = [{"text": make_text(draw), "seed": index} for index in range(given.texts)]
    reasons: Counter[str] = Counter()
    seconds = kept = 0.0
    rates: list[float] = []
    with Synthesizer.open(threads=given.threads) as synthesizer:
        for index, chunks in groupby(synthesizer.stream_many(items), lambda found: found[0]):
            samples = np.concatenate([chunk for _, chunk in chunks])
            text = str(items[index]["text"])
            seconds += samples.size / SAMPLE_RATE
            kept += trim(samples).size / SAMPLE_RATE
            if (reason := check_segment(samples, text=text)) is not None:
                reasons[reason.split(":")[0]] += 1
                print(f"- seed {index}, {reason}: {text}", flush=True)
            if verifier is not None:
                rates.append(verifier.check(samples, text, "english"))
                if rates[-1] > _MAX_WER:
                    print(f"- seed {index}, word error rate {rates[-1]:.2f}: {text}", flush=True)
    print(f"\n{given.texts} segments, {seconds / 60:.1f} minutes, {kept / seconds:.1%} of it left by `trim`\n")
    print("| reason | segments | per 1,000 |\n|---|---|---|")
    for reason in ("no speech", "clipping", "silence", "dead tail"):
        print(f"| {reason} | {reasons[reason]} | {1000 * reasons[reason] / given.texts:.2f} |")
    print(f"| all | {reasons.total()} | {1000 * reasons.total() / given.texts:.2f} |")
    if rates:
        over = ", ".join(
            f"over {limit:g}: {np.mean(np.array(rates) > limit):.1%}" for limit in (0, 0.1, 0.2, _MAX_WER, 0.5)
        )
        print(f"\nword error rates: {np.mean(rates):.3f} at the mean, {np.median(rates):.3f} at the median; {over}")


if __name__ == "__main__":
    main()
