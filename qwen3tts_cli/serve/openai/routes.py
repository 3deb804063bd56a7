"""The routes of the OpenAI API, those that its clients expect beside it, and `/v1/speak`."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from ..handling.streaming import streaming
from .models_routes import audio_models, model, models, voices
from .speak_route import speak
from .speech_route import SpeechRoute
from .voices_routes import VoicesRoutes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """All routes of this package."""
    made = VoicesRoutes()
    return [
        Route("/v1/audio/speech", streaming(SpeechRoute()), methods=["POST"]),
        Route("/v1/speak", streaming(speak), methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{model:path}", model),
        Route("/v1/audio/models", audio_models),
        Route("/v1/audio/voices", voices, methods=["GET"]),
        Route("/v1/audio/voices", made.create, methods=["POST"]),
        Route("/v1/audio/voices/{voice}", made.delete, methods=["DELETE"]),
        Route("/openapi.json", _document),
    ]


async def _document(request: Request) -> Response:
    """The OpenAPI document of all routes of a server."""
    return Response(files(__package__).joinpath("openapi.json").read_bytes(), media_type="application/json")
