"""Which part of a text each utterance says: exact at the ends of sentences, by the words beside a cut inside of one."""

from __future__ import annotations

import random
import time

import pytest
from helpers import POCKET

from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.text.preparation import fold_and_spell
from qwen3tts_cli.text.utterances import NothingToSpeakError, utterances, utterances_with_written
from qwen3tts_cli.text.written_parts import cut_alike

MANIFEST = load_config(POCKET).voice
SENTENCES = [
    *("It was late.", "Dr. Smith met J.R.R. Tolkien.", "5 men came.", "It cost €5.", "20 more (see §12) left at 7."),
    *("The room is 5 m long and 3.2 m wide.", "12:30.", "3.", "“Oh dear!”", "He said: 'No.'", "4,500.", "In 1987?"),
    *("It was -4 °C on 12 March 2024.", "Write to info@example.com.", "Only 45% of 1,000 came!", "No, no — 7 & 8."),
]


def spell(sentence: str) -> str:
    return fold_and_spell(sentence, MANIFEST)


def bare(text: str) -> str:
    return "".join(text.split())


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def test_sentences_are_shown_as_they_are_written():
    """Whatever sentences are joined: of all numbers, and where both sides of a cut are spelled out."""
    rng = random.Random(1)
    for _ in range(60):
        text = " ".join(rng.choices(SENTENCES, k=12))
        found = list(utterances_with_written(text, 100, "english", spell))
        assert [spoken for spoken, _ in found] == list(utterances(text, 100, "english", spell))
        assert bare("".join(written for _, written in found)) == bare(text)
        for spoken, written in found:
            assert letters(spoken) == letters(spell(written))


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (80, ["In 1987, after 12 years and 3 months at sea,", "Dr. Brown paid $1,250.50 for",
              "14.5 m of rope, 20 of whose 45 yards were wet,", "and on 3 May 1988 he left."]),
        (40, ["He had £20 in his pocket,", "and 7 in the bank, but no 8."]),
        (50, ["“The answer,” said Mr. 42, “is 42 — or 43:", "nobody knows it before 6:45 a.m.”"]),
        (45, ["It was 5 km by road or 3 by boat,", "and 2 as the crow flies."]),
        (60, ["Smith paid 12 of 45 to 99 of the 77 men", "who had lived at 5 Elm St. 3 of 9 had 5."]),
    ],
)  # fmt: skip
def test_a_sentence_that_is_cut(limit, parts):
    text = " ".join(parts)
    found = list(utterances_with_written(text, limit, "english", spell))
    assert [written for _, written in found] == parts
    assert all(len(spoken) <= limit for spoken, _ in found)


@pytest.mark.parametrize(
    ("parts", "spoken"),
    [
        (["It ", "rained."], ["It ", "rained."]),
        (["Smith, ", "of 9 ", "Elm St. ", "is 8."], ["Smythe, ", "of nine ", "Elm Street ", "is eight."]),
        (["1, 2, ", "3. ", "4 5 6; ", "7"], ["one, two, ", "three. ", "four five six; ", "seven"]),
        (["He saw Dr. No. ", "5 men came."], ["He saw Doctor No. ", "Five men came."]),
        (["A 👋. ", "B."], ["A wave. ", "B."]),
        (["", "Oh 5."], ["wave ", "Oh five."]),
        (["你好NGINX，", "世界。"], ["你好恩金克斯，", "世界。"]),
        (["北京2024年。", "“5个人”"], ["北京二零二四年。", "五个人"]),
        (["All of it.", ""], ["All of it. ", "..."]),
        (["Ab—", "“5!”"], ["Ab, ", "five!"]),
        (["", "", "x"], ["a ", "b ", "x"]),
    ],
)
def test_cuts_go_where_the_spoken_text_is_cut(parts, spoken):
    assert cut_alike("".join(parts), spoken) == parts


def test_any_two_texts():
    rng = random.Random(2)
    for _ in range(300):
        text = "".join(rng.choices("ab1 ,.\n“”—你", k=rng.randrange(40)))
        parts = ["".join(rng.choices("abc 2,.—你", k=rng.randrange(12))) for _ in range(rng.randrange(1, 6))]
        found = cut_alike(text, parts)
        assert ("".join(found), len(found)) == (text, len(parts))


@pytest.mark.parametrize("unit", ["1 ", "a 1 ", "你"])
def test_a_long_text_takes_linear_time(unit):
    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit))
        spoken = [part.replace("1", "one") for part in (text[at : at + 100] for at in range(0, len(text), 100))]
        begun = time.process_time()
        for parts in ([*spoken, "x"], ["x y "] * len(spoken)):
            assert "".join(cut_alike(text, parts)) == text
        return time.process_time() - begun

    seconds(2000)
    # Quadratic time would take 100 times as long.
    assert seconds(100_000) < 40 * max(seconds(10_000), 0.005)


def test_what_has_no_words_is_refused_as_without_its_parts():
    for text in ("", "... !", "🎉"):
        with pytest.raises(NothingToSpeakError):
            utterances_with_written(text, 70, "english", spell)
    assert list(utterances_with_written("a\r\nb ", 70)) == [("a\nb ", "a\nb")]
