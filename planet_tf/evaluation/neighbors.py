"""Places of the training photos that are most alike, alone or by vote.

Exact search with faiss: as fast as numpy's matrix product without its 1 GB of
products, and at home beside TensorFlow in one process.

The answer from several neighbours is a density over the sphere, as of Vo,
Jacobs and Hays (2017): each neighbour stands for the places around its own,
and the neighbour where the sum is highest is the answer.
"""

import dataclasses

import numpy as np

from planet_tf.answering import metrics
from planet_tf.geo import geometry

MISSING = "no search for neighbours: pip install faiss-cpu"
WEIGHTS = ("even", "distance")

_NO_VOTE = -1e9  # the score of those who have none, below all others
_ROWS = 256  # queries at a time, to bound the memory
_SPARE = 8  # neighbours more than wanted, so that ties are seen whole
# Of a squared length, what float32 may lose in |a|^2 - 2ab + |b|^2.
_ROUNDING = 1e-5
_POWER = 8  # how fast weights fall with distance: better than 2 and 4


@dataclasses.dataclass(frozen=True)
class Vote:
    """How neighbours become an answer.

    Attributes:
      neighbors: how many vote; with one, its place is the answer.
      weights: "even", or "distance": the nearer in looks, the more.
      km: deviation of the kernel around each neighbour's place; answers that
        are nearer than that to a better one come after the others.
    """

    neighbors: int = 1
    weights: str = "even"
    km: float = 100.0


def search(
    train: np.ndarray, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, k) of the nearest of train (m, d), and distances (n, k).

    The nearest comes first, of equally near ones the first in `train`; all m
    if there are no k.
    """
    train = np.ascontiguousarray(train, np.float32)
    queries = np.ascontiguousarray(queries, np.float32)
    k = min(k, len(train))
    squares = np.einsum("ij,ij->i", train, train).max()
    rows = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k))
    for start in range(0, len(queries), _ROWS):
        part = slice(start, start + _ROWS)
        rows[part], distances[part] = _nearest(
            train, queries[part], k, _ROUNDING * squares
        )
    return rows, distances


def _nearest(
    train: np.ndarray, queries: np.ndarray, k: int, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """As `search`: faiss proposes, exact distances decide."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error
    wanted = min(k + _SPARE, len(train))
    found = np.sort(faiss.knn(queries, train, wanted)[1], axis=1)
    squared = _squared(train[found], queries[:, None])
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(found, order, 1)
    nearest = np.take_along_axis(squared, order, 1)
    # As near as the last wanted one as far as float32 can tell: others may be
    # just as near and were not proposed.
    crowded = squared.max(axis=1) <= nearest[:, -1] + rounding
    if wanted < len(train):
        for i in np.flatnonzero(crowded):
            rows[i], nearest[i] = _nearest_of_all(train, queries[i], k)
    return rows, np.sqrt(nearest)


def _nearest_of_all(
    train: np.ndarray, query: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (k,) and squared distances (k,) to one query, by comparing all."""
    squared = np.concatenate(
        [
            _squared(train[start : start + 4096], query)
            for start in range(0, len(train), 4096)
        ]
    )
    rows = np.argsort(squared, kind="stable")[:k]
    return rows, squared[rows]


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (...,), in float64."""
    difference = a.astype(np.float64) - b
    return np.einsum("...i,...i->...", difference, difference)


def points(
    train: np.ndarray, places: np.ndarray, queries: np.ndarray, vote: Vote
) -> np.ndarray:
    """Ranked answers (n, k, 2) in degrees; fewer than TOP of fewer photos.

    Args:
      train: (m, d) features of the training photos.
      places: (m, 2) where they are.
      queries: (n, d) features of the photos to place.
      vote: how.
    """
    rows, distances = search(train, queries, max(vote.neighbors, metrics.TOP))
    found = [
        ranked(places[rows[i : i + _ROWS]], distances[i : i + _ROWS], vote)
        for i in range(0, len(rows), _ROWS)
    ]
    order = np.concatenate(found)
    return places[np.take_along_axis(rows, order, 1)]


def ranked(places: np.ndarray, distances: np.ndarray, vote: Vote) -> np.ndarray:
    """The best answers (n, <= TOP) among neighbours, as positions in these.

    Neighbours that do not vote follow those that do, the nearest first.

    Args:
      places: (n, k, 2) of the neighbours, the nearest first.
      distances: (n, k) of their features.
      vote: how.
    """
    voters = min(vote.neighbors, places.shape[1])
    lat, lng = places[:, :voters, 0], places[:, :voters, 1]
    km = geometry.great_circle_km(
        lat[:, :, None], lng[:, :, None], lat[:, None], lng[:, None]
    )  # (n, voters, voters)
    weights = _weights(distances[:, :voters], vote.weights)
    kernel = np.exp(-((km / vote.km) ** 2) / 2)
    scores = np.full(places.shape[:2], _NO_VOTE)
    votes = np.einsum("nij,nj->ni", kernel, weights)
    scores[:, :voters] = votes.round(9)  # two near each other alone are equal
    answers = []
    everyone = np.arange(len(places))
    for _ in range(min(metrics.TOP, places.shape[1])):
        best = scores.argmax(axis=1)  # the first of equals
        answers.append(best)
        voted = best < voters
        near = km[everyone, np.minimum(best, voters - 1)] < vote.km
        # Below all others, which are between 0 and the number of voters.
        scores[:, :voters] -= (near & voted[:, None]) * 2.0 * voters
        scores[everyone, best] = -np.inf
    return np.stack(answers, axis=1)


def _weights(distances: np.ndarray, how: str) -> np.ndarray:
    """Weights (n, k) of neighbours, 1 for the nearest (..., 0)."""
    if how not in WEIGHTS:
        raise ValueError(
            f"weights are {how!r}; they must be one of {', '.join(WEIGHTS)}"
        )
    if how == "even":
        return np.ones_like(distances)
    least = np.finfo(np.float64).tiny  # a copy of the photo has distance 0
    return (
        np.maximum(distances[:, :1], least) / np.maximum(distances, least)
    ) ** _POWER
