"""How far around an answer a given share of its probability reaches."""

from collections.abc import Sequence

import numpy as np

from planet_tf import geometry
from planet_tf.partition import Partition
from planet_tf.spread import Spread

_CHUNK_PLACES = 1 << 21  # distances at a time: bounds the memory


def radius_holding(
    probabilities: np.ndarray,
    partition: Partition,
    points: np.ndarray,
    shares: Sequence[float],
    *,
    spread: Spread,
) -> np.ndarray:
    """Least radii (n, shares) in km around answers that hold shares.

    A share is of the cells' probability: the class "other" is nowhere.

    Args:
      probabilities: (n, classes) by label.
      partition: the classes.
      points: (n, 2) an answer to each; the radius around nan is nan.
      shares: each above 0 and at most 1.
      spread: where in the cells their probability is.
    """
    wanted = np.asarray(shares, np.float64)
    if not ((wanted > 0) & (wanted <= 1)).all():
        raise ValueError(f"shares {shares}; each must be in (0, 1]")
    of_cells = probabilities[:, int(partition.other_class) :]
    rows = max(1, _CHUNK_PLACES // spread.weights.size)
    found = [
        _radii(of_cells[i : i + rows], points[i : i + rows], wanted, spread)
        for i in range(0, len(points), rows)
    ]
    return np.concatenate(found) if found else np.empty((0, len(wanted)))


def _radii(
    of_cells: np.ndarray, points: np.ndarray, wanted: np.ndarray, spread: Spread
) -> np.ndarray:
    masses = of_cells[..., None].astype(np.float64) * spread.weights
    masses = masses.reshape(len(points), -1)
    cosines = geometry.to_vectors(*points.T) @ spread.vectors.reshape(-1, 3).T
    order = np.argsort(-cosines, axis=1, kind="stable")
    held = np.cumsum(np.take_along_axis(masses, order, 1), axis=1)
    # By the sum itself, so that all of it is reached despite rounding.
    target = held[:, -1:] * wanted
    last = np.stack(
        [np.searchsorted(h, t) for h, t in zip(held, target, strict=True)]
    )
    places = spread.points.reshape(-1, 2)[np.take_along_axis(order, last, 1)]
    return geometry.great_circle_km(
        places[..., 0], places[..., 1], points[:, None, 0], points[:, None, 1]
    )


def coverage(errors_km: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Shares (shares,) of photos whose truth is within the radius.

    Of a calibrated model, and the right spread, the shares that were asked.

    Args:
      errors_km: (n,) of the answers; nan or inf is never within.
      radii: (n, shares) around them.
    """
    return (errors_km[:, None] <= radii).mean(axis=0)
