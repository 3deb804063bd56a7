"""Token ids of a text that is still coming: an id is returned as soon as no text that may follow can change it.

What follows can change the last word of the tokenizer: more letters or marks may belong to it. The whitespace in front
of the last word, or at the end of the text, is part of words whose bounds depend on all of that whitespace. A combining
mark may compose with the character before it, which NFC then replaces. And the beginning of an added token, such as
`<|im_`, is plain text only if the rest does not follow.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from ..models.chat_template import HEAD_IDS, HEAD_TEXT, TAIL_IDS, TAIL_TEXT
from ..models.tokenizer import nfc, word_spans

if TYPE_CHECKING:
    from ..models.tokenizer import Tokenizer

SPEECH_START_TOKENS = 13
# A longer text without a certain word is looked at again only when it has grown by an eighth, so that it takes linear
# time however it is cut.
_SHORT_WORD = 256


def can_start(tokens: int, ended: bool) -> bool:
    """Whether the speech of an utterance starts. tokens: how many of its text tokens are certain. ended: whether these
    are all. When speech starts never changes its bytes."""
    return ended or tokens >= SPEECH_START_TOKENS


class IncomingTokens:
    """Encodes the text of one utterance, which comes in pieces.

    The ids that `feed` and `finish` return are, joined, those of the whole text in a prompt: build_prompt's first text
    id and its trailing ids without the end of text. How the text was cut into pieces changes none of them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._beginnings = {token[:end] for token in tokenizer.added for end in range(1, len(token))}
        self._longest = max(map(len, tokenizer.added), default=0)
        # text in NFC in which no added token can begin any more, then text in which one may still begin, as given
        self._plain, self._held = "", ""
        self._next_look = 0
        self._head_left = HEAD_IDS
        self.feed(HEAD_TEXT)

    def feed(self, text: str) -> list[int]:
        """Take the next piece of the text. Returns the ids that are certain now and were not returned before."""
        ids: list[int] = []
        self._cut_added_tokens(text, ids)
        if len(self._plain) >= self._next_look:
            self._encode_certain_words(ids)
        return self._without_head(ids)

    def finish(self) -> list[int]:
        """Return the remaining ids. The object cannot be used afterwards."""
        ids: list[int] = []
        self._cut_added_tokens(TAIL_TEXT, ids)
        self._tokenizer.encode_plain(self._plain + self._held, ids)
        return self._without_head(ids)[:-TAIL_IDS]

    def _without_head(self, ids: list[int]) -> list[int]:
        """Return `ids` without those that belong to the role, which are the first of all."""
        skipped = min(self._head_left, len(ids))
        self._head_left -= skipped
        return ids[skipped:]

    def _cut_added_tokens(self, text: str, ids: list[int]) -> None:
        """Append `text`. Append the ids of all text up to the last complete added token to `ids`."""
        held = self._held + text
        first = max(len(held) - self._longest + 1, 0)
        # where the text may be the beginning of an added token, also of a longer one than is there already
        places = [at for at in range(first, len(held)) if held[at:] in self._beginnings]
        pattern, start = self._tokenizer.added_pattern, 0
        while True:
            stop = next((at for at in places if at >= start), len(held))
            match = pattern.search(held, start) if pattern else None
            if match is None or match.start() >= stop:
                break
            self._tokenizer.encode_plain(self._plain + held[start : match.start()], ids)
            ids.append(self._tokenizer.added[match.group()])
            self._plain, self._next_look, start = "", 0, match.end()
        self._plain += held[start:stop]
        self._held = held[stop:]

    def _encode_certain_words(self, ids: list[int]) -> None:
        """Append the ids of the words of the plain text that are certain to `ids`, and keep the others."""
        text = nfc(self._plain)
        spans = list(word_spans(text))
        if not spans:
            return
        at = spans[-1][0]
        while at and text[at - 1].isspace():
            at -= 1
        last = next(number for number in reversed(range(len(spans))) if spans[number][0] <= at)
        if last and unicodedata.category(text[spans[last][0]]).startswith("M"):
            last -= 1
        self._tokenizer.encode_words((text[start:end] for start, end in spans[:last]), ids)
        self._plain = text[spans[last][0] :]
        kept = len(self._plain)
        self._next_look = kept + kept // 8 if kept > _SHORT_WORD else 0
