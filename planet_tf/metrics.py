"""How far predictions are from the truth, and how sure of that we may be.

A metric is a statistic of each photo, its great-circle error in km, and a
function of many of them. The radii are the paper's (section 4): street, city,
region, country, continent. "Within" includes the radius itself.
"""

from collections.abc import Callable

import numpy as np

from planet_tf import geometry

RADII_KM = (1, 25, 200, 750, 2500)
TOP = 5  # answers that the best is taken of, as in the paper


def errors_km(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors (n, k) of k ranked answers (n, k, 2) against truth (n, 2)."""
    return geometry.great_circle_km(
        points[..., 0], points[..., 1], truth[:, None, 0], truth[:, None, 1]
    )


def best_of(errors: np.ndarray, k: int) -> np.ndarray:
    """Errors (n,) of the best among the first k answers of (n, >= k)."""
    return errors[:, :k].min(axis=1)


def share_within(errors: np.ndarray, km: float) -> float:
    """Share of errors (n,) of at most km; nan of none."""
    return float(np.mean(errors <= km)) if len(errors) else float("nan")


def summary(errors: np.ndarray) -> dict[str, float]:
    """The table's figures of ranked answers' errors (n, k), in km.

    `top1_within_<r>km` and `top5_within_<r>km` for each radius, `median_km`.
    """
    figures = {}
    for k in (1, TOP):
        best = best_of(errors, k)
        for km in RADII_KM:
            figures[f"top{k}_within_{km}km"] = share_within(best, km)
    figures["median_km"] = (
        float(np.median(errors[:, 0])) if len(errors) else float("nan")
    )
    return figures


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[..., np.ndarray] = np.mean,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic of values (n,), by resampling.

    The statistic takes (values, axis=...), as numpy's do.
    """
    rng = np.random.default_rng(seed)
    found = []
    for start in range(0, resamples, 100):  # bounds the memory
        rows = min(100, resamples - start)
        draws = rng.integers(0, len(values), (rows, len(values)))
        found.append(statistic(values[draws], axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_share(
    hits: np.ndarray,
    group: np.ndarray,
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the share of hits, by resampling whole groups.

    Photos of one album are right or wrong together, so that resampling photos
    would give intervals that are too narrow. The difference of two shares, for
    `hits` of -1, 0 and 1, is more certain than both: what makes the same photos
    right or wrong for both does not count.

    Args:
      hits: (n,) bool, or differences of two.
      group: (n,) int, what belongs together.
      resamples: how many.
      seed: of the draws.
      confidence: of the interval.
    """
    _, position = np.unique(group, return_inverse=True)
    sizes = np.bincount(position)
    found = np.bincount(position, hits)
    rng = np.random.default_rng(seed)
    shares = []
    for start in range(0, resamples, 100):  # bounds the memory
        rows = min(100, resamples - start)
        draws = rng.integers(0, len(sizes), (rows, len(sizes)))
        shares.append(found[draws].sum(axis=1) / sizes[draws].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    return float(low), float(high)


def ranked(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions (n, k) of the k highest scores (n, m), best first.

    Equal scores are ranked by position, so that the answer is one.
    """
    k = min(k, scores.shape[1])
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
