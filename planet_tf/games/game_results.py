"""Results of the game, as the server writes them: a line for each game."""

import collections
import dataclasses
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from planet_tf.games import game
from planet_tf.games.game import Place
from planet_tf.tables import answer_rows
from planet_tf.tables.answer_columns import PredictionsError


@dataclasses.dataclass(frozen=True)
class Round:
    """A photo of a game, places in degrees.

    Attributes:
      photo_id: in the data set.
      truth: where it was taken.
      person: where the person said.
      machine: where the model said.
      seconds: that the person thought.
    """

    photo_id: str
    truth: Place
    person: Place
    machine: Place
    seconds: float


@dataclasses.dataclass(frozen=True)
class Game:
    """A finished game.

    Attributes:
      name: of the game.
      player: who played; "" if they did not say.
      model: the fingerprint of the weights that played against them.
      min_cell_km: below which the model was not allowed to answer.
      rounds: in their order.
    """

    name: str
    player: str
    model: str
    min_cell_km: float
    rounds: tuple[Round, ...]


def read(name: str) -> tuple[list[Game], int]:
    """The games in files of results, and how many were there again.

    Args:
      name: of a file, or a glob of files.

    Raises:
      PredictionsError: naming the line and what is wrong there.
    """
    games: dict[str, Game] = {}
    lines = 0
    for path in answer_rows.matches(name):
        with answer_rows.open_file(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                lines += 1
                try:
                    one = _parse(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise PredictionsError(
                        f"{path}, line {number} is no finished game of the"
                        f" server's --game_results: {_cause(error)}. Mend or"
                        " delete it"
                    ) from error
                if games.setdefault(one.name, one) != one:
                    raise PredictionsError(
                        f"{path}, line {number} has another game of the name"
                        f" {one.name}: one of them was changed; delete the"
                        " wrong one"
                    )
    if not games:
        raise PredictionsError(f"{name} holds no games")
    found = list(games.values())
    _check_one(found, "model", "models")
    _check_one(found, "min_cell_km", "values of --min_cell_km")
    return found, lines - len(found)


def _check_one(games: Sequence[Game], field: str, what: str) -> None:
    counts = collections.Counter(str(getattr(one, field)) for one in games)
    if len(counts) > 1:
        named = ", ".join(f"{x} ({n:,} games)" for x, n in counts.items())
        raise PredictionsError(
            f"the games were played against several {what}: {named}. Evaluate"
            " those of one at a time"
        )


def _parse(line: bytes) -> Game:
    found = json.loads(line)
    if found["format"] != game.FORMAT:
        raise ValueError(
            f"its format is {found['format']!r}, not {game.FORMAT}"
        )
    rounds = tuple(map(_parse_round, found["rounds"]))
    if not rounds:
        raise ValueError("it has no rounds")
    for field in ("game", "player", "model"):
        if not isinstance(found[field], str):
            raise ValueError(f"{field} is {found[field]!r}, not a text")
    return Game(
        name=found["game"],
        player=_plain(found["player"]),
        model=found["model"],
        min_cell_km=float(found["min_cell_km"]),
        rounds=rounds,
    )


def _parse_round(found: Mapping[str, Any]) -> Round:
    places = {}
    for field in ("truth", "person", "machine"):
        lat, lng = map(float, found[field])
        if not (abs(lat) <= 90 and abs(lng) <= 180):
            raise ValueError(
                f"{field} is {found[field]}, not latitude and longitude in"
                " degrees"
            )
        places[field] = lat, lng
    seconds = float(found["seconds"])
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds is {found['seconds']}")
    return Round(found["photo_id"], seconds=seconds, **places)


def _plain(name: str) -> str:
    """A name without what controls how text is shown."""
    kept = (c for c in name if unicodedata.category(c) not in ("Cc", "Cf"))
    return " ".join("".join(kept).split())[: game.MAX_NAME]


def _cause(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error)
