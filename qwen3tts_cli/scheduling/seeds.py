"""The numbers that random draws depend on: the key of an utterance and the seed of an attempt.

A draw depends on the seed, the key, the frame and the code group. So an utterance has the same codes wherever it stands
in a text, and whatever is generated in the same batch.
"""

from __future__ import annotations

import hashlib
import json


def utterance_key(text: str, settings: dict[str, object], occurrence: int) -> int:
    """The key of an utterance, 64 bits: a hash of its text, the settings of its voice and sampling, and its occurrence.

    occurrence: how often the same text has come before in the same speech, with the same voice.
    """
    hashed = json.dumps([text, settings, occurrence], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(hashed.encode(), digest_size=8).digest(), "little")


def live_key(settings: dict[str, object], number: int) -> int:
    """The key of an utterance whose text is still coming, 64 bits: a hash of the settings and of its number, from 0.

    It cannot depend on the text, which is not known when the first frame is drawn.
    """
    hashed = json.dumps([settings, "live", number], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(hashed.encode(), digest_size=8).digest(), "little")


def steady_key(settings: dict[str, object]) -> int:
    """The key of all utterances that begin with the same draws, 64 bits: a hash of the settings alone."""
    hashed = json.dumps([settings, "steady"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(hashed.encode(), digest_size=8).digest(), "little")


def retry_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt, 64 bits: `seed` itself for attempt 0, a hash of both for a retry."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}:{attempt}".encode(), digest_size=8).digest(), "little")
