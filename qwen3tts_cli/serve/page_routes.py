"""The page at `/`: its files, with headers that let it load nothing from elsewhere, and the facts its script needs.

The files lie in page/. They hold no secret and are answered without a key: a browser cannot send one before the page
has asked for it.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from .. import __version__
from ..text.languages_and_voices import resolve_speaker, spoken_languages
from ..text.prompt import follows_instructions

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..models.config.model import ModelConfig
    from .engines import ServedModel
    from .settings import ServeSettings
    from .state import ServerState

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KINDS = {"custom_voice": "preset", "base": "clone", "voice_design": "design"}
# Only files of the page; blob: is what a clip is heard from before it is sent. No script or style inside the HTML.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


def routes() -> list[BaseRoute]:
    """`/`, the files of the page at `/page/NAME`, and `/page/facts.json`. The files are read once, here."""
    files = {
        each.name: _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        for each in resources.files(__package__).joinpath("page").iterdir()
        if (media_type := _TYPES.get("." + each.name.rpartition(".")[2])) and (content := each.read_bytes())
    }

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        found = files[name]
        headers = {**_HEADERS, "ETag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(None, HTTPStatus.NOT_MODIFIED, headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    return [Route("/", file), Route("/page/facts.json", _facts), Route("/page/{name}", file)]


async def _facts(request: Request) -> Response:
    server: ServerState = request.app.state.server
    return JSONResponse(facts(server.settings, server.engines.served), headers=_HEADERS)


def facts(settings: ServeSettings, served: list[ServedModel]) -> dict[str, Any]:
    """The JSON object of /page/facts.json.

    served: the models of the server. Returns version; max_text in characters; key_needed; keeps_voices, whether a
    client may keep a voice; and models, each with id, kind ("preset", "clone" or "design"), instructs (whether it
    follows instructions), voices (presets), voice (the default or null), and languages.
    """
    return {
        "version": __version__,
        "max_text": settings.max_text,
        "key_needed": bool(settings.api_keys),
        "keeps_voices": settings.voices_dir is not None,
        "models": [{"id": each.id, **_model(each.config)} for each in served],
    }


def _model(config: ModelConfig) -> dict[str, Any]:
    return {
        "kind": _KINDS[config.model_type],
        "instructs": config.model_type == "custom_voice" and follows_instructions(config),
        "voices": list(config.speakers),
        "voice": resolve_speaker(config, None),
        "languages": spoken_languages(config),
    }
