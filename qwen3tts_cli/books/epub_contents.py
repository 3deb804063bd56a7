"""What the package of an EPUB says: metadata, the order of its documents, the table of contents, the cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from . import html_encoding
from .epub_archive import Archive, local_name
from .headings import one_line
from .html_text import parse_tree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_COVER_BYTES = 16 << 20
_CONTAINER = "META-INF/container.xml"
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_NO_TEXT = ("image/", "audio/", "video/", "font/", "application/pdf", "text/css")


class Place(NamedTuple):
    """A line of the table of contents. entry: of the archive. fragment: an id in it, or empty."""

    entry: str
    fragment: str
    title: str


@dataclass
class Contents:
    """spine: the entries of the documents in reading order. places: the table of contents. Texts may be empty."""

    title: str = ""
    author: str = ""
    language: str = ""
    cover: bytes | None = None
    spine: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


def read_contents(archive: Archive) -> Contents:
    """Return what the package says. Raises InputError for entries that are missing or broken."""
    package = _package_entry(archive)
    return _Package(archive, package).read()


def _package_entry(archive: Archive) -> str:
    for element in archive.read_xml(_CONTAINER).iter():
        if local_name(element) == "rootfile" and (path := element.get("full-path")):
            return archive.find("", path)[0]
    raise InputError(f"{archive.name}: the entry {_CONTAINER!r} names no package")


class _Item(NamedTuple):
    entry: str
    media_type: str
    properties: list[str]


class _Package:
    def __init__(self, archive: Archive, entry: str) -> None:
        self.archive, self.entry = archive, entry
        self.folder = entry[: entry.rfind("/") + 1]
        self.elements: dict[str, list[Element]] = {}
        for element in archive.read_xml(entry).iter():
            self.elements.setdefault(local_name(element), []).append(element)
        self.items: dict[str, _Item] = {}
        for item in self.elements.get("item", ()):
            path = archive.find(self.folder, item.get("href") or "")[0]
            media_type = (item.get("media-type") or "").strip().lower()
            self.items.setdefault(item.get("id") or "", _Item(path, media_type, (item.get("properties") or "").split()))

    def read(self) -> Contents:
        nav = next((item.entry for item in self.items.values() if "nav" in item.properties), "")
        spine = self.spine(nav)
        places = self.nav_places(nav) if nav else []
        return Contents(
            title=next(iter(self.texts("title")), ""),
            author=", ".join(self.texts("creator")),
            language=next(iter(self.texts("language")), ""),
            cover=self.cover(),
            spine=spine,
            places=places or self.ncx_places(),
        )

    def texts(self, name: str) -> list[str]:
        found = ("".join(element.itertext()) for element in self.elements.get(name, ()) if len(element) == 0)
        return [text for text in map(one_line, found) if text]

    def spine(self, nav: str) -> list[str]:
        entries: list[str] = []
        for reference in self.elements.get("itemref", ()):
            identifier = reference.get("idref") or ""
            if (reference.get("linear") or "").strip().lower() == "no":
                continue
            item = self.items.get(identifier)
            if item is None:
                raise InputError(f"{self.archive.name}: the entry {self.entry!r} lists no item {identifier[:100]!r}")
            if item.entry not in entries and item.entry != nav and not item.media_type.startswith(_NO_TEXT):
                entries.append(item.entry)
        return entries

    def nav_places(self, nav: str) -> list[Place]:
        name = f"{self.archive.name}: the entry {nav!r}"
        text = html_encoding.decode_html(name, self.archive.read(nav, html_encoding.MAX_BYTES))
        tree = parse_tree(name, text, xhtml=True)
        tables = tree.css("nav")
        table = next((each for each in tables if "toc" in (each.attributes.get("epub:type") or "").split()), None)
        if table is None and len(tables) == 1:
            table = tables[0]
        folder = nav[: nav.rfind("/") + 1]
        links = table.css("a[href]") if table is not None else []
        places = (
            Place(*self.archive.find(folder, link.attributes["href"] or ""), one_line(link.text())) for link in links
        )
        return [place for place in places if place.entry]

    def ncx_places(self) -> list[Place]:
        spine = next(iter(self.elements.get("spine", ())), None)
        item = self.items.get((spine.get("toc") or "") if spine is not None else "")
        if item is None:
            kind = "application/x-dtbncx+xml"
            item = next((each for each in self.items.values() if each.media_type == kind), None)
        if item is None or item.entry not in self.archive.entries:
            return []
        folder = item.entry[: item.entry.rfind("/") + 1]
        places = []
        for point in self.archive.read_xml(item.entry).iter():
            if local_name(point) != "navPoint":
                continue
            title, source = "", ""
            for child in point:
                if local_name(child) == "navLabel":
                    title = next((one_line(text.text or "") for text in child if local_name(text) == "text"), "")
                elif local_name(child) == "content":
                    source = child.get("src") or ""
            entry, fragment = self.archive.find(folder, source)
            if entry:
                places.append(Place(entry, fragment, title))
        return places

    def cover(self) -> bytes | None:
        item = next((each for each in self.items.values() if "cover-image" in each.properties), None)
        if item is None:
            metas = (each for each in self.elements.get("meta", ()) if each.get("name") == "cover")
            item = next((found for each in metas if (found := self.items.get(each.get("content") or ""))), None)
        info = self.archive.entries.get(item.entry) if item else None
        if info is None or info.file_size > MAX_COVER_BYTES:
            return None
        data = self.archive.read(info.filename, MAX_COVER_BYTES)
        return data if data.startswith(_IMAGES) else None
