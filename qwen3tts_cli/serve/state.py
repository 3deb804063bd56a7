"""What all parts of a server share. Routes find it as `request.app.state.server`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engines import Engines
    from .handling.log import Log
    from .metrics import Metrics
    from .settings import ServeSettings
    from .speaking import Speaker


@dataclass
class ServerState:
    """settings, engines, speaker, metrics, log: see their classes. stopping: whether the server takes no new speech."""

    settings: ServeSettings
    engines: Engines
    speaker: Speaker
    metrics: Metrics
    log: Log

    @property
    def stopping(self) -> bool:
        """Whether the server is ending."""
        return self.speaker.stopping
