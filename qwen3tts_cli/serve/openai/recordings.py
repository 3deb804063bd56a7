"""Recordings that clients send: decoded one at a time, because a small file may hold very many samples."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from ...audio.recording import load_recording
from ...errors import InputError

if TYPE_CHECKING:
    from ...audio.recording import Recording

MOST_SAMPLES = 10 * 60 * 48_000  # of a channel


class Recordings:
    """Decodes the recordings of a server. Any thread may call it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def read(self, data: bytes) -> Recording:
        """The recording in the bytes of a file that libsndfile reads. Waits while another one is decoded. Raises
        InputError, whose message begins with no name."""
        with self._turn:
            try:
                return load_recording(io.BytesIO(data), most_samples=MOST_SAMPLES)
            except InputError as error:
                raise InputError(str(error).removeprefix("recording: ")) from None
