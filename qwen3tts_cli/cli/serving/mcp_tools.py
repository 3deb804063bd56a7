"""The tools of `qwen3tts mcp`, and the server that offers them. Needs the package `mcp`, of version 2."""

from __future__ import annotations

import contextlib
import inspect
import os
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from anyio.to_thread import run_sync
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from ... import __version__
from ...common.audio_constants import SAMPLE_RATE
from ...errors import Qwen3TTSError, UsageError
from ...output import files as output_files
from ...output import formats, player
from ..commands.voices import model_rows
from ..keep_packed import finish_packing
from ..open_model import open_model

if TYPE_CHECKING:
    from ...speech.asynchronous import AsyncSpeech
    from ...speech.synthesizer import Synthesizer
    from ..console import Console

_INSTRUCTIONS = (
    "Speaks texts aloud on this machine. Give plain sentences without markup; list_voices has the voices and languages."
)
_Text = Annotated[str, Field(description="What to say, in plain sentences.")]
_Voice = Annotated[str | None, Field(description="The name of a voice, as list_voices returns it.")]
_Language = Annotated[str | None, Field(description="A name or code, such as english or de; auto: the model chooses.")]
_Speed = Annotated[float, Field(ge=0.5, le=2, description="How many times as fast.")]
_Path = Annotated[str, Field(description="A file name in the output folder, ending in .wav, .flac, .ogg, .opus, .mp3.")]


class SpeechTools:
    """The tools; their docstrings are what an assistant reads. A call that is cancelled stops speaking at once."""

    def __init__(self, given: dict[str, Any], defaults: dict[str, Any], out_dir: Path | None, console: Console) -> None:
        """given: the options of the command by name. defaults: fields of SpeakOptions where a call gives none.

        out_dir: the folder of `save`; None refuses it.
        """
        self._given, self._defaults, self._out_dir, self._console = given, defaults, out_dir, console
        self._synthesizer: Synthesizer | None = None
        self._opening, self._playing = anyio.Lock(), anyio.Lock()

    async def speak(self, text: _Text, voice: _Voice = None, language: _Language = None, speed: _Speed = 1.0) -> str:
        """Say a text aloud and wait until it is said. Returns the seconds of speech; on a machine that cannot play
        audio the text is spoken into a file, and its path is returned."""
        with _as_tool_errors():
            plays = await run_sync(player.unavailable_reason) is None
            speech = await self._speech(text, voice, language, speed, live=plays)
            if not plays:
                folder = self._out_dir or Path(await run_sync(tempfile.mkdtemp, None, "qwen3tts-"))
                return await _write(speech, text, folder / f"speech-{uuid.uuid4().hex[:12]}.wav")
            async with self._playing:  # one after another
                return f"{await _play(speech):.1f} s"

    async def save(
        self, text: _Text, path: _Path, voice: _Voice = None, language: _Language = None, speed: _Speed = 1.0
    ) -> str:
        """Speak a text into an audio file in the output folder. Returns the path of the file."""
        with _as_tool_errors():
            if self._out_dir is None:
                raise UsageError("save: there is no output folder; start qwen3tts mcp with --out-dir DIR")
            target = confined(self._out_dir, path)
            if target.suffix[1:].lower() not in formats.EXTENSIONS:
                raise UsageError(f"path {path!r}: expected a name that ends in .{', .'.join(formats.EXTENSIONS)}")
            speech = await self._speech(text, voice, language, speed)
            target.parent.mkdir(parents=True, exist_ok=True)
            return await _write(speech, text, target)

    async def list_voices(self) -> list[dict[str, Any]]:
        """List the voices: name, language, description, and the languages that each can speak."""
        with _as_tool_errors():
            rows = await run_sync(model_rows, self._given["model"], self._console, True)
        return [{"name": row.pop("voice"), **row} for row in rows]

    async def open(self) -> Synthesizer:
        """The opened model; opens it at the first call."""
        async with self._opening:
            if self._synthesizer is None:
                self._synthesizer, _ = await run_sync(open_model, self._console, self._given)
            return self._synthesizer

    def close(self) -> None:
        """Close the model, after its packed weights are written."""
        if self._synthesizer is not None:
            with self._synthesizer as synthesizer:
                finish_packing([synthesizer], self._console, "audio")

    async def _speech(
        self, text: str, voice: str | None, language: str | None, speed: float, live: bool = False
    ) -> AsyncSpeech:
        given = {"voice": voice, "language": language}
        chosen = {name: self._defaults[name] if value is None else value for name, value in given.items()}
        return (await self.open()).astream(text, **chosen, speed=speed, live=live)


def serve(tools: SpeechTools) -> None:
    """Answer on stdin and stdout until stdin ends. What else is written to stdout meanwhile goes to stderr."""

    @asynccontextmanager
    async def opening(server: MCPServer[None]) -> AsyncIterator[None]:
        async def open_early() -> None:
            with contextlib.suppress(Qwen3TTSError):  # the first call of a tool reports it
                await tools.open()

        async with anyio.create_task_group() as group:
            group.start_soon(open_early)
            yield
            group.cancel_scope.cancel()

    server = MCPServer("qwen3tts", instructions=_INSTRUCTIONS, version=__version__, log_level="ERROR", lifespan=opening)
    for tool, reads_only in ((tools.speak, False), (tools.save, False), (tools.list_voices, True)):
        hints = ToolAnnotations(read_only_hint=reads_only, open_world_hint=False)
        server.add_tool(tool, description=inspect.getdoc(tool), annotations=hints)
    server.run("stdio")


def confined(folder: Path, path: str) -> Path:
    """The path of a file in `folder` or below, with all links followed. path: relative to it, or absolute.

    Raises UsageError if it leaves the folder, is the folder itself, or is there and no regular file.
    """
    try:
        root = os.path.realpath(folder)
        target = os.path.realpath(os.path.join(root, path))
        inside = os.path.commonpath([root, target]) == root and target != root
    except ValueError as error:
        raise UsageError(f"path: {error}") from None
    if not inside:
        raise UsageError(f"path {path!r}: not inside the output folder")
    if os.path.isdir(target) or output_files.is_special(target):
        raise UsageError(f"path {path!r}: found something else than a file")
    return Path(target)


async def _play(speech: AsyncSpeech) -> float:
    """Play a speech to its end; returns its seconds. Raises as PlayerSink does."""
    sink = None
    try:
        async with aclosing(speech):
            async for samples in speech:
                if sink is None:
                    sink = await run_sync(player.PlayerSink, SAMPLE_RATE)
                await run_sync(sink.write, samples, abandon_on_cancel=True)  # waits while the device is behind
        if sink is not None:
            await run_sync(sink.finish, abandon_on_cancel=True)
    except BaseException:
        if sink is not None:
            sink.discard()
        raise
    return speech.speech.seconds if speech.speech is not None else 0.0


async def _write(speech: AsyncSpeech, text: str, path: Path) -> str:
    """Write a speech to a file, which appears whole or not at all; returns its path."""
    audio = formats.choose_format(str(path), None, False, SAMPLE_RATE)
    with output_files.write_output(str(path)) as file:
        sink = formats.open_sink(file, audio, SAMPLE_RATE, formats.origin_of(text))
        try:
            async with aclosing(speech):
                async for samples in speech:
                    sink.write(samples)
            sink.finish()
        finally:
            sink.discard()
    return str(path)


@contextlib.contextmanager
def _as_tool_errors() -> Any:
    """Turn errors of this package into errors that the assistant reads."""
    try:
        yield
    except Qwen3TTSError as error:
        raise ToolError(str(error)) from error
    except OSError as error:
        raise ToolError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
