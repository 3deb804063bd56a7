"""The command `qwen3tts`: imports the module of a command when it is run, turns errors into one line and an exit code.

Exit codes: 0 done, 1 failure, 2 usage, 3 model not found, 4 generation failed, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from ..common.suggest import nearest
from ..errors import Qwen3TTSError
from . import signals

_PROGRAM = "qwen3tts"
_COMPLETE_VARIABLE = "_QWEN3TTS_COMPLETE"


class LazyGroup(click.Group):
    """A group that imports the module of a command only to run it. The help shows `summaries` and imports no module."""

    summaries: dict[str, str] = {  # noqa: RUF012
        "say": "Speak a text.",
        "narrate": "Speak a book or another long text into files, with chapters and subtitles.",
        "batch": "Speak each row of a list (JSON Lines, CSV) into a file of its own.",
        "serve": "Serve speech: the OpenAI API, WebSocket, Wyoming, a page.",
        "mcp": "Let an assistant speak: a server of the Model Context Protocol.",
        "voices": "List, make and keep voices.",
        "codec": "Turn recordings into codes, and codes into audio.",
        "models": "List, download, check and remove models.",
        "bench": "Measure this machine.",
        "doctor": "Show what this machine has and what is missing.",
    }
    folders: dict[str, str] = {  # noqa: RUF012
        "narrate": "narration",
        "batch": "narration",
        "serve": "serving",
        "mcp": "serving",
    }

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.summaries)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.summaries:
            return None
        folder = self.folders.get(name, "commands")
        return getattr(importlib.import_module(f".{folder}.{name}", __package__), name)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.summaries and not args[0].startswith("-"):
            from .hints import unknown_command

            context.fail(unknown_command(args, self.summaries))
        return super().resolve_command(context, args)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            option = error.option_name
            if not option.startswith("--"):
                from .hints import check_dash

                check_dash(context, words)
            if any(option in parameter.opts for parameter in self.get_command(context, "say").params):
                from .hints import option_before_command

                context.fail(option_before_command(option, words))
            raise

    def shell_complete(self, context: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, context, incomplete)
        return [CompletionItem(name, help=text) for name, text in self.summaries.items() if name.startswith(incomplete)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Speech from text with Qwen3-TTS, on the CPU.

    \b
    Examples:
      qwen3tts say "Hello from two cores." -o hello.wav
      qwen3tts models pull 0.6b
      qwen3tts say -m 0.6b -v ryan -l en "Good morning." -o morning.wav
      qwen3tts narrate book.epub -o book.opus

    \b
    Shell completion, for the start-up file of your shell:
      bash  eval "$(_QWEN3TTS_COMPLETE=bash_source qwen3tts)"
      zsh   eval "$(_QWEN3TTS_COMPLETE=zsh_source qwen3tts)"
      fish  _QWEN3TTS_COMPLETE=fish_source qwen3tts | source
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def one_line(text: str) -> str:
    """A message as one line of printable characters: file names and replies of servers may contain any character."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(text).split()))


def _print_error(line: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(one_line(line), err=True)


def _usage_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context else ""
    return f"error: {_usage_message(error)}{where}"


def _usage_message(error: click.ClickException) -> str:
    """An error of click in the form of this package's errors: the option first, then what is wrong with it."""
    parameter = getattr(error, "param", None)
    if isinstance(error, click.BadParameter) and parameter is not None:
        option = isinstance(parameter, click.Option)
        name = max(parameter.opts, key=len) if option else parameter.metavar or parameter.name.upper()
        if isinstance(error, click.MissingParameter):
            value = f" {parameter.metavar}" if option and parameter.metavar else ""
            return f"{name}{value} is missing"
        return f"{name}: {error.message}"
    if isinstance(error, click.NoSuchOption):
        close = nearest(error.option_name, error.possibilities or ())
        hint = f", did you mean {close}?" if close else ""
        return f"no such option: {error.option_name}{hint}{_dash_hint(error.ctx, bool(close))}"
    message = error.format_message().strip().removesuffix(".")
    return message[:1].lower() + message[1:]


def _dash_hint(context: click.Context | None, close: bool) -> str:
    """The hint for an unknown option that may be a text or a name."""
    command = None if context is None else context.command
    if getattr(command, "wants_text", False):
        return "; a text that begins with a dash comes after --"
    takes_arguments = command is not None and any(isinstance(p, click.Argument) for p in command.params)
    return "; an argument that begins with a dash comes after --" if takes_arguments and not close else ""


def _os_line(error: OSError) -> str:
    named = f"{error.filename}: " if error.filename else ""
    return f"error: {named}{error.strerror or error}"


def _invoke(arguments: Sequence[str]) -> int:
    # `cli.main` would turn a closed pipe into exit code 1 and an interrupt into Abort.
    if os.environ.get(_COMPLETE_VARIABLE):
        _complete(arguments)
    with signals.raise_on_signals(), cli.make_context(_PROGRAM, list(arguments)) as context:
        cli.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    return 0


def _complete(arguments: Sequence[str]) -> NoReturn:
    """Print the completion script for a shell, or completions; an error in completions is not printed."""
    from click.shell_completion import add_completion_class

    from .completion import bash_protocol

    add_completion_class(bash_protocol())
    try:
        cli.main(list(arguments), prog_name=_PROGRAM, complete_var=_COMPLETE_VARIABLE)
    except Exception:
        if not os.environ[_COMPLETE_VARIABLE].endswith("_complete"):
            raise
    raise SystemExit(0)


def _abandon_stdout() -> None:
    """Point stdout to /dev/null, so that the last flush of the interpreter cannot fail again."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. An error is one line on stderr, never a traceback."""
    if sys.platform == "win32":
        _print_error(
            "error: qwen3tts runs on Linux and macOS; on Windows use WSL (https://learn.microsoft.com/windows/wsl)"
        )
        return 1
    debug = bool(os.environ.get("QWEN3TTS_DEBUG"))
    if not sys.warnoptions and not debug:
        import warnings

        warnings.simplefilter("ignore")
    try:
        return _invoke(arguments)
    except (click.exceptions.Exit, SystemExit) as ended:
        code = ended.exit_code if isinstance(ended, click.exceptions.Exit) else ended.code
        return code if isinstance(code, int) else int(code is not None)
    except BrokenPipeError:  # the reader of stdout has closed it, as `head` does
        _abandon_stdout()
        return 0
    except KeyboardInterrupt as interrupt:
        return signals.exit_code(interrupt)
    except click.Abort:
        return signals.INTERRUPTED
    except BaseException as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _explain(error)


def _explain(error: BaseException) -> int:
    """Print an error as one line; returns the exit code."""
    if isinstance(error, click.ClickException):
        _print_error(_usage_line(error))
        return error.exit_code
    if isinstance(error, Qwen3TTSError):
        _print_error(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError):
        _print_error("error: out of memory")
    elif isinstance(error, OSError):
        _print_error(_os_line(error))
        _abandon_stdout()
    elif isinstance(error, ModuleNotFoundError) and not (error.name or "qwen3tts_cli").startswith("qwen3tts_cli"):
        _print_error(f"error: the Python package {error.name} is missing; reinstall qwen3tts-cli")
    else:
        _print_error(f"internal error: {type(error).__name__}: {error} (QWEN3TTS_DEBUG=1 shows where)")
    return 1


def _use_utf8() -> None:
    """In an ASCII locale, start the process again in UTF-8 mode, so that arguments, file names and streams are UTF-8.

    In other locales stdout escapes the characters that it cannot encode. With UTF-8, bytes of file names that are not
    valid UTF-8 are written unchanged.
    """
    if sys.getfilesystemencoding() == "ascii" and not sys.flags.utf8_mode and sys.executable:
        with contextlib.suppress(OSError, ValueError):
            os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape" if sys.stdout.encoding == "utf-8" else "backslashreplace")


def main() -> NoReturn:
    """The entry point of the command `qwen3tts`."""
    _use_utf8()
    gc.set_threshold(20_000)  # imports create many objects and leave no garbage
    try:
        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is complete: an interrupt now is no failure
    except KeyboardInterrupt as interrupt:  # a second interrupt, during the clean-up after the first
        code = signals.exit_code(interrupt)
    if code > 128:  # stopped by a signal: do not wait for threads
        if writing := sys.modules.get("qwen3tts_cli.packed.file_writer"):
            writing.remove_partial_files()  # left if the opening or closing of a model was interrupted
        os._exit(code)
    sys.exit(code)
