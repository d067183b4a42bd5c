"""Points as answers, from the probabilities of cells.

The likeliest cell is a poor answer where cells are small: of three cells of a
city with 0.1 each and one elsewhere with 0.2, the city is the better guess.
A rule says which points a distribution's best answers are:

  centre     the centres of the likeliest cells
  mean       the partition's points of the likeliest cells
  mass@R     the cells' points with most probability within R km
  smooth@R   the same, a probability d km away counting as exp(-d / R)
  middle@R   as mass@R, moved to the mean of the probability within R km

Candidates are the likeliest cells' points, and only likely cells count. The
second answer is the best for what the first has left uncovered, and so on.
"""

import dataclasses

import numpy as np

from planet_tf.answering import metrics
from planet_tf.answering import spread as spread_lib
from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition

# Likeliest cells of a photo whose probability counts, and of them those whose
# points are candidates. With 31,655 cells and flat distributions (a third of
# the probability in 64 cells) that is 4,000 photos/s on two cores; smooth@750
# is within 1.5 km of an answer from 4,096 cells for half of the photos.
MOST_CELLS = 256
MOST_CANDIDATES = 64
ACCEPTED = (
    "a rule is centre, mean, or mass@R, smooth@R or middle@R for a radius of"
    " R km, like mass@25"
)

_PLAIN = ("centre", "mean")
_WITH_RADIUS = ("mass", "smooth", "middle")
_LEAST_KM = 0.01  # cosines are good to some cm
_CHUNK_PAIRS = 1 << 20  # distances at a time: they stay near the cache


@dataclasses.dataclass(frozen=True)
class Rule:
    """How probabilities become points; ValueError if there is no such rule.

    Attributes:
      kind: one of the module's rules.
      km: its radius; None where the rule has none.
    """

    kind: str
    km: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _PLAIN + _WITH_RADIUS:
            raise ValueError(f"no rule {self.kind!r}: {ACCEPTED}")
        if (self.km is None) != (self.kind in _PLAIN):
            raise ValueError(
                f"rule {self.kind} with radius {self.km}: {ACCEPTED}"
            )
        if self.km is not None and not _LEAST_KM <= self.km < np.inf:
            raise ValueError(
                f"a radius of {self.km} km; needed is at least {_LEAST_KM}"
            )

    def __str__(self) -> str:
        return self.kind if self.km is None else f"{self.kind}@{self.km:g}"


def parse_rule(text: str) -> Rule:
    """The rule that a text names; ValueError says what there is."""
    kind, at, radius = text.partition("@")
    if not at:
        return Rule(kind)
    try:
        km = float(radius)
    except ValueError as error:
        raise ValueError(f"no rule {text!r}: {ACCEPTED}") from error
    return Rule(kind, km)


def answer(
    probabilities: np.ndarray,
    partition: Partition,
    rule: Rule,
    k: int = metrics.TOP,
    *,
    spread: spread_lib.Spread | None = None,
    most_cells: int = MOST_CELLS,
    most_candidates: int = MOST_CANDIDATES,
) -> tuple[np.ndarray, np.ndarray]:
    """The best k answers of each distribution, and what each adds.

    Args:
      probabilities: (n, classes) by label.
      partition: the classes. The class "other" is no answer.
      rule: which points.
      k: answers.
      spread: where in the cells their probability is; at their points if None.
      most_cells: the likeliest cells that a rule with a radius looks at.
      most_candidates: of these, those whose points may be answers.

    Returns:
      Points (n, k, 2), nan where there is no (further) answer, and (n, k) the
      probability of each: of the cell, or what is within the radius, or for
      smooth@R as weighted, and not covered by an answer before.
    """
    of_cells = probabilities[:, int(partition.other_class) :]
    if rule.km is None:
        return _likeliest(of_cells, partition, rule.kind, k)
    spread = spread or spread_lib.at_points(partition)
    points = np.full((len(of_cells), k, 2), np.nan)
    gains = np.zeros((len(of_cells), k))
    cells = min(most_cells, of_cells.shape[1])
    candidates = min(most_candidates, cells)
    pairs = candidates * cells * spread.weights.shape[1]
    rows = max(1, _CHUNK_PAIRS // pairs)
    for start in range(0, len(of_cells), rows):
        chunk = slice(start, start + rows)
        top = metrics.ranked(of_cells[chunk], cells)
        likely = np.take_along_axis(of_cells[chunk], top, 1).astype(np.float64)
        masses = likely[..., None] * spread.weights[top]
        points[chunk], gains[chunk] = _greedy(
            partition.latlng[top[:, :candidates]],
            spread.vectors[top],
            masses,
            rule.kind,
            rule.km,
            k,
        )
    return points, gains


def _likeliest(
    of_cells: np.ndarray, partition: Partition, kind: str, k: int
) -> tuple[np.ndarray, np.ndarray]:
    top = metrics.ranked(of_cells, k)
    points = partition.latlng
    if kind == "centre":
        points = geometry.from_vectors(geometry.cell_vectors(partition.ids))
    missing = k - top.shape[1]
    found = np.pad(
        points[top],
        ((0, 0), (0, missing), (0, 0)),
        constant_values=np.nan,
    )
    likely = np.take_along_axis(of_cells, top, 1).astype(np.float64)
    return found, np.pad(likely, ((0, 0), (0, missing)))


def _greedy(
    candidates: np.ndarray,
    vectors: np.ndarray,
    masses: np.ndarray,
    kind: str,
    km: float,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The best candidates one after the other, each for what is left.

    Args:
      candidates: (n, c, 2) degrees, likeliest first: that decides ties.
      vectors: (n, cells, a, 3) where the probability is.
      masses: (n, cells, a) how much is there.
      kind: of the rule.
      km: its radius.
      k: answers.

    Returns:
      Points (n, k, 2) and what they add (n, k).
    """
    n, count = candidates.shape[:2]
    vectors, left = vectors.reshape(n, -1, 3), masses.reshape(n, -1)
    near = _nearness(candidates, vectors, kind, km)
    points = np.full((n, k, 2), np.nan)
    gains = np.zeros((n, k))
    free = np.ones((n, count), bool)
    rows = np.arange(n)
    for i in range(min(k, count)):
        gain = np.where(free, (near @ left[..., None])[..., 0], 0)
        best = gain.argmax(axis=1)
        covers = near[rows, best]
        found = candidates[rows, best]
        if kind == "middle":
            found = _middle(vectors, left * covers, found)
        gains[:, i] = gain[rows, best]
        points[:, i] = np.where(gains[:, i, None] > 0, found, np.nan)
        left = left * (1 - covers)
        free[rows, best] = False
    return points, gains


def _nearness(
    candidates: np.ndarray, vectors: np.ndarray, kind: str, km: float
) -> np.ndarray:
    """How much a place counts for a candidate, (n, c, places) in [0, 1]."""
    from_candidates = geometry.to_vectors(
        candidates[..., 0], candidates[..., 1]
    )
    cosines = from_candidates @ vectors.transpose(0, 2, 1)
    angle = min(km / geometry.EARTH_RADIUS_KM, np.pi)
    if kind != "smooth":
        return (cosines >= np.cos(angle)).astype(np.float64)
    # With single precision after the subtraction, which needs the double one.
    half_chord = np.sqrt(np.clip((1 - cosines) / 2, 0, 1).astype(np.float32))
    scale = np.float32(2 * geometry.EARTH_RADIUS_KM / km)
    return np.exp(-scale * np.arcsin(half_chord)).astype(np.float64)


def _middle(
    vectors: np.ndarray, masses: np.ndarray, otherwise: np.ndarray
) -> np.ndarray:
    """Spherical means (n, 2) of masses; elsewhere `otherwise`."""
    sums = (masses[:, None] @ vectors)[:, 0]
    length = np.linalg.norm(sums, axis=1)
    found = length > 1e-9 * masses.sum(axis=1)
    sums = np.where(found[:, None], sums, [1.0, 0.0, 0.0])
    return np.where(found[:, None], geometry.from_vectors(sums), otherwise)
