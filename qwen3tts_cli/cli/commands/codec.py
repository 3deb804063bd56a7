"""`qwen3tts codec`: encodes recordings to codes and decodes codes to audio, without a language model."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import click

from ...common.audio_constants import FRAME_SECONDS, SAMPLE_RATE
from ...errors import Qwen3TTSError
from .. import names_and_paths, options
from ..console import Console
from . import say_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from ...audio.codec import Codec

_BLOCK_FRAMES = 64
_model = options.model_named(
    "-m",
    "--model",
    shell_complete=options.completion.codecs,
    help="Whose codec to use: alias, repository id, or folder, also of a codec without a model. "
    "[default: Qwen/Qwen3-TTS-Tokenizer-12Hz]",
)


def _codec_options(command: Any) -> Any:
    """Declare the options that `encode` and `decode` share."""
    output = options.file("-o", "--output", required=True, help="The file to write; - is stdout.")
    for decorate in (options.quiet, options.threads, _model, output):
        command = decorate(command)
    return command


@click.group(invoke_without_command=True)
@click.pass_context
def codec(context: click.Context) -> None:
    """Turn recordings into codes, and codes into audio.

    The codec encodes audio at 24 kHz as 12.5 frames of 16 codes per second, and decodes these to audio.

    \b
    Examples:
      qwen3tts codec encode speech.wav -o speech.safetensors
      qwen3tts codec decode speech.safetensors -o again.wav
      qwen3tts codec info -m 0.6b
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


@codec.command()
@click.argument("recording", shell_complete=options.completion.files)
@_codec_options
def encode(recording: str, output: str, model: str | None, threads: int | None, quiet: bool) -> None:
    """Encode a recording to a file of codes.

    RECORDING has at most 10 minutes, in any format that libsndfile reads. Writes a safetensors file with one tensor
    `codes`, I32 (frames, 16).

    \b
    Example:
      qwen3tts codec encode speech.flac -o speech.safetensors
    """
    from ...audio.codec import codes_bytes
    from ...audio.recording import load_recording
    from ...output import files as output_files

    _check_files(output, ("RECORDING", recording), model)
    say_output.refuse_terminal(output, "a file of codes")
    loaded = load_recording(recording)
    with _open(model, threads) as opened:
        codes = opened.encode(loaded.samples)
    with output_files.write_output(output) as file:
        file.write(codes_bytes(codes, {"seconds": round(loaded.seconds, 3), "sha256": loaded.sha256}))
    shape = f"{len(codes)} frames of {codes.shape[1]} codes"
    Console(quiet, output).note(f"{output}: {shape}, {loaded.seconds:.2f} s of audio")


@codec.command()
@click.argument("codes", shell_complete=options.completion.files)
@_codec_options
@options.subtype
@options.audio_format
def decode(codes: str, output: str, subtype: str | None, audio_format: str | None, **given: Any) -> None:
    """Decode a file of codes to audio.

    CODES is a file of `codec encode`, or a .npy file of `say --codes`.

    \b
    Example:
      qwen3tts codec decode speech.safetensors -o speech.wav
    """
    from ...audio.codec import read_codes
    from ...output import files as output_files
    from ...output import formats

    _check_files(output, ("CODES", codes), given["model"])
    frames = read_codes(codes)
    audio = say_output.audio_format(output, subtype, requested=audio_format)
    with _open(given["model"], given["threads"]) as opened:
        opened.decoder.check(frames)
        with output_files.write_output(output) as file, contextlib.ExitStack() as stack:
            sink = formats.open_sink(file, audio, SAMPLE_RATE, formats.origin_of(frames.astype("<i4").tobytes()))
            stack.callback(sink.discard)
            for samples in opened.stream(_blocks(frames)):
                sink.write(samples)
            sink.finish()
        seconds = len(frames) * opened.config.samples_per_frame / SAMPLE_RATE
    Console(given["quiet"], output).note(f"{output}: {seconds:.2f} s of audio from {len(frames)} frames")


@codec.command()
@click.argument("codes", required=False, shell_complete=options.completion.files)
@_model
@options.json_switch("Print a JSON object instead of text.")
def info(codes: str | None, model: str | None, as_json: bool) -> None:
    """Show facts about a file of codes or a codec.

    Without CODES the codec of -m is shown.

    \b
    Examples:
      qwen3tts codec info speech.safetensors
      qwen3tts codec info -m 0.6b --json
    """
    facts = _codec_facts(model) if codes is None else _file_facts(codes)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        click.echo(f"{name:18}{'-' if value is None else value}")


def _check_files(output: str, read: tuple[str, str], model: str | None) -> None:
    """Raise UsageError if the output would overwrite an input. read: (name for messages, path) of the input file.
    model: the option -m; its files are inputs too."""
    from ...audio.codec import resolve_codec
    from ...output.distinct_files import check_outputs

    inputs: list[tuple[str, str | Path]] = [read]
    with contextlib.suppress(Qwen3TTSError):  # opening the codec later reports a wrong name
        folder = resolve_codec(_codec_name(model))[0]
        for each in (folder, folder.parent) if folder.name == "speech_tokenizer" else (folder,):
            inputs += say_output.model_files(each)
    check_outputs([("--output", output)], inputs)


def _open(model: str | None, threads: int | None) -> Codec:
    from ...audio.codec import Codec

    return Codec.open(_codec_name(model), threads=threads)


def _codec_name(model: str | None) -> str | Path | None:
    """The codec that the option -m names, for the Python API; without -m the repository of the released codec."""
    from ...audio.codec import TOKENIZER_REPO

    return TOKENIZER_REPO if model in (None, TOKENIZER_REPO) else names_and_paths.model(model)


def _blocks(codes: np.ndarray) -> Iterator[np.ndarray]:
    return (codes[first : first + _BLOCK_FRAMES] for first in range(0, len(codes), _BLOCK_FRAMES))


def _codec_facts(model: str | None) -> dict[str, Any]:
    from ...errors import CheckpointError

    with _open(model, 1) as opened:
        config = opened.config
        try:
            encoder: str | None = f"{opened.encoder_config.num_quantizers} codes a frame"
        except CheckpointError:
            encoder = None
        return {
            "codec": opened.name,
            "folder": str(opened.folder),
            "sample_rate": config.sample_rate,
            "samples_per_frame": config.samples_per_frame,
            "codes_per_frame": config.num_quantizers,
            "codebook_size": config.codebook_size,
            "encoder": encoder,
        }


def _file_facts(path: str) -> dict[str, Any]:
    from ...audio.codec import read_codes

    codes = read_codes(path)
    return {
        "file": path,
        "frames": len(codes),
        "codes_per_frame": codes.shape[1],
        "seconds": round(
            len(codes) * FRAME_SECONDS, 6
        ),  # the frame length of the released codec: the file does not name its codec
        "largest_code": int(codes.max()),
    }
