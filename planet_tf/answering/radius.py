"""How far around an answer a given share of its probability reaches."""

from collections.abc import Sequence

import numpy as np

from planet_tf.answering.spread import Spread
from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition

_BINS = 1 << 12  # of angles, for sums of whole cells
_BIN = np.pi / _BINS


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
    found = np.full((len(points), len(wanted)), np.nan)
    for i in np.flatnonzero(np.isfinite(points).all(axis=1)):
        masses = of_cells[i].astype(np.float64)
        found[i] = _radii(masses, points[i], wanted, spread)
    return found


def _radii(
    masses: np.ndarray, point: np.ndarray, wanted: np.ndarray, spread: Spread
) -> list[float]:
    """Radii (shares,) around one point, of the masses (cells,).

    Whole cells say between which two radii it is; places are looked at only
    of the cells that reach in between. That takes a thirtieth of the time of
    sorting all places.
    """
    vector = geometry.to_vectors(*point)
    angles = np.arccos(np.clip(spread.middles @ vector, -1, 1))
    near, far = angles - spread.reach, angles + spread.reach
    # What may be within an angle, and what is.
    possible, certain = (
        np.cumsum(np.bincount(_bins(x), masses, minlength=_BINS + 1))
        for x in (near, far)
    )
    found = []
    for target in certain[-1] * wanted:
        # Of the sums' own rounding, a little more is looked at.
        low = np.searchsorted(possible, target * (1 - 1e-9)) * _BIN
        high = (np.searchsorted(certain, target * (1 + 1e-9)) + 1) * _BIN
        within = (near < high) & (far >= low) & (masses > 0)
        before = masses[far < low].sum()
        places = _places(spread, masses, within, target - before, vector)
        found.append(float(geometry.great_circle_km(*places, *point)))
    return found


def _bins(angles: np.ndarray) -> np.ndarray:
    return np.clip(angles / _BIN, 0, _BINS).astype(np.int64)


def _places(
    spread: Spread,
    masses: np.ndarray,
    within: np.ndarray,
    target: float,
    vector: np.ndarray,
) -> np.ndarray:
    """The place (lat, lng) at which the cells `within` have reached a sum."""
    cosines = (spread.vectors[within] @ vector).reshape(-1)
    weighted = (masses[within, None] * spread.weights[within]).reshape(-1)
    order = np.argsort(-cosines, kind="stable")
    held = np.cumsum(weighted[order])
    # By the sum itself, so that all of it is reached despite rounding.
    last = np.searchsorted(held, min(target, held[-1]))
    return spread.points[within].reshape(-1, 2)[order[last]]


def coverage(errors_km: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Shares (shares,) of photos whose truth is within the radius.

    Of a calibrated model, and the right spread, the shares that were asked.

    Args:
      errors_km: (n,) of the answers; nan or inf is never within.
      radii: (n, shares) around them.
    """
    return (errors_km[:, None] <= radii).mean(axis=0)
