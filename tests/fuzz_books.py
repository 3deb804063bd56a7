"""Mutates books, markup, lexicons and manifests; only results and errors of the package may come.

`python tests/fuzz_books.py SECONDS [SEED]`.
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from epub_maker import make_epub

from qwen3tts_cli.books import read_book
from qwen3tts_cli.books.document import Document
from qwen3tts_cli.errors import Qwen3TTSError
from qwen3tts_cli.narration.manifest import read_manifest
from qwen3tts_cli.spoken_text.lexicon import Lexicon
from qwen3tts_cli.spoken_text.markup_tags import MAX_PAUSE_SECONDS, Pause, PauseBudget, Text, VoiceChange, parse_markup

SLOW_SECONDS = 10
MARKDOWN = """---
title: T
---
# A *b* [l](u "t")

- x
  > y `c` ![i](j) [^1] <break time="1s"/> \\[z\\]

| a | b |
|---|---|
| 1 | 2 |

```
code
```

[^1]: note
"""
HTML = """<?xml version="1.0" encoding="utf-8"?><html lang="en"><head><title>T</title></head><body><h1 id="a">A</h1>
<p class='x'>a<b>b<i>c</b>d</i><sup>1</sup><br/>e &amp; f</p><ul><li>g<li>h</ul><table><tr><td>i<td>j</table>
<svg><path/></svg><!-- c --><script>x</script><pre>k</pre><ruby>l<rt>m</rt></ruby></body></html>"""
TEXT = "One\ntwo [pause:1s]\n\n* * *\n[chapter:A]\nthree \\[x\\] <break time='1s'/>\n"
MARKUP = r"""One [pause:500ms] two
<break time='1.5s'/> [voice:anna] three \\[x] \[pause:1s] [voice:] <break time="2s"></break> [12]"""
LEXICON = "# words\nDr.\tDoctor\nnginx\tengine x\tenglish\tiw\nß\tss\t\ti\nNew York\tBig Apple\nİ\ti\t\ti\n"
JSONL = r"""{"text": "One.", "out": "a/b", "voice": "slt", "language": "en", "seed": 5, "more": [1, {"x": null}]}

{"text": "Two \u00e9 \ud83d\ude00", "out": "c.flac", "instruct": "i", "design": "d", "score": 1.5e3}
{"text": "Three", "ref": "r.wav", "ref_text": "t"}
{"text": "Four"}
"""
CSV = 'text,out,seed,more\r\n"One, ""two""\nthree",a,5,x\r\nFour,b/c.mp3,,\r\nFive,,7,"y"\r\n'
TOKENS = [
    *(
        "<div>",
        "</div>",
        "<p>",
        "<a ",
        "<b x=1>",
        "</b>",
        "<table>",
        "<td>",
        "<svg>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
    ),
    *(
        "<script>",
        "</",
        "/>",
        "&#0;",
        "&amp",
        "'",
        '"',
        "=",
        "[",
        "![",
        "](",
        "[^",
        "\\",
        "`",
        "```",
        "> ",
        "- ",
        "1. ",
    ),
    *("|", "***", "___", "~~", "#", "\n", "\n\n", "\t", "    ", "\0", "\ufeff", "\u2028", "\U0001f600", "[chapter:"),
    *("<template>", "<select>", "<li>", "<h2>", "<sup>", "<pre>", "<title>", "<textarea>", "<plaintext>", "<frameset>"),
]

_MARKUP_TOKENS = [
    *(
        "[pause:",
        "1s]",
        "ms",
        "[voice:",
        "]",
        "<break ",
        "time=",
        "/>",
        "'",
        '"',
        "[",
        "\\",
        "\\\\",
        "\n",
        "9" * 50,
        ".",
    ),
]
_LEXICON_TOKENS = [
    "\t",
    "\n",
    "\r",
    "iw",
    "i",
    "w",
    "# ",
    "ß",
    "İ",
    "\u0345",
    "ﬁ",
    " ",
    "\ufeff",
    "english",
    "zz",
    "\0",
]
_ROW_TOKENS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '""',
        '"out":',
        '"text":',
        '"seed":',
        '{"x":',
        "\\ud800",
        "1e999",
        "NaN",
        "\n",
    ),
    *(
        "../",
        "/",
        "./",
        ".",
        "\\",
        "9" * 50,
        "9" * 5000,
        "[" * 3000,
        '{"x":' * 3000,
        "\r\n",
        "text",
        "out",
        " ",
        "é",
        "É",
    ),
]
TOKENS_OF = {"markup": _MARKUP_TOKENS, "lexicon": _LEXICON_TOKENS, "jsonl": _ROW_TOKENS, "csv": _ROW_TOKENS}


def fuzz(seconds: float, seed: int) -> int:
    """Read mutated sources for so many seconds. Returns how many; raises what is no error of the package."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        body = "<h1 id='x'>A</h1><p>b</p><h2 id='y'>C</h2>"
        nav = '<li><a href="c1.xhtml#x">X</a></li><li><a href="c1.xhtml#y">Y</a></li>'
        point = "<navPoint><navLabel><text>N</text></navLabel><content src='c1.xhtml'/></navPoint>"
        book = make_epub(
            Path(folder) / "a.epub", [("A", body), ("B", "<p>d</p>")], nav=nav, ncx=point, cover=b"\xff\xd8\xff"
        ).read_bytes()
    sources = [
        ("txt", TEXT.encode()),
        ("md", MARKDOWN.encode()),
        ("html", HTML.encode()),
        ("epub", book),
        ("zip", book),
        ("markup", MARKUP.encode()),
        ("lexicon", LEXICON.encode()),
        ("jsonl", JSONL.encode()),
        ("csv", CSV.encode()),
    ]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        format, data = draw.choice(sources)
        data = mutate_entry(data, draw) if format == "zip" else mutate(data, draw, TOKENS_OF.get(format, TOKENS))
        read_one("epub" if format == "zip" else format, data, draw.random() < 0.5)
        count += 1
    return count


def read_one(format: str, data: bytes, all_of_it: bool) -> None:
    read = READERS.get(format, read_book_source)
    began = time.process_time()
    try:
        read(format, data, all_of_it)
    except Qwen3TTSError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, repr(line)
    except BaseException:
        Path("fuzz_books.failed").write_bytes(data)
        raise
    assert time.process_time() - began < SLOW_SECONDS, f"{format}: {data[:2000]!r}"


def read_book_source(format: str, data: bytes, all_of_it: bool) -> None:
    document = read_book.read_document(data, format=format, alt=all_of_it, code=all_of_it, markup=all_of_it)
    assert isinstance(document, Document)
    assert all(chapter.paragraphs for chapter in document.chapters)


def read_markup(format: str, data: bytes, all_of_it: bool) -> None:
    text, warnings = data.decode("utf-8", "replace"), list[str]()
    pieces = parse_markup(text, 1, PauseBudget(warnings.append) if all_of_it else None)
    assert all(isinstance(piece, (Text, Pause, VoiceChange)) for piece in pieces)
    assert all(0 <= piece.seconds <= MAX_PAUSE_SECONDS for piece in pieces if isinstance(piece, Pause))
    assert sum(len(piece.text) for piece in pieces if isinstance(piece, Text)) <= len(text)
    assert len(warnings) <= 2


def read_lexicon(format: str, data: bytes, all_of_it: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tsv")
        path.write_bytes(data)
        lexicon = Lexicon.read(path)
    text = LEXICON + data.decode("utf-8", "replace")[:10_000]
    assert isinstance(lexicon.apply(text, "english" if all_of_it else "auto"), str)


def read_rows(format: str, data: bytes, all_of_it: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, f"a.{format}"), Path(folder, "out")
        path.write_bytes(data)
        Path(folder, "r.wav").touch()
        if all_of_it:
            output.mkdir()
        rows = read_manifest(path, "wav", output)
        places = {os.path.realpath(output / row.out) for row in rows}
        assert len(places) == len(rows) > 0
        assert all(place.startswith(os.path.realpath(output) + os.sep) for place in places)
        assert all(row.text.strip() and 1 <= row.line <= data.count(b"\n") + data.count(b"\r") + 1 for row in rows)
        json.dumps([row.more for row in rows], ensure_ascii=False, allow_nan=False).encode()


READERS = {"markup": read_markup, "lexicon": read_lexicon, "jsonl": read_rows, "csv": read_rows}


def mutate(data: bytes, draw: random.Random, tokens: list[str] = TOKENS) -> bytes:
    """Change some places of a source: bytes, tokens, repeated or removed parts."""
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place, length = draw.randrange(len(data) + 1), draw.choice((1, 4, 30))
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:place] + data[place + length :]
        elif kind == 1:
            data = data[:place] + bytes(draw.randrange(256) for _ in range(length)) + data[place + length :]
        elif kind == 2:
            token = draw.choice(tokens).encode()
            data = data[:place] + token * draw.choice((1, 1, 2, 50, 1000)) + data[place:]
        elif kind == 3:
            several = "".join(draw.choice(tokens) for _ in range(draw.choice((2, 3, 4)))).encode()
            data = data[:place] + several * draw.choice((1, 10, 300)) + data[place:]
        elif kind == 4:
            data = data[:place] + data[place : place + length] * draw.choice((2, 20, 200)) + data[place + length :]
        elif place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    return data


def mutate_entry(book: bytes, draw: random.Random) -> bytes:
    """Change one entry of an EPUB and pack it again."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as archive, zipfile.ZipFile(changed, "w") as new:
        names = archive.namelist()
        chosen = draw.choice(names)
        for name in names:
            data = archive.read(name)
            new.writestr(name, mutate(data, draw) if name == chosen else data)
    return changed.getvalue()


if __name__ == "__main__":
    print(fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()))
