"""EPUB books: chapters, metadata, and books that are hostile or broken."""

from __future__ import annotations

import os
import stat
import struct
import time
import zipfile

import pytest
from epub_maker import make_epub

from qwen3tts_cli.books import epub_archive, read_book
from qwen3tts_cli.errors import InputError, UsageError

ONE = ("One", "<h1>One</h1><p>First text.</p>")
TWO = ("Two", "<h1>Two</h1><p>Second text.</p>")
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"


def read(path, **options):
    return read_book.read_document(path, **options)


def spoken(document):
    return [(chapter.title, [paragraph.text for paragraph in chapter.paragraphs]) for chapter in document.chapters]


def refused(path, kind=InputError, **options):
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        read(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400 + len(str(path))
    assert line.startswith(f"{path}: ")
    assert time.monotonic() - began < 5
    return line


def test_chapters_and_metadata(tmp_path):
    path = make_epub(tmp_path / "a.epub", [ONE, TWO], title="B & C", authors=["Ann", "Bob"], language="de", cover=JPEG)
    document = read(path)
    assert spoken(document) == [("One", ["One", "First text."]), ("Two", ["Two", "Second text."])]
    assert (document.title, document.author, document.language) == ("B & C", "Ann, Bob", "de")
    assert document.cover == JPEG
    assert not document.has_markup
    assert spoken(read(path.read_bytes(), format="epub")) == spoken(document)


def test_titles_come_from_nav_then_ncx_then_headings(tmp_path):
    ncx = "".join(
        f"<navPoint><navLabel><text>N{n}</text></navLabel><content src='c{n}.xhtml'/></navPoint>" for n in (1, 2)
    )
    nav = '<li><a href="c1.xhtml">T1</a></li><li><a href="c2.xhtml">T2</a></li>'

    def titles(**given):
        document = read(make_epub(tmp_path / "a.epub", [ONE, TWO], **given))
        return [chapter.title for chapter in document.chapters]

    assert titles(nav=nav, ncx=ncx) == ["T1", "T2"]
    assert titles(nav=None, ncx=ncx) == ["N1", "N2"]
    assert titles(nav=None) == ["One", "Two"]


def test_fragments_begin_chapters_and_unnamed_documents_continue_them(tmp_path):
    body = '<h1>Part</h1><p>a</p><h2><a id="x"/>X</h2><p>b</p><section id="y z"><p>c</p></section>'
    chapters = [("Cover", "<p>Cover page</p>"), ("P", body), ("More", "<p>d</p>"), TWO]
    nav = (
        '<li><a href="c2.xhtml">Part</a><ol><li><a href="c2.xhtml#x">X</a></li>'
        '<li><a href="c2.xhtml#y%20z">Y</a></li></ol></li><li><a href="./c4.xhtml?q#">Two</a></li>'
        '<li><a href="c3.xhtml#none"></a></li><li><a href="c2.xhtml#none">no</a></li>'
        '<li><a href="http://example.com/c3.xhtml">out</a></li>'
    )
    assert spoken(read(make_epub(tmp_path / "a.epub", chapters, nav=nav))) == [
        ("", ["Cover page"]),
        ("Part", ["Part", "a"]),
        ("X", ["X", "b"]),
        ("Y", ["c"]),
        ("", ["d"]),
        ("Two", ["Two", "Second text."]),
    ]


def test_the_spine_decides_what_is_spoken_and_when(tmp_path):
    spine = "".join(
        f"<itemref idref='{name}'{more}/>"
        for name, more in [("c2", ""), ("nav", ""), ("c3", " linear='no'"), ("c1", "")]
    )
    path = make_epub(tmp_path / "a.epub", [ONE, TWO, ("Three", "<p>no</p>")], spine=spine + "<itemref idref='c2'/>")
    assert [title for title, _ in spoken(read(path))] == ["Two", "One"]


def test_percent_encoded_references(tmp_path):
    manifest = '<item id="s" href="a%20b%C3%A9.xhtml" media-type="application/xhtml+xml"/>'
    path = make_epub(
        tmp_path / "a.epub", [], manifest=manifest, spine="<itemref idref='s'/>", extra={"OEBPS/a bé.xhtml": "<p>Hi é"}
    )
    assert spoken(read(path)) == [("", ["Hi é"])]


def test_notes_are_not_spoken(tmp_path):
    body = (
        '<p>Text<a epub:type="noteref" href="#n">1</a> and<sup><a href="#m">a</a></sup> <a href="#m"><sup>b</sup></a>'
        'the 1<sup>st</sup>.</p><aside epub:type="footnote" id="n"><p>No.</p></aside>'
        '<section epub:type="endnotes"><p>No.</p></section><div class="footnote">No.</div>'
        '<div role="doc-endnotes">No.</div>'
        '<p class="pagebreak"><span epub:type="pagebreak">12</span>'
        "<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字</p>"
    )
    assert spoken(read(make_epub(tmp_path / "a.epub", [("T", body)]))) == [("T", ["Text and the 1st.", "漢字"])]


def test_empty_elements_of_xhtml_have_no_content(tmp_path):
    page = "<html><head><title/><script src='x'/></head><body><p><a id='x'/>One<i/></p><div/><p>Two</p></body></html>"
    path = make_epub(tmp_path / "a.epub", [ONE], extra={"OEBPS/c1.xhtml": page})
    assert spoken(read(path)) == [("One", ["One", "Two"])]


def test_a_cover_named_by_a_meta_element_and_a_broken_one(tmp_path):
    opf = (
        "<package><metadata><meta name='cover' content='k'/></metadata><manifest><item id='k' href='k.png'/>"
        "<item id='c1' href='c1.xhtml'/></manifest><spine><itemref idref='c1'/></spine></package>"
    )
    png = b"\x89PNG\r\n\x1a\n..."
    assert read(make_epub(tmp_path / "a.epub", [ONE], opf=opf, extra={"OEBPS/k.png": png})).cover == png
    assert read(make_epub(tmp_path / "a.epub", [ONE], opf=opf, extra={"OEBPS/k.png": b"GIF"})).cover is None


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("../evil.xhtml", "lies outside"),
        ("OEBPS/../../evil", "lies outside"),
        ("OEBPS\\..\\evil", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("C:/x", "lies outside"),
        ("META-INF/rights.xml", "encrypted (DRM)"),
        ("META-INF/encryption.xml", "encrypted (DRM)"),
    ],
)
def test_hostile_entries(tmp_path, entry, says):
    method = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
    data = f"<encryption><EncryptedData><EncryptionMethod Algorithm='{method}'/></EncryptedData></encryption>"
    assert says in refused(make_epub(tmp_path / "a.epub", [ONE], extra={entry: data}))


def test_obfuscated_fonts_are_no_drm(tmp_path):
    method = "http://www.idpf.org/2008/embedding"
    data = f"<encryption><EncryptedData><EncryptionMethod Algorithm='{method}'/></EncryptedData></encryption>"
    assert read(make_epub(tmp_path / "a.epub", [ONE], extra={"META-INF/encryption.xml": data})).chapters


def test_references_out_of_the_book_are_refused(tmp_path):
    manifest = '<item id="s" href="..%2F..%2Fetc/passwd" media-type="application/xhtml+xml"/>'
    path = make_epub(tmp_path / "a.epub", [ONE], manifest=manifest)
    assert "lies outside" in refused(path)


def test_a_link_is_refused(tmp_path):
    path = make_epub(tmp_path / "a.epub", [ONE])
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("OEBPS/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "'OEBPS/link' is a link" in refused(path)


def test_an_encrypted_entry_is_refused(tmp_path):
    path = make_epub(tmp_path / "a.epub", [ONE])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "'mimetype' is encrypted" in refused(path)


def test_bombs_are_refused(tmp_path):
    zeros = bytes(8 << 20)
    assert "over 200 times" in refused(make_epub(tmp_path / "a.epub", [ONE], extra={"OEBPS/x": zeros}))
    path = make_epub(tmp_path / "b.epub", [ONE])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 20
    struct.pack_into("<II", data, place, (2 << 30) // 200, 1 << 30)
    path.write_bytes(data)
    assert "more than 512 MB" in refused(path)


def test_too_many_entries_are_refused(tmp_path):
    path = make_epub(tmp_path / "a.epub", [ONE], extra={f"x{n}": "" for n in range(10_001)})
    assert "more than 10,000 entries" in refused(path)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x05\x06")
    struct.pack_into("<HHI", data, place + 8, 5, 5, 1 << 31)
    path.write_bytes(data)
    assert "the directory" in refused(path)


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><package>&b;</package>'
    assert "defines entities" in refused(make_epub(tmp_path / "a.epub", [ONE], opf=bomb))
    external = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><package>&a;</package>'
    assert "defines entities" in refused(make_epub(tmp_path / "a.epub", [ONE], opf=external))


@pytest.mark.parametrize("entry", ["META-INF/container.xml", "OEBPS/content.opf", "OEBPS/c1.xhtml", "OEBPS/nav.xhtml"])
def test_missing_and_broken_entries_are_named(tmp_path, entry):
    assert f"the entry '{entry}' is missing" in refused(make_epub(tmp_path / "a.epub", [ONE], without=[entry]))
    path = make_epub(tmp_path / "b.epub", [ONE], extra={entry: b"\0\xff<"})
    assert entry in refused(path)


def test_an_item_that_is_not_listed_is_named(tmp_path):
    assert "lists no item 'zz'" in refused(make_epub(tmp_path / "a.epub", [ONE], spine="<itemref idref='zz'/>"))


def test_a_damaged_entry_is_named(tmp_path):
    path = make_epub(tmp_path / "a.epub", [ONE])
    data = bytearray(path.read_bytes())
    place = data.index(b"OEBPS/c1.xhtml") + len("OEBPS/c1.xhtml")
    data[place + 20 : place + 40] = bytes(20)
    path.write_bytes(data)
    assert "'OEBPS/c1.xhtml': cannot be unpacked" in refused(path)


def test_a_cut_book_and_other_files_are_refused(tmp_path):
    whole = make_epub(tmp_path / "a.epub", [ONE]).read_bytes()
    (tmp_path / "a.epub").write_bytes(whole[:-30])
    assert "cut off" in refused(tmp_path / "a.epub")
    (tmp_path / "a.epub").write_bytes(b"PK")
    refused(tmp_path / "a.epub")
    (tmp_path / "a.epub").write_bytes(b"Hello.")
    assert "no ZIP archive" in refused(tmp_path / "a.epub")
    (tmp_path / "a.epub").write_bytes(b"%PDF-1.7\n")
    assert "pdftotext" in refused(tmp_path / "a.epub", UsageError)


def test_a_book_without_text(tmp_path):
    path = make_epub(tmp_path / "a.epub", [("T", "<p> <img src='x'/> * * *</p>")])
    assert refused(path, UsageError) == f"{path}: nothing to speak"


def test_an_epub_given_as_text_says_which_option_to_use(tmp_path):
    data = make_epub(tmp_path / "a.epub", [ONE]).read_bytes()
    with pytest.raises(UsageError, match="--input-format epub"):
        read_book.read_document(data)


def test_a_pipe_is_read(tmp_path):
    fifo = tmp_path / "f.epub"
    data = make_epub(tmp_path / "a.epub", [ONE]).read_bytes()
    os.mkfifo(fifo)
    if (child := os.fork()) == 0:
        fifo.write_bytes(data)
        os._exit(0)
    assert read(fifo).chapters
    os.waitpid(child, 0)


def test_the_sum_of_what_is_read_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(epub_archive, "MAX_UNPACKED_BYTES", 1000)
    assert "unpacks to more than" in refused(make_epub(tmp_path / "a.epub", [ONE]))
