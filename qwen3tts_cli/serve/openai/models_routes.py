"""Lists of models and voices: `/v1/models`, `/v1/models/{id}`, `/v1/audio/models`, `GET /v1/audio/voices`.

They answer while models load. Where API keys are set they also answer without one, but then name no kept voices.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..engines import ServedModel
    from ..state import ServerState
    from .kept_voices import KeptVoice

_OWNER = "qwen3tts"  # of models that are in no repository


async def models(request: Request) -> Response:
    """`GET /v1/models`, as OpenAI's."""
    server: ServerState = request.app.state.server
    found = await asyncio.to_thread(lambda: [_model(each) for each in server.engines.served])
    return JSONResponse({"object": "list", "data": found})


async def model(request: Request) -> Response:
    """`GET /v1/models/{id}`: one model, with the voices that it speaks with. Raises UnknownModelError."""
    server: ServerState = request.app.state.server
    if not (name := request.path_params["model"]):
        return await models(request)
    served = server.engines.find(name)
    kept = await _kept(request)
    facts = await asyncio.to_thread(_model, served)
    return JSONResponse({**facts, "voices": _voices([served], kept)})


async def audio_models(request: Request) -> Response:
    """`GET /v1/audio/models`, as Open WebUI asks for it."""
    server: ServerState = request.app.state.server
    return JSONResponse({"models": [{"id": each.id, "name": each.id} for each in server.engines.served]})


async def voices(request: Request) -> Response:
    """`GET /v1/audio/voices`: the presets of all models, then the kept voices that one of them speaks with."""
    server: ServerState = request.app.state.server
    return JSONResponse({"voices": _voices(server.engines.served, await _kept(request))})


async def _kept(request: Request) -> list[KeptVoice]:
    """The kept voices that the client may see."""
    server: ServerState = request.app.state.server
    return await asyncio.to_thread(server.voices.facts) if request.state.authorized else []


def _model(served: ServedModel) -> dict[str, Any]:
    owner = (served.repo or "").partition("/")[0] or _OWNER
    created = int((served.path / "config.json").stat().st_mtime)
    return {"id": served.id, "object": "model", "created": created, "owned_by": owner}


def _voices(served: list[ServedModel], kept: list[KeptVoice]) -> list[dict[str, Any]]:
    """The entries of a list of voices. The same preset of several models is one entry."""
    presets: dict[str, list[ServedModel]] = {}
    for each in served:
        for speaker in each.config.speakers:
            presets.setdefault(speaker, []).append(each)
    entries: list[dict[str, Any]] = [
        {"id": name, "name": name, "type": "preset", "models": [each.id for each in models]}
        for name, models in presets.items()
    ]
    for voice in kept:
        if voice.id not in presets and (models := [each.id for each in served if voice.fits(each.config)]):
            entries.append({"id": voice.id, "name": voice.name, "type": "kept", "models": models})
    return entries
