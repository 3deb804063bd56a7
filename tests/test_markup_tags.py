"""Markup of a text that is spoken: pauses, changes of the voice, brackets that are text, limits, errors."""

from __future__ import annotations

import random
import re
import time

import pytest
from helpers import allowed

from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.spoken_text.markup_tags import Pause, PauseBudget, Text, VoiceChange, parse_markup


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello.", [Text("Hello.")]),
        ("", []),
        ("A. [pause:500ms] B.", [Text("A. "), Pause(0.5), Text(" B.")]),
        ("[pause:1.5s]", [Pause(1.5)]),
        ("[pause: .25s ][pause:0s]", [Pause(0.25), Pause(0.0)]),
        ('A<break time="500ms"/>B', [Text("A"), Pause(0.5), Text("B")]),
        ("A<break  time = '2s' />B", [Text("A"), Pause(2.0), Text("B")]),
        ('A<break time="1s"></break>B', [Text("A"), Pause(1.0), Text("B")]),
        ("[voice:ryan]Hi.[voice:]", [VoiceChange("ryan"), Text("Hi."), VoiceChange(None)]),
        ("[voice: My Anna ]", [VoiceChange("My Anna")]),
        (r"\[pause:500ms]", [Text("[pause:500ms]")]),
        (r"\[12] and \[b]", [Text("[12] and [b]")]),
        (r"\<break time='1s'/> \<b>", [Text(r"<break time='1s'/> \<b>")]),
        (r"C:\\dir \n \\[pause:1s] \\\[x] \\[x]", [Text("C:\\\\dir \\n \\"), Pause(1.0), Text(" \\[x] \\[x]")]),
        (
            "[12] [pause] [Pause:1s] [voices:x] [see: p. 3] ]",
            [Text("[12] [pause] [Pause:1s] [voices:x] [see: p. 3] ]")],
        ),
        ("<breakfast> <b> <br/> </break>", [Text("<breakfast> <b> <br/> </break>")]),
        ("a\\", [Text("a\\")]),
    ],
)
def test_parts_of_a_text(text, pieces):
    assert parse_markup(text) == pieces


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pause:-1s]", "line 7: '[pause:-1s]': expected a length such as 500ms or 1.5s"),
        ("a\nb\n [pause:500]", "line 9: '[pause:500]': expected"),
        ("\n[pause:500 ms]", "line 8: '[pause:500 ms]': expected"),
        ("[pause:1s]\n\n[pause:]", "line 9: '[pause:]': expected"),
        ("[pause:1e3s]", "expected a length"),
        ("[pause:nans]", "expected a length"),
        ("[pause:1,5s]", "expected a length"),
        ("[pause:١s]", "expected a length"),
        ("[pause:500ms", "line 7: '[pause:500ms': no ] on the same line"),
        ("[voice:ryan\n]", "line 7: '[voice:ryan': no ] on the same line"),
        ("[voice:[voice:x]", "no ]"),
        ("<break/>", "line 7: '<break/>': expected <break time="),
        ("<break>", "expected <break time="),
        ('<break strength="weak"/>', "expected <break time="),
        ('<break time="5"/>', "expected a length"),
        ("<break time=\"1s'/>", "expected <break time="),
        ('<break time="1s"', "expected <break time="),
    ],
)
def test_a_bad_value_is_named_with_its_line(text, message):
    with pytest.raises(UsageError) as error:
        parse_markup(text, line=7)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_lines_a_message_names_none():
    with pytest.raises(UsageError, match=r"^'\[pause:x\]': expected"):
        parse_markup("a\n[pause:x]")


def test_a_change_of_voice_knows_its_line():
    first, _, second = parse_markup("[voice:a]\n\n[voice:b]", line=3)
    assert (first.line, second.line) == (3, 5)


def test_pauses_are_cut_and_warned_of_once():
    warnings = []
    budget = PauseBudget(warnings.append)
    assert parse_markup("[pause:12s][pause:20s][pause:10s]", budget=budget) == [Pause(10.0)] * 3
    assert len(warnings) == 1
    assert "10 s" in warnings[0]
    assert parse_markup("[pause:9s]" * 5, budget=budget) == [*[Pause(9.0)] * 3, Pause(3.0), Pause(0.0)]
    assert len(warnings) == 2
    assert "60 s" in warnings[1]
    budget.begin_chapter()
    assert parse_markup("[pause:11s]" * 7, budget=budget) == [*[Pause(10.0)] * 6, Pause(0.0)]
    assert len(warnings) == 2
    assert parse_markup("[pause:11s]") == [Pause(10.0)]


def test_any_text_comes_back_from_its_escaped_form():
    draw = random.Random(1)
    parts = ["[", "]", "\\", "pause:", "voice:", "<break", " ", "/>", "1s", "a", "\n"]
    for _ in range(2000):
        plain = "".join(draw.choices(parts, k=draw.randrange(12)))
        escaped, run = "", 0
        for place, character in enumerate(plain):
            bracket = character == "[" or re.match(r"<break[\s/>]", plain[place:])
            escaped += "\\" * (run + 1) + character if bracket else character
            run = run + 1 if character == "\\" else 0
        assert "".join(piece.text for piece in parse_markup(escaped)) == plain


@pytest.mark.parametrize("part", ["\\", "[", "\\[", "<break", "<", "[pause:1ms]", "[voice:x] ", "\n"])
def test_a_megabyte_takes_linear_time(part):
    start = time.process_time()
    parse_markup(part * (1_000_000 // len(part)))
    assert time.process_time() - start < allowed(3)
