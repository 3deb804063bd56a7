"""Plain text, Markdown and HTML as chapters and paragraphs; hostile ones; the choice of chapters."""

from __future__ import annotations

import time

import pytest
from fuzz_books import fuzz

from qwen3tts_cli.books import html_tags, read_book
from qwen3tts_cli.books.selection import list_chapters, select_chapters
from qwen3tts_cli.errors import InputError, Qwen3TTSError, UsageError


def read(text, format, **options):
    return read_book.read_document(text if isinstance(text, bytes) else text.encode(), format=format, **options)


def spoken(document):
    return [(chapter.title, [paragraph.text for paragraph in chapter.paragraphs]) for chapter in document.chapters]


def texts(text, format, **options):
    return [text for _, paragraphs in spoken(read(text, format, **options)) for text in paragraphs]


def test_plain_text():
    text = "\n\nOne\nline.\r\n\r\nTwo.\n* * *\nThree.\n\n---\n[chapter:A  \\[b\\]]Four.\n[chapter:]\n \\[chapter:x]\n"
    document = read(text, "txt")
    assert spoken(document) == [("", ["One\nline.", "Two.", "Three."]), ("A [b]", ["Four."]), ("", ["\\[chapter:x]"])]
    assert [p.line for c in document.chapters for p in c.paragraphs] == [3, 6, 8, 11, 13]
    assert document.has_markup
    plain = read(text, "txt", markup=False)
    assert [title for title, _ in spoken(plain)] == [""]
    assert not plain.has_markup
    assert texts("[Applause]", "txt") == ["[Applause]"]
    assert texts("[pause:2s]\n\nHi <b>", "txt") == ["[pause:2s]", "Hi <b>"]


MARKDOWN = """---
title: "My: Book"
authors:
  - Ann
  - Bob
lang: de
---
intro

# One #

*em* **st** ~~x~~ `code` [link](http://a "t") ![alt](i.png) <b>raw</b> <!-- no --> &amp; \\* x[^1].
Second line  
third

- item
  1. inner

> quote

| a | b |
|---|:-:|
| 1 |   |
| 2 | *3* |

***

    code block

# Two

```
fence
```

<div align="center">THE <b>END</b></div>

[ref]: http://example.com
[^1]: A footnote, *not* spoken
on two lines

    and a paragraph
"""  # noqa: W291, two spaces are a line break


def test_markdown():
    document = read(MARKDOWN, "md")
    assert spoken(document) == [
        ("", ["intro"]),
        (
            "One",
            [
                "One",
                "em st x code link  raw  & * x.\nSecond line\nthird",
                "item",
                "inner",
                "quote",
                "a, b",
                "1",
                "2, 3",
            ],
        ),
        ("Two", ["Two", "THE END"]),
    ]
    assert (document.title, document.author, document.language) == ("My: Book", "Ann, Bob", "de")
    assert [p.line for p in document.chapters[1].paragraphs] == [10, 12, 16, 17, 19, 21, 23, 24]
    more = texts(MARKDOWN, "md", alt=True, code=True)
    assert any("link alt raw" in text for text in more)
    assert {"code block", "fence"} <= set(more)


def test_markup_of_markdown():
    source = r'\[a\] [pause:1s] `[voice:x]` a<break time="1s"/>b &#91;c] &lt;break/> \\[pause:1s] x<br>y'
    assert texts(source, "md") == [
        r'\[a] [pause:1s] \[voice:x] a<break time="1s"/>b \[c] \<break/> \\[pause:1s] x' + "\ny"
    ]
    assert texts(source, "md", markup=False) == [r"[a] [pause:1s] [voice:x] ab [c] <break/> \[pause:1s] x" + "\ny"]
    assert texts('x\n\n<break time="2s"/>\n', "md") == ["x", '<break time="2s"/>']
    title = read(r"# A \[b\] [pause:1s]c" + "\n\nx\n\n# D\n", "md").chapters[0].title
    assert title == "A [b] c"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[a [b](c) d](e)", "a b d"),
        ("[a `](b)` c](d)", "a ](b) c"),
        (r"\``` [a](b)", "``` a"),
        ("``[a`](b)", "``a`"),
        (r"[a\](b)](c)", "a](b)"),
        ("[a](b [c](d)", "[a](b c"),
        ("[a\nb][r]\n\n[r]: x", "a\nb"),
        ("[a] [b]x", "[a] [b]x"),
    ],
)
def test_labels_of_links(source, text):
    assert texts(source, "md", markup=False) == [text]


@pytest.mark.parametrize(
    ("source", "titles"),
    [
        ("# A\n\n# B", ["A", "B"]),
        ("# A\n\n## B\n\n## C", ["", "B", "C"]),
        ("x\n\n# A\n\n## B", ["", "A"]),
        ("## A", [""]),
        ("***\n\n# A\n\ny", ["A"]),
        ("A\n===\n\n> # B\n\n# C", ["A", "C"]),
        ("no heading", [""]),
    ],
)
def test_headings_begin_chapters(source, titles):
    assert [title for title, _ in spoken(read(source, "md"))] == titles
    if ">" not in source and "===" not in source:
        html = "".join(
            f"<h{line.count('#')}>{line.strip('# ')}</h{line.count('#')}>" if "#" in line else f"<p>{line}</p>"
            for line in source.split("\n\n")
        )
        assert [title for title, _ in spoken(read(html, "html"))] == titles


def test_html():
    document = read(
        "<!DOCTYPE html><html lang='fr'><head><title>T &amp; t</title><meta name='Author' content='Ann'></head><body>"
        "<nav>no</nav><script>'<p>no'</script><style>no</style><template>no</template><noscript>no</noscript>"
        "<p hidden>no</p><p aria-hidden=true>no</p><p style='display: none'>no</p><svg><title>no</title><g/></svg>"
        "<!-- <p>no</p> --><h1>A<br>b</h1>loose <i>te</i>xt<p>one<br>two<p>x<sup>12</sup> 1<sup>st</sup><sup>*</sup>"
        "<ul><li>a<li>b<p>c</ul><dl><dt>d<dd>e</dl><table><caption>f</caption><tr><th>g</th><td><p>h</p></td><td></td>"
        "<td>i</td></tr><tr><td>j<td><p>k</p><p>l</p></table><img alt=m><pre>n  n\n  n</pre></body></html>",
        "html",
    )
    assert [p.text for p in document.chapters[0].paragraphs] == [
        *("A\nb", "loose text", "one\ntwo", "x 1st", "a", "b", "c", "d", "e", "f", "g, h, i", "j, k", "l"),
    ]
    assert (document.chapters[0].title, document.title) == ("A b", "T & t")
    assert (document.author, document.language) == ("Ann", "fr")
    assert texts("<img alt=m><pre>n  n\n  n</pre>", "html", alt=True, code=True) == ["m", "n n\nn"]


@pytest.mark.parametrize(
    "data",
    [
        "<p>Grüße".encode(),
        "\ufeff<p>Grüße".encode(),
        "<p>Grüße".encode("cp1252"),
        "<p>Grüße".encode("utf-16"),
        "<meta charset=iso-8859-1><p>Grüße".encode("cp1252"),
        '<?xml version="1.0" encoding="ISO-8859-15"?><p>Grüße'.encode("iso-8859-15"),
        '<meta charset="no-such"><p>Grüße'.encode(),
    ],
)
def test_encodings_of_html(data):
    assert texts(data, "html") == ["Grüße"]


def test_text_in_utf_16_and_bytes_that_are_no_text():
    assert texts("Grüße\n\nzwei".encode("utf-16"), "txt") == ["Grüße", "zwei"]
    for format in ("txt", "md"):
        with pytest.raises(UsageError, match=r"not valid UTF-8.*narrate"):
            read(b"caf\xe9", format)
    with pytest.raises(InputError, match="not a text"):
        read(b"<p>\x81\xff\0", "html")


HOSTILE = {
    "nested": ("html", "<div>" * 20_000, "nested more than 10,000 deep"),
    "nested in comments' shadow": ("html", "<div><!--</div>-->" * 20_000, "nested"),
    "nested out of scope": ("html", ("<div>" * 9 + "<object>" + "</div>" * 9 + "</object>") * 3000, "nested"),
    "nested beside a special element": ("html", "<span><div></span></div>" * 20_000, "nested"),
    "nested by end tags without a begin": ("html", "<div></span>" * 20_000, "nested"),
    "nested by self-closing": ("html", "<div/>" * 20_000, "nested"),
    "attributes": ("html", "<p " + " ".join(f"a{n}" for n in range(20_000)) + ">x", "attributes"),
    "formats": ("html", "<p>" + "".join(f"<b i={n}>" for n in range(999)) + "<p>x" * 9000, "never closed"),
    "end tags": ("html", "<div>" * 9000 + "</p>" * 90_000, "never closed"),
    "anchors": ("html", "<a " * 60_000, "nothing to speak"),
    "quotes": ("html", "<a '\"" * 60_000, "nothing to speak"),
    "cdata": ("html", "<![CDATA[" * 60_000, "nothing to speak"),
    "scripts": ("html", "<script>" * 60_000, "nothing to speak"),
    "quotes of Markdown": ("md", ">" * 10_000 + "x", "nested more than 100 deep"),
    "long quotes": ("md", "> " * 90 + "x\n" + "x\n" * 2000, "nested quotes"),
    "lists": ("md", "".join("  " * n + "- x\n" for n in range(300)), "nested more than 100 deep"),
    "HTML in Markdown": ("md", "<div>\n" * 20_000, "nested more than 10,000 deep"),
}


@pytest.mark.parametrize(("format", "source", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_refused_soon(format, source, says):
    began = time.process_time()
    with pytest.raises(Qwen3TTSError, match=says) as caught:
        read(source, format)
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 5


ODD = {
    "brackets": ("md", "[" * 50_000 + "x"),
    "images": ("md", "![" * 20_000 + "x"),
    "images and ends": ("md", "![" * 2000 + "x" + "](y)" * 2000 + "x"),
    "links": ("md", "[a](" * 5000 + "x"),
    "stars": ("md", "*" * 50_000 + "x"),
    "stars and letters": ("md", "*a " * 10_000 + "b** " * 5000 + "x"),
    "backticks": ("md", "".join("`" * (n % 90 + 1) + "x" for n in range(9000))),
    "less-than signs": ("md", "<" * 50_000 + "x"),
    "definitions": ("md", "[a]: x\n" * 5000 + "\nx"),
    "a long word": ("txt", "x" * 1_000_000),
    "a long word of Markdown": ("md", "x" * 1_000_000),
    "a long word of HTML": ("html", "x" * 1_000_000),
    "deep": ("html", "<div>" * 9999 + "x"),
    "deep superscripts": ("html", "<sup>x" * 9000),
    "paragraphs without an end": ("html", "<p>x" * 11_000),
    "cells without an end": ("html", "<table>" + "<tr><td>x" * 6000),
    "items without an end": ("html", "<ul>" + "<li>x<dl><dt>x<dd>x</dl>" * 3500),
    "unclosed italics": ("html", "<p><i>x" * 5000),
    "less-than signs of HTML": ("html", "< x" * 50_000),
}


@pytest.mark.parametrize(("format", "source"), ODD.values(), ids=ODD)
def test_odd_texts_are_read_soon(format, source):
    began = time.process_time()
    assert sum(text.count("x") for text in texts(source, format)) > 0
    assert time.process_time() - began < 5


def test_nothing_is_lost_before_the_parser():
    source = "<p title='a > b'>x <y z='</p>'>1 < 2 &lt; <![x]> a</y> <!-->b--><p/>c<svg><path d='1'/></svg>d<br/>e"
    assert texts(source, "html") == ["x 1 < 2 < a b-->", "cd\ne"]
    assert html_tags.prepare("x", "<Script>a</SCRIPT >b<title>c<b></title>") == "b<title>c<b></title>"


def test_files_and_formats(tmp_path):
    for name in ("a.txt", "a.MD", "a.markdown", "a.htm", "a.xhtml", "a.html"):
        (tmp_path / name).write_text("Hello.")
        assert spoken(read_book.read_document(tmp_path / name)) == [("", ["Hello."])]
    (tmp_path / "a.doc").write_text("<p>Hello.")
    assert spoken(read_book.read_document(str(tmp_path / "a.doc"), format="html")) == [("", ["Hello."])]
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "b.txt").write_bytes(b"%PDF-1.7")
    (tmp_path / "e.txt").write_text(" \n* * *\n[pause:1s]\n")
    for name, says in {
        "a.doc": "txt|md|html|epub",
        "a.pdf": f"pdftotext {tmp_path}/a.pdf - | qwen3tts narrate",
        "b.txt": "pdftotext",
        "no.txt": "no such file",
        "": "a directory",
        "e.txt": "nothing to speak",
        "\0.txt": "null",
    }.items():
        with pytest.raises(UsageError) as caught:
            read_book.read_document(f"{tmp_path}/{name}")
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--input-format 'pdf': expected one of txt, md, html, epub"):
        read_book.read_document(b"x", format="pdf")


def test_limits_of_size(monkeypatch):
    monkeypatch.setattr(read_book, "LIMIT_BYTES", 100)
    with pytest.raises(UsageError, match="more than 100 bytes of text, the limit"):
        read("x" * 101, "md")
    assert texts("x" * 100, "txt") == ["x" * 100]
    monkeypatch.setattr(read_book, "LIMIT_BYTES", 1 << 30)
    with pytest.raises(InputError, match="more than 32,000,000 bytes"):
        read(b"x" * 32_000_001, "html")


def test_select_chapters():
    assert select_chapters("2-5,9", 9) == [1, 2, 3, 4, 8]
    assert select_chapters(" 9 , 2 - 3,2,7-", 9) == [1, 2, 6, 7, 8]
    for wrong in ("", "0", "10", "3-2", "a", "1,,2", "-3", "1-10", "1-2-3", "1" * 20_000, "٣"):
        with pytest.raises(UsageError, match="--chapters") as caught:
            select_chapters(wrong, 9)
        assert len(str(caught.value)) < 200


def test_list_chapters():
    assert list_chapters(read("# A\n\nHi there\n\n# B", "md")) == [
        {"number": 1, "title": "A", "characters": 9, "paragraphs": 2},
        {"number": 2, "title": "B", "characters": 1, "paragraphs": 1},
    ]


def test_mutated_sources_make_results_or_errors():
    assert fuzz(2, seed=1) > 20


@pytest.mark.soak
def test_ten_minutes_of_mutated_sources_make_results_or_errors():
    assert fuzz(600, seed=time.time_ns()) > 6000
