"""What a listener expects of a text for readers: paragraphs, and the utterances of them that reach the model."""

from __future__ import annotations

import time

import pytest
from helpers import allowed

from qwen3tts_cli.spoken_text.listening_rules import for_listening, language_of
from qwen3tts_cli.text.utterances import utterances

# (paragraph, language, utterances of at most 40 characters, as the model gets them)
CASES = [
    (
        "Dr. Smith met Mr. Jones. They talked for an hour.",
        "english",
        ["Dr. Smith met Mr. Jones.", "They talked for an hour."],
    ),
    (
        "A book by J.R.R. Tolkien. It was long, we all said.",
        "english",
        ["A book by J.R.R. Tolkien.", "It was long, we all said."],
    ),
    ("See https://example.com/a?b=1 now.", "english", ["See link to example.com now."]),
    ("See https://www.example.com/a?b=1.", "en", ["See link to example.com."]),
    ("Siehe https://example.com/a?b=1.", "german", ["Siehe example.com."]),
    ("See https://example.com/a?b=1.", "auto", ["See example.com."]),
    (
        "(at www.example.com/x_(y)), <http://a.example:80/>!",
        "english",
        ["(at link to example.com),", "link to a.example!"],
    ),
    ("\u8bf7\u770bhttps://example.com/a\u3002\u8c22\u8c22", "chinese", ["\u8bf7\u770bexample.com\u3002\u8c22\u8c22"]),
    ("Write to anna_b@www.example.com.", "english", ["Write to anna_b@www.example.com."]),
    ("CHAPTER ONE", "english", ["Chapter One"]),
    ("CHAPTER IV. THE BBC'S DON QUIXOTE", "english", ["Chapter 4. The BBC's Don Quixote"]),
    ("CHAPTER IV", "german", ["Chapter IV"]),
    ("CHAPTER II. The Pool of Tears", "english", ["Chapter 2. The Pool of Tears"]),
    ("CHAPTER X\u2014The Hill", "english", ["Chapter 10\u2014The Hill"]),
    ("CHAPTER IV. The Hill", "french", ["CHAPTER IV. The Hill"]),
    (
        "\u0413\u041b\u0410\u0412\u0410 \u041f\u0415\u0420\u0412\u0410\u042f",
        "russian",
        ["\u0413\u043b\u0430\u0432\u0430 \u041f\u0435\u0440\u0432\u0430\u044f"],
    ),
    ("Chapter I", "english", ["Chapter 1"]),
    ("BOOK I, CHAPTER II", "english", ["Book 1, Chapter 2"]),
    ("Part I love is this.", "english", ["Part I love is this."]),
    ("XIV.", "english", ["14."]),
    ("PREFACE", "english", ["Preface"]),
    ("NATO", "english", ["NATO"]),
    ("NATO was FIRST.", "english", ["NATO was FIRST."]),
    ("It is known [12], proven [3, 4] and old[5-7][8].", "english", ["It is known, proven and old."]),
    ("See [a] and [2024] and [ 1 ].", "english", ["See [a] and [2024] and [ 1 ]."]),
    ("The word\u00b9 and the end.\u00b2\u00b3", "english", ["The word and the end."]),
    (
        "5 m\u00b2, 3 km\u00b2, 10\u2076, x\u00b3, (a+b)\u00b2, m\u207b\u00b9, \u00b9\u2074C.",
        "english",
        ["5 m\u00b2, 3 km\u00b2, 10\u2076, x\u00b3, (a+b)\u00b2, m\u207b\u00b9, \u00b9\u2074C."],
    ),
    ("It costs \u20ac5, or $4.50.", "english", ["It costs \u20ac5, or $4.50."]),
    (
        "Hi \U0001f44b\U0001f3fd! We\U0001f389won 1\ufe0f\u20e3 in \U0001f1eb\U0001f1f7\u2764\ufe0f.",
        "english",
        ["Hi! We won in."],
    ),
    ("\U0001f468\u200d\U0001f469\u200d\U0001f467 We \u2708\ufe0f go.", "english", ["We go."]),
    (
        "Acme\u2122 \u00a9 2020 \u00ae, a \u2192 b, 5 \u2103",
        "english",
        ["Acme\u2122 \u00a9 2020 \u00ae, a \u2192 b, 5 \u2103"],
    ),
    ("* * *", "english", []),
    ("----------", "english", []),
    ("\u2042", "english", []),
    ("=====\n", "english", []),
    ("Title\n=====\nText here.", "english", ["Title. Text here."]),
    ("One\r\nline.\rAnd two.", "english", ["One line. And two."]),
    (
        "An exam-\nple and seventy-\nfive, Jean-\nPaul, 2020-\n21.",
        "english",
        ["An example and seventy-five, Jean-Paul,", "2020-21."],
    ),
    ("Haupt-\nund Neben\u00ad\nsatz, Donau\u00addampfer", "german", ["Haupt- und Nebensatz, Donaudampfer"]),
    ("\u4e00\u884c\n\u4e8c\u884c\u3002", "chinese", ["\u4e00\u884c\u4e8c\u884c\u3002"]),
    ("\ud55c \uc904\n\ub450 \uc904.", "korean", ["\ud55c \uc904 \ub450 \uc904."]),
    ("| Name | Age |\n|---|---|\n| Ann | 5 |", "english", ["Name, Age. Ann, 5"]),
    ("We need:\n- eggs\n- some milk\n* bread.", "english", ["We need: eggs. some milk. bread."]),
    ("1. Eggs\n2. Milk", "english", ["1. Eggs.\n2. Milk"]),
    ("> A quoted\n> line.", "english", ["A quoted line."]),
    ("``Yes,'' she said. \u201cNo.\u201d", "english", ["\u201cYes,\u201d she said. \u201cNo.\u201d"]),
    ("Well  . . . no... Or ... yes...maybe....", "english", ["Well\u2026 no\u2026 Or\u2026 yes\u2026 maybe\u2026"]),
    ("A house -- old--fell.  It -  well --", "english", ["A house \u2014 old\u2014fell. It - well \u2014"]),
    ("Use --help (--h) or -x, 5-3, 7--9.", "english", ["Use --help (--h) or -x, 5-3, 7\u20139."]),
    ("\u6211\u7528 OPENAI \u548c ADOBE\u3002", "chinese", ["\u6211\u7528 OPENAI \u548c ADOBE\u3002"]),
    ("It is _very_ *good*: **5** * 3 * 2, a_b_c.", "english", ["It is very good: 5 * 3 * 2, a_b_c."]),
    ("-- Yes \U0001f389\U0001f389 (\U0001f600) \u4f60\U0001f389\u597d", "english", ["\u2014 Yes () \u4f60\u597d"]),
    ("\ufeff  two\u200b   spaces\t here \u00a0 ", "english", ["two spaces here"]),
]


@pytest.mark.parametrize(("paragraph", "language", "expected"), CASES, ids=range(len(CASES)))
def test_what_reaches_the_model(paragraph, language, expected):
    spoken = for_listening(paragraph, language)
    assert (list(utterances(spoken, 40, language)) if spoken else []) == expected
    assert for_listening(spoken, language) == spoken


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002Hello!", "chinese"),
        ("\u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u306d\u3002", "japanese"),
        ("\uc548\ub155\ud558\uc138\uc694, \u4e16\u754c.", "korean"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442, world.", "russian"),
        ("\u041f\u0440\u0438\u0432\u0456\u0442, \u0441\u0432\u0456\u0442\u0435.", "auto"),
        ("Good morning, \u6771\u4eac.", "auto"),
        ("12, 13!", "auto"),
        ("", "auto"),
    ],
)
def test_the_language_that_a_script_shows(text, language):
    assert language_of(text, "auto") == language
    assert language_of(text, "german") == (language if language != "auto" else "german")


@pytest.mark.parametrize(
    "part",
    [
        "[1,",
        "https://",
        "www.",
        "_a",
        "*",
        "* ",
        ". ",
        "-",
        "-\n",
        "| ",
        "> ",
        "1. ",
        "\u00b9",
        "(",
        "``",
        "\U0001f44b\u200d",
        "A",
        "A ",
        "\n",
        " ",
        "\u00ad\n",
        "mailto:",
        "IV",
        "<",
        "a",
        "\u2026",
    ],
)
def test_a_paragraph_of_any_kind_takes_linear_time(part):
    start = time.process_time()
    for_listening("x " + part * (200_000 // len(part)), "english")
    assert time.process_time() - start < allowed(2)
