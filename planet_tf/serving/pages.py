"""The pages of the server and what they show, all of it from the package."""

import functools
import gzip
import importlib.resources
import json

import fastapi
from fastapi.responses import Response

from planet_tf.serving.intake import Refused

_KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_DAY = "public, max-age=86400"


def router() -> fastapi.APIRouter:
    """The page, its files, and the map it draws on."""
    routes = fastapi.APIRouter()
    files = _files()

    @routes.get("/", summary="The page", response_class=Response)
    async def page() -> Response:
        return _file(files, "app.html")

    @routes.get(
        "/game", summary="A game against the model", response_class=Response
    )
    async def game() -> Response:
        return _file(files, "game.html")

    @routes.get(
        "/static/{name}", summary="Files of the page", response_class=Response
    )
    async def static(name: str) -> Response:
        return _file(files, name)

    # Not async: the first answer takes a while.
    @routes.get("/api/world", summary="Land, borders and places of the map")
    def world(request: fastapi.Request) -> Response:
        packed = _world()
        headers = {"Cache-Control": _DAY, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            packed = gzip.decompress(packed)
        return Response(packed, media_type="application/json", headers=headers)

    return routes


def _files() -> dict[str, bytes]:
    """All that may be asked for, read once: no path comes from a client."""
    web = importlib.resources.files("planet_tf") / "web"
    return {
        file.name: file.read_bytes()
        for file in web.iterdir()
        if _kind(file.name)
    }


def _kind(name: str) -> str | None:
    return _KINDS.get("." + name.rpartition(".")[2])


def _file(files: dict[str, bytes], name: str) -> Response:
    if name not in files:
        raise Refused(404, "no_such_thing", f"There is no file {name!r}.")
    return Response(
        files[name],
        media_type=_kind(name),
        headers={"Cache-Control": "no-cache"},
    )


@functools.cache
def _world() -> bytes:
    from planet_tf.drawing import web_world  # reads outlines: if asked for

    return gzip.compress(json.dumps(web_world.world()).encode(), mtime=0)
