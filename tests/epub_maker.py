"""Makes EPUB books for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>{title}</title></head>
<body>{body}</body></html>"""


def make_epub(
    path: Path,
    chapters: Sequence[tuple[str, str]],
    *,
    title: str = "A Book",
    authors: Sequence[str] = ("Ann Author",),
    language: str = "en",
    cover: bytes | None = None,
    nav: str | None = "",
    ncx: str | None = None,
    opf: str | None = None,
    spine: str | None = None,
    manifest: str = "",
    extra: Mapping[str, str | bytes] | None = None,
    without: Sequence[str] = (),
) -> Path:
    """Write an EPUB 3 to `path` and return it. chapters: title and XHTML of the body of each, in c1.xhtml and so on.

    nav: the list of its table of contents; empty: one line a chapter; None: no table. ncx: the navPoints of an NCX.
    opf: replaces the package. spine, manifest: replace the itemrefs, add items. extra: further entries, without: not
    written.
    """
    items = [f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in _numbers(chapters)]
    refs = [f'<itemref idref="c{n}"/>' for n in _numbers(chapters)]
    entries: dict[str, str | bytes] = {"META-INF/container.xml": CONTAINER}
    for number, (heading, body) in enumerate(chapters, 1):
        entries[f"OEBPS/c{number}.xhtml"] = PAGE.format(title=escape(heading), body=body)
    if nav is not None:
        items.append('<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>')
        lines = (f'<li><a href="c{n}.xhtml">{escape(chapters[n - 1][0])}</a></li>' for n in _numbers(chapters))
        body = f'<nav epub:type="toc"><h1>Contents</h1><ol>{nav or "".join(lines)}</ol></nav>'
        entries["OEBPS/nav.xhtml"] = PAGE.format(title="Contents", body=body)
    if ncx is not None:
        items.append('<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>')
        doctype = '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
        space = "http://www.daisy.org/z3986/2005/ncx/"
        entries["OEBPS/toc.ncx"] = f'<?xml version="1.0"?>{doctype}<ncx xmlns="{space}"><navMap>{ncx}</navMap></ncx>'
    if cover is not None:
        items.append('<item id="cover" href="cover.jpg" media-type="image/jpeg" properties="cover-image"/>')
        entries["OEBPS/cover.jpg"] = cover
    creators = "".join(f"<dc:creator>{escape(author)}</dc:creator>" for author in authors)
    entries["OEBPS/content.opf"] = opf or (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{escape(title)}</dc:title>{creators}<dc:language>{language}</dc:language></metadata>"
        f"<manifest>{''.join(items)}{manifest}</manifest>"
        f"<spine toc='ncx'>{''.join(refs) if spine is None else spine}</spine></package>"
    )
    entries.update(extra or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        for name, data in entries.items():
            if name not in without:
                archive.writestr(name, data)
    return path


def _numbers(chapters: Sequence[tuple[str, str]]) -> range:
    return range(1, len(chapters) + 1)
