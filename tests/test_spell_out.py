"""Preparing text for the embedded voice: characters folded to its alphabet, numbers and signs as words."""

from __future__ import annotations

import json
import time

import pytest
from helpers import POCKET, allowed, golden_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.models.config.model import VoiceManifest
from qwen3tts_cli.text.english import number_words
from qwen3tts_cli.text.preparation import prepare
from qwen3tts_cli.text.utterances import utterances

POCKET_MANIFEST = VoiceManifest(**json.loads((POCKET / "voice.json").read_text(encoding="utf-8")))
ALLOWED = set(POCKET_MANIFEST.allowed_characters)
MEGABYTE = 1 << 20


def spoken(text: str) -> str:
    result = prepare(text, POCKET_MANIFEST)
    assert set(result) <= ALLOWED
    return result


@pytest.mark.parametrize("text", [row["text"] for row in golden_rows("pocket", "tts")])
def test_golden_texts_are_unchanged(text):
    assert prepare(text, POCKET_MANIFEST) == text


@pytest.mark.parametrize(
    "text",
    ["", "  Hello  world ", "Wait... what?! No!!", "It has 999 rooms, 0 doors.", "'Tis - well; so: yes", "COVID-19"],
)
def test_text_as_declared_is_unchanged_spaces_included(text):
    assert prepare(text, POCKET_MANIFEST) == text


def test_other_models_get_the_raw_text():
    text = "  “Ünïcode” $5 你好 😀\n"
    assert prepare(text, None) == text
    assert prepare(text, POCKET_MANIFEST._replace(spell_out=False)) == text


FOLDED = {
    "“Quotes” „low“ «French» and ‘single’": "Quotes low French and 'single'",
    "it’s, it‘s, itʼs, it′s": "it's, it's, it's, it's",
    "one — two – three―four": "one, two, three, four",
    "well‑known non‐breaking": "well-known non-breaking",
    "and… so": "and... so",
    "Café naïve Straße Ærø Łódź Þór ĳ": "Cafe naive Strasse AEro Lodz Thor ij",
    "ﬁne ﬂow Ｆｕｌｌ　ｗｉｄｔｈ！ 𝐁𝐨𝐥𝐝": "fine flow Full width! Bold",
    "soft\u00adhyphen zero\u200bwidth \ufeffmark": "softhyphen zerowidth mark",
    "nb\u00a0space thin\u2009space": "nb space thin space",
    "e\u0301t\u0323e\u0301": "ete",
    "tab\tand\nline": "tab and line",
    "Title\n\nText\n- item\n- other": "Title. Text. item. other",
    "smile 😀👍🏽 👨\u200d👩\u200d👧 🇩🇪 end :-)": "smile end",
    "¿Qué? ¡Sí!": "Que? Si!",
    "word¹ and note²³": "word and note",
    "\ud800 lone\x00 \x1b[0m": "lone",
}

NUMBERS = {
    "0 7 42 999": "0 7 42 999",
    "1000 1001 12345": "one thousand one thousand one twelve thousand three hundred forty-five",
    "1,234,567 of 10,000": "one million two hundred thirty-four thousand five hundred sixty-seven of ten thousand",
    "in 1999, 2024, 1905, 2005 and 1800": "in nineteen ninety-nine, twenty twenty-four, nineteen oh-five, "
    "two thousand five and eighteen hundred",
    "the 1900s, the 1980's, the '90s": "the nineteen hundreds, the nineteen eighties, the nineties",
    "the 21st, 2nd and 1,001st": "the twenty-first, second and one thousand first",
    "3.14, 0.5 and .5": "three point one four, zero point five and point five",
    "1/2, 3/4, 2/3, 1/8, 7/12": "one half, three quarters, two thirds, one eighth, 7 over 12",
    "1 1/2, 5½ cups, ¾": "one and a half, five and a half cups, three quarters",
    "24/7": "24 7",
    "3-5, 10–20, 1999-2003": "3 to 5, 10 to 20, nineteen ninety-nine to two thousand three",
    "5%-10%, $3-$5": "5 percent to 10 percent, three dollars to five dollars",
    "-5 and −7": "minus 5 and minus 7",
    "007": "zero zero seven",
    "10000000000": "ten billion",
    "５００ and ٣": "500 and 3",
    "1.2.3 and 192.168.0.1": "1 point 2 point 3 and 192 point 168 point 0 point 1",
    "MP3 B2B H₂O": "MP 3 B 2 B H 2 O",
    "10k, 3.5M": "ten thousand, three point five million",
    "1,2000": "1,two thousand",
}

MONEY = {
    "$5.20": "five dollars and twenty cents",
    "$1, $1.00, $0.99, $1.01": "one dollar, one dollar, ninety-nine cents, one dollar and one cent",
    "£3m": "three million pounds",
    "€1,000": "one thousand euros",
    "$1.5 million": "one point five million dollars",
    "5 €, 5.20 EUR, USD 20": "five euros, five euros and twenty cents, twenty dollars",
    "£1.02": "one pound and two pence",
    "¥500, ₹10, ₩1000": "five hundred yen, ten rupees, one thousand won",
    "-$5": "minus five dollars",
    "$4/kg": "four dollars per kilogram",
    "20¢": "twenty cents",
}

UNITS = {
    "10%, 3.5 %": "10 percent, three point five percent",
    "20°C, 72 °F, 1°, -5℃": "20 degrees Celsius, 72 degrees Fahrenheit, 1 degree, minus 5 degrees Celsius",
    "5 km, 1 km, 5km, 2.5 km": "5 kilometers, 1 kilometer, 5 kilometers, two point five kilometers",
    "100 km/h, 60 mph, 3 m/s": "100 kilometers per hour, 60 miles per hour, 3 meters per second",
    "3 m², 3 m3": "3 square meters, 3 cubic meters",
    "16 GB, 2.4 GHz, 5 µm, 3 Ω": "16 gigabytes, two point four gigahertz, 5 micrometers, 3 ohms",
    "5'11\"": "5 feet 11",
}

TIMES = {
    "at 7:30 pm": "at seven thirty p m",
    "14:05, 7:00, 00:00, 18:00": "fourteen oh five, seven o'clock, midnight, eighteen hundred",
    "7am to 9 p.m. Then": "seven a m to nine p m. Then",
    "7:30-9:00 pm": "seven thirty to nine p m",
    "2024-05-06": "May sixth, twenty twenty-four",
    "12/25/2024": "December twenty-fifth, twenty twenty-four",
    "25/12/2024, 25.12.2024": "December twenty-fifth, twenty twenty-four, December twenty-fifth, twenty twenty-four",
    "May 5, 2024": "May fifth, twenty twenty-four",
    "2024-05-06T14:05": "May sixth, twenty twenty-four fourteen oh five",
    "99/99/2024 25:61": "99 slash 99 slash twenty twenty-four 25 to 61",
}

SIGNS = {
    "AT&T & co": "AT and T and co",
    "a + b = c": "a plus b equals c",
    "5 × 3 * 2 ÷ 1": "5 times 3 times 2 divided by 1",
    "5 < 6 > 3 ≤ 9": "5 less than 6 greater than 3 less than or equal to 9",
    "2^10, x², 10⁶": "2 to the power of 10, x squared, 10 to the power of 6",
    "#5, #tag, C#, C++": "number 5, hashtag tag, C sharp, C plus plus",
    "~5 and snake_case": "about 5 and snake case",
    "and/or, he/she": "and or, he slash she",
    "**bold** <b>tag</b> ---- [x] `code`": "bold tag, x, code",
    "word (aside) word.": "word, aside, word.",
    'He said "yes"!': "He said yes!",
    "left | right → next": "left, right to next",
    "α-rays, 2π, Δt": "alpha-rays, 2 pi, delta t",
}

ABBREVIATIONS = {
    "Mr. Smith, Mrs Jones, Dr. Who": "Mister Smith, Missus Jones, Doctor Who",
    "St. Louis, Elm St. is, Fifth Ave.": "Saint Louis, Elm Street is, Fifth Avenue.",
    "e.g. this, i.e. that, etc.": "for example this, that is that, et cetera.",
    "foo vs. bar": "foo versus bar",
    "No. 5, p. 7, Fig. 2, Jan. 3.": "number 5, page 7, Figure 2, January third.",
    "I said no.": "I said no.",
    "the U.S. is, in the U.S.": "the U S is, in the U S.",
    "Acme Inc. and John Jr.": "Acme Incorporated and John Junior.",
    "me@example.com": "me at example dot com",
    "https://www.example.com/a-b?x=1.": "example dot com slash a dash b question mark x equals 1.",
    "see example.com, file.txt": "see example dot com, file dot txt",
    "end.Next": "end. Next",
}

PHONES = {
    "555-1234": "five five five, one two three four",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+1 555 123 4567": "plus one, five five five, one two three, four five six seven",
    "5551234567": "five five five one, two three four five, six seven",
    "500-1000": "500 to one thousand",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [case for table in (FOLDED, NUMBERS, MONEY, UNITS, TIMES, SIGNS, ABBREVIATIONS, PHONES) for case in table.items()],
)
def test_wording(text, expected):
    assert spoken(text) == expected


def test_numbers_beyond_names_are_read_digit_by_digit():
    assert spoken("1" * 15 + "0" * 3) == number_words.digits("1" * 15 + "0" * 3)
    assert number_words.cardinal("9" * 15).startswith("nine hundred ninety-nine trillion")
    flood = spoken("7" * 100_000)
    assert flood.count("seven") == 100_000
    assert max(map(len, flood.split(", "))) < 30
    assert spoken("1,000" + ",000" * 9) == number_words.digits("1" + "0" * 30)
    assert spoken("0." + "3" * 40).startswith("0 point three three")


def test_every_digit_of_a_number_that_is_no_known_form_is_read():
    assert spoken("a1,99999.x.2024/13-7777:88888") == (
        "a 1,ninety-nine thousand nine hundred ninety-nine.x.twenty twenty-four slash 13 to "
        "seven thousand seven hundred seventy-seven to eighty-eight thousand eight hundred eighty-eight"
    )


def test_a_manifest_without_digits_or_alphabet():
    no_digits = POCKET_MANIFEST._replace(allowed_characters="abcdefghijklmnopqrstuvwxyz .")
    assert prepare("I have 5 Cats, twenty-one.", no_digits) == "i have five cats twenty one."
    anything = POCKET_MANIFEST._replace(allowed_characters=None, whole_numbers_as_digits_up_to=None)
    assert prepare("‘7’ é", anything) == "'seven' e"
    umlauts = POCKET_MANIFEST._replace(allowed_characters=POCKET_MANIFEST.allowed_characters + "éß")
    assert prepare("é ß ü", umlauts) == "é ß u"
    french = POCKET_MANIFEST._replace(default_language="french")
    assert prepare("“5 été 2024”", french) == "5 ete 2024"


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.sampled_from("0123456789.,:/-$€%°+#@^()'\" \nkmhpst"), st.characters()), max_size=80))
def test_any_text_ends_within_the_alphabet(text):
    result = prepare(text, POCKET_MANIFEST)
    assert set(result) <= ALLOWED
    assert not [run for run in "".join(c if c.isdigit() else " " for c in result).split() if int(run) > 999]


@settings(max_examples=200, deadline=None)
@given(st.text("abcXYZ ,;!?'-", max_size=80))
def test_plain_words_are_never_changed(text):
    plain = "a" + text
    if "--" not in plain:
        assert prepare(plain, POCKET_MANIFEST) == plain


FLOODS = [
    *("1", "1.", "1,", "1,000", "1,000,", "1-", "+1 ", "$1", "1:30", "1/", "1 1/", "555-1234", "1%", "1_", "0", ".1"),
    *(
        "a@",
        "a@a.",
        "A.",
        "www.",
        "http://",
        "<a",
        "(555)",
        "Mr.",
        "May 5",
        "2^",
        "1⁰",
        "α ",
        "½",
        "1−",
        "1–",
        "1e",
        "#",
    ),
    *(
        "1 000",
        "1 000 ",
        "1234 ",
        "1.000",
        "1'000",
        "+1(",
        "0x1",
        "1e5",
        "1x",
        "$1-",
        "1 - ",
        "5~",
        "30s ",
        "the 30s and ",
    ),
    *(
        "Mr. & ",
        "J. ",
        "5 St. A",
        "etc. ",
        "5 ft. ",
        "Jan. ",
        "Mon-",
        "Fig. A",
        "Henry V",
        "War I",
        "x²",
        "1²",
        "1\u2009",
    ),
    *("–1", "5,50€", "€1,", '5"', "\\a", "<a>", "a<", "1/2 tsp.", "1 1/2 in. ", "1m 3s", "1°1'1\"", ", Mass.", "\r\n"),
    *(
        "5' ",
        "5' x ",
        "1,00,",
        "12,34,567 ",
        "Rs. ",
        "7.30",
        "1-1-1",
        "05-",
        "0 May",
        "no. ",
        "$x",
        "~/",
        "/.",
        "B. Next ",
        "§",
    ),
    *("-", "\n", " ", "(", "e\u0301\u0316", "\u0301\u0316", "😀", "°", "=", ".", "!?", "\n- ", "\n "),
]


@pytest.mark.parametrize("flood", FLOODS)
def test_hostile_text_takes_linear_time(flood):
    def seconds(size: int) -> float:
        text = flood * (size // len(flood))
        start = time.process_time()
        spoken(text)
        return time.process_time() - start

    seconds(1000)
    # Quadratic time would take 100 times as long.
    assert seconds(20_000) < 40 * max(seconds(2000), 0.005)


def test_the_first_utterance_of_a_megabyte_comes_at_once():
    text = "It cost $1,234.56 on May 5, 2024. " * (MEGABYTE // 34)
    start = time.perf_counter()
    parts = utterances(text, 140, "english", lambda sentence: prepare(sentence, POCKET_MANIFEST))
    first = next(parts)
    assert time.perf_counter() - start < allowed(1)
    sentence = (
        "It cost one thousand two hundred thirty-four dollars and fifty-six cents on May fifth, twenty twenty-four."
    )
    assert first == next(parts) == sentence
