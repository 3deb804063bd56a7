"""Prompts and references that are taken in over several steps, text that is appended, and threads that models share."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import numpy as np
import pytest
from helpers import CHECKPOINTS, golden_prompt, golden_rows, load_golden, open_model

from qwen3tts_cli.engine.model import Model
from qwen3tts_cli.engine.pool import ThreadPool
from qwen3tts_cli.engine.session import RUNNING, Sampling, Session
from qwen3tts_cli.errors import EngineError
from qwen3tts_cli.models.checkpoint import open_checkpoint

OPTIONS = {
    "talker": Sampling(temperature=0.9, top_k=20),
    "predictor": Sampling(temperature=0.9, top_k=20),
    "seed": 4,
    "key": 9,
    "max_frames": 30,
    "min_frames": 30,
}


@pytest.fixture(scope="module")
def model():
    with open_model(CHECKPOINTS / "tiny-base") as opened:
        yield opened


@pytest.fixture(scope="module")
def cases(model):
    """(prompt, options of Session) of a cloned voice with its transcript: with text to come, and without."""
    found = []
    for full in (False, True):
        row = next(
            r
            for r in golden_rows("tiny-base", "tts")
            if r.get("ref_text") and "ref_codes" in load_golden("tiny-base", r) and r["non_streaming_mode"] == full
        )
        golden = load_golden("tiny-base", row)
        codes = np.ascontiguousarray(golden["ref_codes"], np.int32)
        options = {"speaker": golden["spk_emb"], "reference_codes": codes, **OPTIONS}
        prompt = golden_prompt(model.checkpoint, row, golden)
        ids = prompt.input_ids[: 0 if full else 20]
        found.append((prompt._replace(trailing_ids=np.array(ids, np.int32)), options))
    return found


def finish(model, sessions, rows=None):
    """Step sessions until all have ended: [(codes, samples)]."""
    samples = [[] for _ in sessions]
    for _ in range(10_000):
        for error in model.advance(sessions, rows):
            assert error is None
        for session, out in zip(sessions, samples, strict=True):
            out.append(session.read())
        infos = [session.info for session in sessions]
        if all(info.state != RUNNING and info.decoded == info.frames for info in infos):
            break
    return [
        (session.codes(0, info.frames), np.concatenate([*out, session.read()]))
        for session, info, out in zip(sessions, infos, samples, strict=True)
    ]


def assert_same(got, want):
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.fixture(scope="module")
def want(model, cases):
    """What each case generates alone, without a limit."""
    out = []
    for prompt, options in cases:
        with Session(model, prompt, **options) as session:
            out += finish(model, [session])
            assert len(out[-1][0]) == OPTIONS["max_frames"]
    return out


@pytest.mark.parametrize("rows", [1, 7, 64, None])
def test_a_budget_of_rows_changes_no_byte(model, cases, want, rows):
    with ExitStack() as opened:
        sessions = [opened.enter_context(Session(model, prompt, **options)) for prompt, options in cases]
        assert_same(finish(model, sessions, rows), want)


def test_a_budget_spreads_prompt_and_reference(model, cases):
    prompt, options = cases[1]
    with Session(model, prompt, **options) as session:
        before = session.info
        assert (before.rows_left, before.reference_left) == (len(prompt.text_ids), len(options["reference_codes"]))
        while before.rows_left:
            model.advance([session], 5)
            after = session.info
            cached = after.cached_rows - before.cached_rows
            assert after.rows_left == max(before.rows_left - cached - 5, 0)
            assert after.frames == (after.rows_left == 0)
            assert after.reference_left < before.reference_left or before.reference_left == 0
            before = after


@pytest.mark.parametrize("rows", [0, -1, -(2**40)])
def test_a_budget_below_one_is_refused(model, cases, rows):
    with Session(model, cases[0][0], **cases[0][1]) as session:
        with pytest.raises(EngineError):
            model.advance([session], rows)
        assert session.info.positions == 0


@pytest.mark.parametrize("part", [1, 4, 1000])
def test_appended_text_changes_no_byte(model, cases, want, part):
    prompt, options = cases[0]
    ids, given, samples = prompt.trailing_ids, 0, []
    assert len(ids) > 5
    with Session(model, prompt._replace(trailing_ids=ids[:0]), open_text=True, **options) as session:
        while given < len(ids):
            model.advance([session], 9)
            samples.append(session.read())
            if session.info.needs_text:
                frames = session.info.frames
                model.step([session])
                samples.append(session.read())
                assert session.info.frames == session.info.decoded == frames
                session.append(ids[given : given + part], last=given + part >= len(ids))
                given += part
                assert not session.info.needs_text
        [(codes, rest)] = finish(model, [session])
    assert_same([(codes, np.concatenate([*samples, rest]))], want[:1])


def test_wrong_text_is_refused(model, cases, want):
    prompt, options = cases[0]
    vocabulary = model.config.text_vocab_size
    good = np.array([1], np.int32)
    with Session(model, prompt, **options) as closed, pytest.raises(EngineError):
        closed.append(good, last=True)
    with Session(model, prompt, open_text=True, **options) as session:
        for ids in ([-1], [vocabulary], [2**31 - 1], [0] * (model.config.max_position_embeddings + 1)):
            with pytest.raises(EngineError):
                session.append(np.array(ids, np.int32), last=True)
        for ids in (good.astype(np.int64), good.reshape(1, 1), good.astype(np.float32), np.array(1, np.int32)):
            with pytest.raises(EngineError):
                session.append(ids, last=True)
        session.append(good[:0], last=True)
        with pytest.raises(EngineError):
            session.append(good, last=True)
        assert_same(finish(model, [session]), want[:1])
    with pytest.raises(EngineError, match="the session is closed"):
        session.append(good, last=True)


def test_models_share_threads(cases, want):
    """Steps of two models on one pool, from two threads: each has the output that it has alone."""
    with ThreadPool(2) as pool, ExitStack() as opened:
        models = [Model(open_checkpoint(CHECKPOINTS / "tiny-base"), pool=pool) for _ in range(2)]
        assert [model.threads for model in models] == [2, 2]
        sessions = [
            opened.enter_context(Session(model, prompt, **options))
            for model, (prompt, options) in zip(models, cases, strict=True)
        ]
        got = [None, None]

        def speak(i):
            [got[i]] = finish(models[i], [sessions[i]])

        threads = [threading.Thread(target=speak, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert_same(got, want)


def test_closing_a_pool_closes_its_models(cases):
    prompt, options = cases[0]
    pool = ThreadPool(2)
    first = Model(open_checkpoint(CHECKPOINTS / "tiny-base"), pool=pool)
    second = Model(open_checkpoint(CHECKPOINTS / "tiny-base"), pool=pool)
    first.close()
    session = Session(second, prompt, **options)
    second.step([session])
    pool.close()
    pool.close()
    for use in (lambda: second.step([session]), lambda: session.info):
        with pytest.raises(EngineError, match="closed"):
            use()
    with pytest.raises(EngineError, match="the thread pool is closed"):
        Model(open_checkpoint(CHECKPOINTS / "tiny-base"), pool=pool)


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_a_pool_of_another_number_of_threads_is_refused(threads):
    with pytest.raises(EngineError):
        ThreadPool(threads)
