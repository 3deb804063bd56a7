"""Teacher forcing: with given codes the engine computes the logits that it computes when it chooses these codes."""

import numpy as np
import pytest
from helpers import checkpoint_of, golden_prompt, golden_rows, load_golden, open_model

from qwen3tts_cli.engine.forced import trace
from qwen3tts_cli.engine.session import Sampling, Session
from qwen3tts_cli.errors import EngineError


@pytest.fixture(scope="module")
def case():
    """(model, prompt, codes of the reference) of an utterance of the embedded voice."""
    row = golden_rows("pocket", "tts")[0]
    golden = load_golden("pocket", row)
    with open_model(checkpoint_of("pocket")) as model:
        yield model, golden_prompt(model.checkpoint, row, golden), np.ascontiguousarray(golden["codes"], np.int32)


def test_the_codes_of_the_reference_are_the_greedy_ones(case):
    model, prompt, codes = case
    forced = trace(model, prompt, forced_codes=codes)
    np.testing.assert_array_equal(forced.codes, codes)
    np.testing.assert_array_equal(forced.greedy_codes(), codes)
    assert forced.ended
    assert forced.leads().min() > 1e-3  # the reference's smallest lead of this utterance is 0.0035


def test_given_and_chosen_codes_have_the_same_logits(case):
    model, prompt, codes = case
    chosen, forced = trace(model, prompt, max_frames=100), trace(model, prompt, forced_codes=codes)
    np.testing.assert_array_equal(chosen.codes, codes)
    for name in ("logits", "scores", "groups"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(forced, name))


def test_given_codes_reach_the_next_frames(case):
    """One other code changes every later frame, and of its own frame the later groups alone."""
    model, prompt, codes = case
    other = codes.copy()
    other[4, 3] ^= 1
    a, b = trace(model, prompt, forced_codes=codes), trace(model, prompt, forced_codes=other)
    np.testing.assert_array_equal(a.logits[:5], b.logits[:5])
    np.testing.assert_array_equal(a.groups[:4], b.groups[:4])
    np.testing.assert_array_equal(a.groups[4, :3], b.groups[4, :3])
    assert (a.groups[4, 3:] != b.groups[4, 3:]).any(axis=1).all()
    assert (a.logits[5:] != b.logits[5:]).any(axis=1).all()


def test_given_codes_count_for_the_repetition_penalty(case):
    model, prompt, codes = case
    found = trace(model, prompt, forced_codes=codes, talker=Sampling(greedy=True, repetition_penalty=2.0))
    last, seen = found.logits[len(codes)], np.unique(codes[:, 0])
    want = np.where(last[seen] < 0, last[seen] * 2, last[seen] / 2)
    np.testing.assert_array_equal(found.scores[len(codes)][seen], want)


def test_a_session_goes_on_by_itself_after_the_given_codes(case):
    model, prompt, codes = case
    greedy = Sampling(greedy=True)
    options = {"talker": greedy, "predictor": greedy, "seed": 0, "key": 0, "max_frames": 100}
    with (
        Session(model, prompt, **options, forced_codes=codes[:7]) as forced,
        Session(model, prompt, **options) as free,
    ):
        while not forced.info.state:
            model.step([forced, free])
        assert forced.info.frames == free.info.frames == len(codes)
        np.testing.assert_array_equal(forced.codes(0, len(codes)), codes)
        np.testing.assert_array_equal(forced.read(), free.read())


@pytest.mark.parametrize("bad", [-1, 1 << 20])
def test_codes_out_of_range_are_refused(case, bad):
    model, prompt, codes = case
    wrong = codes.copy()
    wrong[1, 2] = bad
    with pytest.raises(EngineError):
        trace(model, prompt, forced_codes=wrong)


def test_more_codes_than_frames_are_refused(case):
    model, prompt, codes = case
    greedy = Sampling(greedy=True)
    with pytest.raises(EngineError):
        Session(model, prompt, talker=greedy, predictor=greedy, seed=0, key=0, max_frames=3, forced_codes=codes)
