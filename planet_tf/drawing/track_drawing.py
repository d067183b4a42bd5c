"""An album's track drawn on a map: its line, its places and their numbers.

The answers for the album's photos in their order (see tracks.py), with what
each photo alone was answered, and the truth where it is known.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from planet_tf.drawing import local_maps, map_labels, maps, tracks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTLIER, SINGLE = "#c4122f", "#8a4fb8"
_FEW = 200  # photos: of more, marks are smaller and labels may cover them
_MOST_LABELS = 60  # that are tried
_MOST_ARROWS = 80


@dataclasses.dataclass(frozen=True)
class Place:
    """An answer, and the numbers (from 1) of the photos that got it."""

    point: tuple[float, float]
    numbers: tuple[int, ...]
    outliers: tuple[int, ...]


def places_of(photos: Sequence[tracks.Photo]) -> list[Place]:
    """The distinct answers, in the order of their first photos."""
    numbers: dict[tuple[float, float], list[int]] = {}
    for number, photo in enumerate(photos, 1):
        numbers.setdefault(photo.album.latlng, []).append(number)
    return [
        Place(point, tuple(of), tuple(n for n in of if photos[n - 1].outlier))
        for point, of in numbers.items()
    ]


def numbers_text(numbers: Sequence[int], most: int = 3) -> str:
    """Ascending numbers in words, such as "1-3, 7, …", `most` runs of them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    return ", ".join(texts + ["…"] * (len(runs) > most))


def draw(
    axes: "Axes", frame: local_maps.Frame, photos: Sequence[tracks.Photo]
) -> None:
    """All that is known of the photos, and the towns around them."""
    places = places_of(photos)
    xy = frame.project([place.point for place in places])
    singles = _draw_singles(axes, frame, photos)
    truths = _draw_truths(axes, frame, photos)
    _draw_line(axes, frame, photos)
    edges = [OUTLIER if place.outliers else "white" for place in places]
    axes.scatter(
        xy[:, 0],
        xy[:, 1],
        s=np.square([_dot_size(place) for place in places]),
        c=maps.ANSWER,
        edgecolors=edges,
        lw=[1.8 if place.outliers else 0.8 for place in places],
        zorder=7,
    )
    marks = [xy, singles, truths] if len(photos) <= _FEW else [xy]
    labels = map_labels.Labels(axes, np.concatenate(marks))
    _label_all(labels, places, xy)
    local_maps.label_towns(axes, frame, labels)


def _dot_size(place: Place) -> float:
    """Points across: a place of many photos is a little larger."""
    return min(6 + 1.2 * np.log2(len(place.numbers)), 13)


def _label_all(
    labels: map_labels.Labels, places: Sequence[Place], xy: np.ndarray
) -> None:
    """Numbers beside dots: of the ends, of outliers, then of all."""
    ends = sorted({0, len(places) - 1})
    # The fractions of numbers that are near each other are far apart.
    rest = sorted(
        set(range(len(places))) - set(ends),
        key=lambda k: (-len(places[k].numbers), k * 0.618 % 1),
    )
    outlying = [k for k in range(len(places)) if places[k].outliers]
    plain = [(k, places[k].numbers) for k in ends + rest[:_MOST_LABELS]]
    strong = [(k, places[k].outliers) for k in outlying]
    order = plain[: len(ends)] + strong + plain[len(ends) :]
    for k, numbers in dict.fromkeys(order):
        outliers = numbers == places[k].outliers
        labels.add(
            xy[k],
            numbers_text(numbers),
            size=9,
            gap=_dot_size(places[k]) / 2 + 3,
            colour=OUTLIER if outliers else maps.ANSWER,
            bold=True,
            needed=k in ends and numbers == places[k].numbers,
        )


def _draw_line(
    axes: "Axes", frame: local_maps.Frame, photos: Sequence[tracks.Photo]
) -> None:
    """The way through the answers, an arrow on each of its longer parts."""
    points = np.array([photo.album.latlng for photo in photos])
    moves = (points[1:] != points[:-1]).any(1)
    lines = frame.joins(points[:-1][moves], points[1:][moves])
    local_maps.draw_lines(axes, frame, lines, maps.ANSWER, 1.3, alpha=0.8)
    west, _, east, _ = frame.box
    long = [x for x in lines if np.hypot(*(x[-1] - x[0])) > (east - west) / 14]
    local_maps.draw_arrows(axes, frame, long[:_MOST_ARROWS], maps.ANSWER)


def _draw_singles(
    axes: "Axes", frame: local_maps.Frame, photos: Sequence[tracks.Photo]
) -> np.ndarray:
    """What the photos alone were answered, where it is another place."""
    fade = 0.8 if len(photos) <= _FEW else 0.35
    drawn = []
    for outlier, colour in ((False, SINGLE), (True, OUTLIER)):
        pairs = _pairs(
            (photo.album.latlng, photo.single.latlng)
            for photo in photos
            if photo.outlier == outlier
            and photo.single.latlng != photo.album.latlng
        )
        lines = frame.joins(pairs[:, 0], pairs[:, 1])
        local_maps.draw_lines(axes, frame, lines, colour, 0.7, alpha=fade)
        xy = frame.project(pairs[:, 1])
        drawn.append(xy[frame.holds(xy)])
        (marks,) = axes.plot(*drawn[-1].T, "o", mfc="none", mec=colour)
        marks.set(ms=4.5, mew=1, alpha=fade, zorder=5.2)
    return np.concatenate(drawn)


def _draw_truths(
    axes: "Axes", frame: local_maps.Frame, photos: Sequence[tracks.Photo]
) -> np.ndarray:
    """Where photos are known to have been taken, joined to their answers."""
    pairs = _pairs(
        (photo.album.latlng, photo.truth)
        for photo in photos
        if photo.truth is not None
    )
    lines = frame.joins(pairs[:, 0], pairs[:, 1])
    local_maps.draw_lines(axes, frame, lines, maps.TRUTH, 0.7, dotted=True)
    xy = frame.project(pairs[:, 1])
    size = 5.5 if len(photos) <= _FEW else 3.5
    (marks,) = axes.plot(*xy.T, "x", c=maps.TRUTH)
    marks.set(ms=size, mew=size / 5, zorder=7.5)
    return xy


def _pairs(
    pairs: Iterable[tuple[tuple[float, float], tuple[float, float]]],
) -> np.ndarray:
    """Pairs of points as (n, 2, 2)."""
    return np.array(list(pairs), np.float64).reshape(-1, 2, 2)
