"""The class of the options of `serve`: each has a variable QWEN3TTS_SERVE_* of its own."""

from __future__ import annotations

import os
from typing import Any

import click

from .. import options, settings


class ServeOption(options.Setting):
    """An option with the variable `QWEN3TTS_SERVE_` and its long name. Options that all commands have, such as
    --precision, take the variable of all commands where their own is not set."""

    @property
    def envvar(self) -> str:
        """The variable that is read."""
        name = max(self.opts, key=len).lstrip("-").replace("-", "_")
        own, general = f"QWEN3TTS_SERVE_{name.upper()}", f"QWEN3TTS_{name.upper()}"
        return general if name in settings.KEYS and not os.environ.get(own) and os.environ.get(general) else own

    @envvar.setter
    def envvar(self, value: object) -> None:
        """Ignore the name that click and Setting assign."""


def option(*names: str, **attributes: Any) -> Any:
    """Declare an option of class ServeOption."""
    return click.option(*names, cls=ServeOption, **attributes)


def default_models() -> tuple[str, ...]:
    """The model of the configuration file, if it names one."""
    context = click.get_current_context(silent=True)
    if context is not None and context.resilient_parsing:  # completions ignore an invalid file
        return ()
    found = settings.load().get("model")
    return () if found is None else (str(found),)
