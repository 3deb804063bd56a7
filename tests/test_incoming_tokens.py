"""Token ids of a text that comes in pieces: the ids of the whole text, none too early, in linear time."""

from __future__ import annotations

import json
import random
import time
from typing import ClassVar

import pytest
from helpers import GOLDENS, allowed, checkpoint_of

from qwen3tts_cli.models.chat_template import HEAD_IDS, HEAD_TEXT, TAIL_IDS, TAIL_TEXT
from qwen3tts_cli.models.tokenizer import Tokenizer, load_tokenizer
from qwen3tts_cli.text.incoming_tokens import SPEECH_START_TOKENS, IncomingTokens, can_start

ROWS = json.loads((GOLDENS / "tokenizer" / "small.json").read_text(encoding="utf-8"))
TEXTS = [
    "Hello there, I'm the engine; they've 1,234.5 reasons (or so).\n\nDON'T!\r\n \t x  y   z \n",
    "e\u0301te\u0301 cafe\u0301\u0323 q\u0323\u0307 =\u0338 <\u0338|im_end|> \u212b\u2126 \u0958 a\u0300\n\u0301b",
    "हिन्दी में लिखा हुआ पाठ। ภาษาไทยไม่มีช่องว่าง உலகம் বাংলা কো\u09c7\u09be",
    "\u1112\u1161\u11ab\u1100\u1173\u11af 한글 텍스트 中文没有空格，真的。日本語が\u3099か\u3099 \u3000 全角",
    "<|im_start|>a<|im_end|><|im_<|im_end|>\u0301 <tts_pad><tts_p <|audio_start|> <<||im_end|>",
    "👩\u200d👩\u200d👧 🏽 $5 \u0085\x1c\u2028\u2029 \ufeff ſ 'ſ 'S 'll'LL ''re \u00a0\u00a0x",
    " ",
    "\n",
    "\n\nHello",
    "  Hello ",
    "",
    "\u0301",
    "\u0301\u0323a\u0301",
]
PIECES = [
    *("'", "s", "'re", "'LL", "\r", "\n", "\r\n", " ", "  ", "\t", "\u3000", "\u0085", "\x1c", "e", "q", "a", "\u0301"),
    *("\u0323", "\u0307", "\u0338", "\u0488", "\u093f", "\u094d", "न", "ক", "\u09c7", "\u09be", "\u1100", "\u1161"),
    *(
        "\u11a8",
        "가",
        "中",
        "，",
        ".",
        "!?",
        "=",
        "<",
        "<|",
        "<|im_",
        "<|im_end|>",
        "|>",
        "5",
        "Ⅷ",
        "\u200d",
        "🏽",
        "the",
    ),
    *("\ufb1d", "\u0344", "\u212b", "ſ", "K"),
]


class WordTokenizer(Tokenizer):
    """Gives each word one id, so that each word that was found wrongly shows; few words of a small vocabulary do."""

    numbers: ClassVar[dict[str, int]] = {}

    def encode_words(self, words, ids):
        ids += [self.numbers.setdefault(word, 10_000 + len(self.numbers)) for word in words]


@pytest.fixture(scope="module", params=[Tokenizer, WordTokenizer])
def tokenizer(request):
    loaded = load_tokenizer(checkpoint_of("tiny-customvoice"))
    return request.param(loaded._table, loaded.added)


@pytest.fixture(scope="module")
def plain_tokenizer():
    return load_tokenizer(checkpoint_of("tiny-customvoice"))


def with_added(tokenizer, *texts):
    return type(tokenizer)(tokenizer._table, tokenizer.added | {text: 5000 + at for at, text in enumerate(texts)})


def ids_of(tokenizer, text):
    return tokenizer.encode(HEAD_TEXT + text + TAIL_TEXT)[HEAD_IDS:-TAIL_IDS]


def encode(tokenizer, pieces):
    """The ids of a text in pieces, and how many of them were certain before its end."""
    incoming, ids = IncomingTokens(tokenizer), []
    for piece in pieces:
        ids += incoming.feed(piece)
    return ids + incoming.finish(), len(ids)


def random_text(rng, most=12):
    return "".join(rng.choices(PIECES, k=rng.randrange(most)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["text"][:20]))
def test_characters_have_the_ids_of_the_reference(plain_tokenizer, row):
    assert encode(plain_tokenizer, row["text"])[0] == row["wrapped_ids"][HEAD_IDS:-TAIL_IDS]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_every_cut_in_two_gives_the_ids_of_the_whole(tokenizer, text):
    want = ids_of(tokenizer, text)
    assert encode(tokenizer, text)[0] == want
    for at in range(len(text) + 1):
        assert encode(tokenizer, [text[:at], text[at:]])[0] == want, at


@pytest.mark.parametrize("added", [(), ("<a", "<ab>", "b>c", "e\u0301|", "<<|im_end|>x", " the")], ids=["own", "odd"])
def test_random_texts_have_the_same_ids_however_they_are_cut(tokenizer, added):
    odd, rng = with_added(tokenizer, *added), random.Random(11)
    for _ in range(600):
        text = random_text(rng) + rng.choice(("", *added)) + random_text(rng)
        want = ids_of(odd, text)
        assert encode(odd, text)[0] == want, ascii(text)
        cuts = sorted(rng.choices(range(len(text) + 1), k=3))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert encode(odd, pieces)[0] == want, ascii(pieces)


def test_certain_ids_stay_whatever_follows(tokenizer):
    rng = random.Random(12)
    for _ in range(300):
        text = random_text(rng)
        incoming = IncomingTokens(tokenizer)
        certain = [token for char in text for token in incoming.feed(char)]
        for following in (*PIECES, "im_end|>", *(random_text(rng) for _ in range(10))):
            assert ids_of(tokenizer, text + following)[: len(certain)] == certain, ascii((text, following))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("one two", " two"),
        ("one two ", " two "),
        ("one two  \n ", " two  \n "),
        ("one two \n three", " \n three"),
        ("one two. ", ". "),
        ("one two <|im_", " <|im_"),
        ("one two<|im_end|>", ""),
        ("one twoq\u0323", " twoq\u0323"),
        ("one \u0915\u093f", " \u0915\u093f"),
        ("one 12", "2"),
    ],
)
def test_what_is_held_back(tokenizer, text, kept):
    """The most that is kept; what is in front of it is certain at once."""
    incoming = IncomingTokens(tokenizer)
    certain = incoming.feed(text)
    assert len(certain) >= len(ids_of(tokenizer, text.removesuffix(kept)))


def test_ordinary_text_is_certain_but_for_its_last_word(tokenizer):
    text = "Speech begins while the text is still being written, word by word, and nobody waits for its end."
    incoming = IncomingTokens(tokenizer)
    count = 0
    for at, char in enumerate(text):
        count += len(incoming.feed(char))
        complete = text[:at].rpartition(" ")[0]
        assert count >= len(ids_of(tokenizer, complete)) - 1, text[:at]


@pytest.mark.parametrize(
    "text",
    [
        "Hello world, this is a test. " * 7000,
        "x" * 30_000,
        " " * 30_000,
        "a" + "\u0300\u0316" * 20_000,
        "<|im_" * 20_000,
    ],
    ids=["words", "one word", "spaces", "marks", "almost added"],
)
def test_a_long_text_takes_linear_time(plain_tokenizer, text):
    start = time.monotonic()
    ids, _ = encode(plain_tokenizer, text)
    assert time.monotonic() - start < allowed(20)  # looking at the whole word for each character would take minutes
    assert ids == ids_of(plain_tokenizer, text)


def test_speech_starts_with_13_tokens_or_the_end():
    assert SPEECH_START_TOKENS == 13
    assert [can_start(count, False) for count in (0, 12, 13, 14)] == [False, False, True, True]
    assert can_start(1, True)
