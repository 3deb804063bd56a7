"""The models of a server: they share a scheduler, are opened while the server answers already, and freed when idle."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.json_fields import short_repr
from ..errors import Qwen3TTSError, UsageError
from ..models.config.model import load_config
from ..models.local_models import EMBEDDED, repo_of, resolve_model, short_name
from ..scheduling.policy import Policy
from ..scheduling.scheduler import Scheduler
from ..speech.reader import USUAL_BATCH, default_batch
from ..speech.synthesizer import Synthesizer
from .errors import LoadingError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..models.config.model import ModelConfig
    from .settings import ServeSettings

# Names that clients send when their user has chosen none: they mean the first model.
_DEFAULT_NAMES = ("", "tts-1", "tts-1-hd", "kokoro")
_DEFAULT_PREFIX = "gpt-4o-mini-tts"


class ServedModel:
    """A model of a server. Only the event loop of the server changes it.

    id: its name in lists: the alias, or the repository id, or the name of its folder. alias, repo: None where it has
    none. config: is known before the weights are loaded. synthesizer: None while the weights are not in memory.
    opening: loads them. uses: the requests that use it now. idle_since: when the last one ended, by time.monotonic.
    """

    def __init__(self, model: str | Path | None) -> None:
        """Find a model on this machine and read its configuration. Raises ModelNotFoundError, CheckpointError."""
        self.model = model
        resolved = resolve_model(model)
        self.name = resolved.name
        self.repo = repo_of(model) if isinstance(model, str) and not resolved.embedded else None
        alias = EMBEDDED if resolved.embedded else short_name(self.repo) if self.repo else None
        self.alias = None if alias == self.repo else alias
        self.id = self.alias or self.repo or resolved.path.resolve().name
        self.path = resolved.path
        self.config: ModelConfig = load_config(resolved.path)
        self.synthesizer: Synthesizer | None = None
        self.opening: asyncio.Task[Synthesizer] | None = None
        self.uses, self.idle_since = 0, time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether the weights are in memory."""
        return self.synthesizer is not None


class Engines:
    """See the module. served: the models in the order in which they were given. loaded: whether all were opened."""

    def __init__(self, settings: ServeSettings, note: Callable[[str], None] = lambda line: None) -> None:
        """note: gets a line for each warning of a model. Raises as ServedModel does; UsageError for equal models."""
        self.settings, self._note = settings, note
        self.served = [ServedModel(model) for model in settings.models]
        for index, each in enumerate(self.served):
            if any(other.path.samefile(each.path) for other in self.served[:index]):
                raise UsageError(f"model {each.id}: is given twice")
            if any(other.id == each.id for other in self.served[:index]):
                raise UsageError(f"model {each.model}: another model has the name {each.id}; rename one of the folders")
        frame_seconds = min(each.config.codec.frame_seconds for each in self.served)
        policy = Policy(frame_seconds, settings.max_batch or USUAL_BATCH)
        self.scheduler = Scheduler(threads=settings.threads, policy=policy)
        self.loaded = False
        self._turn = asyncio.Lock()  # one model is opened at a time

    def find(self, name: str | None) -> ServedModel:
        """The model that a request names by its alias, repository id or folder name; a name of the OpenAI API, or None,
        means the first model. Raises UnknownModelError."""
        key = (name or "").lower()
        for each in self.served:
            if key and key in {known.lower() for known in (each.id, each.alias, each.repo) if known}:
                return each
        if key in _DEFAULT_NAMES or key.startswith(_DEFAULT_PREFIX):
            return self.served[0]
        known = ", ".join(each.id for each in self.served)
        raise UnknownModelError(f"model: found {short_repr(name)}, expected one of {known}")

    async def open_all(self) -> None:
        """Open all models, in order. Raises as `Synthesizer.open` does."""
        for each in self.served:
            await self._open(each)
        self.loaded = True

    async def opened(self, served: ServedModel) -> Synthesizer:
        """The opened model; waits while it is loaded, and opens a model again that was freed. Raises LoadingError."""
        if served.synthesizer is not None:
            return served.synthesizer
        try:
            return await self._open(served)
        except Qwen3TTSError as error:
            self._note(f"model {served.id}: {error}")
            raise LoadingError(f"model {served.id} cannot be loaded; the log of the server has more") from None

    @asynccontextmanager
    async def use(self, served: ServedModel) -> AsyncIterator[Synthesizer]:
        """The opened model, which is not freed inside the block. Raises as `opened` does."""
        served.uses += 1
        try:
            yield await self.opened(served)
        finally:
            served.uses -= 1
            served.idle_since = time.monotonic()

    async def _open(self, served: ServedModel) -> Synthesizer:
        """Open a model, once for all that wait for it; one that waits no longer does not stop the others."""
        if served.opening is None:
            served.opening = asyncio.create_task(self._open_now(served))
            served.opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(served.opening)

    async def _open_now(self, served: ServedModel) -> Synthesizer:
        try:
            async with self._turn:
                opened = await _in_thread(lambda: self._load(served))
            opened.begin_packing()
            served.synthesizer, served.idle_since = opened, time.monotonic()
            return opened
        finally:
            served.opening = None

    def _load(self, served: ServedModel) -> Synthesizer:
        settings = self.settings
        return Synthesizer.open(
            served.model,
            precision=settings.precision,
            scheduler=self.scheduler,
            cache=settings.cache,
            on_warning=self._note,
        )

    async def close_idle(self) -> None:
        """Free the models that no request has used for `unload_after` minutes."""
        if self.settings.unload_after is None or not self.loaded:
            return
        for each in self.served:
            idle = time.monotonic() - each.idle_since
            if each.synthesizer is not None and not each.uses and idle >= 60 * self.settings.unload_after:
                closing, each.synthesizer = each.synthesizer, None
                self._note(f"model {each.id} is freed until its next request")
                await asyncio.to_thread(closing.close)

    @property
    def max_batch(self) -> int:
        """How many requests may speak at once: the setting, or as many utterances as `say` generates together."""
        found = [default_batch(each.synthesizer.model) for each in self.served if each.synthesizer is not None]
        return self.settings.max_batch or min(found, default=USUAL_BATCH)

    async def close(self) -> None:
        """Stop all speech and free the models. A model that still loads is not waited for."""
        for each in self.served:
            if each.opening is not None:
                each.opening.cancel()
        await asyncio.to_thread(self._free)

    def _free(self) -> None:
        self.scheduler.close()
        for each in self.served:
            if each.synthesizer is not None:
                each.synthesizer.close()


async def _in_thread(work: Callable[[], Synthesizer]) -> Synthesizer:
    """The result of a function that runs on a thread, for which the end of the process does not wait."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Synthesizer] = loop.create_future()

    def settle(found: Synthesizer | None, error: BaseException | None) -> None:
        if result.cancelled():
            if found is not None:
                found.close()
        elif error is not None:
            result.set_exception(error)
        else:
            result.set_result(found)  # type: ignore[arg-type]

    def run() -> None:
        found, error = None, None
        try:
            found = work()
        except Exception as failure:
            error = failure
        try:
            loop.call_soon_threadsafe(settle, found, error)
        except RuntimeError:  # the server has ended meanwhile
            if found is not None:
                found.close()

    threading.Thread(target=run, name="qwen3tts load", daemon=True).start()
    return await result
