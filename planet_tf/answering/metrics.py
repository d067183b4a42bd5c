"""How far predictions are from the truth.

A metric is a statistic of each photo, its great-circle error in km, and a
function of many of them. The radii are the paper's (section 4): street, city,
region, country, continent. "Within" includes the radius itself.
"""

import numpy as np

from planet_tf.geo import geometry

RADII_KM = (1, 25, 200, 750, 2500)
TOP = 5  # answers that the best is taken of, as in the paper


def errors_km(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors (n, k) of k ranked answers (n, k, 2) against truth (n, 2).

    That of a point of nan, no answer, is infinite.
    """
    errors = geometry.great_circle_km(
        points[..., 0], points[..., 1], truth[:, None, 0], truth[:, None, 1]
    )
    return np.where(np.isnan(errors), np.inf, errors)


def best_of(errors: np.ndarray, k: int) -> np.ndarray:
    """Errors (n,) of the best among the first k answers of (n, >= k)."""
    return errors[:, :k].min(axis=1)


def within(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Whether errors (n, k) of ranked answers are within the radii, (n,) bool.

    `top1_within_<r>km` and, of the best of five, `top5_within_<r>km`.
    """
    found = {}
    for k in (1, TOP):
        best = best_of(errors, k)
        for km in RADII_KM:
            found[f"top{k}_within_{km}km"] = best <= km
    return found


def summary(errors: np.ndarray) -> dict[str, float]:
    """The table's figures of ranked answers' errors (n, k), in km.

    Shares of what `within` gives, by its names, and `median_km`; nan of none.
    """
    if not len(errors):
        return dict.fromkeys([*within(errors), "median_km"], float("nan"))
    figures = {
        name: float(hits.mean()) for name, hits in within(errors).items()
    }
    return figures | {"median_km": float(np.median(errors[:, 0]))}


def ranked(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions (n, k) of the k highest scores (n, m), best first.

    Equal scores are ranked by position, so that the answer is one; nan comes
    last. Of many scores only those that may be among the k are sorted, which
    takes a tenth of the time.
    """
    order = -scores
    if 0 < k < scores.shape[1]:
        last = np.partition(order, k - 1, axis=1)[:, k - 1 : k]
        if not np.isnan(last).any():
            below, equal = order < last, order == last
            room = k - below.sum(axis=1, keepdims=True)
            kept = below | (equal & (np.cumsum(equal, axis=1) <= room))
            found = np.nonzero(kept)[1].reshape(len(scores), k)  # by position
            best = np.argsort(
                np.take_along_axis(order, found, 1), axis=1, kind="stable"
            )
            return np.take_along_axis(found, best, 1)
    return np.argsort(order, axis=1, kind="stable")[:, :k]
