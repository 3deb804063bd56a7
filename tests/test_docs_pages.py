"""The documentation: links and paths exist, every source file is described, and the words of the glossary are used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
OTHER_PAGES = [*sorted((ROOT / "bench").glob("*.md")), ROOT / "tests" / "data" / "README.md"]
SOURCES = sorted(
    path
    for folder in ("qwen3tts_cli", "native")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".pyi", ".c", ".h", ".js", ".css", ".html"}
)
# folders that a path in a page may leave out
BASES = ("", "qwen3tts_cli/", "native/", "native/kernels/", "tests/native/")
SOURCE_PATH = re.compile(r"(?<![\w./~-])(?:[\w.-]+/)+[\w-]+\.(?:py|pyi|c|h|sh|md|toml)(?![\w/])")
PYTHON_FILE = re.compile(r"(?<![\w<.*-])[a-z]\w*\.py\b")
# Files of the reference implementation, of transformers and of GPT-2, which comments name as sources.
UPSTREAM = re.compile(r"(?:modeling|configuration|tokenization)_\w+\.py|qwen3_tts_model\.py|utils\.py|encoder\.py")
# Words for which the glossary has another one.
AVOIDED = re.compile(
    r"\b(?:kept keys|model folders?|whoever|meets?|goes? astray|of late|is (?:told|asked))\b", re.IGNORECASE
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that Markdown viewers give the headings of a page."""
    headings = re.findall(r"^#+ (.+)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=relative)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_paths_in_pages_exist(page):
    for name in SOURCE_PATH.findall(read(page)):
        assert any((base / top / name).exists() for base in (ROOT, page.parent) for top in BASES), name


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_identifiers_in_pages_exist(page):
    """Names of functions, classes, fields and constants in backticks; of a dotted name the last part."""
    files = [*SOURCES, *(ROOT / "tests").rglob("*.*"), *(ROOT / "bench").glob("*.py"), ROOT / "Makefile"]
    files += [ROOT / "build_native.py", ROOT / "pyproject.toml"]
    kinds = {"", ".py", ".pyi", ".c", ".h", ".sh", ".mk", ".toml"}
    words = {word for file in files if file.suffix in kinds for word in re.findall(r"\w+", read(file))}
    names = re.findall(r"`([A-Za-z_][\w.]*)(?:\([^`]*\))?`", prose(page))
    last = {name.rsplit(".", 1)[-1] for name in names if not SOURCE_PATH.search(name)}
    named = {name for name in last if re.search(r"_|[a-z][A-Z]|^[A-Z]{2}", name)}
    assert not named - words


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_comments_name_files_that_exist(path):
    known = {source.name for source in SOURCES} | {file.name for file in (ROOT / "tests").rglob("*.py")}
    known |= {file.name for folder in (ROOT, ROOT / "bench") for file in folder.glob("*.py")}
    named = {name for name in PYTHON_FILE.findall(read(path)) if not UPSTREAM.fullmatch(name)}
    assert named <= known


def test_every_source_file_is_described_once():
    named = re.findall(r"^\| `([^`]+)` \|", read(DOCS / "files.md"), re.MULTILINE)
    markers = {path for path in SOURCES if path.name == "__init__.py" and len(read(path).splitlines()) <= 1}
    assert sorted(named) == sorted(relative(path) for path in SOURCES if path not in markers)


def test_every_folder_is_described():
    headings = re.findall(r"^## (\S+)", read(DOCS / "files.md"), re.MULTILINE)
    assert {relative(path.parent) for path in SOURCES} <= set(headings)
    tree = read(DOCS / "README.md").split("\n## The tree", 1)[1].split("\n## ", 1)[0]
    for heading in headings:
        assert "/" not in heading or f"`{'/'.join(heading.split('/')[:2])}/`" in tree, heading


def test_every_page_is_in_the_list_of_pages():
    text = read(DOCS / "README.md")
    for page in PAGES:
        link = page.name if page.parent == DOCS else f"../{page.name}"
        assert link == "README.md" or f"]({link})" in text, link


def test_words_of_the_glossary_are_defined_once():
    defined = read(DOCS / "glossary.md").split("\n## Words to avoid", 1)[0]
    rows = re.findall(r"^\| ([^|]+?) \|", defined, re.MULTILINE)
    words = [word for row in rows if row != "word" for word in row.split(", ")]
    assert len(words) > 60
    assert len(words) == len(set(words))


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=relative)
def test_avoided_words_are_not_used(path):
    text = read(path).split("\n## Words to avoid", 1)[0]
    assert not AVOIDED.findall(text)


def test_the_changelog_has_the_headings_of_its_format():
    text = read(ROOT / "CHANGELOG.md")
    first, *versions = re.findall(r"^## (.+)", text, re.MULTILINE)
    assert first == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+(?: - \d{4}-\d\d-\d\d)?", version) for version in versions)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)", text, re.MULTILINE)) <= kinds
