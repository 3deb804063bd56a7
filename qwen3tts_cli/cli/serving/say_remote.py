"""`say --server`: a server speaks the text, this process writes its outputs.

It starts in a third of the time of `say`, because the engine, NumPy and libsndfile are not imported: for WAV or raw
audio of 16 bits the server sends the bytes that are written. Only options that need them import them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...errors import ServerError, UsageError
from ..commands.say_output import SayOutput
from ..commands.say_timing import Timings
from ..console import Console
from ..speech_outputs import SpeechOutputs
from . import server_address, speak_request, speech_answer
from .http_exchange import post

if TYPE_CHECKING:
    import numpy as np

    from .server_address import ServerAddress

# Options that choose how this machine computes.
_LOCAL = ("threads", "precision", "decoder_precision", "batch", "timings", "no_cache")
_STAGES = ("text", "prefill", "talker", "predictor", "codec")  # of the server's timings


def check_options(context: click.Context) -> None:
    """Raise UsageError for an option on the command line of `say` that has no effect with --server."""
    by_variable = context.get_parameter_source("server") is not ParameterSource.COMMANDLINE
    where = "a server (QWEN3TTS_SERVER; --server '' speaks here)" if by_variable else "--server"
    for name in _LOCAL:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')}: not with {where}, which has its own")


def speak(text: str | Iterator[str], given: dict[str, Any]) -> None:
    """Speak `text`, which may come in pieces. given: the options of `say` by name.

    Raises Qwen3TTSError: ServerError if the server cannot be reached or refuses, else the error that it reports; and
    BrokenPipeError if the reader of the audio closed the pipe.
    """
    address, headers = server_address.parse(given["server"]), _headers(given["api_key"])
    output, timings = SayOutput(given), Timings()
    console = Console(given["quiet"], output.path)
    if delay := output.delay_note():
        console.note(delay)
    if console.is_terminal and (hint := output.player_hint()):
        console.note(hint)
    outputs = SpeechOutputs(given, output, console, timings)
    with outputs.opened(text if isinstance(text, str) else ""):
        spoken = _Spoken(address, outputs, console)
        fields = speak_request.fields_of(given, outputs.seed, outputs.takes_pcm16, console)
        began = timings.total
        with contextlib.ExitStack() as stack:
            if isinstance(text, str):
                body = json.dumps({**fields, "input": text}).encode("ascii")
                answer = stack.enter_context(post(address, speech_answer.PATH, body, headers))
                parts = speech_answer.parts(address, answer)
            else:
                from .live_exchange import LiveExchange

                fields |= {"idle_ms": given["idle_ms"], "lines": given["lines"]}
                parts = stack.enter_context(LiveExchange(address, headers, fields, text))
            with outputs.progress():
                spoken.take(parts)
        elapsed = timings.total - began
        outputs.finish(spoken.codes, lambda: spoken.report(timings, began, elapsed))
    outputs.note_end(elapsed)
    outputs.finish_playing()


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if key is not None and (key := key.strip()):
        if not key.isascii() or not key.isprintable():
            raise UsageError("--api-key: found characters that no HTTP header can have, expected printable ASCII")
        headers["Authorization"] = f"Bearer {key}"
    return headers


class _Spoken:
    """What has come of an answer: samples go to the outputs. facts: those of the server, {} until the end."""

    def __init__(self, address: ServerAddress, outputs: SpeechOutputs, console: Console) -> None:
        self.facts: dict[str, Any] = {}
        self._address, self._outputs, self._console = address, outputs, console
        self._codes = bytearray()

    def take(self, parts: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the samples of all parts. Raises ServerError for a part that is malformed."""
        pcm16 = self._outputs.takes_pcm16
        for kind, content in parts:
            if kind == b"S":
                self._check(len(content) % (2 if pcm16 else 4) == 0, "samples")
                if pcm16:
                    self._outputs.write_pcm16(content)
                else:
                    import numpy as np

                    self._outputs.write(np.frombuffer(content, "<f4"))
            elif kind == b"C":
                self._codes += content
            elif kind == b"W":
                self._console.warning(content.decode("utf-8", "replace"))
            elif kind == b"F":
                self.facts = speech_answer.facts(self._address, content)

    def codes(self) -> np.ndarray:
        """The codes: int32 of shape (frames, code groups). Raises ServerError if they have not come."""
        import numpy as np

        frames, size = self.facts.get("frames"), len(self._codes)
        self._check(isinstance(frames, int) and frames >= 0 and (size > 0) == (frames > 0), "codes")
        self._check(not frames or size % (4 * frames) == 0, "codes")
        return np.frombuffer(self._codes, "<i4").reshape((frames, -1) if frames else (0, 16))

    def report(self, timings: Timings, began: float, elapsed: float) -> dict[str, Any]:
        """The report of --json: the facts of the server, with the times as they were here.

        began: when the request was sent, in seconds since the process began. elapsed: the seconds that it took.
        """
        given, seconds = self.facts.get("timings"), self._outputs.seconds
        server = given if isinstance(given, dict) else {}
        milliseconds = {name: server.get(f"{name}_ms") for name in _STAGES}
        speaking = {name: found / 1000 for name, found in milliseconds.items() if isinstance(found, (int, float))}
        first = timings.first_audio
        return {
            **self.facts,
            "rtf": elapsed / seconds if seconds else None,
            "first_audio_ms": None if first is None else 1000 * (first - began),
            "pcm_sha256": self._outputs.pcm_sha256,
            "timings": timings.facts(speaking),
        }

    def _check(self, good: bool, what: str) -> None:
        if not good:
            raise ServerError(f"{self._address.text}: {what} of the answer are missing or cut off")
