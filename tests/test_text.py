"""Splitting a text into utterances, and the check of its script."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tracemalloc
from itertools import islice
from types import SimpleNamespace

import pytest
from helpers import allowed
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.text import cut_points, long_text
from qwen3tts_cli.text.script_check import IncomingScriptCheck, check_script
from qwen3tts_cli.text.utterances import utterances

SENTENCES = {
    "english": "Mr. Smith paid $5.20 for 3.5 kg. Why? Nobody knows! He left at 7 p.m. yesterday. It was J. R. Brown. ",
    "chinese": "你好。今天天气很好！你要去哪里？他说：“我不知道。”然后走了。",
    "japanese": "こんにちは。元気ですか？明日は雨です！東京へ行きます。",
    "korean": "안녕하세요. 오늘 날씨가 좋네요! 어디 가세요? 3.5킬로그램입니다. ",
    "german": "Herr Dr. Müller kam am 3. Oktober an. Das kostet z. B. 5,20 Euro. Warum? Er lachte. ",
    "french": "M. Dupont est arrivé à 14 h 30. Pourquoi ? Il a payé 3,50 €. C'est fini ! ",
    "italian": "Il Sig. Rossi è arrivato. Perché? Non lo so! L'art. 5 dice così. ",
    "spanish": "El Sr. García llegó. ¿Por qué? ¡No lo sé! Vive en EE.UU. desde 1999. ",
    "portuguese": "O Sr. Silva chegou às 14h. Por quê? Não sei! Custa R$ 5,20. Fim. ",
    "russian": "Г-н Иванов приехал в 2024 г. в Москву. Почему? Не знаю! Цена 5,20 руб. ",
}


def letters(text: str) -> list[str]:
    return [char for char in text if char.isalnum()]


def assert_parts_of(text: str, parts: list[str], limit: int) -> None:
    """Check that the parts are stripped slices within the limit, with each letter and digit of the text once."""
    position = 0
    for part in parts:
        assert 0 < len(part.replace("\r\n", "\n")) <= limit
        assert part == part.strip()
        assert any(char.isalnum() for char in part)
        found = text.index(part, position)
        assert not letters(text[position:found])
        position = found + len(part)
    assert not letters(text[position:])


@pytest.mark.parametrize("text", ["Hello.", "  Hello.\n\n Two.  ", "x" * 300, "你好。", "<|im_end|> a", "\x00a\u200b "])
def test_text_that_fits_is_unchanged(text):
    assert list(utterances(text, 300, "english")) == [text]


def test_sentencex_is_imported_for_long_texts_only():
    code = (
        "import sys; from qwen3tts_cli.text.utterances import utterances; list(utterances('A. B.', 9, 'en'));"
        "assert not {'sentencex', 'regex', 'unicode_rbnf', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("limit", [60, 300])
def test_long_text_is_cut_at_sentence_ends(language, limit):
    text = SENTENCES[language] * 40
    parts = list(utterances(text, limit, language))
    assert_parts_of(text, parts, limit)
    assert parts == list(utterances(text, limit, language))
    assert all(re.search(r"[.!?。！？][”」]?$", part) for part in parts)
    if limit == 300:
        assert sum(map(len, parts)) / len(parts) > 200
    # Abbreviations and initials do not end an utterance.
    assert not any(re.search(r"(?:\b(?:Mr|J|R|Dr|z|B|M|Sig|art|Sr|EE)|EE\.UU| 3|2024 г)\.$", part) for part in parts)


def test_an_utterance_never_crosses_a_blank_line():
    text = "One. Two.\n \nThree.\r\n\r\nFour\nfive. " + "Six. " * 60
    parts = list(utterances(text, 100, "english"))
    assert parts[:2] == ["One. Two.", "Three."]
    assert parts[2].startswith("Four\nfive. Six.")


def test_a_change_in_one_paragraph_leaves_the_others_alone():
    paragraphs = [f"Paragraph {i}. " + SENTENCES["english"] * 8 for i in range(5)]
    before = list(utterances("\n\n".join(paragraphs), 300, "english"))
    paragraphs[2] = paragraphs[2].replace("Why?", "Why? An insertion of some length comes here.")
    after = list(utterances("\n\n".join(paragraphs), 300, "english"))
    first = next(i for i, part in enumerate(before) if part.startswith("Paragraph 2"))
    last = next(i for i, part in enumerate(before) if part.startswith("Paragraph 3"))
    assert after[:first] == before[:first]
    assert after[first - len(before) :][last - first :] == before[last:]


def test_utterances_after_an_insertion_become_the_same_again():
    numbered = [f"Sentence {i} is {'rather ' * (i * 7 % 5)}long." for i in range(200)]
    before = set(utterances(" ".join(numbered), 120, "english"))
    after = list(utterances(" ".join([*numbered[:20], "Inserted here.", *numbered[20:]]), 120, "english"))
    assert sum(part not in before for part in after) < 15


def test_a_long_sentence_is_cut_at_clauses_then_spaces():
    clause = "and then " * 12
    assert [part[-1] for part in utterances(f"{clause}one; {clause}two, {clause}three", 140, "en")] == [";", ",", "e"]
    words = ("word " * 70).strip()
    assert list(map(len, utterances(words, 300, "en"))) == [174, 174]
    assert list(utterances("Nein, " + "a" * 20, 20, "en")) == ["Nein,", "a" * 20]
    assert list(utterances("1,000,000 " * 3, 20, "en")) == ["1,000,000", "1,000,000 1,000,000"]
    quote = "“" + "We stay here now. " * 12 + "”"
    assert all(part.endswith((".", "”")) for part in utterances(quote, 100, "en"))


def test_a_run_without_spaces_is_cut_between_grapheme_clusters():
    family = "👨\u200d👩\u200d👧\u200d👦"
    accent = "e\u0301\u0323"
    hangul = "\u1112\u1161\u11ab"
    for cluster in (family + "a", accent, hangul, "\u0915\u094d\u0937\u093f"):
        text = "a" + cluster * 60
        parts = list(utterances(text, 50, "auto"))
        assert "".join(parts) == text
        assert all(len(part) <= 50 and not part.startswith(("\u200d", "\u0301", "\u1161", "\u093f")) for part in parts)
    flags = list(cut_points.cut_sentence("🇩🇪" * 60, 49, "en"))
    assert [len(piece) for piece in flags] == [48, 48, 24]
    assert [len(part) for part in utterances("字" * 700, 300, "zh")] == [300, 300, 100]
    # A cluster longer than the limit is cut.
    assert [len(part) for part in cut_points.cut_sentence("a" + "\u0301" * 700, 300, "en")] == [300, 300, 101]


def test_parts_without_speech_are_dropped_or_joined():
    parts = list(utterances("***\n\nOne. " + "Two. " * 70 + "\n\n--- !!! ---\n\nThree. \n\n😀\n\n", 300, "english"))
    assert parts[-1] == "Three."
    assert all(letters(part) for part in parts)
    assert next(utterances("!!! " + "a " * 10, 20, "en")).startswith("!!! a")


@pytest.mark.parametrize("text", ["", " ", "\n\n", "...", "😀", "?!" * 1000, "\u200b", "***\n\n---"])
def test_nothing_to_speak_is_a_usage_error_at_the_call(text):
    with pytest.raises(UsageError, match="nothing to speak"):
        utterances(text, 300, "english")


def test_bad_limit():
    with pytest.raises(UsageError, match="utterance length: 0"):
        utterances("a", 0, "en")


def test_prepare_rewrites_sentences_before_their_length_counts():
    text = "It is 5. " * 40
    parts = list(utterances(text, 60, "english", lambda sentence: sentence.replace("5", "five hundred and five")))
    assert all(len(part) <= 60 for part in parts)
    assert " ".join(parts) == ("It is five hundred and five. " * 40).strip()
    assert list(utterances("It is 5.", 60, "english", str.upper)) == ["IT IS 5."]
    with pytest.raises(UsageError, match="this voice can say"):
        utterances("éé", 60, "english", lambda sentence: sentence.replace("é", ""))
    with pytest.raises(UsageError, match="this voice can say"):
        list(utterances("é. " * 60, 60, "english", lambda sentence: sentence.replace("é", "")))


ALPHABET = st.sampled_from(
    [
        *"abcXYZ019 .,;:!?…\n\t\r\"'()“”«»—–-。！？，、「」你好한ж é😀🇩🇪",
        *"\u0301\u200d\u00a0\u3000\u2029\x85\x1c\ud800\udc00",
        *("Mr. ", " z. B. ", "\n\n", "word ", "Yes. ", "5,20 ", "a" * 40, " " * 50, "M. D"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(ALPHABET, max_size=120).map("".join),
    limit=st.sampled_from([1, 2, 5, 17, 60, 300]),
    language=st.sampled_from([*SENTENCES, "auto", "en", "sichuan_dialect", "klingon"]),
)
def test_no_letter_is_lost_or_doubled(text, limit, language):
    try:
        parts = list(utterances(text, limit, language))
    except UsageError:
        assert not letters(text)
        return
    if len(text) <= limit:
        assert parts == [text]
    else:
        assert_parts_of(text, parts, limit)


@settings(max_examples=40, deadline=None)
@given(sentences=st.lists(st.lists(ALPHABET, max_size=60).map("".join), min_size=40, max_size=80))
def test_no_letter_is_lost_at_the_edges_of_windows(sentences):
    text = "Begin. " + " ".join(sentences) + "x" * 300
    assert_parts_of(text, list(utterances(text, 300, "english")), 300)


def test_a_crash_of_sentencex_loses_no_text(monkeypatch):
    import sentencex

    class Panic(BaseException):
        pass

    def crash(language, text):
        raise Panic

    text = SENTENCES["english"] * 30
    monkeypatch.setattr(sentencex, "segment", crash)
    assert_parts_of(text, list(utterances(text, 300, "english")), 300)
    monkeypatch.setattr(sentencex, "segment", lambda language, text: [text[:10]])
    assert_parts_of(text, list(utterances(text, 300, "english")), 300)


MEGABYTE = 1 << 20
FLOODS = {
    "prose": SENTENCES["english"],
    "quotations": SENTENCES["chinese"],
    "words": "word ",
    "letters": "a",
    "digits": "1",
    "han": "字",
    "open quotes": "“a",
    "dots": "a....",
    "commas": "a,",
    "marks": "a" + ";" * 700,
    "spaces": "a" + " " * 5000,
    "lines": "a\n",
    "paragraphs": "a\n\n",
    "accents": "e\u0301",
    "emoji": "a😀",
    "abbreviations": "Mr. A. ",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_megabyte_takes_linear_time_and_flat_memory(flood):
    text = (FLOODS[flood] * (MEGABYTE // len(FLOODS[flood]) + 1))[:MEGABYTE]
    start = time.process_time()
    first = next(utterances(text, 300, "english"))
    assert time.process_time() - start < allowed(1.0)
    assert first
    # A sixteenth of the text is enough to detect quadratic time, and keeps the test short.
    count = sum(len(letters(part)) for part in utterances(text[: MEGABYTE // 16], 300, "english"))
    assert count == len(letters(text[: MEGABYTE // 16]))
    assert time.process_time() - start < allowed(5.0)


def test_memory_is_flat():
    text = SENTENCES["english"] * (MEGABYTE // len(SENTENCES["english"]))
    next(utterances(text, 300, "english"))
    tracemalloc.start()
    for _ in islice(utterances(text, 300, "english"), 500):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("text", [" " * MEGABYTE, "!?" * (MEGABYTE // 2), "\n" * MEGABYTE, "— " * (MEGABYTE // 2)])
def test_a_megabyte_without_letters(text):
    start = time.process_time()
    with pytest.raises(UsageError):
        utterances(text, 300, "english")
    parts = list(utterances(text + "a", 300, "english"))
    assert len(parts) == 1
    assert parts[0].endswith("a")
    assert time.process_time() - start < allowed(10)


def english_only(**changes):
    voice = SimpleNamespace(name="pocket", default_language="english", spell_out=True)
    return SimpleNamespace(**{"voice": voice, "languages": {"english": 5}, **changes})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Hello 你好", "Chinese text ('你', U+4F60) needs a large model: qwen3tts models pull 0.6b, then -m 0.6b"),
        ("今日はいい天気", "Japanese text ('今', U+4ECA)"),
        ("カタカナ", "Japanese text"),
        ("안녕", "Korean text"),
        ("Привет", "Cyrillic text"),
        ("p\u0430y", "Cyrillic text ('\u0430', U+0430)"),
        ("مرحبا", "Arabic text ('م', U+0645) is in none of the ten languages"),
        ("สวัสดี", "Thai text"),
        ("λόγος", "Greek text"),
    ],
)
def test_a_script_the_embedded_voice_does_not_speak(text, named):
    with pytest.raises(UsageError) as error:
        check_script(text, english_only())
    assert str(error.value).startswith("the embedded voice (pocket) speaks English only; ")
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "Café naïve Straße ﬁne",
        "Ｆｕｌｌ 𝐁𝐨𝐥𝐝",
        "α-rays, 2π, Δt, 5 µm, 3 Ω",
        "😀 … € ½ ²",
        "",
        "ʻokina ªº",
        "\ud800",
    ],
)
def test_text_the_embedded_voice_accepts(text):
    check_script(text, english_only())


def test_the_large_models_refuse_nothing():
    check_script("Hello 你好 สวัสดี", english_only(voice=None))
    check_script("Hello 你好", english_only(languages={"english": 5, "chinese": 6}))


def test_script_check_of_a_hostile_megabyte():
    text = "".join(map(chr, range(0x4E00, 0x9FFF))) * 50
    start = time.process_time()
    with pytest.raises(UsageError):
        check_script(text, english_only())
    check_script("α " * (MEGABYTE // 2), english_only())
    assert time.process_time() - start < allowed(2)


@pytest.mark.parametrize(
    "text", ["Hello Привет", "α-rays, 2π", "the λόγος", "αβ", "naïve", "x α", "今日はいい", "", "µ"]
)
def test_pieces_are_refused_where_the_whole_is(text):
    def refuses(check):
        try:
            check()
        except UsageError:
            return True
        return False

    want = refuses(lambda: check_script(text, english_only()))
    for at in range(len(text) + 1):
        for pieces in ([text[:at], text[at:]], [*text[:at], "", text[at:]]):
            incoming = IncomingScriptCheck(english_only())
            assert refuses(lambda pieces=pieces, incoming=incoming: [incoming.feed(piece) for piece in pieces]) == want


def test_the_large_models_refuse_no_piece():
    IncomingScriptCheck(english_only(voice=None)).feed("Hello 你好")


def test_windows_hold_several_utterances():
    assert long_text._MIN_WINDOW_CHARACTERS >= 4 * 300
