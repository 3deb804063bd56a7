"""`/v1/audio/speech/stream`: the handshake of the WebSocket."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Route, WebSocketRoute

from ..errors import ApiError, BusyError
from ..guards import bearer, is_key, key_error
from ..openai.encoding import Encoders
from .session import Session

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from ..state import ServerState

PATH = "/v1/audio/speech/stream"
_KEY_PROTOCOL = "bearer"  # `Sec-WebSocket-Protocol: bearer, KEY`: a page in a browser can set no other header


def routes() -> list[BaseRoute]:
    """The WebSocket, and an answer for those who ask for it by plain HTTP."""
    encoders = Encoders()

    async def stream(websocket: WebSocket) -> None:
        state: ServerState = websocket.app.state.server
        if getattr(websocket.scope["state"].get("connection"), "refused", False):
            raise BusyError("too many connections", "too_many_connections")
        authorized = _is_authorized(websocket, state)
        with_key = _KEY_PROTOCOL in websocket.scope["subprotocols"]
        await websocket.accept(subprotocol=_KEY_PROTOCOL if with_key else None)
        await Session(websocket, state, encoders, authorized).run()

    return [WebSocketRoute(PATH, stream), Route(PATH, _plain, methods=["GET"])]


def _is_authorized(websocket: WebSocket, state: ServerState) -> bool:
    """Whether the client has given a key, or needs none. Raises ApiError for a wrong one."""
    if websocket.scope["state"]["authorized"]:
        return True
    if bearer(websocket.headers.get("authorization")) is not None:
        raise key_error(True)
    first, *others = [*websocket.scope["subprotocols"], ""]
    key = others[0] if first == _KEY_PROTOCOL and others else ""
    if key and not is_key(key, state.settings.api_keys):
        raise key_error(True)
    return bool(key)


async def _plain(request: Request) -> Response:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    text = f"{PATH} is a WebSocket; see docs/serve.md"
    raise ApiError(HTTPStatus.UPGRADE_REQUIRED, text, code="upgrade_required", retry=False, headers=upgrade)
