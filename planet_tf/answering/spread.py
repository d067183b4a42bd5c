"""Where in its cell a cell's probability is.

A classifier says how probable a cell is, and nothing of where in it. What
asks how much probability is near a point therefore needs a rule: all of it at
the cell's point, evenly over the cell, or as the training photos lie.
"""

import dataclasses
import functools

import numpy as np

from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition


@dataclasses.dataclass(frozen=True)
class Spread:
    """Weighted points that stand for the cells of a partition.

    Attributes:
      points: (cells, a, 2) (lat, lng) in degrees, a of each cell.
      weights: (cells, a) float64, 1 in sum for each cell; 0 where a cell has
        fewer points than others.
    """

    points: np.ndarray
    weights: np.ndarray

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """Unit vectors (cells, a, 3) of the points."""
        return geometry.to_vectors(self.points[..., 0], self.points[..., 1])

    @functools.cached_property
    def middles(self) -> np.ndarray:
        """Unit vectors (cells, 3), each in the middle of a cell's points."""
        sums = self.vectors.sum(axis=1)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    @functools.cached_property
    def reach(self) -> np.ndarray:
        """Angles (cells,) in which all points of a cell are around its middle.

        A little more than that, so that no rounding leaves one outside.
        """
        cosines = np.einsum("cad,cd->ca", self.vectors, self.middles)
        return np.arccos(np.clip(cosines.min(axis=1), -1, 1)) + 1e-7


def at_points(partition: Partition) -> Spread:
    """All of a cell at the point that it stands for."""
    points = partition.latlng[:, None]
    return Spread(points, np.ones(points.shape[:2]))


def evenly(partition: Partition, halvings: int = 2) -> Spread:
    """Evenly over each cell: at the centres of its descendants, by area.

    Args:
      partition: the cells.
      halvings: levels below the cell; each has four times the points.
    """
    low = partition.ids & (~partition.ids + np.uint64(1))
    step = low >> np.uint64(2 * halvings)
    odd = 2 * np.arange(4**halvings, dtype=np.uint64) + np.uint64(1)
    ids = (partition.ids - low)[:, None] + step[:, None] * odd
    # Cells of some mm have no such descendants: their centre will do.
    ids = np.where(step[:, None] > 0, ids, partition.ids[:, None])
    vectors = geometry.cell_vectors(ids.reshape(-1))
    weights = _relative_areas(vectors).reshape(ids.shape)
    return Spread(
        geometry.from_vectors(vectors).reshape(*ids.shape, 2),
        weights / weights.sum(axis=1, keepdims=True),
    )


def _relative_areas(vectors: np.ndarray) -> np.ndarray:
    """Areas (n,) of small cells of one level around points, up to a factor.

    On a face a cell is a square in (s, t); du/ds is in proportion to
    sqrt(1 + 3 |u|), and the area of du dv to (1 + u^2 + v^2) ** -1.5.
    """
    sides = np.sort(np.abs(vectors), axis=1)
    u, v = (sides[:, :2] / sides[:, 2:]).T
    return sides[:, 2] ** 3 * np.sqrt((1 + 3 * u) * (1 + 3 * v))


def as_photos(
    partition: Partition, latlng: np.ndarray, *, most: int = 16, seed: int = 0
) -> Spread:
    """As photos lie: at most so many of each cell, drawn at random.

    Args:
      partition: the cells. One without photos keeps its own point.
      latlng: (n, 2) degrees; photos outside all cells are left out.
      most: points of a cell.
      seed: of the draw.
    """
    cells = partition.labels(*latlng.T) - partition.other_class
    order = np.random.default_rng(seed).permutation(len(cells))
    order = order[np.argsort(cells[order], kind="stable")]
    order = order[cells[order] >= 0]
    cells = cells[order]
    rank = np.arange(len(cells)) - np.searchsorted(cells, cells)
    kept = rank < most
    points = np.tile(partition.latlng[:, None], (1, most, 1))
    points[cells[kept], rank[kept]] = latlng[order[kept]]
    found = np.bincount(cells[kept], minlength=len(points))
    counts = np.maximum(found, 1)[:, None]
    return Spread(points, (np.arange(most) < counts) / counts)
