"""The manifest of `batch`: JSON Lines and CSV, every key checked with its line, outputs that stay in their folder."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import resource
import sys
import time

import pytest
from helpers import allowed

from qwen3tts_cli import InputError, UsageError
from qwen3tts_cli.narration import manifest
from qwen3tts_cli.narration.manifest import read_manifest


@pytest.fixture
def read(tmp_path):
    """A function that reads a manifest from its contents, a list of rows or text or bytes."""
    (tmp_path / "out").mkdir()

    def read(contents, name="m.jsonl"):
        if isinstance(contents, list):
            contents = "".join(json.dumps(row) + "\n" for row in contents)
        (tmp_path / name).write_bytes(contents.encode() if isinstance(contents, str) else contents)
        return read_manifest(tmp_path / name, "wav", tmp_path / "out")

    return read


def refused(read, contents, name="m.jsonl"):
    """The message of a manifest that is refused, without the name of its folder."""
    with pytest.raises(UsageError) as caught:
        read(contents, name)
    (line,) = str(caught.value).splitlines()
    assert len(line) < 500
    return line[line.index(name) :]


# -------------------------------------------------------------------- formats
@pytest.mark.parametrize(
    "text",
    [
        '{"text": "One"}\n{"text": "Two", "out": "b"}\n',
        '{"text": "One"}\r\n\r\n  \r\n{"text": "Two", "out": "b"}',
        '\ufeff\n{"text": "One"}\n\n\n{"text": "Two", "out": "b"}\n\n',
    ],
)
def test_json_lines(read, text):
    rows = read(text)
    assert [(row.number, row.text, row.out) for row in rows] == [(0, "One", "0.wav"), (1, "Two", "b.wav")]
    assert [row.line for row in rows] == [n for n, line in enumerate(text.split("\n"), 1) if "text" in line]


def test_every_key_of_json_lines(read, tmp_path):
    (tmp_path / "r.wav").touch()
    facts = {"text": " A\u2028b\n", "out": "x/1.2", "language": "en", "instruct": "i", "ref": "r.wav", "ref_text": "t"}
    (row,) = read([{**facts, "seed": 2**64 - 1, "score": 1.5, "tags": ["a", {"b": None}]}])
    assert (row.text, row.out, row.language, row.instruct) == (" A\u2028b\n", "x/1.2.wav", "en", "i")
    assert (row.ref, row.ref_text, row.seed) == (tmp_path / "r.wav", "t", 2**64 - 1)
    assert row.more == {"score": 1.5, "tags": ["a", {"b": None}]}
    (row,) = read([{"text": "a", "design": "deep", "seed": None, "out": None, "more": None}])
    assert (row.design, row.seed, row.out, row.more) == ("deep", None, "0.wav", {"more": None})


def test_csv_as_of_rfc_4180(read):
    text = (
        '\ufeffseed,text,note,out\r\n5,"One, ""two""\r\nthree",,a\r\n\r\n,,,\r\n,"","",\r\n'
        ',Fo"ur," n\n""",b\r,Five,"",""'
    )
    rows = read(text, "m.csv")
    assert [(row.number, row.line, row.text, row.out) for row in rows] == [
        (0, 2, 'One, "two"\r\nthree', "a.wav"), (1, 7, 'Fo"ur', "b.wav"), (2, 9, "Five", "2.wav")
    ]  # fmt: skip
    assert [row.seed for row in rows] == [5, None, None]
    assert [row.more for row in rows] == [{}, {"note": ' n\n"'}, {}]


def test_csv_and_json_lines_of_the_same_rows_are_equal(read):
    facts = [{"out": f"{n}a", "text": 'It\'s\n"so", é', "x": "y", "seed": str(n)} for n in range(3)]
    quoted = ["out,text,x,seed", *(f'{n}a,"It\'s\n""so"", é",y,{n}' for n in range(3))]
    rows, same = read(facts), read("\n".join(quoted), "m.csv")
    assert [(row.out, row.text, row.more, row.seed) for row in rows] == [
        (row.out, row.text, row.more, row.seed) for row in same
    ]


@pytest.mark.parametrize(
    ("end", "quoting"), [("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]
)
def test_csv_comes_back_as_it_was_written(read, end, quoting):
    draw, rows = random.Random(end), []
    for _ in range(300):
        rows.append(["x" + "".join(draw.choices('a, "\n\r;\té\u2028', k=draw.randrange(9))) for _ in range(3)])
        rows[-1][1] = draw.choice([rows[-1][1], "", " "])
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=quoting).writerows([["text", "a", "b"], *rows])
    want = [(text, {name: cell for name, cell in (("a", a), ("b", b)) if cell}) for text, a, b in rows]
    assert [(row.text, row.more) for row in read(file.getvalue(), "m.csv")] == want


def test_long_texts(read):
    text = 'A "word", ' * 100_000
    assert read([{"text": text}])[0].text == text
    assert read('text\n"' + text.replace('"', '""') + '"\n', "m.csv")[0].text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a"}\n{"text": "b"', "line 2: no JSON object: Expecting ',' delimiter (column 13)"),
        ('\n[{"text": "a"}]', "line 2: no JSON object: found a list of 1"),
        ('{"text": "a"} {"text": "b"}', "line 1: no JSON object: Extra data"),
        ('{"text": "a", "text": "b"}', "line 1: 'text' is there twice"),
        ('{"text": "a", "x": {"y": 1, "y": 2}}', "line 1: 'y' is there twice"),
        ('{"text": "a", "x": NaN}', "line 1: NaN is not a JSON number"),
        ('{"text": "a", "x": 1e999}', "line 1: the number 1e999 is too large"),
        ('{"text": "a", "x": %s}' % ("9" * 5000), "line 1: an integer of 5000 digits"),
        ('{"text": "a", "x": "\\udc00"}', "line 1: half of a surrogate pair"),
        ('{"text": "\\ud800"}', "line 1: half of a surrogate pair"),
        ('{"text": "a", "\\uDBFF": 1}', "line 1: half of a surrogate pair"),
        ('{"text": "a", "x": %s}' % ("[" * 60 + "]" * 60), "line 1: no JSON object, or one with lists and objects"),
        ("\n" + "[" * 200_000, "line 2: no JSON object, or one with lists and objects more than 50 deep"),
        ('{"text": "a", "x": ' + '{"x": ' * 900 + "1" + "}" * 901, "line 1: no JSON object, or one with"),
        ("\n \n", "no rows"),
        ("", "no rows"),
    ],
)
def test_json_that_is_refused(read, text, message):
    assert message in refused(read, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("text,out\r\n", "no rows"),
        ("text;out\na;b\n", "line 1: the header has no column text: 'text;out'"),
        ("text,a,a\nb,c,d\n", "line 1: two columns of the same name"),
        ('text,a\n"b\nc",d\ne,f,g\n', "line 4: cells: found 3, the header has 2"),
        ("text,a\nb\n", "line 2: cells: found 1, the header has 2"),
        ('text\n"a"b\n', "line 2: found 'b' behind a quoted cell"),
        ('text\n\n"a\nb', "line 3: a quoted cell has no end"),
        ('text,out\na, "b"\n', "line 2: a space before the quote"),
        ("text,seed\na,-1\n", "line 2: seed: found '-1'"),
        ("text,out\n,a\n", "line 2: text: there is none"),
    ],
)
def test_csv_that_is_refused(read, text, message):
    assert message in refused(read, text, "m.csv")


def test_files_that_cannot_be_read(read, tmp_path, monkeypatch):
    for name in ("missing", "m.jsonl/x"):
        with pytest.raises(UsageError, match="no such file"):
            read_manifest(tmp_path / name, "wav", tmp_path)
    with pytest.raises(UsageError, match="a folder"):
        read_manifest(tmp_path, "wav", tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "a\0b", "wav", tmp_path)
    assert "line 2: not valid UTF-8: byte 0xFF" in refused(read, b'{"text": "a"}\n{"text": "\xff"}')
    assert "line 1: not valid UTF-8" in refused(read, '{"text": "a"}'.encode("utf-16"))
    monkeypatch.setattr(manifest, "LIMIT_BYTES", 12)
    assert "more than 12 bytes" in refused(read, '{"text": "a"}')


# -------------------------------------------------------------------- keys
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"out": "a"}, "text: there is none"),
        ({"text": " \n\t"}, "text: there is none"),
        ({"text": 5}, "text: found 5, expected a text"),
        ({"text": "a", "language": ["en"]}, "language: found a list of 1, expected a text"),
        ({"text": "a", "out": 1}, "out: found 1, expected a text"),
        ({"text": "a", "seed": True}, "seed: found true, expected an integer from 0 to 2**64 - 1"),
        ({"text": "a", "seed": 1.0}, "seed: found 1.0"),
        ({"text": "a", "seed": -1}, "seed: found -1"),
        ({"text": "a", "seed": 2**64}, "seed: found 18446744073709551616"),
        ({"text": "a", "seed": "٣"}, "seed: found '٣'"),
        ({"text": "a", "seed": str(2**64)}, "seed: found 18446744073709551616"),
        ({"text": "a", "ref_text": "b"}, "ref_text: there is no recording"),
        ({"text": "a", "ref": "m.jsonl", "voice": "anna"}, "voice and ref are both given"),
        ({"text": "a", "ref": "no.wav"}, "ref: 'no.wav' is no file, seen from the manifest"),
        ({"text": "a", "ref": "x" * 5000}, "ref: 'xxx"),
        ({"text": "a", "ref": "a\0"}, "ref: 'a\\x00' is no file"),
        ({"text": "a", "voice": "./anna"}, "voice: './anna' is no file"),
        ({"text": "a", "voice": "b.safetensors"}, "voice: 'b.safetensors' is no file"),
    ],
)
def test_values_that_are_refused(read, facts, message):
    assert f"line 3: {message}" in refused(read, '{"text": "x", "out": "first"}\n\n' + json.dumps(facts))


def test_paths_are_relative_to_the_manifest(read, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "a").mkdir()
    for name in ("a/r.wav", "v.safetensors"):
        (tmp_path / name).touch()
    facts = [{"ref": "a/r.wav"}, {"ref": str(tmp_path / "a/r.wav")}, {"voice": "v.safetensors"}, {"voice": "anna"}]
    rows = read([{"text": "a", **each} for each in facts])
    assert [row.ref for row in rows] == [tmp_path / "a/r.wav"] * 2 + [None, None]
    assert [row.voice for row in rows] == [None, None, tmp_path / "v.safetensors", "anna"]


# -------------------------------------------------------------------- outputs
@pytest.mark.parametrize("name", ["a", "a/b", "ä é", "a.b", ".hidden", "a/./b//c", "x" * 200, "CON", "~", "..."])
def test_outputs_are_inside_the_folder(read, tmp_path, name):
    (row,) = read([{"text": "a", "out": name}])
    assert row.out == os.path.normpath(name) + ".wav"
    assert (tmp_path / "out" / row.out).resolve().is_relative_to((tmp_path / "out").resolve())


def test_extensions(read):
    names = ["a.FLAC", "b.opus", "c.txt", "d.", "wav", ".mp3", "e.m4b"]
    rows = read([{"text": "a", "out": name} for name in names])
    assert [row.out for row in rows] == ["a.FLAC", "b.opus", "c.txt.wav", "d..wav", "wav.wav", ".mp3.wav", "e.m4b"]


@pytest.mark.parametrize(
    "name",
    [
        *("../a", "a/../../b", "a/..", "..", ".", "./", "/etc/a", "//a", "a/", "a\\b", "..\\a", "C:a", "C:/a", "a\0b"),
        *("a\nb", "a\x7fb", "a\x85b", ".segments/a", ".Segments.0-of-2/a", "b/.qwen3tts-0.part", "x" * 201),
        *("é" * 101, "a/" * 600 + "b", "a/" * 50 + "b"),
    ],
)
def test_outputs_that_are_refused(read, name):
    line = refused(read, [{"text": "a", "out": name}])
    assert "line 1: out: '" in line
    assert "link" not in line  # by the path alone, before the folder is looked at


@pytest.mark.parametrize(
    ("one", "two"),
    [
        *(("a", "a"), ("a", "a.wav"), ("a", "A"), ("a.wav", "a.WAV"), ("a/b", "a/./b"), ("a/b", "./a//b")),
        *(("straße", "STRASSE"), ("\u00e9", "e\u0301"), ("1", None), ("a.wav", "a.wav/b"), ("A.wav/b/c", "a.WAV")),
    ],
)
def test_outputs_that_are_the_same_file_or_in_one(read, one, two):
    line = refused(read, [{"text": "a", "out": one}, {"text": "b", "out": two}, {"text": "c"}])
    assert "line 2: out: " in line
    assert "line 1" in line


def test_links_do_not_lead_out(read, tmp_path):
    out = tmp_path / "out"
    for link, target in (("up", ".."), ("away", "/nowhere/x"), ("in", "real"), ("loop", "loop"), ("f.wav", "../f.wav")):
        (out / link).symlink_to(target)
    (out / "real").mkdir()
    for name in ("up/a", "up/out2/a", "away/a", "f", "in/../../a"):
        assert "line 1: out: " in refused(read, [{"text": "a", "out": name}])
    assert "leads out" in refused(read, [{"text": "a", "out": "up/a"}])
    assert read([{"text": "a", "out": "in/a"}])[0].out == "in/a.wav"
    assert "the same file as that of line 1" in refused(read, [{"text": "a", "out": f"{x}/a"} for x in ("in", "real")])


def test_what_is_there_is_not_replaced_unless_it_is_a_file(read, tmp_path):
    out = tmp_path / "out"
    (out / "a.wav").mkdir()
    (out / "b").touch()
    os.mkfifo(out / "c.wav")
    (out / "d.wav").touch()
    assert "not a file" in refused(read, [{"text": "a", "out": "a"}])
    assert "b is not a folder" in refused(read, [{"text": "a", "out": "b/x/y"}])
    assert "not a file" in refused(read, [{"text": "a", "out": "c"}])
    assert read([{"text": "a", "out": "d"}])[0].out == "d.wav"
    assert "would replace" in refused(read, [{"text": "a", "out": "d"}, {"text": "b", "ref": "out/d.wav"}])


def test_the_result_does_not_replace_the_manifest(read, tmp_path):
    for name in ("manifest.jsonl", "manifest.0-of-2.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}')
        with pytest.raises(UsageError, match="the result has this name"):
            read_manifest(tmp_path / name, "wav", tmp_path)
        assert read_manifest(tmp_path / name, "wav", tmp_path / "out")


def test_many_rows_are_checked_in_seconds(read):
    contents = "".join(
        json.dumps({"text": f"This is sentence number {n}.", "out": f"{n % 100:02}/{n}", "speaker": n % 7}) + "\n"
        for n in range(20_000)
    )
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(read(contents)) == 20_000
    assert time.process_time() - began < allowed(6)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 * (1024 if sys.platform == "linux" else 1 << 20)
