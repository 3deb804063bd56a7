"""Everyday text prepared for the embedded voice: abbreviations, ranges, groups of digits, HTML, Markdown, terminals."""

from __future__ import annotations

import json
import re

import pytest
from helpers import POCKET
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3tts_cli.models.config.model import VoiceManifest
from qwen3tts_cli.text.markup import strip_markup
from qwen3tts_cli.text.preparation import fold_and_spell, prepare
from qwen3tts_cli.text.utterances import utterances

POCKET_MANIFEST = VoiceManifest(**json.loads((POCKET / "voice.json").read_text(encoding="utf-8")))
MEGABYTE = 1 << 20


def cases(*tables):
    return pytest.mark.parametrize(("text", "expected"), [case for table in tables for case in table.items()])


NO_SENTENCE_END = {
    "Celtics vs. Lakers": "Celtics versus Lakers",
    "Roe v. Wade": "Roe versus Wade",
    "cities, e.g. London": "cities, for example London",
    "i.e. The Hague, e.g.London": "that is The Hague, for example London",
    "cf. Smith, et al. Nature": "compare Smith, and others Nature",
    "J.R.R. Tolkien": "J R R Tolkien",
    "J. R. R. Tolkien": "J R R Tolkien",
    "J.R.R Tolkien": "J R R Tolkien",
    "George W. Bush, J. K. Rowling": "George W Bush, J K Rowling",
    "J. and K. Smith": "J and K Smith",
    "the U.S. Army": "the U S Army",
    "the U.K. Parliament": "the U K Parliament",
    "Washington, D.C. Mayor": "Washington, D C Mayor",
    "5th Ave. New York": "fifth Avenue New York",
    "5th Ave New York": "fifth Avenue New York",
    "123 Main St. New York": "123 Main Street New York",
    "12 N. Elm St. Anytown": "12 North Elm Street Anytown",
    "Sunset Blvd. Hollywood": "Sunset Boulevard Hollywood",
    "the Main St. Bridge": "the Main Street Bridge",
    "'Dr. Lee', Sgt. 1st Class Lee": "'Doctor Lee', Sergeant first Class Lee",
    "Approx. 5, Max. 6, Est. 1990": "Approximately 5, Maximum 6, Established nineteen ninety",
    "2 c. Flour, 3 pt. Milk": "2 cups Flour, 3 pints Milk",
    "in St. Louis": "in Saint Louis",
    "Mt. Everest, Ft. Worth": "Mount Everest, Fort Worth",
    "Mr. & Mrs. Smith": "Mister and Missus Smith",
    "Mr. and Mrs. Smith": "Mister and Missus Smith",
    "Gen. & Mrs. Lee, Drs. Wu and Kim": "General and Missus Lee, Doctors Wu and Kim",
    "Lt. Col. Smith, Sgt. Pepper, Maj. Gen. Lee": "Lieutenant Colonel Smith, Sergeant Pepper, Major General Lee",
    "Adm. Lee, Cpl. Roe, Pvt. Ryan, Capt. Kirk": "Admiral Lee, Corporal Roe, Private Ryan, Captain Kirk",
    "Sen. Warren, Rep. Lee, Gov. Brown, Rev. King": "Senator Warren, Representative Lee, Governor Brown, Reverend King",
    'Dr. "Bones" McCoy': "Doctor Bones McCoy",
    "on Jan. Friday, in Sept. London": "on January Friday, in September London",
    "Mon. May 5, on Sat. Bob": "Monday May fifth, on Saturday Bob",
    "Acme Inc. Chairman": "Acme Incorporated Chairman",
    "Ford Motor Co. Director": "Ford Motor Company Director",
    "Warner Bros. Pictures": "Warner Brothers Pictures",
    "Martin Luther King Jr. Day": "Martin Luther King Junior Day",
    "Boston, Mass. Police": "Boston, Massachusetts Police",
    "Calif. Governor, Austin, Tex. Mayor": "California Governor, Austin, Texas Mayor",
    "John Lee, Ph.D. Chair": "John Lee, P H D Chair",
    "6 lbs. Apples, 2 tbsp. Sugar, 1/2 tsp. Salt": "6 pounds Apples, 2 tablespoons Sugar, one half teaspoon Salt",
    "5 ft. 10 in. tall": "5 feet 10 inches tall",
    "100 sq. ft. of land": "100 square feet of land",
    "a 10-lb. bag": "a 10-pound bag",
    "No. 5, Nos. 3 and 4": "number 5, numbers 3 and 4",
    "Fig. 2, Fig. A, Vol. II, Ch. IV": "Figure 2, Figure A, Volume 2, Chapter 4",
    "p. 12, pp. 5-9, Eq. (3)": "page 12, pages 5 to 9, Equation, 3",
    "at 7 p.m. Eastern, the 8 p.m. Lakers game": "at seven p m Eastern, the eight p m Lakers game",
}

SENTENCE_END = {
    "He lives in the U.S. He likes it.": "He lives in the U S. He likes it.",
    'In the U.S. "He said so."': "In the U S. He said so.",
    "On Fifth Ave. He walked.": "On Fifth Avenue. He walked.",
    "On Elm St. He walked.": "On Elm Street. He walked.",
    "At Acme Inc. It is big.": "At Acme Incorporated. It is big.",
    "She has a Ph.D. She works.": "She has a P H D. She works.",
    "In Dec. He left.": "In December. He left.",
    "At 7 p.m. Then we left.": "At seven p m. Then we left.",
    "Apples, etc. John came.": "Apples, et cetera. John came.",
    "10 min. He left.": "10 minutes. He left.",
    "Vitamin C. It helps.": "Vitamin C. It helps.",
    "I said no. He left.": "I said no. He left.",
    "It is 6 ft.": "It is 6 feet.",
    "They didn't like the U.S. Didn't you?": "They didn't like the U S. Didn't you?",
}

RANGES = {
    "9am-5pm, 9 a.m.-5 p.m. today": "nine a m to five p m, nine a m to five p m today",
    "9am–5pm, 9:30am - 5pm": "nine a m to five p m, nine thirty a m to five p m",
    "$1M-$2M, $1M–$2M, $1M - $2M": ", ".join(["one million dollars to two million dollars"] * 3),
    "$1-2 million, $5-10, £3-5bn": "one to two million dollars, five to ten dollars, three to five billion pounds",
    "$1.50-2.50": "one dollar and fifty cents to two dollars and fifty cents",
    "1990-1995, 1990 - 1995": ", ".join(["nineteen ninety to nineteen ninety-five"] * 2),
    "pages 5 - 9, 5 - 10 minutes": "pages 5 to 9, 5 to 10 minutes",
    "1980s-1990s, 1920s-30s": "nineteen eighties to nineteen nineties, nineteen twenties to thirties",
    "1st-3rd, 5km-10km, 5%–10%": "first to third, 5 kilometers to 10 kilometers, 5 percent to 10 percent",
    "Mon-Fri, Jan.–Mar., Monday-Friday": "Monday to Friday, January to March, Monday to Friday",
    "May 5–June 6": "May fifth to June sixth",
    "5 - 3": "5 minus 3",
    "3 - 5": "3 minus 5",
    "10 - 4 = 6, 5 - 3 is 2, 5-3=2": "10 minus 4 equals 6, 5 minus 3 is 2, 5 minus 3 equals 2",
    "noon-1pm": "noon to one p m",
    "5~10, ~5, 5 ~ 10, 5km~10km": "5 to 10, about 5, 5 to 10, 5 kilometers to 10 kilometers",
    "10³–10⁵, ~$5, $5 million-$6 million": "10 cubed to 10 to the power of 5, about five dollars, "
    "five million dollars to six million dollars",
    "5～10, 5〜10": "5 to 10, 5 to 10",
    "We have 5 cats - 3 are black.": "We have 5 cats - 3 are black.",
}

GROUPS = {
    "1 000 000": "one million",
    "1\u00a0000, 1\u202f000\u202f000, 1\u2009234": "one thousand, one million, one thousand two hundred thirty-four",
    "1 234 567 people": "one million two hundred thirty-four thousand five hundred sixty-seven people",
    "10 000, 1'000'000, 1_000_000, 1.000.000": "ten thousand, one million, one million, one million",
    "100 200 300": "100 200 300",
    "1 000,50, 5 000 000.5": "one thousand point five zero, five million point five",
    "01 23 45 67 89": "zero one, two three, four five, six seven, eight nine",
    "(555)-123-4567": "five five five, one two three, four five six seven",
    "1234 5678 9012 3456": "one two three four, five six seven eight, nine zero one two, three four five six",
    "2019 2020 2021": "twenty nineteen twenty twenty twenty twenty-one",
    "+1 (555) 123-4567": "plus one, five five five, one two three, four five six seven",
    "+1(555)123-4567": "plus one, five five five, one two three, four five six seven",
    "555-1234, 555 123 4567": "five five five, one two three four, five five five, one two three, four five six seven",
    "+44 20 7946 0958": "plus four four, two zero, seven nine four six, zero nine five eight",
    "1-800-FLOWERS": "one, eight zero zero, FLOWERS",
    "10.0.0.1": "10 point 0 point 0 point 1",
}

MONEY = {
    "A$5, C$20, NZ$3": "five Australian dollars, twenty Canadian dollars, three New Zealand dollars",
    "US$3, HK$1.5m, R$ 10": "three dollars, one point five million Hong Kong dollars, ten Brazilian reais",
    "$-5, -$5": "minus five dollars, minus five dollars",
    "$.50, $.05": "fifty cents, five cents",
    "€5,50, 5,50 €, €1.234,50": "five euros and fifty cents, five euros and fifty cents, "
    "one thousand two hundred thirty-four euros and fifty cents",
    "€5,-": "five euros",
    "3,5 %, 1,5 km": "three point five percent, one point five kilometers",
    "$5/month, $20/hr": "five dollars per month, twenty dollars per hour",
    "₱5, ₿1": "five pesos, one bitcoin",
}

FIGURES = {
    "10²³, 10⁶, 10⁻³": "10 to the power of 23, 10 to the power of 6, 10 to the power of minus 3",
    "x⁴, x², word²³": "x to the power of 4, x squared, word",
    "6.02×10²³, 1e5": "six point zero two times 10 to the power of 23, 1 times 10 to the power of 5",
    "30s": "30 seconds",
    "wait 30s, for 20s, 30s later, 5s": "wait 30 seconds, for 20 seconds, 30 seconds later, 5 seconds",
    "the 30s, her 30s, mid-30s, the '30s": "the thirties, her thirties, mid-thirties, the thirties",
    "in their 20s and 30s, 80s music": "in their twenties and thirties, eighties music",
    "1m 30s, 2h30m": "1 minute 30 seconds, 2 hours 30 minutes",
    "100s of, 1000s of": "hundreds of, thousands of",
    "5 ft 10 in tall": "5 feet 10 inches tall",
    "10 / 2, 2x + 3": "10 divided by 2, 2 x plus 3",
    "№ 5": "number 5",
    "5x faster, 1920x1080": "5 times faster, nineteen twenty by one thousand eighty",
    "9/11, 50/50, 10/10": "9 11, 50 50, 10 out of 10",
    "0xFF": "zero x F F",
    "24:00": "midnight",
    "12/25/24, 2024/12/25": "December twenty-fifth, twenty twenty-four, December twenty-fifth, twenty twenty-four",
    "5 Jan 2024, Jan 5, 2024": "5 January twenty twenty-four, January fifth, twenty twenty-four",
    "a 5-km run": "a 5-kilometer run",
    '2" x 4"': "2 inches by 4 inches",
    "Henry VIII, World War II, Part I": "Henry the eighth, World War 2, Part 1",
    "Malcolm X, Elizabeth I said": "Malcolm X, Elizabeth I said",
    "Apt. 5B, 221B Baker St.": "Apartment 5 B, 221 B Baker Street.",
    r"C:\Users\me": "C: backslash Users backslash me",
    "w/out, b/c, n/a": "without, because, not applicable",
    "the .com boom, .NET": "the dot com boom, dot NET",
    "a<b, 5 < 6": "a less than b, 5 less than 6",
}

HTML = {
    "R&amp;D, AT&T, &lt;5": "R and D, AT and T, less than 5",
    "&#8364;5, &#x20AC;6, &euro;7": "five euros, six euros, seven euros",
    "caf&eacute; &quot;x&quot; a&nbsp;b &mdash; c&hellip;": "cafe x a b, c...",
    "&frac12; &times; 3&deg;": "one half times 3 degrees",
    "&unknown; &": "and unknown; and",
    "<p>One</p><p>Two <b>bold</b><br/>Three</p>": "One. Two bold Three",
    '<a href="http://x.y/z">link</a> <img src=x alt="y">': "link",
    "x<sup>2</sup>, H<sub>2</sub>O, the 5<sup>th</sup>": "x squared, H 2 O, the fifth",
    "Dear <name>, <https://a.org> <b@c.de>": "Dear name, a dot org b at c dot de",
    "if a <b and c> d": "if a b and c d",
    "one <!-- two\n\nthree --> four": "one four",
}

MARKDOWN = {
    '[the docs](https://a.b/c_(d) "Title") here': "the docs here",
    "![a cat](cat.png) and [![badge](b.svg)](http://c)": "a cat and badge",
    "see [this][1] and [that][].\n\n[1]: https://a.b\n[that]: /c": "see this and that.",
    "[John]: hello": "John: hello",
    "a note[^1].\n\n[^1]: The note.": "a note. The note.",
    "**bold**, *it*, __b__, _i_, ~~s~~, `c`, ***bi***, ==m==": "bold, it, b, i, s, c, bi, m",
    "un**bold**ed, *it*s": "unbolded, its",
    "2*3, 5 * 3, 2**10, snake_case": "2 times 3, 5 times 3, 2 to the power of 10, snake case",
    "# Head\nText\n## Sub ##\nmore": "Head. Text. Sub. more",
    "Title\n=====\nText": "Title. Text",
    "- [ ] buy milk\n- [x] call Bob": "buy milk. call Bob",
    "1. Milk\n2. Eggs": "1. Milk. 2. Eggs",
    "> quoted\n> > twice": "quoted twice",
    "Code:\n```python\nrun it\n```\ndone": "Code: run it. done",
    "~~~sh\nrun\n~~~\n\n```\nend": "run. end",
    "~~~~ mango": "mango",
    "| Name | Age |\n|---|:-:|\n| Bob | 5 |": "Name, Age. Bob, 5.",
    "a | b\n--|--\n1 | 2": "a, b. 1, 2.",
    "one\n\n* * *\n\ntwo": "one. two",
    r"\*not\* \_this\_": "not this",
}

TERMINALS = {
    "\x1b[31mred\x1b[0m and \x1b[1;38;5;9mbold\x1b[K": "red and bold",
    "\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "text link",
    "\x9b1mx \x1b(By": "x y",
    "an open \x1b]string": "an open string",
    "N\bNA\bAME": "NAME",
}

DIVIDED = {
    "exam-\nple": "example",
    "exam-\r\n  ple, exam-\rple": "example, example",
    "exam\u00ad\nple": "example",
    "exam\u2010\nple": "example",
    "well-\nknown, twenty-\nfive": "well-known, twenty-five",
    "mother-in-\nlaw, Anglo-\nSaxon": "mother-in-law, Anglo-Saxon",
    "pre-\nand postwar": "pre- and postwar",
    "1990-\n1995": "nineteen ninety to nineteen ninety-five",
    "one\n- two": "one. two",
}

LINE_ENDS = {
    "it was\r\nthe worst": "it was the worst",
    "it was\rthe worst": "it was the worst",
    "Title\r\n\r\nText": "Title. Text",
    "one\r\n- two\r- three": "one. two. three",
}


@cases(NO_SENTENCE_END)
def test_an_abbreviation_before_a_capital_is_no_sentence_end(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected


@cases(SENTENCE_END)
def test_a_sentence_still_ends_behind_an_abbreviation(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected


@cases(RANGES, GROUPS, MONEY, FIGURES)
def test_numbers_of_everyday_text(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected


@cases(HTML, MARKDOWN, TERMINALS)
def test_markup_is_not_read(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected


@cases(DIVIDED, LINE_ENDS)
def test_line_ends(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected


@pytest.mark.parametrize("text", ["\x1b]", "<!--", "<!-- x", "<b a='", "[a](", "[a][b", "`", "**", "&#;", "|", "\\"])
def test_markup_that_is_not_closed_keeps_the_words_behind_it(text):
    assert prepare(f"{text} mango", POCKET_MANIFEST).endswith("mango")


FRUIT = ["mango", "cherry", "papaya"]
AROUND_WORDS = [
    *FRUIT * 4,
    *(
        " ",
        " ",
        "\n",
        "\n\n",
        ". ",
        ", ",
        "*",
        "**",
        "_",
        "`",
        "```\n",
        "~~ ",
        "#",
        "\n# ",
        ">",
        "\n> ",
        "|",
        "\n|",
        "|\n",
    ),
    *(
        "|---|",
        "[",
        "]",
        "[ ]",
        "(",
        ")",
        "\n- ",
        "-\n",
        "\n1. ",
        "&",
        "&amp;",
        "<",
        ">",
        "<b>",
        "<br>",
        "\\",
        "=",
        "===",
    ),
    *(
        "\n---\n",
        "\n===\n",
        ":",
        "://",
        "@",
        "5",
        "1 000",
        "30s",
        "$",
        "-",
        " - ",
        "~",
        "^",
        "/",
        '"',
        "'",
        "Mr. ",
        "U.S. ",
    ),
    *("\x1b[0m", "\r\n", "\t", "…", "—", "–", "½", "²", "°"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(AROUND_WORDS), max_size=40).map("".join))
def test_no_word_is_lost(text):
    said = re.sub("[^a-z]", "", prepare(text, POCKET_MANIFEST).lower())
    assert re.findall("|".join(FRUIT), said) == re.findall("|".join(FRUIT), text)


LINES = (
    "It was the best.\nIt was the worst of times.\n\nIt was the age of wisdom and exam-\nple, and of Mr. Smith. " * 20
)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_all_line_ends_give_the_same_utterances(end):
    def said(text: str) -> list[str]:
        return list(
            utterances(strip_markup(text), 140, "english", lambda sentence: fold_and_spell(sentence, POCKET_MANIFEST))
        )

    assert said(LINES.replace("\n", end)) == said(LINES)
    assert not any("- ple" in part for part in said(LINES))


def test_markup_across_paragraphs_and_sentences_is_gone_before_the_text_is_split():
    text = (
        "Start here. <!-- One. Two.\n\nThree. --> **Bold one. Bold two.** [A link. Of two.](http://a.b) " + "End. " * 60
    )
    said = " ".join(
        utterances(strip_markup(text), 140, "english", lambda sentence: fold_and_spell(sentence, POCKET_MANIFEST))
    )
    assert said.startswith("Start here. Bold one. Bold two. A link. Of two. End.")


@pytest.mark.parametrize(
    "flood",
    [
        *(
            "\x1b[",
            "\x1b]",
            "\x9b",
            "a\b",
            "<!--",
            "<b ",
            "<b a='",
            '<b a="x" ',
            "</",
            "<a@",
            "[",
            "](",
            "[a](",
            "![a](",
        ),
        *("[a][", "[a]: /b\n", "[^", "*", "**a", "*a", "_a", "__", "~~", "==a", "`", "\\", "# a\n", "> ", "|", "|-\n"),
        *("a|b\n-|-\n", "- [ ] ", "&", "&#", "&a", "&amp;", "a-\n", "-\n", "\r", "\r\n"),
    ],
)
def test_hostile_markup_keeps_the_text_behind_it(flood):
    text = flood * (MEGABYTE // 8 // len(flood))
    assert strip_markup(text + "\n\nmango").endswith("mango")
