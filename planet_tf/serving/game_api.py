"""The server's game: a person and the model locate the same photos."""

import json
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import fastapi
import numpy as np
from fastapi.responses import JSONResponse, Response

from planet_tf.data import data_dirs
from planet_tf.games import game, game_photos
from planet_tf.games.game import Game, GameError, Games, Place
from planet_tf.games.game_photos import Photo
from planet_tf.geo import place_names
from planet_tf.model import model_dir
from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import api, intake
from planet_tf.serving.desk import Desk
from planet_tf.serving.intake import Refused
from planet_tf.serving.loaded_model import Model

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 4096  # of a move
_PRIVATE = {"Cache-Control": "no-store"}


def photos(config: ServeConfig, model: Model) -> list[Photo]:
    """The photos that are played with.

    Raises:
      DataError: if the shards hold too few, or belong to another model, which
        may have been trained on them.
    """
    shards = data_dirs.open_shards(config.game_shards)
    facts = model.photos.config
    model_dir.check_partition(
        shards.partition.fingerprint,
        config.game_shards,
        facts["partition_fingerprint"],
        config.model_dir,
    )
    if shards.split_rule != facts.get("split_rule"):
        raise data_dirs.DataError(
            f"{config.game_shards} was split in another way than the photos"
            f" that {config.model_dir} was trained on: it may know these"
            " photos. Use the shards that it was trained with"
        )
    rng = random.SystemRandom()
    return game_photos.load(shards, config.game_split, config.game_photos, rng)


def router(
    desk: Desk, config: ServeConfig, photos: list[Photo]
) -> fastapi.APIRouter:
    """The routes of the game."""
    routes = fastapi.APIRouter(prefix="/api/game")
    table = _Table(desk, config, photos)

    async def body_of(request: fastapi.Request) -> dict[str, Any]:
        stream = request.stream()
        with desk.budget.open() as share:
            body = await intake.read_body(stream, _MOST_BYTES, config, share)
        return _object(body)

    @routes.post("", summary="Begin a game", description=_BEGIN)
    async def begin(request: fastapi.Request) -> JSONResponse:
        return JSONResponse(
            table.begin(await body_of(request)), headers=_PRIVATE
        )

    @routes.get(
        "/{name}/photo/{number}",
        summary="The photo of a round, from 1 on",
        response_class=Response,
    )
    async def photo(name: str, number: int) -> Response:
        shown = await desk.run(table.photo(name, number).shown)
        return Response(shown, media_type="image/jpeg", headers=_PRIVATE)

    @routes.post(
        "/{name}/guess", summary="Guess in a round", description=_GUESS
    )
    async def guess(name: str, request: fastapi.Request) -> JSONResponse:
        body = await body_of(request)
        found = await table.guess(name, body, request.is_disconnected)
        return JSONResponse(found, headers=_PRIVATE)

    return routes


_BEGIN = """Photos that the model was not trained on, to guess where they were
taken. The body is JSON: `player`, what you call yourself, and `keep`, whether
the result may be kept in the server's file of results; both may be left out.
"""
_GUESS = """The body is JSON: `round`, from 1 on, `lat` and `lng` in degrees.
The answer has the `truth`, what `person` and `machine` get for their places,
and their points so far. A guess stands once it is made.
"""


class _Table:
    """Where games are played."""

    def __init__(self, desk: Desk, config: ServeConfig, photos: list[Photo]):
        self._desk, self._config, self._photos = desk, config, photos
        self._games = Games()
        self._rng = random.SystemRandom()

    def begin(self, wish: dict[str, Any]) -> dict[str, Any]:
        """A new game."""
        player, keep = wish.get("player", ""), wish.get("keep", False)
        if not isinstance(player, str) or len(player) > game.MAX_NAME:
            raise _bad_move(
                f"player has to be a text of at most {game.MAX_NAME} characters"
            )
        if not isinstance(keep, bool):
            raise _bad_move("keep has to be true or false")
        if keep and not self._config.game_results:
            raise _bad_move(
                "results cannot be kept: the server was started without"
                " --game_results"
            )
        chosen = game_photos.of_a_game(self._photos, self._rng)
        begun = Game(chosen, player.strip(), keep)
        self._games.add(begun)
        return {"game": begun.name, "rounds": len(chosen)}

    def photo(self, name: str, number: int) -> Photo:
        """The photo of a round, once it is its turn."""
        try:
            return self._game(name).photo(number)
        except GameError as error:
            raise _not_now(error) from error

    async def guess(
        self,
        name: str,
        wish: dict[str, Any],
        gone: Callable[[], Awaitable[bool]],
    ) -> dict[str, Any]:
        """What comes of a guess: the model is asked once it is made."""
        played = self._game(name)
        number, place = wish.get("round"), _place(wish)
        if type(number) is not int:
            raise _bad_move("round has to be a whole number, from 1 on")
        try:
            played.check(number, place)
            photo = played.rounds[number - 1].photo
            asked = await self._desk.ask_one(photo.jpeg, gone)
            located = await self._desk.run(
                api.answer_all, self._desk, asked.probabilities[None]
            )
            best = located[0]["answer"]["cells"][0]
            was_over = played.over
            one = played.guess(number, place, (best["lat"], best["lng"]))
        except GameError as error:
            raise _not_now(error) from error
        if played.over and played.keep and not was_over:
            played.kept = self._keep(played)
        lat, lng = one.photo.place
        person, machine = one.guesses
        return {
            "round": number,
            "truth": {"lat": lat, "lng": lng, "place": _name(one.photo.place)},
            "person": person.json(),
            "machine": machine.json() | located[0],
            "points": played.points(),
            "over": played.over,
            "kept": played.kept,
        }

    def _game(self, name: str) -> Game:
        found = self._games.get(name)
        if found is None:
            raise Refused(
                404,
                "no_such_game",
                "There is no such game, or nothing was done in it for long:"
                " reload the page to begin another.",
            )
        return found

    def _keep(self, played: Game) -> bool:
        """Adds a game to the file of results; whether that could be done."""
        model = self._desk.model.photos.weights
        line = played.line(model, self._config.min_cell_km)
        try:
            with open(self._config.game_results, "a") as file:
                file.write(line + "\n")
        except OSError:
            _LOG.exception("the result of a game could not be kept")
            return False
        return True


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad_move(f"the body has to be JSON ({error})") from error
    if not isinstance(found, dict):
        raise _bad_move("the body has to be a JSON object")
    return found


def _place(wish: dict[str, Any]) -> Place:
    lat: Any = wish.get("lat")
    lng: Any = wish.get("lng")
    numbers = type(lat) in (int, float) and type(lng) in (int, float)
    # So that NaN is refused too; a whole number may be too large for a float.
    if not (numbers and abs(lat) <= 90 and abs(lng) <= 180):
        raise _bad_move(
            "lat and lng have to be degrees, from -90 to 90 and from -180 to"
            f" 180; they are {lat!r} and {lng!r}"
        )
    return float(lat), float(lng)


def _name(place: Place) -> str:
    """The town and country of a place; "" without names of places."""
    if not place_names.available():
        return ""
    [found] = place_names.names(np.array([place]))
    return str(found)


def _bad_move(why: str) -> Refused:
    return Refused(400, "bad_move", f"This cannot be played: {why}.")


def _not_now(error: GameError) -> Refused:
    return Refused(409, "not_now", f"This cannot be done: {error}.")
