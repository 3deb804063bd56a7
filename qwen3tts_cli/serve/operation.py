"""The routes of those who run a server: is it alive, is it ready, what does it do."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from .state import ServerState

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes() -> list[BaseRoute]:
    """`/health`, `/ready` and `/metrics`."""
    return [Route("/health", _health), Route("/ready", _ready), Route("/metrics", _metrics)]


async def _health(request: Request) -> Response:
    return PlainTextResponse("OK")


async def _ready(request: Request) -> Response:
    state: ServerState = request.app.state.server
    if state.stopping:
        return PlainTextResponse("stopping", HTTPStatus.SERVICE_UNAVAILABLE)
    if not state.engines.loaded:
        waiting = ", ".join(each.id for each in state.engines.served if not each.ready)
        return PlainTextResponse(f"loading {waiting}", HTTPStatus.SERVICE_UNAVAILABLE)
    return PlainTextResponse("OK")


async def _metrics(request: Request) -> Response:
    state: ServerState = request.app.state.server
    return Response(state.metrics.text(), media_type=_METRICS_TYPE)
