"""A full-size 1.7B model (hidden 2048, a projection into the code predictor) against the NumPy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import open_model, reference, relative_error

FRAMES = 3
TEXT = "Hello world."


@pytest.fixture(scope="module")
def folder(full_size):
    path = Path(full_size) / "1.7b-customvoice"
    if not path.is_dir():
        pytest.skip("needs the 1.7B checkpoint: make parity")
    return path


def test_greedy_codes_with_an_instruction(folder):
    from qwen3tts_cli.engine.session import Sampling, Session
    from qwen3tts_cli.text.prompt import build_prompt

    how = {"language": "english", "speaker": "ryan", "instruct": "Very happy."}
    oracle = reference().Model(str(folder))
    _, embeds, trailing, pad = oracle.prompt(TEXT, **how)
    want = oracle.generate(embeds, trailing, pad, FRAMES + 1)
    with open_model(folder) as model:
        config = model.config
        prompt = build_prompt(config, model.checkpoint.tokenizer, TEXT, text_mode="full", **how)
        greedy = Sampling(greedy=True, repetition_penalty=1.05)
        options = {"talker": greedy, "predictor": Sampling(greedy=True), "seed": 0, "key": 0, "max_frames": FRAMES}
        with Session(model, prompt, **options) as session:
            logits = []
            for _ in range(FRAMES):
                model.step([session])
                logits.append(session.peek("LOGITS", (config.vocab_size,)))
            codes = session.codes(0, session.info.frames)
            prefill = session.peek("PREFILL", embeds.shape)
    assert relative_error(prefill, embeds) <= 1e-5
    assert relative_error(np.stack(logits), np.stack(want["logits0"])[:FRAMES]) <= 1e-3
    np.testing.assert_array_equal(codes, want["codes"])
