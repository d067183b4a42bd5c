"""The server's own API: photos in, places out."""

import functools
from typing import Any

import fastapi
import numpy as np
from fastapi.responses import JSONResponse

import planet_tf
from planet_tf.answering import metrics
from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import intake
from planet_tf.serving.desk import Desk, Reply
from planet_tf.serving.intake import Refused

_LEAST = 1e-5  # less probable cells are not in a distribution
_MOST_CELLS = 100  # of an answer
_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": _FILE},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {intake.FIELD: {"type": "array", "items": _FILE}},
            }
        },
    },
}
_ABOUT = """Where photos were taken.

One photo is the body, or the only part of a form; several parts named `photo`
are one album, and are answered alone and among the others. `cells` are the
likeliest cells, best first: the `token` of the S2 cell, its `probability`, a
point in it, how wide it is, and the nearest town. `radius_km` says how far
around the first cell's point half and nine tenths of the probability reach.

If the server was started with `--min_cell_km`, no cell is narrower and every
point stands for a cell at least that wide. Nothing of a photo is kept.
"""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in {
        400: "not a form, or a wrong option",
        413: "too many bytes or photos",
        415: "no photo, or of a kind that is not read",
        422: "broken, too many pixels, or too small",
        429: "too much to do; come again after Retry-After seconds",
        503: "the server is stopping",
        504: "it took too long",
    }.items()
}


def router(desk: Desk, config: ServeConfig) -> fastapi.APIRouter:
    """The routes below /api."""
    routes = fastapi.APIRouter(prefix="/api")

    @routes.get("/model", summary="What is asked, and the cells it knows")
    async def model() -> JSONResponse:
        return JSONResponse(
            about(desk, config), headers={"Cache-Control": "no-cache"}
        )

    @routes.post(
        "/locate",
        summary="Where photos were taken",
        description=_ABOUT,
        openapi_extra={"requestBody": _BODY},
        responses=_RESPONSES,
    )
    async def locate(
        request: fastapi.Request,
        top: int = fastapi.Query(
            metrics.TOP, ge=1, le=_MOST_CELLS, description="cells of an answer"
        ),
        distribution: bool = fastapi.Query(
            False,
            description="whether to give all probable cells too, as pairs of a"
            " position in /api/model's cells and a probability",
        ),
    ) -> JSONResponse:
        read = functools.partial(
            intake.read_uploads,
            request.headers.get("content-type", ""),
            request.stream(),
            config,
        )
        replies = await desk.ask(read, request.is_disconnected)
        refused = [reply.error for reply in replies if reply.error]
        if len(replies) == 1 and refused:
            raise refused[0]
        if len(refused) == len(replies):
            raise Refused(
                422,
                "no_photo",
                f"None of the {len(replies)} files is a photo that can be"
                f" read; the first: {refused[0].message}",
            )
        return JSONResponse(
            await desk.run(_located, desk, replies, top, distribution)
        )

    return routes


def about(desk: Desk, config: ServeConfig) -> dict[str, Any]:
    """What /api/model says."""
    model = desk.model
    return {
        "version": planet_tf.__version__,
        "model": model.photos.weights,
        "cells": list(model.partition.tokens),
        "points": np.round(model.partition.latlng, 5).tolist(),
        "min_cell_km": config.min_cell_km,
        "album": model.how,
        "game": {
            "playable": bool(config.game_shards),
            "keeps_results": bool(config.game_results),
        },
        "limits": {
            "bytes": config.max_bytes,
            "request_bytes": config.max_request_bytes,
            "pixels": config.max_pixels,
            "photos": config.max_photos,
            "seconds": config.request_seconds,
        },
    }


def _located(
    desk: Desk, replies: list[Reply], top: int, distribution: bool
) -> dict[str, Any]:
    """The answer to a request; takes milliseconds."""
    good = [(r.name, r.photo, r.asked) for r in replies if r.photo and r.asked]
    alone = np.stack([asked.probabilities for _, _, asked in good])
    answers = iter(answer_all(desk, alone, top, distribution))
    photos = [
        {
            "name": reply.name,
            "taken": reply.photo.taken.json() if reply.photo else None,
            "error": reply.error.json() if reply.error else None,
        }
        | (next(answers) if reply.asked else {"answer": None})
        for reply in replies
    ]
    if len(replies) == 1:
        return {"photos": photos, "album": None}
    among = desk.model.ask_album(
        [asked for _, _, asked in good],
        [name for name, _, _ in good],
        [photo.taken.time for _, photo, _ in good],
    )
    answers = iter(answer_all(desk, among, top, distribution))
    album = [next(answers) if reply.asked else None for reply in replies]
    return {
        "photos": photos,
        "album": {"how": desk.model.how, "photos": album},
    }


def answer_all(
    desk: Desk,
    probabilities: np.ndarray,
    top: int = metrics.TOP,
    distribution: bool = True,
) -> list[dict[str, Any]]:
    """Answers for probabilities (n, classes), with all cells if wanted."""
    found = desk.model.answerer.answers(probabilities, top)
    answers: list[dict[str, Any]] = [{"answer": a.json()} for a in found]
    if distribution:
        first = int(desk.model.partition.other_class)
        for answer, shares in zip(
            answers, probabilities[:, first:], strict=True
        ):
            answer["distribution"] = _pairs(shares)
    return answers


def _pairs(shares: np.ndarray) -> list[tuple[int, float]]:
    """Positions of probable cells and their probabilities, best first."""
    cells = np.flatnonzero(shares >= _LEAST)
    cells = cells[np.argsort(-shares[cells], kind="stable")]
    rounded = np.round(shares[cells].astype(np.float64), 6)
    return list(zip(cells.tolist(), rounded.tolist(), strict=True))
