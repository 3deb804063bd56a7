"""Cutting a text that comes in pieces into utterances: where they end, when that is known, and what is certain."""

from __future__ import annotations

import random
import time

import pytest
from helpers import allowed
from test_text_cuts import MORE_THAT_STAY_TOGETHER, WORDS_THAT_STAY_TOGETHER

from qwen3tts_cli.text.incoming_utterances import IncomingUtterances, UtteranceText
from qwen3tts_cli.text.utterances import utterance

PIECES = [
    *("a", "Word ", "and ", "Nobody knew. ", "Why? ", "Mr. ", "3.14 ", "1,000 km ", "5 ", "May ", "x, ", "y; ", "z - "),
    *(" ", "  ", "\t", "\n", "\n\n", "\r\n", "\r", "\n \n", "\f", "\u2029", "\u00a0", "...", "!", '"', "'", "(", ") "),
    *(
        "你好。",
        "世界，",
        "」",
        "「",
        "！",
        "— ",
        "—",
        "؟ ",
        "हिन्दी ",
        "e\u0301",
        "👩\u200d👩",
        "\u0300" * 20,
        "x" * 40,
    ),
    *("<|im_end|>", "_ ", "- ", "***", "U.S. ", "etc. ", "The end. ", "https://a.b/c?d=e", "[a link](http://x.y) "),
]
SENTENCE = "This sentence has exactly sixty characters, spaces included."
OPTIONS = [{}, {"lines": True}, {"sentences": True}, {"lines": True, "sentences": True}]


def cut(text, limit=300, language="english", pieces=None, **options):
    """The utterances of a text that comes in `pieces`, by default one character each."""
    incoming = IncomingUtterances(limit, language, **options)
    events = [event for piece in (pieces or text) for event in incoming.feed(piece)]
    return joined(events + incoming.finish(), options.get("sentences", False))


def joined(events, whole=False):
    texts, is_open = [], False
    for number, text, ends in events:
        assert text or ends
        assert ends or not whole
        if not is_open:
            texts.append("")
        assert number == len(texts) - 1
        texts[-1] += text
        is_open = not ends
    assert not is_open
    return texts


def random_text(rng, most=120):
    return "".join(rng.choices(PIECES, k=rng.randrange(most)))


def letters(text):
    return [char for char in text if char.isalnum()]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_random_texts_have_the_same_utterances_however_they_are_cut(options):
    rng = random.Random(21)
    for _ in range(60):
        text, limit = random_text(rng), rng.choice((1, 2, 7, 20, 60, 140, 300))
        parts = cut(text, limit, **options)
        for _ in range(3):
            cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(1, 30)))
            pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
            assert cut(text, limit, pieces=pieces, **options) == parts, ascii(pieces)
        position = 0
        for part in parts:
            assert len(part) <= limit
            assert part == part.strip() == utterance(part)
            found = text.index(part, position)
            assert not letters(text[position:found])
            position = found + len(part)
        assert not letters(text[position:])


@pytest.mark.parametrize("sentences", [False, True])
def test_a_text_that_is_not_split_is_one_utterance(sentences):
    rng = random.Random(22)
    for _ in range(200):
        text = random_text(rng)
        assert cut(text, 10, split=False, sentences=sentences) == [text.strip()][: bool(letters(text))]


def test_text_is_certain_up_to_its_last_character_that_is_no_whitespace():
    incoming, seen = IncomingUtterances(300), ""
    text = f"  {SENTENCE}  \n{SENTENCE[:-1]}, and more words "
    for at, char in enumerate(text, 1):
        for number, piece, ends in incoming.feed(char):
            assert (number, ends) == (0, False)
            seen += piece
        assert seen == text[:at].strip()


def test_text_without_a_letter_waits_for_one():
    incoming = IncomingUtterances(300)
    assert incoming.feed(' "(... ') == []
    assert incoming.idle() == []
    assert incoming.feed("W") == [UtteranceText(0, '"(... W', False)]
    assert incoming.feed("\n\n---\n\n***") == [UtteranceText(0, "", True)]
    assert incoming.feed("\n\nb") == [UtteranceText(1, "b", False)]
    assert incoming.finish() == [UtteranceText(1, "", True)]


@pytest.mark.parametrize("end", ["\n\n", "\n \t\n", "\r\n\r", "\n\r", "\r\r", "\f", "\u2029", "\r\n \r"])
def test_a_blank_line_ends_an_utterance_at_once(end):
    incoming = IncomingUtterances(300)
    assert incoming.feed("One" + end[:-1]) == [UtteranceText(0, "One", False)]
    assert incoming.feed(end[-1]) == [UtteranceText(0, "", True)]
    assert incoming.feed("\nTwo") == [UtteranceText(1, "Two", False)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_end_ends_an_utterance_only_with_lines(end):
    assert cut(f"One{end}two{end}") == [f"One{end}two"]
    assert cut(f"One{end}two{end}", lines=True) == ["One", "two"]


def test_a_sentence_end_counts_from_120_characters_on():
    assert len(SENTENCE) == 60
    long = f"{SENTENCE[:-1]}s {SENTENCE}"[2:]
    assert len(long) == 119
    assert cut(f"{long} Next.") == [f"{long} Next."]
    assert cut(f"X{long} Next.") == [f"X{long}", "Next."]
    incoming = IncomingUtterances(300)
    assert incoming.feed(f"X{long}") == [UtteranceText(0, f"X{long}", False)]
    assert incoming.feed(" ") == []
    assert incoming.feed("N") == [UtteranceText(0, "", True), UtteranceText(1, "N", False)]


@pytest.mark.parametrize(
    "text",
    [
        "It is over. He left.",
        "Why? nobody knows.",
        'He said "Go." She went.',
        "Wow!! 5 apples.",
        "Wait... No.",
        'He left. "Why?',
        "It is over.\nHe left.",
        "真的吗？他不知道。",
        "他说。」然后走了。",
    ],
)
def test_sentences(text):
    parts = cut(text, sentences=True)
    assert len(parts) == 2, parts
    assert len(cut(text)) == 1


@pytest.mark.parametrize("unit", ["Mr. Smith", "the U.S. Army", "e.g. London", "No. 5", "J. R. R. Tolkien", "1. Item"])
def test_a_period_inside_a_sentence_ends_nothing(unit):
    assert cut(f"{unit} is here. Go.", sentences=True) == [f"{unit} is here.", "Go."]


@pytest.mark.parametrize(
    ("language", "unit"),
    [("german", "bzw. Hunde"), ("german", "am 3. Oktober"), ("french", "M. Dupont"), ("russian", "ул. Ленина")],
)
def test_a_period_inside_a_sentence_of_other_languages(language, unit):
    text = f"Abc {unit} abcde fghij."
    assert cut(text, language=language, sentences=True) == [text]


@pytest.mark.parametrize("whole", [*WORDS_THAT_STAY_TOGETHER, *MORE_THAT_STAY_TOGETHER])
def test_a_long_sentence_is_not_cut_inside_a_unit(whole):
    divided = 0
    for padding in range(60, 80):
        text = f"{'ab ' * padding}15 {whole} went on and on and then it was over, " + "and another clause is here, " * 6
        parts = cut(text)
        assert all(len(part) <= 300 for part in parts)
        divided += not any(whole in part for part in parts)
    assert not divided


def test_a_long_sentence_is_cut_behind_a_clause_mark_else_at_a_space():
    words = "words and " * 19
    assert len(words) == 190
    with_comma = f"{words}more words, and this is behind the comma of a sentence that goes on and on and has no end"
    assert cut(with_comma)[0] == f"{words}more words,"
    without = "words and " * 40
    assert [len(part) for part in cut(without)] == [249, 149]
    assert cut("汉" * 190 + "，" + "字" * 20 + "，" + "文" * 100)[0] == "汉" * 190 + "，" + "字" * 20 + "，"


def test_a_word_behind_a_place_is_not_certain_before_it_is_complete():
    incoming = IncomingUtterances(300)
    words = ("words and " * 25).strip()
    assert incoming.feed(words) == [UtteranceText(0, words, False)]
    assert incoming.feed(" more") == []
    assert incoming.feed(" x") == [UtteranceText(0, "", True), UtteranceText(1, "more x", False)]


def test_a_long_run_of_spaces_is_cut_around():
    text = "word" + " " * 280 + "x" * 100
    assert cut(text) == ["word", "x" * 100]
    assert cut("word" + " " * 200 + "more") == ["word" + " " * 200 + "more"]


def test_a_rest_that_fits_is_not_cut_off():
    text = "words and " * 24 + "words words, more"
    assert cut(text) == cut(f"{text} \n") == [text]


def test_a_word_above_the_limit_is_cut_between_grapheme_clusters():
    assert [len(part) for part in cut("x" * 700)] == [300, 300, 100]
    parts = cut("e\u0301" * 400, 301)
    assert [len(part) for part in parts] == [300, 300, 200]
    assert cut("a" + "\u0301" * 1000) == ["a" + "\u0301" * 299]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Hello there. ", True),
        ("Hello there.", True),
        ("Hello there", False),
        ("Hello there ", True),
        ("Hello,", True),
        ("It costs 3.", False),
        ("It costs 3. ", True),
        ("at 7:", False),
        ("1,", False),
        ("don'", False),
        ("well-", False),
        ("he said 'yes.'", True),
        ("It costs $", False),
        ("你好。", True),
        ("你好", False),
        ("हिन्दी", False),
        ("ok)", True),
        ("...", False),
        ("", False),
        ("fine 😊", True),
        ("fine 👩\u200d", False),
        ("100%", True),
        ("Line\n", True),
    ],
)
def test_idle_ends_an_utterance_but_not_inside_a_word_or_number(text, ends):
    incoming = IncomingUtterances(300)
    incoming.feed(text)
    assert incoming.idle() == ([UtteranceText(0, "", True)] if ends else [])
    assert incoming.idle() == []
    rest = incoming.feed("14 x") + incoming.finish()
    assert [event.number for event in rest] == [int(ends)] * len(rest)


def test_idle_does_not_lose_text_and_does_not_end_an_unsplit_text():
    incoming = IncomingUtterances(300, sentences=True)
    assert incoming.feed("Hello there, ") == []
    assert incoming.idle() == [UtteranceText(0, "Hello there,", True)]
    unsplit = IncomingUtterances(300, split=False)
    unsplit.feed("Hello. ")
    assert unsplit.idle() == []
    assert unsplit.feed("x") == [UtteranceText(0, " x", False)]


def test_flush_ends_an_utterance_also_inside_a_word_and_drops_what_says_nothing():
    incoming = IncomingUtterances(300)
    assert incoming.flush() == []
    assert incoming.feed("It costs 3.") == [UtteranceText(0, "It costs 3.", False)]
    assert incoming.flush() == [UtteranceText(0, "", True)]
    assert incoming.feed("14 ... ") == [UtteranceText(1, "14 ...", False)]
    assert incoming.flush() == [UtteranceText(1, "", True)]
    assert incoming.feed(' "...') + incoming.flush() == []
    assert incoming.feed("Now") + incoming.finish() == [UtteranceText(2, "Now", False), UtteranceText(2, "", True)]
    whole = IncomingUtterances(300, sentences=True)
    assert whole.feed("Hello the") + whole.flush() == [UtteranceText(0, "Hello the", True)]
    unsplit = IncomingUtterances(300, split=False)
    assert unsplit.feed("Hello") + unsplit.flush() == [UtteranceText(0, "Hello", False)]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 20_000,
        " " * 20_000 + "a" + " " * 20_000 + "b",
        "!?" * 10_000,
        "\n" * 20_000 + "a",
        "a," * 10_000,
        "\u0300" * 20_000,
        "[<" * 10_000,
        "a. " * 6_000,
        "。a" * 10_000,
    ],
)
def test_odd_texts_take_bounded_time_and_memory(text):
    start = time.process_time()
    incoming = IncomingUtterances(300)
    events = incoming.feed(text)
    assert len(incoming._text) < 400
    events += incoming.finish()
    assert letters("".join(joined(events))) == letters(text)
    assert time.process_time() - start < allowed(20)
