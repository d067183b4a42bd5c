import faiss
import numpy as np
import pytest

from planet_tf.evaluation import neighbors
from planet_tf.evaluation.neighbors import Vote
from planet_tf.geo import geometry


def one_by_one(train, queries, k):
    rows = []
    for query in queries.astype(np.float64):
        squared = ((train - query) ** 2).sum(axis=1)
        rows.append(np.argsort(squared, kind="stable")[:k])
    return np.array(rows)


@pytest.mark.parametrize("queries, k", [(3, 1), (600, 5), (300, 30)])
def test_the_search_equals_comparing_one_by_one(queries, k):
    rng = np.random.default_rng(1)
    train = rng.normal(size=(700, 12)).astype(np.float32)
    asked = rng.normal(size=(queries, 12)).astype(np.float32)
    rows, distances = neighbors.search(train, asked, k)
    assert (rows == one_by_one(train, asked, k)).all()
    wanted = np.linalg.norm(train[rows] - asked[:, None], axis=-1)
    np.testing.assert_allclose(distances, wanted, rtol=1e-5)


@pytest.mark.parametrize("copies", [2, 7, 60])
def test_of_equally_near_photos_the_first_ones_are_answered(copies):
    rng = np.random.default_rng(2)
    train = rng.permutation(
        np.tile(rng.integers(-3, 4, (9, 4)), (copies, 1))
    ).astype(np.float32)
    asked = rng.integers(-3, 4, (20, 4)).astype(np.float32)
    rows, _ = neighbors.search(train, asked, 5)
    assert (rows == one_by_one(train, asked, 5)).all()


def test_it_does_not_matter_which_of_equals_the_library_proposes(monkeypatch):
    knn = faiss.knn

    def last_of_equals(queries, train, k):
        distances, rows = knn(queries, np.ascontiguousarray(train[::-1]), k)
        return distances, len(train) - 1 - rows

    monkeypatch.setattr(faiss, "knn", last_of_equals)
    rng = np.random.default_rng(4)
    train = np.repeat(rng.integers(-3, 4, (9, 4)), 60, axis=0)
    train, asked = train.astype(np.float32), train[::40].astype(np.float32)
    rows, _ = neighbors.search(train, asked, 5)
    assert (rows == one_by_one(train, asked, 5)).all()


def test_near_photos_far_from_the_origin_keep_their_order():
    # What differs would be lost in float32 squares.
    train = 1000 + np.arange(40, dtype=np.float32)[::-1, None] / 64
    rows, distances = neighbors.search(train, train[-1:].repeat(30, 0), 3)
    assert rows.tolist() == [[39, 38, 37]] * 30
    assert distances.tolist() == [[0, 1 / 64, 2 / 64]] * 30


def test_few_training_photos_give_few_neighbours():
    train = np.eye(3)
    found = neighbors.points(train, np.ones((3, 2)), train[:1], Vote())
    assert found.shape == (1, 3, 2)


def test_one_neighbour_answers_its_place_and_the_next_follow():
    rng = np.random.default_rng(3)
    train, asked = rng.normal(size=(90, 6)), rng.normal(size=(300, 6))
    places = rng.uniform(-1, 1, (90, 2))  # all within some km of each other
    found = neighbors.points(train, places, asked, Vote(neighbors=1))
    rows = one_by_one(train.astype(np.float32), asked.astype(np.float32), 5)
    assert (found == places[rows]).all()


def slowly(places, distances, vote):
    """Ranks the voters of one photo, by loops."""
    k = len(places)
    voters = min(vote.neighbors, k)

    def km(i, j):
        return float(geometry.great_circle_km(*places[i], *places[j]))

    def score(i):
        total = 0.0
        for j in range(voters):
            weight = 1.0
            if vote.weights == "distance":
                weight = (distances[0] / distances[j]) ** neighbors._POWER
            total += weight * np.exp(-(km(i, j) ** 2) / (2 * vote.km**2))
        return total

    order = []
    left = list(range(voters))
    while left:
        # How many better answers one is near to comes first.
        def rank(i):
            shadowed = sum(km(i, j) < vote.km for j in order)
            return shadowed, -round(score(i), 9), i

        order.append(min(left, key=rank))
        left.remove(order[-1])
    return (order + list(range(voters, k)))[:5]


@pytest.mark.parametrize("weights", neighbors.WEIGHTS)
@pytest.mark.parametrize("voters", [5, 8, 12])
@pytest.mark.parametrize("centre", [(40, -74), (89.5, 0), (-17, 180)])
def test_votes_equal_loops(weights, voters, centre):
    rng = np.random.default_rng(voters)
    places = centre + rng.normal(0, [0.4, 2], (20, 12, 2))
    places[..., 0] = np.minimum(places[..., 0], 90)
    places[..., 1] = geometry.wrap_lng(places[..., 1])
    distances = np.sort(rng.uniform(1, 2, (20, 12)), axis=1)
    vote = Vote(voters, weights, 60.0)
    found = neighbors.ranked(places, distances, vote)
    wanted = [slowly(*row, vote) for row in zip(places, distances, strict=True)]
    assert found.tolist() == wanted


def test_two_that_agree_outvote_the_nearest_unless_it_is_much_nearer():
    places = np.array([[[48.8, 2.3], [40.7, -74], [40.8, -74], [0, 0]]])
    alike = np.array([[1.0, 1.01, 1.02, 1.03]])
    copy = np.array([[0.0, 1.0, 1.0, 1.0]])

    def first(distances, weights):
        vote = Vote(4, weights, 50.0)
        return neighbors.ranked(places, distances, vote)[0].tolist()

    # The second of the two that agree comes last: it would say the same.
    assert first(alike, "even") == [1, 0, 3, 2]
    assert first(alike, "distance") == [1, 0, 3, 2]
    assert first(copy, "even") == [1, 0, 3, 2]
    assert first(copy, "distance")[0] == 0


def test_copies_at_distance_zero_share_the_vote():
    places = np.array([[[1.0, 1], [40, 2], [40, 2], [70, 3]]])
    distances = np.array([[0.0, 0, 0, 5]])
    found = neighbors.ranked(places, distances, Vote(4, "distance", 10.0))
    assert found.tolist() == [[1, 0, 3, 2]]


def test_unknown_weights_are_refused_by_name():
    with pytest.raises(ValueError, match="'near'.*even, distance"):
        neighbors.ranked(np.zeros((1, 2, 2)), np.ones((1, 2)), Vote(2, "near"))
