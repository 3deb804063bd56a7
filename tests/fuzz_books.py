"""Mutates sources of all formats; only documents and errors may come. `python tests/fuzz_books.py 600`."""

from __future__ import annotations

import io
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


def fuzz(seconds: float, seed: int) -> int:
    """Read mutated sources for some time. Returns how many; raises what is no error of the package."""
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
    ]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        format, data = draw.choice(sources)
        data = mutate_entry(data, draw) if format == "zip" else mutate(data, draw)
        read_one("epub" if format == "zip" else format, data, draw.random() < 0.5)
        count += 1
    return count


def read_one(format: str, data: bytes, all_of_it: bool) -> None:
    began = time.process_time()
    try:
        document = read_book.read_document(data, format=format, alt=all_of_it, code=all_of_it, markup=all_of_it)
    except Qwen3TTSError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, repr(line)
    except BaseException:
        Path("fuzz_books.failed").write_bytes(data)
        raise
    else:
        assert isinstance(document, Document)
        assert all(chapter.paragraphs for chapter in document.chapters)
    assert time.process_time() - began < SLOW_SECONDS, f"{format}: {data[:2000]!r}"


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change some places of a source: bytes, tokens, repeated or removed parts."""
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place, length = draw.randrange(len(data) + 1), draw.choice((1, 4, 30))
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:place] + data[place + length :]
        elif kind == 1:
            data = data[:place] + bytes(draw.randrange(256) for _ in range(length)) + data[place + length :]
        elif kind == 2:
            token = draw.choice(TOKENS).encode()
            data = data[:place] + token * draw.choice((1, 1, 2, 50, 1000)) + data[place:]
        elif kind == 3:
            tokens = "".join(draw.choice(TOKENS) for _ in range(draw.choice((2, 3, 4)))).encode()
            data = data[:place] + tokens * draw.choice((1, 10, 300)) + data[place:]
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
