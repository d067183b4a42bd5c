"""The server as an ASGI application: its routes, errors and guards."""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

import planet_tf
from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import api, batching, counters, game_api, pages, tf_rest
from planet_tf.serving.desk import Desk, Gone
from planet_tf.serving.intake import Refused
from planet_tf.serving.loaded_model import Model

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self';"
        " img-src 'self' blob: data:; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_TOO_SLOW = 504, "too_slow", "It took too long: send fewer or smaller photos."


def make(model: Model, config: ServeConfig) -> "Guard":
    """The application; its thread begins to answer at once.

    Raises:
      DataError, ModelDirError: if the game's photos cannot be played with.
    """
    photos = game_api.photos(config, model) if config.game_shards else []
    metrics = counters.Metrics()
    desk = Desk(model, config, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        yield
        # Not here: requests that were given up have to make room meanwhile.
        await asyncio.to_thread(desk.stop)

    app = fastapi.FastAPI(
        title="planet_tf",
        summary="Where photos were taken",
        version=planet_tf.__version__,
        lifespan=lifespan,
        docs_url=None,  # they would be fetched from elsewhere
        redoc_url=None,
    )
    app.include_router(api.router(desk, config))
    app.include_router(tf_rest.router(desk, config))
    app.include_router(pages.router())
    if photos:
        app.include_router(game_api.router(desk, config, photos))
    _add_probes(app, desk, metrics)
    _add_errors(app)
    return Guard(app, desk, metrics, config)


def _add_probes(
    app: fastapi.FastAPI, desk: Desk, metrics: counters.Metrics
) -> None:
    @app.get("/healthz", summary="Whether photos are answered")
    async def healthz() -> JSONResponse:
        alive = desk.batcher.alive
        text = "ok" if alive else "stopping, or the model has failed"
        return JSONResponse({"status": text}, 200 if alive else 503)

    @app.get("/metrics", summary="Figures for Prometheus")
    async def figures() -> Response:
        return Response(metrics.text(), media_type=counters.CONTENT_TYPE)


def _add_errors(app: fastapi.FastAPI) -> None:
    """Each error as JSON, with what to do about it."""

    def handler(kind: type[Exception], answer: Callable[[Any], tuple]) -> None:
        async def handle(
            request: fastapi.Request, error: Exception
        ) -> JSONResponse:
            return _error(request.url.path, *answer(error))

        app.add_exception_handler(kind, handle)

    handler(
        Refused,
        lambda e: (
            e.status,
            e.code,
            e.message,
            # Nobody waits for the rest of what comes too slowly.
            {"connection": "close"} if e.status == 408 else None,
        ),
    )
    handler(tf_rest.BadRequest, lambda e: (e.status, "bad_request", str(e)))
    handler(
        batching.Overloaded,
        lambda e: (
            429,
            "busy",
            f"Too much to do: come again in {e.retry_after} s.",
            {"retry-after": str(e.retry_after)},
        ),
    )
    handler(
        batching.Stopping,
        lambda e: (503, "stopping", "The server is stopping."),
    )
    handler(TimeoutError, lambda e: _TOO_SLOW)
    for gone in (Gone, ClientDisconnect):  # the latter while it was sending
        handler(gone, lambda e: (499, "gone", "Nobody waits for the answer."))
    handler(
        RequestValidationError,
        lambda e: (400, "bad_option", _options_text(e)),
    )
    handler(HTTPException, _http_error)
    handler(Exception, lambda e: (500, "failed", "That is our fault."))


def _error(
    path: str,
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    error: Any = {"code": code, "message": message}
    if path.startswith("/v1/"):
        error = message  # as TensorFlow Serving has it
    return JSONResponse({"error": error}, status, headers)


def _http_error(error: HTTPException) -> tuple:
    """Of an address that there is not, or not with this method."""
    if error.status_code != 405:
        return error.status_code, "no_such_thing", error.detail, error.headers
    methods = (error.headers or {})["Allow"]
    message = f"This address is not asked that way: use {methods}."
    return 405, "wrong_method", message, error.headers


def _options_text(error: RequestValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}"
        for fault in error.errors()
    )


class Guard:
    """What surrounds all routes: who may ask, headers, and figures.

    Attributes:
      desk: where photos are answered.
    """

    def __init__(
        self,
        app: fastapi.FastAPI,
        desk: Desk,
        metrics: counters.Metrics,
        config: ServeConfig,
    ):
        self.app, self.desk = app, desk
        self._metrics = metrics
        self._names = {config.host, *config.allowed_hosts}
        if _is_local(config.host):
            self._names.update(_LOCAL_NAMES)
        elif config.host in ("0.0.0.0", "::"):
            self._names.add("*")

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in _HEADERS.items()),
                ]
            await send(message)

        try:
            refusal = self._refusal(scope)
            answer = refusal or self.app
            await answer(scope, receive, guarded_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, status).inc()
            seconds = time.monotonic() - begun
            self._metrics.seconds.labels(route).observe(seconds)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Of who asks for another name than ours, or from another's page.

        Pages of others can have their own name lead to this machine (DNS
        rebinding), or send forms to it.
        """
        headers = dict(scope["headers"])
        name = _name(headers.get(b"host", b"").decode("latin-1"))
        if "*" not in self._names and name not in self._names:
            return _error(
                scope["path"],
                421,
                "other_host",
                f"This server does not answer for {name!r}; to have it do so,"
                f" start it with --allowed_hosts={name}",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            return _error(
                scope["path"],
                403,
                "other_origin",
                f"Pages of {origin} may not ask this server.",
            )
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def is_open(host: str) -> bool:
    """Whether others than this machine can reach an address."""
    return not _is_local(host)
