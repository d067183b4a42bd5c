import numpy as np
import pytest

from planet_tf.answering import metrics


def test_errors_of_ranked_answers_are_great_circle_distances():
    truth = np.array([[40.7, -74.0], [-17.0, 179.9]])
    points = np.array([[[40.7, -74.0], [-40.7, 106.0]], [[-17.0, -179.9]] * 2])
    errors = metrics.errors_km(points, truth)
    assert errors.shape == (2, 2)
    assert errors[0] == pytest.approx([0, np.pi * 6371.0088])
    # 0.2 degrees of longitude across the antimeridian, at 17 degrees south.
    arc = np.radians(0.2) * 6371.0088 * np.cos(np.radians(17))
    assert errors[1] == pytest.approx([arc, arc], rel=1e-5)


@pytest.mark.parametrize(
    ("error", "within"), [(749.999, True), (750.0, True), (750.001, False)]
)
def test_within_a_radius_includes_the_radius(error, within):
    found = metrics.within(np.array([[error]]))["top1_within_750km"]
    assert found.tolist() == [within]


def test_summary_counts_photos_by_first_and_by_best_answer():
    errors = np.array([[0.5, 9e3], [100, 20], [3000, 700], [9e3, 9e3]])
    figures = metrics.summary(errors)
    assert figures["top1_within_1km"] == 0.25
    assert figures["top1_within_200km"] == 0.5
    assert figures["top1_within_2500km"] == 0.5
    assert figures["top5_within_25km"] == 0.5
    assert figures["top5_within_750km"] == 0.75
    assert figures["median_km"] == 1550


def test_summary_of_no_photos_has_no_figures():
    figures = metrics.summary(np.zeros((0, 5)))
    assert len(figures) == 11
    assert list(figures) == list(metrics.summary(np.ones((1, 5))))
    assert all(np.isnan(value) for value in figures.values())


def test_summary_of_more_answers_than_five_takes_the_first_five():
    errors = np.array([[9e3] * 5 + [0.0]])
    assert metrics.summary(errors)["top5_within_2500km"] == 0


def test_no_answer_is_infinitely_far():
    truth = np.array([[0.0, 0.0], [0.0, 0.0]])
    points = np.array([[[0, 0], [np.nan, np.nan]], [[np.nan] * 2, [0, 0]]])
    errors = metrics.errors_km(points, truth)
    assert errors.tolist() == [[0, np.inf], [np.inf, 0]]
    assert metrics.best_of(errors, 2).tolist() == [0, 0]


def test_ranking_breaks_ties_by_position():
    scores = np.array([[0.1, 0.4, 0.4, 0.1], [0.25] * 4])
    assert metrics.ranked(scores, 3).tolist() == [[1, 2, 0], [0, 1, 2]]
    assert metrics.ranked(scores, 9).shape == (2, 4)


@pytest.mark.parametrize("k", [0, 1, 3, 10, 11, 12])
@pytest.mark.parametrize("unknown", [0.0, 0.1, 0.95])
def test_ranking_equals_a_sort_of_all_also_among_equals(k, unknown):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (200, 11)) / 4
    scores[rng.random(scores.shape) < unknown] = np.nan
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert (metrics.ranked(scores, k) == wanted).all()


@pytest.mark.parametrize("k", [1, 5, 200, 2999])
def test_ranking_of_many_different_scores_equals_a_sort_of_all(k):
    # Of few scores np.partition happens to sort more than it was asked to.
    scores = np.random.default_rng(1).random((300, 3000))
    wanted = np.argsort(-scores, axis=1)[:, :k]
    assert (metrics.ranked(scores, k) == wanted).all()
