"""`qwen3tts serve`: declares its options and runs the server."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from ...errors import UsageError
from .. import names_and_paths, options, signals
from ..option_types import Choice, CountOrAuto, Integer, Number
from .line_writer import LineWriter
from .serve_options import default_models, option

_EPILOG = """\b
Each option has a variable, such as QWEN3TTS_SERVE_PORT; several values are separated by spaces.
Exit codes: 0 ended by SIGTERM, 1 failure, 2 usage, 3 model not found, 130 interrupted. See docs/serve.md.
"""


def _folder(*names: str, **attributes: Any) -> Any:
    return option(*names, **{"metavar": "DIR", "shell_complete": options.completion.files, **attributes})


def _file(*names: str, **attributes: Any) -> Any:
    return option(*names, **{"metavar": "FILE", "shell_complete": options.completion.files, **attributes})


@click.command(cls=options.SettingsCommand, epilog=_EPILOG)
@option("--host", default="127.0.0.1", metavar="HOST", help="Listen at this address. [default: 127.0.0.1]")
@option("--port", type=Integer(0, 65535), default=8000, help="Listen at this port; 0 takes a free one. [default: 8000]")
@option("--unix", metavar="PATH", shell_complete=options.completion.files, help="Listen at a Unix socket instead.")
@option(
    "-m",
    "--model",
    "models",
    multiple=True,
    default=default_models,
    metavar="NAME",
    shell_complete=options.completion.models,
    help="A model to serve; may be repeated, the first one is the default. [default: the embedded voice]",
)
@option(
    "--precision",
    type=Choice("auto", "bf16", "int8", "int4", "int4-calibrated"),
    default="auto",
    help="Precision of the language models' weights. [default: auto: int8 for large models, else bf16]",
)
@option("--threads", type=Integer(1, 1024), help="Number of threads. [default: one per core]")
@option(
    "--max-batch",
    type=CountOrAuto(64),
    default="auto",
    metavar="N",
    help="How many requests speak at once. [default: auto: 8, fewer with little memory]",
)
@option("--max-queue", type=Integer(0, 10_000), default=32, help="How many requests may wait. [default: 32]")
@option("--max-text", type=Integer(1, 200_000), default=4096, help="Characters of a text. [default: 4096]")
@_file("--lexicon", help="Say other words in place of some, in all requests; see docs/narrate.md.")
@_file("--api-key-file", help="API keys, one a line; also the variable QWEN3TTS_API_KEY.")
@option("--insecure", is_flag=True, help="Serve a public address without API keys.")
@option("--cors", multiple=True, metavar="ORIGIN", help="Let pages of this origin use the API; may be repeated.")
@option("--allow-host", multiple=True, metavar="HOST", help="Answer to this name in the Host header; may be repeated.")
@_folder("--voices-dir", help="Let clients keep voices in this folder.")
@option("--wyoming", metavar="URI", help="Also serve Home Assistant: tcp://HOST:PORT or unix://PATH.")
@option("--wyoming-insecure", is_flag=True, help="Serve Wyoming, which has no keys, at a public address.")
@option(
    "--zeroconf",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Announce the Wyoming server in the local network. [default of NAME: of this machine]",
)
@option("--no-page", is_flag=True, help="Show no page at /.")
@option("--stall", type=Number(1, 3600), default=30.0, help="Drop a reader that takes nothing for X s. [default: 30]")
@option("--unload-after", type=Number(0, 100_000, above=True), help="Free models unused for so many minutes.")
@option("--no-cache", is_flag=True, help="Write nothing into the cache folder; what is there is still used.")
@option("--log-json", is_flag=True, help="Write the log as JSON, an object a line.")
@option("--log-text", is_flag=True, help="Write texts of requests into the log.")
def serve(**given: Any) -> None:
    """Serve speech: the OpenAI API, WebSocket, Wyoming, a page.

    Prints a line with its address on stderr when it is ready, then its log. Other machines reach it only with --host,
    and then need an API key.

    \b
    Examples:
      qwen3tts serve
      qwen3tts serve -m 0.6b -m 1.7b-design --port 8000
      QWEN3TTS_API_KEY=secret qwen3tts serve --host 0.0.0.0
      qwen3tts serve --wyoming tcp://127.0.0.1:10200
    """
    try:
        from ...serve.run import Server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("qwen3tts_cli"):
            raise
        raise UsageError(f"serve needs the package {error.name}: pip install 'qwen3tts-cli[serve]'") from None
    with LineWriter() as lines:
        server = Server(make_settings(given), lines.write, lines.write)
        server.run()
    if server.signal == signal.SIGINT:
        raise KeyboardInterrupt
    if server.signal is not None and not server.state.engines.loaded:
        raise signals.Terminated(server.signal)  # the thread that loads a model is not waited for


def make_settings(given: dict[str, Any]) -> Any:
    """ServeSettings of the options by name. Raises UsageError, ModelNotFoundError."""
    from ...serve.settings import ServeSettings
    from .api_keys import read_keys

    named = {name: given[name] for name in ServeSettings.__dataclass_fields__ if name in given}
    for name in ("unix", "lexicon", "voices_dir"):
        named[name] = None if given[name] is None else Path(given[name])
    named["models"] = tuple(map(names_and_paths.model, given["models"])) or (None,)
    return ServeSettings(
        **{name: value for name, value in named.items() if name not in ("cors", "allow_hosts", "cache")},
        cors=tuple(given["cors"]),
        allow_hosts=tuple(given["allow_host"]),
        api_keys=read_keys(given["api_key_file"]),
        cache=not given["no_cache"],
        page=not given["no_page"],
    )
