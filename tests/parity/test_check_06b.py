"""`models check` on the full-size 0.6B checkpoints of random weights; `make parity` makes them and runs this."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from answers import answers_of, write_answers
from helpers import allowed

from qwen3tts_cli.check.run import run_checks
from qwen3tts_cli.check.subject import find_subject

NAMES = ("0.6b-customvoice", "0.6b-base")
LINES = ["files", "structure", "tokenizer", "decoder", "speech bf16", "speech int8", "same bytes"]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_size_checkpoint_passes(full_size, name, tmp_path):
    """Answers of the official package, which ran the same weights. The limit of time is for two cores."""
    folder = Path(full_size) / name
    answers = write_answers(tmp_path / "answers.json", answers_of(name, name, folder))
    subject = find_subject(folder, answers=answers)
    assert subject.known == name
    start = time.monotonic()
    results = {result.check: result for result in run_checks(subject)}
    seconds = time.monotonic() - start
    for result in results.values():
        print(f"{result.check:14}{result.status:15}{result.why}")
    assert {check: result.status for check, result in results.items()} == dict.fromkeys(LINES, "passed")
    print(f"{seconds:.1f} s")
    assert seconds < allowed(120)
