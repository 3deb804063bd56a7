"""The application of a server: its routes, and the checks that every request passes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from . import operation, page_routes
from .errors import ApiError
from .guards import HostGuard, KeyGuard
from .handling.bodies import BodyLimits
from .handling.requests import Errors, Requests
from .live import routes as live_routes
from .openai import routes as openai_routes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from .state import ServerState

# Requests to these may have a recording in their body.
_LARGE_PATHS = ("/v1/audio/speech", "/v1/speak", "/v1/audio/voices")
_EXPOSED = ("x-request-id", "x-seed", "x-model", "x-voice", "x-ignored", "retry-after")


def make_app(state: ServerState) -> Starlette:
    """The ASGI application of a server. Its routes find `state` as `request.app.state.server`."""
    settings = state.settings
    cors = []
    if settings.cors:
        methods, headers = ["GET", "POST", "DELETE"], ["authorization", "content-type", "x-request-id"]
        cors = [
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors,
                allow_methods=methods,
                allow_headers=headers,
                expose_headers=_EXPOSED,
            )
        ]
    app = Starlette(
        routes=_routes(state),
        middleware=[
            Middleware(Requests, state.log, state.metrics),
            Middleware(
                HostGuard,
                with_keys=bool(settings.api_keys),
                allowed=settings.allow_hosts,
                origins=settings.cors,
            ),
            *cors,
            Middleware(Errors, state.log),
            Middleware(KeyGuard, settings.api_keys),
            Middleware(BodyLimits, _LARGE_PATHS),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.state.server = state
    return app


def _routes(state: ServerState) -> list[BaseRoute]:
    page = page_routes.routes() if state.settings.page else []
    return [*operation.routes(), *openai_routes.routes(), *live_routes.routes(), *page]


async def _http_error(request: Request, error: Exception) -> Response:
    """The errors of Starlette: no such route, another method."""
    assert isinstance(error, HTTPException)
    codes = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
    text = f"{request.method} {request.url.path}: {error.detail}"
    status = error.status_code
    code = codes.get(HTTPStatus(status), "invalid_request")
    raise ApiError(status, text, code=code, retry=False, headers=dict(error.headers or {}))
