"""What all parts of a server share. Routes find it as `request.app.state.server`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .openai.recordings import Recordings

if TYPE_CHECKING:
    from ..spoken_text.lexicon import Lexicon
    from .engines import Engines
    from .handling.log import Log
    from .metrics import Metrics
    from .openai.kept_voices import KeptVoices
    from .settings import ServeSettings
    from .speaking import Speaker


@dataclass
class ServerState:
    """settings, engines, speaker, metrics, log, voices, recordings: see their classes. lexicon: what to say in place of
    words, in all texts; or None. stopping: whether the server takes no new speech."""

    settings: ServeSettings
    engines: Engines
    speaker: Speaker
    metrics: Metrics
    log: Log
    voices: KeptVoices
    lexicon: Lexicon | None = None
    recordings: Recordings = field(default_factory=Recordings)

    @property
    def stopping(self) -> bool:
        """Whether the server is ending."""
        return self.speaker.stopping
