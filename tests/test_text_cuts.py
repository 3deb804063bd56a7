"""Positions where a text is never cut, and line ends CR LF and CR, which are cut like LF."""

from __future__ import annotations

import pytest

from qwen3tts_cli.text.utterances import utterances

WORDS_THAT_STAY_TOGETHER = [
    *(
        "vs. Celtics",
        "e.g. London",
        "J.R.R. Tolkien",
        "J. R. R. Tolkien",
        "the U.S. Army",
        "Ave. New",
        "Mr. & Mrs. Smith",
    ),
    *("Mr. and Mrs. Smith", "Lt. Col. Smith", "in. Python", "Inc. Chairman", "Mass. General", "Jan. Friday", "No. 5"),
    *("Fig. A", "p. 12", "et al. Nature", "St. Louis", "Ph.D. Jones", "D.C. Mayor", "a.m. Eastern", "Bros. Pictures"),
    *("1 000 000", "1234 5678 9012 3456", "+1 (555) 123-4567", "(555) 123 4567", "$1M - $2M", "9 am - 5 pm", "5 - 3"),
    *("1990 – 1995", "5 km", "10 %", "$5 million", "€ 5", "May 5, 2024", "5 × 3", "7 p.m.", "exam-\nple"),
    *("[a link text](http://x.y)", "![two words](x.png)", "[some more words][ref]"),
]


@pytest.mark.parametrize("whole", WORDS_THAT_STAY_TOGETHER)
def test_splitting_never_divides(whole):
    marks = [
        place + 1 for place, sign in enumerate(whole) if sign.isspace() and whole[place - 1] in ".-&)\n0123456789%"
    ]
    if "](" in whole or "][" in whole:
        marks = [place + 1 for place, sign in enumerate(whole) if sign.isspace()]
    for padding in range(5, 22):
        text = f"{'ab ' * padding}15 {whole} went on and on and then it was over. " + "Another sentence is here. " * 6
        for part in utterances(text, 60, "english"):
            for mark in marks:
                assert not part.endswith(f" {whole[:mark].strip()}"), part


@pytest.mark.parametrize(
    ("language", "whole"),
    [
        ("german", "Hr. Müller"),
        ("german", "am 3. Oktober"),
        ("german", "z. B. Hunde"),
        ("german", "5 Mio. Euro"),
        ("french", "M. Dupont"),
        ("french", "1 000 000 francs"),
        ("spanish", "p. ej. Madrid"),
        ("italian", "Dott. Verdi"),
        ("portuguese", "Dra. Lima"),
        ("russian", "ул. Ленина"),
        ("german", "Fa. Meier"),
        ("italian", "sec. XIX"),
        ("chinese", "Mr. Smith"),
        ("korean", "Dr. Kim"),
    ],
)
def test_splitting_never_divides_in_other_languages(language, whole):
    for padding in range(5, 22):
        text = f"{'ab ' * padding}{whole} went on and on and then it was over. " + "Another sentence is here. " * 6
        for part in utterances(text, 60, language):
            assert not part.endswith(tuple(f" {whole[: at + 1]}" for at, sign in enumerate(whole) if sign == ".")), part
            assert not part.startswith("000")


def test_real_sentence_ends_behind_abbreviations_are_cuts():
    text = "He lives in the U.S. He likes it there now. She works at Acme Inc. It is rather big. " * 4
    parts = list(utterances(text, 45, "english"))
    assert {"He lives in the U.S. He likes it there now.", "She works at Acme Inc. It is rather big."} == set(parts)
    parts = list(utterances(text, 25, "english"))
    assert "He lives in the U.S." in parts
    assert "She works at Acme Inc." in parts


MORE_THAT_STAY_TOGETHER = [
    *("12 March 1985", "March 3rd, 2020", "10 Downing Street", "123 N. Main", "50 percent", "64 bytes", "20 apples"),
    *("Chapter 5", "page 12", "Act II", "Boeing 737", "et al.", "Apple Inc.", "King, Jr.", "Smith, M.D."),
    *("Main St. is", "Smith Ltd. is", "Roe v. Wade", "44 B.C.", "8am-9am EST", "Proc. Natl. Acad. Sci."),
    *("x = y", "10' x 12'", "(a) first", "2) second", 'home?" asked', "./configure", "20.-"),
    *('<a href="x y">', "<!DOCTYPE html>", "[link](<a url>)"),
]


@pytest.mark.parametrize("whole", MORE_THAT_STAY_TOGETHER)
@pytest.mark.parametrize("limit", [60, 300])
def test_splitting_never_divides_a_unit(whole, limit):
    for padding in range(limit // 3 - 15, limit // 3 + 2):
        text = f"{'ab ' * padding}{whole} went on and on and then it was over. " + "Another sentence is here. " * 6
        assert any(whole in part for part in utterances(text, limit, "english")), padding


@pytest.mark.parametrize(
    ("language", "whole"),
    [
        ("french", "5 mai 2024"),
        ("french", "là ? »"),
        ("spanish", "5 de mayo de 2024"),
        ("spanish", "¿Vive? —preguntó"),
        ("portuguese", "5 de maio"),
        ("russian", "5 мая 2024"),
        ("russian", "«Тут?» — спросила"),
        ("german", "GmbH & Co. KG"),
        ("english", "6th of May"),
    ],
)
def test_dates_quotations_and_names_stay_whole_in_other_languages(language, whole):
    for padding in range(5, 22):
        text = f"{'ab ' * padding}{whole} went on and on and then it was over. " + "Another sentence is here. " * 6
        assert any(whole in part for part in utterances(text, 60, language)), padding


def test_a_text_without_capitals_is_cut_at_its_sentence_ends():
    text = "i went home and found nobody there. then i slept, approx. ten hours. it was a good night for me. " * 8
    for limit in (60, 140, 300):
        assert all(part.endswith(("there.", "hours.", "me.")) for part in utterances(text, limit, "english"))


def test_a_unit_above_the_limit_is_divided():
    text = "Alpha 1 Beta 2 Gamma 3 " * 40
    assert "".join("".join(utterances(text, 60, "english")).split()) == "".join(text.split())


LINES = (
    "It was the best.\nIt was the worst of times.\n\nIt was the age of wisdom and exam-\nple, and of Mr. Smith. " * 20
)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("limit", [30, 60, 300])
def test_line_ends_are_kept_for_a_model_and_cut_as_line_feeds(end, limit):
    parts = list(utterances(LINES.replace("\n", end), limit, "english"))
    assert parts == [part.replace("\n", end) for part in utterances(LINES, limit, "english")]


def test_mixed_line_ends_are_kept():
    text = "a.\r\nb\rc\nd" + " e" * 40
    assert "".join(utterances(text, 60, "english")).replace(" ", "") == text.replace(" ", "")
    assert list(utterances("a\r\nb\rc", 10, "english")) == ["a\r\nb\rc"]
