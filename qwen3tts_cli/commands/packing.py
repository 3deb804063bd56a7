"""`qwen3tts models pack` and `unpack`, and what `models verify` says of packed weights."""

from __future__ import annotations

from pathlib import Path

import click

from .. import hub, options
from ..errors import OutputError, UsageError
from . import typed
from .console import Console


def damaged_packs(folder: Path) -> list[str]:
    """Read all packed weights of the model in `folder`; a line for each file that is wrong."""
    from .. import packed
    from ..threads import default_threads

    kinds = [kind for kind in packed.cached(folder) if not packed.verify(folder, kind, default_threads())]
    return [f"packed {kind} weights are damaged or out of date; the next use makes them anew" for kind in kinds]


_precision = click.option(
    "--precision", type=options.Choice("bf16", "int8", "int4"), default="int8", show_default=True, help="Which weights."
)


@click.command()
@click.argument("name", shell_complete=options.complete.models)
@_precision
@options.quiet
def pack(name: str, precision: str, quiet: bool) -> None:
    """Pack the weights of a model into the cache folder, and print the file; `say` does this where it needs to.

    The speech decoder's are packed beside them, once for all precisions. bf16 takes 12 bits then, to the same bytes.

    \b
    Examples:
      qwen3tts models pack 0.6b
      qwen3tts models pack 1.7b --precision int4
    """
    from .. import packed, packed_codec
    from ..checkpoint import open_checkpoint
    from ..threads import default_threads

    console, done = Console(quiet), [0, 1]

    def report(there: int, total: int) -> None:
        done[:] = there, total

    def line() -> str:
        return f"{name}: packing {precision}, {100 * done[0] // done[1]} %"

    def fail(problem: str) -> None:
        raise OutputError(problem)

    resolved, threads = hub.resolve_model(typed.model(name)), default_threads()
    if resolved.embedded and precision == "bf16":
        raise UsageError(f"{name} in {precision} needs no packing")
    with open_checkpoint(resolved.path, codec=False) as checkpoint, console.progress(line):
        if not resolved.embedded:
            packed_codec.open_codec(checkpoint, threads=threads, progress=report, warn=fail)
        packed.open_packed(checkpoint, precision, threads=threads, progress=report, warn=fail)
    path = packed.cache_path(resolved.path, precision)
    if path is None:
        raise OutputError("no cache folder: neither XDG_CACHE_HOME nor a home folder is known")
    console.note(f"{name}: {precision}, {path.stat().st_size / 1e9:.2f} GB")
    click.echo(path)


@click.command()
@click.argument("name", shell_complete=options.complete.models)
@_precision
@options.quiet
def unpack(name: str, precision: str, quiet: bool) -> None:
    """Remove packed weights of a model from the cache folder, the speech decoder's with the last of them.

    \b
    Examples:
      qwen3tts models unpack 0.6b
      qwen3tts models unpack 1.7b --precision int4
    """
    from .. import packed

    try:
        folder = hub.resolve_model(typed.model(name)).path
        freed = packed.remove(folder, precision)
        if packed.cached(folder).keys() <= {"codec"}:
            freed += packed.remove(folder, "codec")
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from None
    Console(quiet).note(
        f"{name}: removed {freed / 1e9:.2f} GB" if freed else f"{name}: no {precision} weights are packed"
    )
