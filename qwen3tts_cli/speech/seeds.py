"""What is settled before the first utterance is spoken, and where its random numbers come from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine.session import Sampling

if TYPE_CHECKING:
    from ..cloning.voice_file import Voice


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first utterance. voice, language: as resolved, for reports and the key."""

    voice: str | None
    language: str
    settings: dict[str, object]  # what the utterance key covers besides the text
    talker: Sampling
    predictor: Sampling
    seed: int
    max_frames: int | None
    retries: int
    live: bool
    chunk_frames: int
    pipeline: bool
    batch: int
    instruct: str | None = None
    text_mode: str = "full"
    cloned: Voice | None = None


def utterance_key(text: str, settings: dict[str, object], occurrence: int) -> int:
    """64 bits of what is said and how, and which time it is said; never where in the text it stands."""
    what = json.dumps([text, settings, occurrence], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest(), "little")


def retry_seed(seed: int, attempt: int) -> int:
    """The seed of a retry; attempt 0 is the seed itself."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}:{attempt}".encode(), digest_size=8).digest(), "little")
