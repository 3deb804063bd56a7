"""The lexicon: lines of its file, which entry counts at a place, its digest, and time."""

from __future__ import annotations

import random
import time

import pytest
from helpers import allowed

from qwen3tts_cli.errors import InputError, UsageError
from qwen3tts_cli.spoken_text.lexicon import Entry, Lexicon


def read(folder, content: str | bytes) -> Lexicon:
    path = folder / "words.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Lexicon.read(path)


def test_lines_of_a_file(tmp_path):
    content = "\ufeff# from\tto\r\nnginx\tengine x\t\tiw\r\n\r\n \t \n#\n#1\tnumber one\n"
    content += "Mx\t\tde_DE.UTF-8\nSQL\tsequel\ten\t\n"
    lexicon = read(tmp_path, content + " & \t and \ncaf\u00e9\tcoffee house\tfrench\ti\rx\ty")
    assert lexicon.entries == (
        Entry("nginx", "engine x", "", True, True),
        Entry("#1", "number one"),
        Entry("Mx", "", "german"),
        Entry("SQL", "sequel", "english"),
        Entry(" & ", " and "),
        Entry("caf\u00e9", "coffee house", "french", True),
        Entry("x", "y"),
    )
    assert lexicon.apply("#1 uses Nginx & SQL.", "en") == "number one uses engine x and sequel."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\nc\n", "line 2: found 1 column"),
        ("a\tb\ten\ti\tx\n", "line 1: found 5 columns"),
        ("\n\n\tb\n", "line 3: the text to replace is empty"),
        ("a\tb\ten\tix\n", "line 1: flags 'ix': expected i, w or iw"),
        ("a\tb\t\tii\n", "line 1: flags 'ii'"),
        ("a\tb\tiw\n", "line 1: language 'iw': flags are the fourth column"),
        ("a\tb\n# \nA\tc\na\td\n", "line 4: 'a' is there twice"),
        ("Stra\u00dfe\tb\t\ti\nSTRASSE\tc\t\ti\n", "line 2: 'STRASSE' is there twice"),
        ("a\tb\ten\na\tc\tenglish\n", "line 2: 'a' is there twice"),
        ("a" * 201 + "\tb\n", "line 1: the text to replace has 201 characters"),
        (b"a\tb\nc\t\xff\n", "line 2: not UTF-8: byte 0xFF"),
        ("a\tb\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"a" * 16_000_001, "more than 16,000,000 bytes"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    assert str(error.value).startswith(f"lexicon {tmp_path / 'words.tsv'}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(UsageError, match=r"^lexicon "):
            Lexicon.read(path)


E = Entry


@pytest.mark.parametrize(
    ("entries", "text", "result"),
    [
        ([E("a", "b"), E("b", "c")], "ab ba", "bc cb"),
        ([E("New", "old"), E("New York", "Boston")], "New York, New Jersey", "Boston, old Jersey"),
        ([E("cat", "dog", whole_word=True)], "cat concat cats cat's _cat_", "dog concat cats dog's _dog_"),
        ([E("cat", "dog", whole_word=True)], "cat1 cat\u0301 cat", "cat1 cat\u0301 dog"),
        ([E("cat", "dog", whole_word=True), E("ca", "x")], "cats", "xts"),
        ([E("c++", "c plus plus", whole_word=True)], "c++ c++11 (c++)", "c plus plus c++11 (c plus plus)"),
        ([E("nginx", "engine x", any_case=True)], "NGINX nGinx", "engine x engine x"),
        ([E("sql", "a", any_case=True), E("SQL", "b")], "sql SQL Sql", "a b a"),
        ([E("sql", "a"), E("sql", "b", "english")], "sql", "b"),
        ([E("sql", "a", "german")], "sql", "sql"),
        ([E("stra\u00dfe", "road", any_case=True)], "STRASSE Stra\u00dfe strasse", "road road road"),
        ([E("strasse", "road", any_case=True)], "\u00dfDie Stra\u00dfe.", "\u00dfDie road."),
        ([E("s", "x", any_case=True)], "\u00df S s\u00df", "\u00df x x\u00df"),
        ([E("stra\u00dfe", "road")], "strasse stra\u00dfe \u0130", "strasse road \u0130"),
        ([E("\u0130x", "ok", any_case=True)], "i\u0307x \u0130X", "ok ok"),
        ([E("\ufb01", "f-i")], "fi \ufb01", "fi f-i"),
        ([E("\u6771\u4eac", "Tokyo")], "\u6771\u4eac\u90fd", "Tokyo\u90fd"),
        ([E("a", "")], "banana", "bnn"),
        ([E("a b", "x"), E(" c ", "y")], "a b a\nb\nc\nd\n\na\n\nb", "x xyd\n\na\n\nb"),
        ([E(".", "[.*]\\1")], "a.b", "a[.*]\\1b"),
        ([], "abc", "abc"),
    ],
)  # fmt: skip
def test_which_entry_counts(entries, text, result):
    assert Lexicon(entries).apply(text, "english") == result
    assert Lexicon(reversed(entries)).apply(text, "en-GB") == result


def test_a_language_that_is_not_known_uses_entries_for_any():
    lexicon = Lexicon([E("a", "1"), E("b", "2", "english")])
    assert lexicon.apply("ab") == lexicon.apply("ab", "auto") == lexicon.apply("ab", "german") == "1b"


def slow(entries: list[Entry], text: str) -> str:
    """The rule, tried at each place with each entry, for ASCII texts."""
    out, place = "", 0
    while place < len(text):
        fits = []
        for entry in entries:
            end = place + len(entry.source)
            part = text[place:end]
            same = part == entry.source or (entry.any_case and part.lower() == entry.source.lower())
            inside = text[max(place - 1, 0) : place].isalnum() or text[end : end + 1].isalnum()
            if same and not (entry.whole_word and inside):
                fits.append((len(part), not entry.any_case, entry.whole_word, entry.target))
        out += max(fits)[3] if fits else text[place]
        place += max(fits)[0] if fits else 1
    return out


def test_a_random_lexicon_does_what_the_rule_says():
    draw = random.Random(2)
    for _ in range(500):
        entries = {}
        for number in range(draw.randrange(8)):
            source = "".join(draw.choices("abAB ", k=draw.randrange(1, 6)))
            flags = draw.random() < 0.5, draw.random() < 0.5
            if source.strip():
                entries[source.lower() if flags[0] else source, flags] = E(source, f"<{number}>", "", *flags)
        text = "".join(draw.choices("abAB .", k=30))
        assert Lexicon(entries.values()).apply(text) == slow([*entries.values()], text)


def test_the_digest_is_that_of_the_entries():
    entries = [E("a", "b"), E("c", "d", "english", True, False)]
    digest = Lexicon(entries).digest
    assert digest == Lexicon(reversed(entries)).digest
    changed = [E("a", "b"), E("c", "d", "english", True, True)]
    others = [Lexicon(other).digest for other in ([], entries[:1], changed, [E("ab", ""), entries[1]])]
    assert len({digest, *others}) == 5


@pytest.mark.parametrize("tail", ["", "\u00df"])
def test_ten_thousand_entries_on_a_megabyte(tail):
    draw = random.Random(3)
    words = {"".join(draw.choices("etaoinshrdlu", k=draw.randrange(3, 12))) for _ in range(10_500)}
    lexicon = Lexicon(E(word, word.upper(), "", n % 2 > 0, n % 3 > 0) for n, word in enumerate(sorted(words)[:10_000]))
    text = " ".join(draw.choices([*sorted(words), *("the", "and", "a")], k=130_000))[:1_000_000] + tail
    start = time.process_time()
    assert lexicon.apply(text) != text
    assert time.process_time() - start < allowed(2)


def test_a_long_word_takes_linear_time():
    lexicon = Lexicon(E("a" * n + "b", "x") for n in range(1, 200))
    start = time.process_time()
    assert lexicon.apply("a" * 10_000) == "a" * 10_000
    assert time.process_time() - start < allowed(3)
