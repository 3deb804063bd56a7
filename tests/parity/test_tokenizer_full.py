"""The vocabulary of the released models: ids and prompts of the official package, and the time to open it.

The folder of the checkpoints (--full-size) needs no weights here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers import GOLDENS, golden_rows, load_golden

from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.models.tokenizer import load_tokenizer
from qwen3tts_cli.text.prompt import build_prompt

ROWS = json.loads((GOLDENS / "tokenizer" / "full_qwen2.json").read_text(encoding="utf-8"))
PROMPTS = [(name, row["file"]) for name in ("0.6b-customvoice", "0.6b-base") for row in golden_rows(name, "tts")]


@pytest.fixture(scope="module")
def tokenizer(full_size):
    return load_tokenizer(Path(full_size) / "0.6b-customvoice")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["text"][:20]))
def test_goldens(tokenizer, row):
    assert tokenizer.encode(row["text"]) == row["ids"]
    wrapped = f"<|im_start|>assistant\n{row['text']}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.encode(wrapped) == row["wrapped_ids"]


@pytest.mark.parametrize(("name", "file"), PROMPTS)
def test_prompts(full_size, name, file):
    folder = Path(full_size) / name
    row = next(row for row in golden_rows(name) if row["file"] == file)
    golden = load_golden(name, row)
    prompt = build_prompt(
        load_config(folder),
        load_tokenizer(folder),
        row["text"],
        language=row.get("language"),
        speaker=row.get("speaker"),
        text_mode="full" if row["non_streaming_mode"] else "streaming",
        speaker_row=row["kind"] == "base",
        reference_codes=golden.get("ref_codes"),
        reference_text=row.get("ref_text"),
    )
    assert prompt.input_ids == golden["input_ids"].tolist()
    assert len(prompt.text_ids) == row["prefill_len"]


def test_start_up_from_the_cache(full_size):
    folder = Path(full_size) / "0.6b-customvoice"
    load_tokenizer(folder)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load_tokenizer(folder)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.06
