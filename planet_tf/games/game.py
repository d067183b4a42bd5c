"""A game against the model: who is nearer to where photos were taken.

After the paper's comparison with people (section 4): five photos, one guess
each, and the points of GeoGuessr. The truth, and what the model answers, are
told when the person has guessed.
"""

import collections
import dataclasses
import json
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planet_tf.geo import geometry
from planet_tf.reports import scores

if TYPE_CHECKING:  # evaluate reads results without TensorFlow
    from planet_tf.games.game_photos import Photo

FORMAT = 1  # of the lines of results
MAX_NAME = 40  # characters of a player's name

Place = tuple[float, float]  # (lat, lng) in degrees


class GameError(ValueError):
    """A move that the rules do not allow, and what is to be done."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """A place that a person or the model names.

    Attributes:
      place: of it.
      km: to where the photo was taken.
      points: for it, as in GeoGuessr: whole, up to 5,000.
    """

    place: Place
    km: float
    points: int

    def json(self) -> dict[str, Any]:
        """As answers have it."""
        lat, lng = self.place
        return {"lat": lat, "lng": lng, "km": self.km, "points": self.points}


def guess(place: Place, truth: Place) -> Guess:
    """What a guess is worth."""
    km = float(geometry.great_circle_km(*place, *truth))
    return Guess(place, km, round(float(scores.geoscore(km))))


@dataclasses.dataclass
class Round:
    """A photo of a game, and the guesses at it.

    Attributes:
      photo: to be located.
      person: None until they have guessed.
      machine: the model's guess, None until then too.
      seconds: that the person thought, from when they had the photo.
    """

    photo: "Photo"
    person: Guess | None = None
    machine: Guess | None = None
    seconds: float = 0.0

    @property
    def guesses(self) -> tuple[Guess, Guess]:
        """The person's and the machine's; GameError until there are."""
        if self.person is None or self.machine is None:
            raise GameError("nobody has guessed yet")
        return self.person, self.machine

    def json(self) -> dict[str, Any]:
        """As a line of results has it: places only, others follow."""
        person, machine = self.guesses
        return {
            "photo_id": self.photo.photo_id,
            "truth": list(self.photo.place),
            "person": list(person.place),
            "machine": list(machine.place),
            "seconds": round(self.seconds, 1),
        }


class Game:
    """One game of one person.

    Attributes:
      name: random, so that nobody can know another's.
      player: what they call themselves; "" if they say nothing.
      keep: whether they want the result to be kept.
      kept: whether it is.
      rounds: in their order.
    """

    def __init__(
        self,
        photos: Sequence["Photo"],
        player: str = "",
        keep: bool = False,
    ):
        self.name = secrets.token_urlsafe(16)
        self.player, self.keep, self.kept = player, keep, False
        self.rounds = [Round(photo) for photo in photos]
        self._shown: float | None = None

    @property
    def played(self) -> list[Round]:
        """The rounds that are over."""
        return [one for one in self.rounds if one.person]

    @property
    def over(self) -> bool:
        """Whether all rounds are."""
        return len(self.played) == len(self.rounds)

    def photo(self, number: int) -> "Photo":
        """The photo of a round, from 1 on, once it is its turn."""
        turn = len(self.played) + 1
        if not 1 <= number <= min(turn, len(self.rounds)):
            raise GameError(
                f"there is no photo {number} yet: it is round {turn} of"
                f" {len(self.rounds)}"
            )
        if number == turn and self._shown is None:
            self._shown = time.monotonic()
        return self.rounds[number - 1].photo

    def check(self, number: int, place: Place) -> None:
        """Raises GameError if a guess cannot be made in a round, from 1 on.

        The same guess again, as of a client that had no answer, can be made.
        """
        turn = len(self.played) + 1
        if 1 <= number < turn:
            if self.rounds[number - 1].guesses[0].place != place:
                raise GameError(f"round {number} is over, its guess stands")
            return
        if self.over:
            raise GameError("the game is over; begin another")
        if number != turn:
            raise GameError(
                f"no guess can be made in round {number}: it is round {turn}"
                f" of {len(self.rounds)}"
            )

    def guess(self, number: int, place: Place, machine: Place) -> Round:
        """Takes the guesses of a round; it stays what it is if it is over.

        Args:
          number: of the round, from 1 on.
          place: that the person names.
          machine: that the model names.

        Raises:
          GameError: as `check`.
        """
        self.check(number, place)
        one = self.rounds[number - 1]
        if one.person is None:
            one.person = guess(place, one.photo.place)
            one.machine = guess(machine, one.photo.place)
            if self._shown is not None:
                one.seconds = time.monotonic() - self._shown
            self._shown = None
        return one

    def points(self) -> dict[str, int]:
        """The points so far of `person` and `machine`."""
        return {
            who: sum(getattr(one, who).points for one in self.played)
            for who in ("person", "machine")
        }

    def line(self, model: str, min_cell_km: float) -> str:
        """The finished game for a file of results, which evaluate reads.

        Args:
          model: the fingerprint of its weights.
          min_cell_km: below which it was not allowed to answer.
        """
        return json.dumps(
            {
                "format": FORMAT,
                "game": self.name,
                "player": self.player,
                "time": int(time.time()),
                "model": model,
                "min_cell_km": min_cell_km,
                "rounds": [one.json() for one in self.rounds],
            }
        )


class Games:
    """The games that are being played; the oldest is forgotten for a new one.

    Nobody says when they stop playing, so that there has to be a limit.
    """

    def __init__(self, most: int = 1_000):
        self._most = most
        self._games: collections.OrderedDict[str, Game] = (
            collections.OrderedDict()
        )

    def add(self, game: Game) -> None:
        """Remembers a game."""
        self._games[game.name] = game
        while len(self._games) > self._most:
            self._games.popitem(last=False)

    def get(self, name: str) -> Game | None:
        """The game of a name, which counts as new again; None if unknown."""
        if name in self._games:
            self._games.move_to_end(name)
        return self._games.get(name)
