"""Runs of `batch` for tests."""

from __future__ import annotations

import json

import qwen3tts_cli

SEED = 5


class Run:
    """What `batch` made of rows in a folder: its result, the rows of that, and the bytes of the files by path."""

    def __init__(self, folder, rows, model, **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.folder = folder / "m.jsonl", folder / "out"
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.result = qwen3tts_cli.batch(self.path, self.folder, model=model, **{"seed": SEED, **options})
        self.rows = read_result(self.result.manifest)
        self.bytes = {row["path"]: (self.folder / row["path"]).read_bytes() for row in self.rows if not row["error"]}


def read_result(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
