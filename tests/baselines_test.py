import numpy as np
import pytest

from planet_tf.data import data_dirs
from planet_tf.evaluation import baselines, features, neighbors
from planet_tf.geo import geometry


def near(place, count, rng):
    return np.array(place) + rng.normal(0, 0.1, (count, 2))


def test_the_prior_answers_where_most_photos_are_first():
    rng = np.random.default_rng(0)
    towns = [[40.7, -74], [-33.4, -70.6], [-17.7, 179.9], [48.8, 2.3]]
    counts = [5, 30, 10, 20]
    places = [near(t, c, rng) for t, c in zip(towns, counts, strict=True)]
    found = baselines.prior_points(np.concatenate(places))
    wanted = np.array(towns)[[1, 3, 2, 0]]
    assert found.shape == (4, 2)  # nothing is left for a fifth
    assert geometry.great_circle_km(*found.T, *wanted.T).max() < 60


@pytest.mark.parametrize("km", [100, 750, 2500])
def test_the_prior_is_the_greedy_choice_by_brute_force(km):
    rng = np.random.default_rng(1)
    places = np.stack(
        [rng.uniform(-90, 90, 300), rng.uniform(-180, 180, 300)], axis=1
    )
    within = (
        geometry.great_circle_km(*places.T[:, :, None], *places.T[:, None])
        <= km
    )
    wanted, left = [], np.ones(300, bool)
    for _ in range(5):
        wanted.append((within & left).sum(axis=1).argmax())
        left &= ~within[wanted[-1]]
    found = baselines.prior_points(places, km)
    assert (found == places[wanted]).all()


def test_photos_across_the_antimeridian_are_near_each_other():
    fiji = [[-17, 179.5], [-17, -179.5], [-17.5, 179.9]]
    places = np.array([[48, 2], [48, 2.1], *fiji])
    assert baselines.prior_points(places, 200)[0].tolist() in fiji


def test_candidates_of_the_prior_are_spread_over_many_photos(monkeypatch):
    monkeypatch.setattr(baselines, "_CANDIDATES", 10)
    places = np.repeat([[10.0, 20.0], [-30.0, -60.0]], [20, 80], axis=0)
    assert baselines.prior_points(places).tolist() == [[-30, -60], [10, 20]]


def test_every_baseline_answers_every_photo_of_the_split(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    count = shards.count("validation")
    found = baselines.answers(
        shards, "validation", most=50, vote=neighbors.Vote()
    )
    assert list(found) == [
        "neighbours by tiny images",
        "neighbours by colours",
        "neighbours by gradients",
        "prior",
    ]
    assert {points.shape[0] for points in found.values()} == {count}
    train = features.of_split(shards, "train", 50)
    asked = features.of_split(shards, "validation", count)
    squares = (
        train.vectors[features.COLORS][None]
        - asked.vectors[features.COLORS][:, None]
    ).astype(float)
    nearest = (squares**2).sum(-1).argmin(axis=1)
    answers = found["neighbours by colours"][:, 0]
    assert (answers == train.places[nearest]).all()


def test_the_training_photos_answer_with_their_own_places(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    found = baselines.answers(shards, "train", most=320, vote=neighbors.Vote())
    places = features.of_split(shards, "train", 320).places
    for name in list(found)[:3]:
        assert np.mean((found[name][:, 0] == places).all(axis=1)) > 0.95
