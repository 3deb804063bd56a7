"""Every example of docs/narrate.md runs, in its order, with the embedded voice; its tables name what there is."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from epub_maker import make_epub
from helpers import ROOT, allowed

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.spoken_text.listening_rules import for_listening

PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("narrate.md", "audiobooks.md")}
PAGE = PAGES["narrate.md"]
# What a command needs, as `# needs` behind it says, and whether it is here; released models and recognisers are not.
HERE = {
    "ffmpeg": shutil.which("ffmpeg"),
    "pocketsphinx": importlib.util.find_spec("pocketsphinx"),
    **dict.fromkeys(("faster-whisper", "0.6b", "0.6b-base", "1.7b-base")),
}
CHANGED = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)


def lines_of(page: str) -> list[str]:
    """The commands of a page that do not begin with another program."""
    found = "".join(re.findall(r"```sh\n(.*?)```", PAGES[page], re.DOTALL)).splitlines()
    return [line for line in found if line.startswith("qwen3tts ")]


def keys_in(section: str) -> list[str]:
    """The keys in the first column of the tables of a section of the page."""
    text = PAGE.split(f"\n## {section}", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]


def run(words: list[str]) -> tuple[int, str, str]:
    """Run a command in this process. Returns its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the files of the page and a book."""
    path = tmp_path_factory.mktemp("narrate")
    for name, content in re.findall(r"`(\w+\.\w+)`[.:]\n\n```\w+\n(.*?)```", PAGE, re.DOTALL):
        (path / name).write_text(content, encoding="utf-8")
    assert {each.name for each in path.iterdir()} == {"story.md", "names.tsv", "lines.jsonl", "lines.csv"}
    make_epub(path / "book.epub", [("One", "<h1>One</h1><p>It was late.</p>"), ("Two", "<p>It rained.</p>")])
    return path


@pytest.fixture(autouse=True)
def _in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def spoken(folder) -> dict[str, str]:
    """What the commands of the page that can run here have printed, in their order; `folder` has their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_page("narrate.md")


def run_page(page: str) -> dict[str, str]:
    printed = {}
    for line in lines_of(page):
        needed = re.search(r"# needs (\S+)$", line)
        if needed and not HERE[needed[1]]:
            continue
        code, out, err = run(shlex.split(line, comments=True)[1:])
        assert code == 0, f"{line}: {err}"
        printed[line] = out
    return printed


def test_commands_run(folder, spoken):
    assert len(spoken) > 15
    assert "The Harbour" in spoken["qwen3tts narrate story.md --list"]
    assert spoken["qwen3tts narrate story.md --dry-run -o story.opus"].startswith("2 chapters, ")
    assert {path.parent for path in folder.glob("**/run.lock")} <= {*(folder / "shards").iterdir()}


def test_commands_of_the_advice_run(folder):
    assert len(run_page("audiobooks.md")) > 5
    assert not (folder / "story.mp3.segments").exists()


def test_a_folder_has_a_file_for_each_chapter(folder, spoken):
    names = {"01 One.mp3", "01 One.srt", "02 Two.mp3", "02 Two.srt"}
    assert {path.name for path in (folder / "book").iterdir()} == names


def test_the_tables_of_timings_and_results_name_all_keys(folder, spoken):
    (facts,) = json.loads((folder / "lamps.json").read_text(encoding="utf-8"))["files"]
    assert {*keys_in("Subtitles")} == {*facts, *facts["segments"][0]}
    results = [json.loads((folder / f"shards/manifest.{i}-of-2.jsonl").read_text().splitlines()[0]) for i in (0, 1)]
    assert [(each["path"], each.get("id")) for each in results] == [("doors.wav", "D-1"), ("stops/harbour.opus", None)]
    sentence = PAGE.split("each row: `path`", 1)[1].split("A row that failed", 1)[0]
    assert ["path", *re.findall(r"`(\w+)`", sentence)] == list(results[1])  # a row without further keys


def test_the_table_of_progress_names_all_keys():
    code, _, err = run(shlex.split("narrate story.md --chapters 2 -o progress.wav --seed 1 --progress json"))
    assert code == 0
    shown = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert all(list(each) == keys_in("Progress") for each in shown)
    assert shown[-1]["stage"] == "writing"


def test_a_text_from_a_pipe_is_spoken(folder):
    (line,) = re.findall(r"^pdftotext .*$", PAGE, re.MULTILINE)
    for program, script in {
        "pdftotext": "echo 'A page.'",
        "qwen3tts": f"exec '{sys.executable}' -m qwen3tts_cli",
    }.items():
        line = line.replace(program, script)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(["sh", "-c", line], env={**os.environ, "PYTHONPATH": path}, check=True, timeout=allowed(60))
    assert soundfile.info(folder / "paper.mp3").duration > 0.3


def test_python_runs(folder, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "narrate.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "speaking: 0 of 5 segments"
    assert printed[-1].endswith("manifest.jsonl 3 0")
    assert soundfile.info(folder / "story.ogg").duration > 2
    assert len(list((folder / "story").glob("*.srt"))) == 2


@pytest.mark.parametrize(("text", "english", "other"), CHANGED, ids=range(len(CHANGED)))
def test_the_table_of_changed_texts(text, english, other):
    assert [for_listening(text.replace("⏎", "\n"), language) for language in ("english", "auto")] == [english, other]


def test_the_table_of_changed_texts_was_read():
    assert len(CHANGED) > 12
