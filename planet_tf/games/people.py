"""People against a model on the same photos, from the results of the game.

As the paper reports it (section 4): rounds won, and both median errors, of 10
people in 50 rounds of one photo each. A photo's errors are the guesses'; a
round is won by who is nearer, a game of five rounds by who has more points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planet_tf.games import game, game_results
from planet_tf.games.game_results import Game
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.reports import (
    bootstrap,
    photo_parts,
    report,
    report_dir,
    report_text,
    scores,
)
from planet_tf.reports.scores import Answers

MACHINE, PEOPLE = "machine", "people"
_EQUAL_KM = 0.001  # guesses that are as near, but for rounding
_FEW_ROUNDS = 50  # with fewer, intervals say little
_LEAST_GROUPS = 5  # of fewer players, no resample says how people differ
_PAPER = (
    "In the paper (section 4), PlaNet won 28 of 50 rounds (56 %) against 10"
    " people, with a median error of 1,131.7 km against 2,320.75 km, on street"
    " views: other photos than these."
)


def evaluate(config: EvaluateConfig) -> None:
    """Writes the report and prints it.

    Raises:
      PredictionsError: of results that cannot be read, or do not belong
        together.
    """
    games, repeated = game_results.read(config.game)
    evaluated = _evaluated(config, games)
    counts = count(games, evaluated)
    notes = _notes(counts, players(games, evaluated), repeated)
    rounds = f"{counts['rounds']:,} rounds of people against the machine"
    facts = {
        "what": rounds,
        "game": config.game,
        "model": games[0].model,
        "min_cell_km": games[0].min_cell_km,
        "people": counts | {"repeated": repeated},
    }
    ids = [f"{one.name}/{k}" for one in games for k in _numbers(one)]
    found = report_dir.write(
        config.out, evaluated, np.array(ids, object), facts, notes=notes
    )
    print(report_text.summary(found))
    print("\n" + "\n\n".join(notes))
    print(f"\nwritten to {config.out}")


def _numbers(one: Game) -> range:
    return range(1, len(one.rounds) + 1)


def _places(games: Sequence[Game], field: str) -> np.ndarray:
    """(n, 2) of all rounds."""
    return np.array([getattr(r, field) for one in games for r in one.rounds])


def _evaluated(
    config: EvaluateConfig, games: Sequence[Game]
) -> report.Evaluated:
    """Both sides as systems, and whole players or games to resample."""
    truth = _places(games, "truth")
    points = {
        MACHINE: _places(games, "machine")[:, None],
        PEOPLE: _places(games, "person")[:, None],
    }
    plain = {name: Answers(found) for name, found in points.items()}
    places = photo_parts.places(truth, plain, None)
    own = report.Evaluated(
        truth, plain, bootstrap.of_photos(len(truth)), **places
    )
    won = won_by_machine(own.errors[MACHINE][:, 0], own.errors[PEOPLE][:, 0])
    systems = {
        MACHINE: Answers(points[MACHINE], extra={"nearer": won}),
        PEOPLE: Answers(points[PEOPLE], extra={"nearer": 1 - won}),
    }
    resampling = report.bootstrap_of(config, groups(games), len(truth))
    return report.Evaluated(truth, systems, resampling, **places)


def groups(games: Sequence[Game]) -> np.ndarray | None:
    """Who played each round (n,): one player, or a game without a name.

    None if they are too few to be resampled.
    """
    found = [
        f"player {one.player}" if one.player else f"game {one.name}"
        for one in games
        for _ in one.rounds
    ]
    few = len(set(found)) < _LEAST_GROUPS
    return None if few else np.array(found, object)


def won_by_machine(machine: np.ndarray, people: np.ndarray) -> np.ndarray:
    """1 where the machine's error (n,) in km is less, 0 where people's is.

    Half a round each where both are as near.
    """
    apart = people - machine
    return np.where(np.abs(apart) <= _EQUAL_KM, 0.5, apart > 0).astype(float)


def count(games: Sequence[Game], evaluated: report.Evaluated) -> dict[str, Any]:
    """Rounds and games won by each side, and who played."""
    nearer = evaluated.systems[MACHINE].extra["nearer"]
    apart = [points[MACHINE] - points[PEOPLE] for points in _points(games)]
    names = {one.player for one in games if one.player}
    seconds = [r.seconds for one in games for r in one.rounds]
    return {
        "rounds": len(nearer),
        "games": len(games),
        "players": len(names),
        "unnamed_games": sum(not one.player for one in games),
        "rounds_won": _sides(nearer - 0.5),
        "games_won": _sides(np.array(apart)),
        "median_seconds": float(np.median(seconds)),
        "groups": (
            f"rounds, as if each were another person's: fewer than"
            f" {_LEAST_GROUPS} people played"
            if groups(games) is None
            else "players, and over games of those without a name"
        ),
    }


def _sides(apart: np.ndarray) -> dict[str, int]:
    """How often the machine is ahead, people are, and nobody is."""
    return {
        MACHINE: int((apart > 0).sum()),
        PEOPLE: int((apart < 0).sum()),
        "nobody": int((apart == 0).sum()),
    }


def _points(games: Sequence[Game]) -> list[dict[str, int]]:
    """The points of both sides in each game, as players were told them."""
    return [
        {
            side: sum(
                game.guess(getattr(r, field), r.truth).points
                for r in one.rounds
            )
            for side, field in ((MACHINE, "machine"), (PEOPLE, "person"))
        }
        for one in games
    ]


def players(
    games: Sequence[Game], evaluated: report.Evaluated
) -> list[list[str]]:
    """A table of named players, the first row its head; those ahead first."""
    owner = np.array([one.player for one in games for _ in one.rounds], object)
    nearer = evaluated.systems[PEOPLE].extra["nearer"]
    errors = evaluated.errors[PEOPLE][:, 0]
    rows = []
    for name in sorted(set(owner.tolist()) - {""}):
        own = owner == name
        rows.append(
            [
                name,
                f"{sum(one.player == name for one in games):,}",
                f"{nearer[own].sum():g} of {own.sum():,}",
                f"{np.median(errors[own]):,.0f}",
                f"{scores.geoscore(errors[own]).mean():,.0f}",
            ]
        )
    rows.sort(key=lambda row: -float(row[-1].replace(",", "")))
    return [["player", "games", "rounds won", "median km", "GeoScore"], *rows]


def _notes(
    counts: Mapping[str, Any], table: list[list[str]], repeated: int
) -> list[str]:
    """What the comparison says, in words."""
    rounds, games = counts["rounds_won"], counts["games_won"]
    who = f"{counts['players']:,} named players"
    if counts["unnamed_games"]:
        who += f" and {counts['unnamed_games']:,} games without a name"
    found = [
        f"{counts['rounds']:,} rounds in {counts['games']:,} games, by {who};"
        f" people thought {counts['median_seconds']:,.0f} s (median).",
        f"The machine was nearer in {rounds[MACHINE]:,} rounds"
        f" ({rounds[MACHINE] / counts['rounds']:.0%}), people in"
        f" {rounds[PEOPLE]:,}, both as near in {rounds['nobody']:,}. It won"
        f" {games[MACHINE]:,} games by points, people {games[PEOPLE]:,},"
        f" nobody {games['nobody']:,}.",
        _PAPER,
        f"Intervals are over {counts['groups']}.",
    ]
    if counts["rounds"] < _FEW_ROUNDS:
        found.append(
            f"These are fewer rounds than the paper's {_FEW_ROUNDS}: intervals"
            " are wide, and say little."
        )
    if repeated:
        found.append(f"{repeated:,} lines were there again and left out.")
    if len(table) > 1:
        found += ["## Players", report_text.aligned(_escaped(table))]
    return found


def _escaped(table: list[list[str]]) -> list[list[str]]:
    """The table, its names such that they are no Markdown."""
    special = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|"})
    head, *rows = table
    return [head, *([row[0].translate(special), *row[1:]] for row in rows)]
