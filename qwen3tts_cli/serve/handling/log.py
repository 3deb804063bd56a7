"""The log of a server: one line for each request and event, as text or as JSON."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from ..errors import to_api_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import ApiError

_LONGEST_VALUE = 200  # characters of a value that a client chose


class Log:
    """See the module. write: gets each line, without its end. as_json: whether the lines are JSON objects.
    with_text: whether `text` shows texts of clients."""

    def __init__(self, write: Callable[[str], None], *, as_json: bool = False, with_text: bool = False) -> None:
        self._write, self._as_json, self.with_text = write, as_json, with_text

    def event(self, what: str, **facts: object) -> None:
        """Write a line: what happened, and facts by name; None is left out. No fact may hold text or audio of a client,
        except `text`, which is left out unless the log may have texts."""
        if not self.with_text:
            facts.pop("text", None)
        shown = {name: _shown(value) for name, value in facts.items() if value is not None}
        now = time.time()
        if self._as_json:
            line = json.dumps({"time": round(now, 3), "event": what, **shown}, ensure_ascii=True)
        else:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
            line = " ".join([stamp, what, *(f"{name}={_plain(value)}" for name, value in shown.items())])
        self._write(line)


def note_error(log: Log, error: BaseException, **facts: object) -> ApiError:
    """The answer for an error. What the client does not learn of it is logged, with the facts."""
    answer = to_api_error(error)
    if answer.message != str(error):
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
        log.event("error", error=f"{type(error).__name__}: {error}", at=place, **facts)
    return answer


def _shown(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, (int, bool)) else str(value)


def _plain(value: object) -> str:
    """A value without line ends and other characters that could forge a line or control a terminal."""
    text = str(value)
    if not isinstance(value, str) or (text.isascii() and text.isprintable() and " " not in text and '"' not in text):
        return text
    return json.dumps(text)
