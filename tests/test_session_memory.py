"""The memory of sessions: KV caches that grow from step to step, and what a session takes, before it is opened."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import checkpoint_of, golden_prompt, golden_rows, load_golden, open_model

from qwen3tts_cli.engine import session as session_module
from qwen3tts_cli.engine.session import RUNNING, Sampling, Session
from qwen3tts_cli.errors import EngineError

FRAMES = 70


@pytest.fixture(scope="module")
def case():
    """(model, prompt) of an utterance of the embedded voice."""
    row = golden_rows("pocket", "tts")[0]
    with open_model(checkpoint_of("pocket")) as model:
        yield model, golden_prompt(model.checkpoint, row, load_golden("pocket", row))


def open_session(case, seed: int = 0) -> Session:
    model, prompt = case
    sampling = Sampling(temperature=0.9, top_k=50)
    return Session(
        model, prompt, talker=sampling, predictor=sampling, seed=seed, key=1, max_frames=FRAMES, min_frames=FRAMES
    )


def finish(model, session: Session) -> np.ndarray:
    while session.info.state == RUNNING:
        model.step([session])
        session.read()
    return session.codes(0, session.info.frames)


class LibraryWithoutMemory:
    """The library of the engine, in which the KV cache of one session gets no memory."""

    def __init__(self, library, handle) -> None:
        self.library, self.handle = library, handle

    def __getattr__(self, name: str):
        return getattr(self.library, name)

    def q3t_session_reserve(self, handle, positions: int) -> int:
        if handle == self.handle:
            return self.library.Q3T_E_MEMORY
        return self.library.q3t_session_reserve(handle, positions)


def test_a_session_without_memory_gets_an_error_and_goes_on_later(case, monkeypatch):
    model, prompt = case
    with open_session(case, 1) as alone:
        want = finish(model, alone)
    assert len(prompt.text_ids) + len(want) > 64  # more than one block
    with open_session(case, 1) as poor, open_session(case, 2) as other:
        for _ in range(3):
            model.step([poor, other])
        before = poor.info
        with monkeypatch.context() as patch:
            patch.setattr(session_module, "lib", LibraryWithoutMemory(session_module.lib, poor._handle))
            for _ in range(2):
                error, none = model.advance([poor, other])
                assert isinstance(error, EngineError)
                megabytes = (before.positions + 1) * model.position_bytes / 1e6
                assert str(error) == (
                    f"the KV cache could not grow to {before.positions + 1} positions ({megabytes:.0f} MB): "
                    "not enough memory"
                )
                assert none is None
        assert poor.info == before
        assert other.info.frames == before.frames + 2
        np.testing.assert_array_equal(finish(model, poor), want)


def test_the_memory_of_a_session_grows_by_blocks(case):
    model, prompt = case
    rows = len(prompt.text_ids)

    def size(positions: int, **options) -> int:
        return model.session_bytes(rows, positions=positions, max_frames=FRAMES, **options)

    block = size(64) - size(0)
    assert 64 * model.position_bytes <= block <= 64 * model.position_bytes * 1.05 + 4096
    assert size(1) == size(64) == size(0) + block
    assert size(65) == size(0) + 2 * block
    assert size(10**9) == size(rows + FRAMES)  # it cannot use more
    assert size(0, pipeline=True) > size(0)
    assert size(0, trailing=100) >= size(0) + 100 * 4
    hidden = model.config.talker.hidden_size
    assert size(0, speaker=True) == size(0) + (hidden * 4 + 63) // 64 * 64
    for wrong in ({"positions": -1}, {"max_frames": 0}, {"chunk_frames": 65}, {"reference_frames": -1}):
        with pytest.raises(EngineError):
            model.session_bytes(rows, **{"positions": 1, "max_frames": FRAMES, **wrong})


def test_the_memory_of_a_session_of_a_closed_model():
    with open_model(checkpoint_of("pocket")) as model:
        pass
    with pytest.raises(EngineError, match="closed"):
        model.session_bytes(10, positions=1, max_frames=1)
