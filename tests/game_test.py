import json
import math

import numpy as np
import pytest

from planet_tf.games import game
from planet_tf.games.game_photos import Photo
from planet_tf.geo import geometry

LIMA, LONDON, SUVA = (-12.05, -77.04), (51.51, -0.13), (-18.14, 178.44)


def make_game(**options):
    photos = [Photo(f"photo-{i}", b"", LIMA) for i in range(5)]
    return game.Game(photos, **options)


def play(own, rounds=5):
    for number in range(1, rounds + 1):
        own.guess(number, LONDON, SUVA)
    return own


@pytest.mark.parametrize(
    ("place", "truth", "points"),
    [
        (LIMA, LIMA, 5000),
        # One 1,492.7 km further, a factor of e less.
        ((0.0, 0.0), (0.0, math.degrees(1492.7 / 6371.0088)), 1839),
        ((0.0, 0.0), (0.0, 180.0), 0),
        ((-18.0, 179.9), (-18.0, -179.9), 4930),
        ((90.0, 0.0), (90.0, 120.0), 5000),
    ],
)
def test_points_fall_with_the_distance(place, truth, points):
    found = game.guess(place, truth)
    km = geometry.great_circle_km(*place, *truth)
    assert found.km == pytest.approx(km)
    assert found.points == points


def test_a_game_is_won_by_its_points():
    own = make_game()
    assert own.points() == {"person": 0, "machine": 0}
    own.guess(1, LIMA, LONDON)
    own.guess(2, LIMA, LIMA)
    far = game.guess(LONDON, LIMA).points
    assert own.points() == {"person": 10_000, "machine": 5000 + far}
    assert not own.over and len(own.played) == 2


def test_photos_are_shown_in_their_turn():
    own = make_game()
    assert own.photo(1).photo_id == "photo-0"
    with pytest.raises(game.GameError, match="no photo 2 yet: it is round 1"):
        own.photo(2)
    play(own, 2)
    assert own.photo(1).photo_id == "photo-0"
    assert own.photo(3).photo_id == "photo-2"
    for number in (0, -1, 4):
        with pytest.raises(game.GameError):
            own.photo(number)
    play(own := make_game())
    assert own.photo(5).photo_id == "photo-4"
    with pytest.raises(game.GameError):
        own.photo(6)


def test_a_guess_stands():
    own = make_game()
    first = own.guess(1, LONDON, SUVA)
    again = own.guess(1, LONDON, LIMA)  # as of a client without an answer
    assert again is first and again.machine.place == SUVA
    with pytest.raises(game.GameError, match="its guess stands"):
        own.guess(1, LIMA, SUVA)
    assert own.points()["person"] == first.person.points


@pytest.mark.parametrize("number", [0, -1, 2, 3, 6])
def test_there_are_no_guesses_out_of_turn(number):
    with pytest.raises(game.GameError, match="it is round 1 of 5"):
        make_game().guess(number, LONDON, SUVA)


def test_nothing_is_guessed_after_the_end():
    own = play(make_game())
    assert own.over
    with pytest.raises(game.GameError, match="begin another"):
        own.guess(6, LONDON, SUVA)


def test_a_line_of_results_says_places_and_lets_others_count(monkeypatch):
    clock = iter(np.arange(100.0))
    monkeypatch.setattr(game.time, "monotonic", lambda: next(clock))
    own = make_game(player="Ada \N{SNOWMAN}", keep=True)
    own.photo(1)
    own.photo(1)  # once more: the first time counts
    play(own)
    found = json.loads(own.line("sha256:1", 25.0))
    assert found["format"] == game.FORMAT
    assert found["game"] == own.name
    assert found["player"] == "Ada \N{SNOWMAN}"
    assert (found["model"], found["min_cell_km"]) == ("sha256:1", 25.0)
    assert len(found["rounds"]) == 5
    assert found["rounds"][0] == {
        "photo_id": "photo-0",
        "truth": list(LIMA),
        "person": list(LONDON),
        "machine": list(SUVA),
        "seconds": 1.0,
    }
    assert "\n" not in own.line("", 0.0)


def test_the_game_longest_untouched_is_forgotten():
    games = game.Games(most=2)
    first, second, third = (make_game() for _ in range(3))
    games.add(first)
    games.add(second)
    assert games.get(first.name) is first
    games.add(third)
    assert games.get(second.name) is None
    assert games.get(first.name) is first and games.get(third.name) is third
    assert games.get("other") is None


def test_names_of_games_cannot_be_guessed():
    names = {make_game().name for _ in range(100)}
    assert len(names) == 100
    assert min(map(len, names)) >= 20
