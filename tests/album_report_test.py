import json

import numpy as np
import pytest

from planet_tf.answering import metrics
from planet_tf.evaluation import album_report


def make_answers(seed=0, albums=40):
    """Answers of two systems: one wrong by chance, one right in long albums."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 40, albums)
    album = np.repeat(np.arange(albums), length)
    position = np.concatenate([np.arange(n) for n in length])
    n = len(album)
    poor = rng.choice([10.0, 5_000.0], (n, 5))
    good = np.where((length[album] >= 15)[:, None], 10.0, poor)
    return album_report.Answers(
        {"poor": poor, "good": good},
        album,
        position,
        length[album],
        extent=rng.uniform(0, 3_000, albums)[album],
        entropy=rng.uniform(0, 8, n),
    )


@pytest.fixture(scope="module")
def answers():
    return make_answers()


@pytest.fixture(scope="module")
def found(answers):
    return album_report.make(answers, baseline="poor", resamples=200, seed=0)


def test_the_figures_of_all_photos_are_those_of_metrics(answers, found):
    assert found["photos"] == len(answers.album)
    assert found["albums"] == 40
    for name, errors in answers.errors.items():
        for key, value in metrics.summary(errors).items():
            assert found["systems"][name][key] == pytest.approx(value)


def test_each_part_holds_just_its_photos(answers, found):
    hits = answers.errors["poor"][:, 0] <= 750
    by_length = found["parts"]["photos of the album"]
    for part, low, high in (
        ("1 to 4", 1, 4),
        ("5 to 14", 5, 14),
        ("15 to 29", 15, 29),
        ("30 and more", 30, 1_000),
    ):
        own = (answers.length >= low) & (answers.length <= high)
        assert by_length[part]["photos"] == own.sum()
        share = by_length[part]["systems"]["poor"]["top1_within_750km"]
        assert share == pytest.approx(hits[own].mean())
        good = by_length[part]["systems"]["good"]["top1_within_750km"]
        assert (good == 1) == (low >= 15)
    by_position = found["parts"]["position in the album"]
    assert by_position["first"]["photos"] == 40
    second = (answers.position >= 1) & (answers.position <= 2)
    assert by_position["2 to 3"]["photos"] == second.sum()
    quarters = found["parts"]["ambiguity of the single photo"].values()
    sizes = [part["photos"] for part in quarters]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1
    for parts in found["parts"].values():
        assert sum(x["photos"] for x in parts.values()) == len(answers.album)


def test_systems_are_compared_on_the_same_photos(answers, found):
    poor, good = (
        answers.errors[name][:, 0] <= 750 for name in ("poor", "good")
    )
    assert list(found["differences"]) == ["good"]
    difference = found["differences"]["good"]["top1_within_750km"]
    apart = good.mean() - poor.mean()
    assert difference["difference"] == pytest.approx(apart)
    low, high = difference["interval"]
    assert 0 < low < apart < high
    assert difference["p_value"] < 0.01
    # Narrower than what the two intervals on their own would say.
    bounds = [
        found["systems"][name]["intervals"]["top1_within_750km"]
        for name in ("poor", "good")
    ]
    assert high - low < sum(b - a for a, b in bounds)


def test_a_part_without_photos_is_left_out():
    short = album_report.Answers(
        {"one": np.full((3, 5), 1.0)},
        np.arange(3),
        np.zeros(3, int),
        np.ones(3, int),
        np.array([0.0, 499.0, 500.0]),
        np.arange(3.0),
    )
    parts = album_report.make(short, baseline="one", resamples=100, seed=0)[
        "parts"
    ]
    assert list(parts["position in the album"]) == ["first"]
    assert list(parts["photos of the album"]) == ["1 to 4"]
    extents = {
        part: found["photos"]
        for part, found in parts["extent of the album"].items()
    }
    assert extents == {"under 500 km": 2, "500 to 1,500 km": 1}


def test_the_text_has_a_row_for_each_system_and_part(found):
    report = json.loads(json.dumps(found)) | {"split": "test"}
    text = album_report.markdown(report)
    assert "# Evaluation on 40 albums of 'test'" in text
    for row in ("| poor ", "| good ", "| first ", "| most ambiguous "):
        assert row in text
