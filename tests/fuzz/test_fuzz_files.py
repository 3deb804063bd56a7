"""Mutated model files: each opens or is refused by an error of ours, within seconds; what opens speaks or fails so.

`make fuzz` runs this for a minute. A failure names the seed that made it.
"""

from __future__ import annotations

import json
import random
import shutil
import time

import pytest
from helpers import CHECKPOINTS, allowed

from qwen3tts_cli.errors import Qwen3TTSError
from qwen3tts_cli.models.checkpoint import open_checkpoint

FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
)
VALUES = (
    0,
    -1,
    1,
    2,
    3,
    7,
    2**31,
    2**40,
    2**63,
    -(2**63),
    1e308,
    -0.5,
    float("nan"),
    None,
    True,
    "",
    "x" * 4096,
    [],
    {},
    [0],
)
MASKS = (0x7FFFFFFF, 1, 0)
MAX_SECONDS = 10


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Another value, key or order somewhere in the tree."""
    tree = json.loads(data)
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(tree)
    node, key = rng.choice(places)
    match rng.randrange(4):
        case 0:
            node[key] = rng.choice(VALUES)
        case 1 if isinstance(node[key], (int, float)) and not isinstance(node[key], bool):
            node[key] = type(node[key])(node[key] * rng.choice((0.5, 2, 3, -1)) + rng.choice((-1, 0, 1)))
        case 2:
            del node[key]
        case _:
            other, other_key = rng.choice(places)
            node[key] = other[other_key] if not isinstance(other[other_key], (dict, list)) else 0
    return json.dumps(tree).encode()


def mutate_bytes(data: bytes, rng: random.Random, reach: int) -> bytes:
    """A few bytes changed within `reach`, or a cut, or a repeated piece."""
    changed = bytearray(data)
    match rng.randrange(4):
        case 0:
            return data[: rng.randrange(len(data))]
        case 1:
            at = rng.randrange(min(reach, len(data)))
            return data[:at] + data[at : at + rng.randrange(1, 64)] + data[at:]
        case _:
            for _ in range(rng.randrange(1, 6)):
                changed[rng.randrange(min(reach, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def mutated(name: str, data: bytes, rng: random.Random) -> bytes:
    if name.endswith(".safetensors"):
        header = int.from_bytes(data[:8], "little")
        if rng.randrange(2):
            text = mutate_json(data[8 : 8 + header], rng)
            return len(text).to_bytes(8, "little") + text + data[8 + header :]
        return mutate_bytes(data, rng, 8 + header)
    if name.endswith(".json") and rng.randrange(4):
        return mutate_json(data, rng)
    return mutate_bytes(data, rng, len(data))


def open_and_speak(folder, rng: random.Random) -> None:
    from qwen3tts_cli.engine.model import Model
    from qwen3tts_cli.engine.session import Sampling, Session
    from qwen3tts_cli.text.prompt import build_prompt

    with open_checkpoint(folder) as checkpoint:
        speaker = next(iter(checkpoint.config.speakers), None)
        prompt = build_prompt(
            checkpoint.config,
            checkpoint.tokenizer,
            "Hello world.",
            language="auto",
            speaker=speaker,
            instruct=None,
            text_mode="full",
        )
        sampling = Sampling(temperature=0.9, top_k=5)
        with (
            Model(checkpoint, threads=1, cpu_mask=rng.choice(MASKS)) as model,
            Session(model, prompt, talker=sampling, predictor=sampling, seed=1, key=1, max_frames=2) as session,
        ):
            for _ in range(2):
                model.step([session])
                session.read()


@pytest.mark.parametrize("name", FILES)
def test_mutated_file(name, tmp_path, request):
    original = CHECKPOINTS / "tiny-customvoice"
    folder = tmp_path / "model"
    shutil.copytree(original, folder)
    data = (original / name).read_bytes()
    end = time.monotonic() + request.config.getoption("--fuzz-seconds")
    seed = opened = refused = 0
    while time.monotonic() < end:
        rng = random.Random(f"{name} {seed}")
        (folder / name).write_bytes(mutated(name, data, rng))
        started = time.monotonic()
        try:
            open_and_speak(folder, rng)
            opened += 1
        except Qwen3TTSError as error:
            refused += 1
            if "\n" in str(error):
                pytest.fail(f"{name}, seed {seed}: more than one line: {error}")
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - started < allowed(MAX_SECONDS), f"{name}, seed {seed}"
        seed += 1
    assert refused or seed < 20, "no mutation was refused"
