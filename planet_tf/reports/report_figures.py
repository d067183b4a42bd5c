"""Pictures of an evaluation: errors, confidence, and where photos went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planet_tf.answering import metrics
from planet_tf.drawing import maps
from planet_tf.geo import geometry, outlines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST_KM = 0.1  # nearer errors are drawn there
_CURVE_POINTS = 2_000
_ARROWS = 400  # more hide each other
_STEPS = 40  # of a great circle, whose bends should show


def error_curves(errors: Mapping[str, np.ndarray]) -> "Figure":
    """Shares of photos within any distance, by system.

    Args:
      errors: (n,) km of the first answers, by system.
    """
    figure = _chart(7.5, 4.5)
    axes = figure.add_subplot()
    for name, found in errors.items():
        ranked = np.sort(np.maximum(found, _LEAST_KM))
        share = np.linspace(0, 1, min(len(ranked), _CURVE_POINTS))
        rank = np.round(share * (len(ranked) - 1)).astype(int)
        axes.plot(ranked[rank], (rank + 1) / len(ranked), label=name)
    axes.set_xscale("log")
    axes.set_xlim(_LEAST_KM, np.pi * 6371.0088)
    axes.set_ylim(0, 1)
    for km in metrics.RADII_KM:
        axes.axvline(km, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xticks(metrics.RADII_KM, [f"{km:,}" for km in metrics.RADII_KM])
    axes.set_xlabel("km")
    axes.set_ylabel("share of photos within")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(frameon=False)
    return figure


def error_histogram(errors: np.ndarray) -> "Figure":
    """How many photos have which error (n,) in km; bins of equal ratio."""
    figure = _chart(7.5, 3.5)
    axes = figure.add_subplot()
    known = errors[np.isfinite(errors)]
    edges = np.geomspace(_LEAST_KM, 20_100, 54)
    axes.hist(np.maximum(known, _LEAST_KM), edges.tolist(), color="#3b6ea5")
    axes.set_xscale("log")
    axes.set_xticks(metrics.RADII_KM, [f"{km:,}" for km in metrics.RADII_KM])
    axes.set_xlabel("error of the first answer, km")
    axes.set_ylabel("photos")
    return figure


def reliability(bins: Sequence[Mapping[str, Any]]) -> "Figure":
    """Accuracy over confidence; below, how many photos have which."""
    figure = _chart(5.0, 5.5)
    grid = figure.add_gridspec(2, 1, height_ratios=[3, 1])
    axes = figure.add_subplot(grid[0])
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    left = [row["from"] for row in bins]
    width = [row["to"] - row["from"] for row in bins]
    axes.bar(
        left,
        [row["accuracy"] for row in bins],
        width,
        align="edge",
        color="#3b6ea5",
        edgecolor="white",
        label="right",
    )
    axes.plot(
        [row["confidence"] for row in bins],
        [row["accuracy"] for row in bins],
        "o",
        color="black",
        markersize=3,
        label="at the bin's mean probability",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of right cells")
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, loc="upper left")
    counts = figure.add_subplot(grid[1], sharex=axes)
    photos = [row["photos"] for row in bins]
    counts.bar(left, photos, width, align="edge", color="0.7")
    counts.set_xlabel("probability of the first answer")
    counts.set_ylabel("photos")
    return figure


def risk_curves(within: Mapping[str, Mapping[str, Any]]) -> "Figure":
    """Shares of right answers over the share of photos that are answered."""
    figure = _chart(7.5, 4.5)
    axes = figure.add_subplot()
    for name, found in within.items():
        right = 1 - np.array(found["curve"]["risk"])
        axes.plot(found["curve"]["coverage"], right, label=f"within {name}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("share of photos answered, the surest first")
    axes.set_ylabel("share of right answers")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(frameon=False)
    return figure


def error_map(truth: np.ndarray, answers: np.ndarray) -> "Figure":
    """Great circles from where photos are to where they were answered.

    Args:
      truth: (n, 2).
      answers: (n, 2); nan for none. Of many photos every so many-th is drawn.
    """
    figure = maps.new_figure(12.0, 6.2)
    axes = figure.add_axes((0.01, 0.06, 0.98, 0.93))
    maps.draw_world(axes)
    known = np.flatnonzero(~np.isnan(answers[:, 0]))
    chosen = known[:: max(1, len(known) // _ARROWS)]
    from matplotlib.collections import LineCollection

    lines = []
    for i in chosen:
        lines += _great_circle(truth[i], answers[i])
    axes.add_collection(
        LineCollection(lines, colors="#c03a2b", linewidths=0.6, alpha=0.5)
    )
    ends = outlines.equal_earth(*truth[chosen].T)
    axes.plot(*ends.T, ".", color="black", markersize=3, zorder=4)
    axes.text(
        0.5,
        -0.01,
        f"{len(chosen):,} of {len(truth):,} photos: from the truth (dot) to"
        " the first answer",
        transform=axes.transAxes,
        ha="center",
        va="top",
    )
    return figure


def _chart(width: float, height: float) -> "Figure":
    """A figure whose axes leave room for their labels, and no more."""
    figure = maps.new_figure(width, height)
    figure.set_layout_engine("constrained")
    return figure


def _great_circle(start: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
    """Lines (k, 2) on the map, cut where they pass the antimeridian."""
    a, b = geometry.to_vectors(*start), geometry.to_vectors(*end)
    angle = np.arccos(np.clip(a @ b, -1, 1))
    if angle < 1e-9 or np.pi - angle < 1e-9:
        return []
    t = np.linspace(0, 1, _STEPS)[:, None]
    vectors = np.sin((1 - t) * angle) * a + np.sin(t * angle) * b
    points = geometry.from_vectors(vectors)
    jumps = np.abs(np.diff(points[:, 1])) > 180
    pieces = np.split(points, np.flatnonzero(jumps) + 1)
    return [outlines.equal_earth(*p.T) for p in pieces if len(p) > 1]
