"""narrate: texts of any length: memory; and whole books, killed and resumed, with the speed of say_many."""

from __future__ import annotations

import filecmp
import random
import resource
import shutil
import subprocess
import sys
import time
from html import escape
from pathlib import Path

import pytest
from epub_maker import make_epub
from test_narration_resume import FORMATS, kill_after, segments_in, sentence

from qwen3tts_cli import Synthesizer, narrate
from qwen3tts_cli.narration.segments import Segment

WORDS = 20_000
KILLS = 10
SENTENCES = 8  # in a paragraph
SEGMENTED = """
import sys
from pathlib import Path
from qwen3tts_cli import Synthesizer
from qwen3tts_cli.books.read_book import read_document
from qwen3tts_cli.narration.options import make_narrate_options
from qwen3tts_cli.narration.segments import Segmenter

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

def segments(synthesizer, path):
    document = read_document(path, format=None, alt=False, code=False, markup=True)
    maker = Segmenter(synthesizer, make_narrate_options({}), 1, {}, None, print)
    return maker.chapters(document, list(range(len(document.chapters))))

with Synthesizer.open(threads=1) as synthesizer:
    synthesizer.say("It was late.", seed=1)
    segments(synthesizer, Path(sys.argv[1]))
    before = peak()
    chapters = segments(synthesizer, Path(sys.argv[2]))
    print(sum(len(chapter.segments) for chapter in chapters), peak() - before)
"""


def chapters_of(words: int) -> list[list[str]]:
    """The paragraphs of chapters of a book of so many words."""
    count = words // len(sentence(0).split())
    paragraphs = [" ".join(sentence(number) for number in range(i, i + SENTENCES)) for i in range(0, count, SENTENCES)]
    return [paragraphs[i : i + 25] for i in range(0, len(paragraphs), 25)]


def write_text(path: Path, chapters: list[list[str]]) -> Path:
    parts = [f"[chapter:Part {i}]\n\n" + "\n\n".join(each) for i, each in enumerate(chapters, 1)]
    path.write_text("\n\n".join(parts), encoding="utf-8")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_segments_of_a_long_text_take_little_memory(tmp_path):
    """1,000,000 words take 20 times as much."""
    short, long = (write_text(tmp_path / f"{words}.txt", chapters_of(words)) for words in (200, 50_000))
    command = [sys.executable, "-c", SEGMENTED, str(short), str(long)]
    count, megabytes = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert int(count) > 2500
    assert float(megabytes) < 15


@pytest.mark.soak
def test_books_are_killed_and_resumed(tmp_path):
    """The text is spoken without an interruption; the book of the same words is killed and resumed."""
    chapters = chapters_of(WORDS)
    text = write_text(tmp_path / "book.txt", chapters)
    bodies = ["".join(f"<p>{escape(paragraph)}</p>" for paragraph in chapter) for chapter in chapters]
    book = make_epub(tmp_path / "book.epub", [(f"Part {i}", body) for i, body in enumerate(bodies, 1)], title="Book")
    options = ("--seed", "1", "--keep", "--title", "Book", "--author", "A", "-l", "english", "--pause-chapter", "2")
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = tmp_path / "whole" / "a.wav", tmp_path / "killed" / "a.wav"
    narrated(text, whole, *options, "--batch", "3")
    total = len(segments_in(whole.with_name("a.wav.segments")))
    moments = sorted(random.SystemRandom().sample(range(1, total - 20), KILLS))
    for number, moment in enumerate(moments):
        assert kill_after(moment, book, killed, *options, "--threads", str(1 + number % 2), cue="segment")
        assert not killed.exists()
    narrated(book, killed, *options)
    for extension in FORMATS:
        found = []
        for source, path in ((text, whole), (book, killed)):
            target = path.with_suffix(f".{extension}")
            if target != path:
                path.with_name(f"{path.name}.segments").rename(target.with_name(f"{target.name}.segments"))
                narrated(source, target, *options)
                target.with_name(f"{target.name}.segments").rename(path.with_name(f"{path.name}.segments"))
            found.append(target)
        # not read whole: the peak of a child counts the memory that its parent had at the fork
        assert filecmp.cmp(*found, shallow=False), extension
    assert len(segments_in(killed.with_name("a.wav.segments"))) == total
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)
    assert peak < 600  # MB, with the model and the libraries


def narrated(source: Path, output: Path, *options: str) -> None:
    command = [sys.executable, "-m", "qwen3tts_cli", "narrate", str(source), "-o", str(output), "-q", *options]
    subprocess.run(command, check=True)


@pytest.mark.soak
def test_a_book_is_spoken_nearly_as_fast_as_by_say_many(tmp_path):
    text = write_text(tmp_path / "book.txt", chapters_of(WORDS // 5))
    segments: list[Segment] = []
    rates: dict[str, list[float]] = {"narrate": [], "say_many": []}
    with Synthesizer.open() as synthesizer:
        for _ in range(3):
            began, seen = time.perf_counter(), []
            narrate(text, tmp_path / "a.flac", model=synthesizer, seed=1, keep=True, progress=seen.append)
            rates["narrate"].append(seen[-1].spoken / (time.perf_counter() - began))
            shutil.rmtree(tmp_path / "a.flac.segments")
            if not segments:
                segments = segments_of(synthesizer, text)
            began, samples = time.perf_counter(), 0
            for i in range(0, len(segments), 500):
                requests = [{"text": each.text, "seed": 1} for each in segments[i : i + 500]]
                samples += sum(map(len, synthesizer.say_many(requests)))
            rates["say_many"].append(samples / 24000 / (time.perf_counter() - began))
    print(rates)
    assert max(rates["narrate"]) >= 0.9 * max(rates["say_many"])


def segments_of(synthesizer, path: Path) -> list[Segment]:
    from qwen3tts_cli.books.read_book import read_document
    from qwen3tts_cli.narration.options import make_narrate_options
    from qwen3tts_cli.narration.segments import Segmenter

    document = read_document(path, format=None, alt=False, code=False, markup=True)
    maker = Segmenter(synthesizer, make_narrate_options({}), 1, {}, None, print)
    chapters = maker.chapters(document, list(range(len(document.chapters))))
    return [segment for chapter in chapters for segment in chapter.segments]
