"""answers.py: make recorded answers of checkpoints from the goldens, which the official package made.

As a program it writes those of the embedded voice into qwen3tts_cli/check/answers.json.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
from helpers import ROOT, cut_early, golden_rows, load_golden

from qwen3tts_cli.check.answers import FORMAT, SECTIONS
from qwen3tts_cli.check.structure import ID_FIELDS, tensors_digest
from qwen3tts_cli.check.subject import WEIGHTS
from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.models.safetensors import open_weights

PACKAGE = ROOT / "qwen3tts_cli" / "check" / "answers.json"
SOURCE = "the official package, float32, tests/data/goldens"
FILES = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "merges.txt"),
    *("tokenizer_config.json", *WEIGHTS, "speech_tokenizer/config.json", "speech_tokenizer/preprocessor_config.json"),
)
TOLERANCE = 2 / 32768


def array(values: np.ndarray, dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "base64": base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()}


def files_of(folder: Path) -> dict[str, object]:
    data = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
    files = {name: [len(each), hashlib.sha256(each).hexdigest()] for name, each in data.items()}
    return {"repository": None, "revision": None, "files": files}


def config_of(folder: Path) -> dict[str, object]:
    config, tensors = load_config(folder), {}
    for name in WEIGHTS:
        weights = open_weights((folder / name).parent)
        tensors[name] = tensors_digest(weights)
        weights.close()
    ids = {name: getattr(config, name) for name in ID_FIELDS}
    return {"tensors": tensors, "ids": ids, "speakers": config.speakers, "languages": config.languages}


def decoder_record(name: str, codes: np.ndarray, wav: np.ndarray, parts, dtype: str) -> dict[str, object]:
    """parts: slices of the samples that are recorded."""
    scale = 32768 if dtype == "<i2" else 1
    samples = []
    for first, end in parts:
        values = wav[first:end] * scale
        samples.append({"first": first, "values": array(np.round(values) if scale > 1 else values, dtype)})
    return {"id": name, "codes": codes.tolist(), "samples": samples, "tolerance": TOLERANCE, "source": SOURCE}


def speech_record(row: dict, golden: dict[str, np.ndarray]) -> dict[str, object]:
    record = {
        "id": row["name"],
        "text": row["text"],
        "voice": row["speaker"].lower() if row.get("speaker") else None,
        "language": (row.get("language") or "auto").lower(),
        "text_mode": "full" if row["non_streaming_mode"] else "streaming",
        "repetition_penalty": row["generate_kwargs"]["repetition_penalty"],
        "codes": golden["codes"].tolist(),
        "ended": row["stop"] == "eos",
        "text_ids": golden["input_ids"].tolist(),
        "source": SOURCE,
    }
    if row.get("instruct"):
        record["instruct"] = row["instruct"]
    if "spk_emb" in golden:
        record["speaker"] = array(golden["spk_emb"], "<f4")
    if "ref_codes" in golden:
        record |= {"reference_codes": golden["ref_codes"].tolist(), "reference_text": row["ref_text"]}
    return record


def answers_of(model: str, goldens: str, folder: Path, *, names=None, dtype: str = "<f4", ends: int | None = None):
    """The answers of a checkpoint as an object. names: of the goldens that are used, None: all. ends: the number of
    frames at the beginning and at the end of a decoded wave that are recorded; None: all."""
    sections = {name: {} for name in SECTIONS}
    rows = [row for row in golden_rows(goldens, "tts") if names is None or row["name"] in names]
    cases = [(row, load_golden(goldens, row)) for row in rows]
    cases = [(row, golden) for row, golden in cases if len(golden["codes"])]
    sections["files"][model], sections["config"][model] = files_of(folder), config_of(folder)
    sections["speech"][model] = [speech_record(row, golden) for row, golden in cases]
    decoder = []
    for row, golden in cases:
        if "ref_codes" in golden or cut_early(golden):
            continue
        wav, frames = golden["wav"], len(golden["codes"])
        assert len(wav) == 1920 * frames
        parts = [(0, len(wav))]
        if ends is not None and frames > 2 * ends:
            parts = [(0, 1920 * ends), (len(wav) - 1920 * ends, len(wav))]
        decoder.append(decoder_record(row["name"], golden["codes"], wav, parts, dtype))
    sections["decoder"][model] = decoder
    return {"format": FORMAT, **sections}


def write_answers(path: Path, *tables: dict) -> Path:
    """Write the answers of one or more models into a file."""
    merged = {name: {} for name in SECTIONS}
    for table in tables:
        for name in SECTIONS:
            merged[name] |= table[name]
    path.write_text(json.dumps({"format": FORMAT, **merged}, ensure_ascii=False), encoding="utf-8")
    return path


def embedded_answers() -> dict:
    """The answers of the embedded voice, as the package has them."""
    folder = ROOT / "qwen3tts_cli" / "voices" / "pocket"
    return answers_of("pocket", "pocket", folder, dtype="<i2", ends=4)


def main() -> None:
    table = json.loads(PACKAGE.read_text(encoding="utf-8"))
    for name, records in embedded_answers().items():
        if name != "format":
            table[name] |= records
    PACKAGE.write_text(dumps(table), encoding="utf-8")


def dumps(table: dict) -> str:
    """JSON with one line for each record."""
    lines = []
    for section in SECTIONS:
        models = []
        for model, records in table[section].items():
            if isinstance(records, list):
                text = (
                    "[\n"
                    + ",\n".join(
                        "   " + json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in records
                    )
                    + "\n  ]"
                )
            else:
                text = json.dumps(records, ensure_ascii=False, separators=(",", ":"))
            models.append(f"  {json.dumps(model)}: {text}")
        lines.append(f" {json.dumps(section)}: {{\n" + ",\n".join(models) + "\n }")
    return f'{{\n "format": {json.dumps(FORMAT)},\n' + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
