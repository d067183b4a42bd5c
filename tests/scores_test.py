import numpy as np
import pytest

from planet_tf.answering import metrics
from planet_tf.reports import bootstrap, scores

RNG = np.random.default_rng(5)
KM_PER_DEGREE = np.pi * 6371.0088 / 180


def north_of(km):
    """Points (n, 2) so many km north of the equator, on its zero meridian."""
    km = np.asarray(km, float)
    return np.stack([km / KM_PER_DEGREE, np.zeros_like(km)], -1)


def answers_at(*photos, **others):
    """Answers at distances in km from (0, 0); and that as the truth."""
    points = north_of(photos)
    return scores.Answers(points, **others), np.zeros((len(photos), 2))


def score(answers, truth, whereabouts=None):
    errors = metrics.errors_km(answers.points, truth)
    return scores.score(answers, errors, whereabouts)


@pytest.mark.parametrize("km", [1, 25, 200, 750, 2500])
def test_a_radius_counts_what_is_on_it(km):
    errors = np.array([[np.nextafter(km, 0)], [km], [np.nextafter(km, 1e9)]])
    found = scores.score_errors(errors)[f"top1_within_{km}km"]
    assert found.tolist() == [1, 1, 0]


def test_the_best_of_five_counts_and_the_sixth_does_not():
    answers, truth = answers_at(
        [9e3, 9e3, 9e3, 9e3, 20, 9e3], [9e3, 9e3, 9e3, 9e3, 9e3, 20]
    )
    found = score(answers, truth)
    assert found["top5_within_25km"].tolist() == [1, 0]
    assert found["top1_within_25km"].tolist() == [0, 0]


def test_no_answer_is_wrong_in_every_way_but_has_no_distance():
    points = north_of([[0.0, 0], [0, 0]])
    points[0, 0] = np.nan  # its second answer does count
    points[1] = np.nan
    found = score(
        scores.Answers(points, cell_rank=np.array([1, 2])), np.zeros((2, 2))
    )
    assert found["top1_within_2500km"].tolist() == [0, 0]
    assert found["top5_within_2500km"].tolist() == [1, 0]
    assert found["geoscore"].tolist() == [0, 0]
    assert np.isnan(found["mean_km"]).all()
    assert found["top1_cell"].tolist() == [0, 0]
    assert found["top5_cell"].tolist() == [1, 1]


def test_the_geoscore_falls_by_e_with_its_length():
    answers, truth = answers_at([0], [1492.7], [2 * 1492.7])
    found = score(answers, truth)["geoscore"]
    assert found == pytest.approx([5000, 5000 / np.e, 5000 / np.e**2])


def test_countries_count_where_the_truth_is_in_one():
    answers, truth = answers_at([1], [1], [1], [1])
    true = scores.Whereabouts(np.array([3, 3, -1, 4]), np.array([1, 1, -1, 2]))
    own = scores.Whereabouts(np.array([3, 4, -1, -1]), np.array([1, 1, -1, -1]))
    found = score(answers, truth, (true, own))
    np.testing.assert_array_equal(found["country"], [1, 0, np.nan, 0])
    np.testing.assert_array_equal(found["continent"], [1, 1, np.nan, 0])


def test_figures_are_means_of_all_and_of_each_part():
    values = {
        "hit": (RNG.random(300) < 0.4).astype(float),
        "km": RNG.exponential(100, 300),
    }
    values["km"][::7] = np.nan
    level = scores.Grouping("level", ("a", "b", "c"), RNG.integers(-1, 2, 300))
    region = scores.Grouping("region", ("x", "y"), RNG.integers(-1, 2, 300))
    boot = bootstrap.of_photos(300, resamples=400)
    first = RNG.exponential(100, 300)
    figures = scores.Figures(values, first, boot, [level, region])
    assert figures.overall()["median_km"] == np.median(first)
    low, high = figures.overall()["intervals"]["median_km"]
    assert low < np.median(first) < high

    def check(found, own):
        assert found["photos"] == own.sum()
        for name in values:
            mean = np.nanmean(values[name][own])
            assert found[name] == pytest.approx(mean)
            spread = np.nanstd(values[name][own]) / np.sqrt(
                (~np.isnan(values[name][own])).sum()
            )
            low, high = found["intervals"][name]
            assert low == pytest.approx(mean - 1.96 * spread, abs=spread / 2)
            assert high == pytest.approx(mean + 1.96 * spread, abs=spread / 2)

    check(figures.overall(), np.ones(300, bool))
    parts = figures.by_part()
    assert list(parts) == ["level", "region"]
    assert list(parts["level"]) == ["a", "b"]  # nothing is in c
    for grouping in (level, region):
        for number, name in enumerate(grouping.parts[:2]):
            check(parts[grouping.title][name], grouping.part == number)


def test_samples_of_two_systems_can_be_subtracted():
    """The same photos are hard for both: their difference is more certain."""
    hard = RNG.random(500)
    boot = bootstrap.of_photos(500)
    worse, better = (
        scores.Figures({"hit": (hard < x).astype(float)}, hard + x, boot)
        for x in (0.5, 0.55)
    )
    found = better.minus(worse)
    hit = found["hit"]
    assert hit["difference"] == pytest.approx(
        ((hard >= 0.5) & (hard < 0.55)).mean()
    )
    assert 0 < hit["interval"][0] < hit["difference"] < hit["interval"][1]
    assert hit["p_value"] < 0.01
    alone = worse.overall()["intervals"]["hit"]
    assert np.ptp(hit["interval"]) < np.ptp(alone) / 2
    # All photos are 0.05 further away, and so the median is.
    assert found["median_km"]["difference"] == pytest.approx(0.05)
    assert found["median_km"]["interval"] == pytest.approx((0.05, 0.05))


def test_a_part_whose_photos_do_not_count_is_nan():
    values = {"country": np.array([1.0, 0.0, np.nan])}
    part = scores.Grouping("p", ("land", "sea"), np.array([0, 0, 1]))
    boot = bootstrap.of_photos(3)
    found = scores.Figures(values, np.ones(3), boot, [part]).by_part()
    assert found["p"]["land"]["country"] == 0.5
    assert np.isnan(found["p"]["sea"]["country"])
    assert found["p"]["sea"]["photos"] == 1
