"""`qwen3tts models pack`, `unpack` and `tidy`, and the packed weights in `models verify` and `rm`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from ...common import user_folders
from ...errors import ModelNotFoundError, OutputError, UsageError
from ...models import hub_cache, local_models
from .. import names_and_paths, options
from ..console import Console


def damaged_packs(folder: Path) -> list[str]:
    """Read all packed weights of the model in `folder`; returns a message for each file that is damaged."""
    from ...common.machine import default_threads
    from ...packed.cache_paths import cached_sizes
    from ...packed.verify import verify

    kinds = [kind for kind in cached_sizes(folder) if not verify(folder, kind, default_threads())]
    return [f"packed {kind} weights are damaged or out of date; {_remedy(kind)}" for kind in kinds]


def _remedy(kind: str) -> str:
    from ...packed.precision import CALIBRATED

    return "qwen3tts models pack makes them again" if kind == CALIBRATED else "the next use packs them again"


def remove_packed(folder: Path | None) -> int:
    """Delete the packed weights of all revisions of a repository, and temporary files of killed runs.

    folder: the repository's folder in the Hugging Face cache. Returns the number of bytes freed. Raises OutputError.
    """
    from ...packed import cleanup

    try:
        freed = sum(cleanup.remove_file(pack.path) for pack in cleanup.packed_files_of(folder, below=True))
        cleanup.remove_partial()
        return freed
    except OSError as error:
        raise _failure(error) from None


def _failure(error: OSError) -> OutputError:
    return OutputError(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))


_precisions = options.Choice("bf16", "int8", "int4", "int4-calibrated")


@click.command()
@click.argument("name", shell_complete=options.completion.models)
@click.option(
    "--precision", type=_precisions, default="int8", show_default=True, help="Precision of the packed weights."
)
@options.quiet
def pack(name: str, precision: str, quiet: bool) -> None:
    """Pack the weights of a model.

    Writes a file into the cache folder and prints its name; `say` does this at the first use of a model.

    The weights of the speech decoder are packed into a second file, once for all precisions. Packed bf16 weights take
    12 bits each and give the same audio. Packed weights of models that are gone are deleted.

    int4-calibrated weights are as fast as int4 and closer to bf16. Only this command makes them: the model speaks some
    sentences first, and each matrix is rounded to suit them, which takes minutes.

    \b
    Examples:
      qwen3tts models pack 0.6b
      qwen3tts models pack 1.7b --precision int4
      qwen3tts models pack 1.7b --precision int4-calibrated
    """
    if precision == "int4-calibrated":  # it uses threads of its own, and its sums then do not depend on their number
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported
    from ...common.machine import default_threads
    from ...models.checkpoint import open_checkpoint
    from ...packed import codec as packed_codec
    from ...packed import matrices as packed_matrices
    from ...packed.precision import CALIBRATED
    from ...packed.verify import calibration_facts

    console, done = Console(quiet), [0, 1]

    def report(there: int, total: int) -> None:
        done[:] = there, total

    def line() -> str:
        return f"{name}: packing {precision}, {100 * done[0] // done[1]} %"

    def waiting() -> None:
        console.note(f"{name}: waiting for another process that packs it")

    resolved = local_models.resolve_model(names_and_paths.model(name))
    given = {"threads": default_threads(), "progress": report, "waiting": waiting}
    if resolved.embedded and precision == "bf16":
        raise UsageError(f"{name} in {precision} needs no packing")
    try:
        with open_checkpoint(resolved.path, codec=resolved.embedded) as checkpoint, console.progress(line):
            if not resolved.embedded:
                packed_codec.write_file(checkpoint, **given)
            if precision == CALIBRATED:
                from ...calibration.run import write_file  # imported here, because other precisions do not need it
            else:
                write_file = partial(packed_matrices.write_file, precision=precision)
            path = write_file(checkpoint, **given)
    except OSError as error:
        raise _failure(error) from None
    if path is None:
        raise OutputError("no cache folder: neither XDG_CACHE_HOME nor HOME names one")
    console.note(f"{name}: {precision}, {path.stat().st_size / 1e9:.2f} GB")
    if precision == CALIBRATED:
        console.note(
            f"{name}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in calibration_facts(resolved.path).items())
        )
    click.echo(path)


@click.command()
@click.argument("name", shell_complete=options.completion.models)
@click.option(
    "--precision",
    type=_precisions,
    help="Remove only weights of this precision. [default: all, with the speech decoder's]",
)
@options.quiet
def unpack(name: str, precision: str | None, quiet: bool) -> None:
    """Remove the packed weights of a model.

    The model itself may be gone. Temporary files of killed runs are removed too.

    With --precision, the weights of the speech decoder are removed with the last of the others; what stays is named.

    \b
    Examples:
      qwen3tts models unpack 0.6b
      qwen3tts models unpack 1.7b --precision int4
    """
    from ...packed import cleanup

    console, found = Console(quiet), _packs_of(name)
    chosen = [pack for pack in found if precision in (None, pack.kind)]
    if all(pack in chosen or pack.kind == "codec" for pack in found):
        chosen = found
    freed: dict[str, int] = {}
    try:
        for pack in chosen:
            freed[pack.kind] = freed.get(pack.kind, 0) + cleanup.remove_file(pack.path)
        swept = cleanup.remove_partial()
    except OSError as error:
        raise _failure(error) from None
    removed = ", ".join(f"{kind} {size / 1e9:.2f} GB" for kind, size in freed.items())
    console.note(f"{name}: removed {removed}" if freed else f"{name}: no {precision or 'weights'} are packed")
    _note_removed(console, swept)
    if left := sorted({pack.kind for pack in found} - freed.keys()):
        console.note(f"{name}: still packed: {', '.join(left)}")


def _packs_of(name: str) -> list[Any]:
    """The packed files of a model, which may itself be gone. Raises ModelNotFoundError if neither the model nor a
    packed file exists."""
    from ...packed import cleanup

    missing = None
    try:
        folder = local_models.resolve_model(names_and_paths.model(name)).path
    except ModelNotFoundError as error:
        folder, missing = Path(user_folders.expand_home(name) or name), error
    found = cleanup.packed_files_of(folder)
    if (repo := local_models.repo_of(name)) is not None and (
        name.lower() in local_models.ALIASES or not Path(name).is_dir()
    ):
        more = cleanup.packed_files_of(hub_cache.repo_folder(repo), below=True)
        found += [pack for pack in more if pack not in found]
    if missing is not None and not found:
        raise missing
    return found


def _note_removed(console: Console, removed: list[tuple[Any, int]]) -> None:
    for pack, size in removed:
        console.note(f"{pack.folder or pack.path}: removed {pack.kind}, {size / 1e9:.2f} GB")


@click.command()
@options.quiet
def tidy(quiet: bool) -> None:
    """Remove packed weights that no model needs.

    These are packed weights of models that are gone or have a newer revision, and temporary files of killed runs.

    \b
    Examples:
      qwen3tts models tidy
    """
    from ...packed import cleanup

    try:
        removed = cleanup.remove_unused(unknown=True)
    except OSError as error:
        raise _failure(error) from None
    console = Console(quiet)
    _note_removed(console, removed)
    if not removed:
        console.note("nothing to remove")
