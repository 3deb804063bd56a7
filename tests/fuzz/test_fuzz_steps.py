"""Random orders of calls on sessions: budgets, batches, text that is appended, wrong calls; the bytes never change."""

from __future__ import annotations

import random
import time

import numpy as np
from helpers import CHECKPOINTS, golden_prompt, golden_rows, load_golden, open_model

from qwen3tts_cli.engine.session import RUNNING, Sampling, Session
from qwen3tts_cli.errors import EngineError

KINDS, FRAMES = 4, 24
VALUES = (-(2**31), -1, 0, 1, 2**20, 2**31 - 1)


def subjects(model):
    """(prompt, options of Session) of utterances of all kinds, with short and long trailing text."""
    rows = [row for row in golden_rows("tiny-base", "tts") if "ref_codes" in load_golden("tiny-base", row)]
    found = []
    for i in range(KINDS):
        row = rows[i % len(rows)]
        golden = load_golden("tiny-base", row)
        prompt = golden_prompt(model.checkpoint, row, golden)
        ids = np.resize(np.concatenate([prompt.trailing_ids, [5, 6, 7]]), 5 + 9 * i).astype(np.int32)
        sampling = Sampling(greedy=True) if i % 2 else Sampling(temperature=0.9, top_k=20)
        options = {
            "talker": sampling,
            "predictor": sampling,
            "seed": 1,
            "key": i,
            "max_frames": FRAMES,
            "min_frames": FRAMES * (i % 2),
            "speaker": golden.get("spk_emb"),
            "reference_codes": np.ascontiguousarray(golden["ref_codes"], np.int32),
        }
        found.append((prompt._replace(trailing_ids=ids), options))
    return found


class Speaking:
    """A session whose text is appended at random, and what it has given so far."""

    def __init__(self, model, rng, kind, prompt, options):
        self.kind, self.ids, self.given, self.rng = (
            kind,
            prompt.trailing_ids,
            rng.randrange(len(prompt.trailing_ids) + 1),
            rng,
        )
        self.open = rng.random() < 0.8
        if not self.open:
            self.given = len(self.ids)
        prompt = prompt._replace(trailing_ids=self.ids[: self.given])
        more = {"open_text": self.open, "pipeline": rng.random() < 0.2, "chunk_frames": rng.choice((0, 0, 1, 3, 64))}
        self.session = Session(model, prompt, **options, **more)
        self.samples = []

    def append(self):
        """Append a part of the text."""
        part = self.rng.choice((0, 1, 1, 2, 5, 100))
        ids = self.ids[self.given : self.given + part]
        last = self.given + len(ids) == len(self.ids) and self.rng.random() < 0.5
        self.session.append(ids, last)
        self.given += len(ids)
        self.open = not last

    def misuse(self):
        """Make a call that is refused."""
        ids = np.full(self.rng.choice((1, 2, 40_000)), self.rng.choice(VALUES), np.int32)
        if self.open and len(ids) < 40_000 and 0 <= ids[0] < self.session.model.config.text_vocab_size:
            return
        try:
            self.session.append(ids, self.rng.random() < 0.5)
        except EngineError:
            return
        raise AssertionError(f"appended {len(ids)} ids {ids[0]}, open {self.open}")

    @property
    def ended(self):
        info = self.session.info
        return info.state != RUNNING and info.decoded == info.frames

    def result(self):
        return self.session.codes(0, self.session.info.frames), np.concatenate(
            [*self.samples, self.session.read(wait=True)]
        )


def play(model, rng, found, want):
    """Open up to five sessions, and step them in random batches until all have ended."""
    speaking, waiting = [], [rng.randrange(KINDS) for _ in range(rng.randint(1, 5))]
    while speaking or waiting:
        if waiting and (not speaking or rng.random() < 0.2):
            kind = waiting.pop()
            speaking.append(Speaking(model, rng, kind, *found[kind]))
        for one in speaking:
            if one.open and rng.random() < 0.3:
                one.append()
            if rng.random() < 0.05:
                one.misuse()
        batch = rng.sample(speaking, rng.randint(1, len(speaking)))
        rows = rng.choice((1, 2, 7, 33, 64, 500, None))
        assert not any(model.advance([one.session for one in batch], rows))
        for one in speaking:
            if rng.random() < 0.7:
                one.samples.append(one.session.read())
        for one in [one for one in speaking if one.ended]:
            codes, samples = one.result()
            np.testing.assert_array_equal(codes, want[one.kind][0])
            np.testing.assert_array_equal(samples, want[one.kind][1])
            speaking.remove(one)
            one.session.close()


def test_random_orders_of_calls(request):
    with open_model(CHECKPOINTS / "tiny-base") as model:
        found, want = subjects(model), []
        for prompt, options in found:
            with Session(model, prompt, **options) as session:
                samples = []
                while session.info.state == RUNNING or session.info.decoded < session.info.frames:
                    model.step([session])
                    samples.append(session.read())
                want.append((session.codes(0, session.info.frames), np.concatenate([*samples, session.read()])))
        end, seed = time.monotonic() + request.config.getoption("--fuzz-seconds"), 0
        while seed == 0 or time.monotonic() < end:
            try:
                play(model, random.Random(f"steps {seed}"), found, want)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
            seed += 1
