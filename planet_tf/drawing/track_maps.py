"""Maps of an album's track: a picture, and an interactive page.

Both show the answers for the album's photos in their order (tracks.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planet_tf.drawing import local_maps, maps, track_drawing, tracks, web_map
from planet_tf.geo import geometry, outlines, place_names
from planet_tf.geo.partition import Partition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_CELLS = 5  # shown on a page, however improbable

_INK = "#4a5258"
_WIDTH = 12.0  # inches, of a figure, and of its parts
_MAP_WIDTH = 8.9
_EDGE = 0.15
_TITLE = 0.75
_SIDE = 2.65
_HEIGHTS = {True: 5.2, False: 7.5}  # of the world, and of a piece of it
_NAME_LETTERS = 32
_WORLD_TOWNS, _NEAR_TOWNS, _NEAR_KM = 1000, 400, 150.0  # of a page


def figure(photos: Sequence[tracks.Photo], title: str) -> "Figure":
    """The track on a map of its surroundings, or of the world if need be."""
    if not photos:
        raise ValueError("a track needs at least one photo; got none")
    shown = [photo.album.latlng for photo in photos]
    shown += [photo.truth for photo in photos if photo.truth is not None]
    size = _MAP_WIDTH, _HEIGHTS[False] - _TITLE - _EDGE
    frame = local_maps.fit(np.array(shown, np.float64), size[0] / size[1])
    height = _HEIGHTS[frame.centre is None]
    drawing = maps.new_figure(_WIDTH, height)
    axes = drawing.add_axes(
        (
            _EDGE / _WIDTH,
            _EDGE / height,
            _MAP_WIDTH / _WIDTH,
            1 - (_TITLE + _EDGE) / height,
        )
    )
    local_maps.draw(axes, frame)
    track_drawing.draw(axes, frame, photos)
    _write_title(drawing, title, photos)
    _draw_side(drawing, axes, frame, photos)
    return drawing


def page(
    photos: Sequence[tracks.Photo],
    partition: Partition,
    probabilities: np.ndarray,
    title: str,
) -> str:
    """The HTML of an interactive map of the track.

    Args:
      photos: in the album's order.
      partition: the classes.
      probabilities: (classes,) by label, the mean over the album's photos.
      title: plain text.
    """
    best = maps.answers(partition, probabilities, len(partition.tokens))
    rows = sorted(
        k
        for rank, (k, p) in enumerate(best)
        if p >= maps.LEAST_PROBABILITY or rank < LEAST_CELLS
    )
    percent = 100 * np.array([p for _, p in sorted(best)])[rows]
    named = place_names.available()
    points = partition.latlng[rows]
    return web_map.page(
        title,
        _summary(photos),
        web_map.Cells(
            [partition.tokens[k] for k in rows],
            [web_map.Column("Mean probability", percent, "%")],
            points,
            "Point",
            [str(n) for n in place_names.names(points)] if named else [],
        ),
        outlines.land("l", web_map.LEAST_LAND_KM2),
        _towns(photos) if named else [],
        _credits(),
        photos,
    )


def _credits() -> str:
    """Whose data the maps show."""
    named = place_names.available()
    return "Land: GSHHG" + (f". {place_names.CREDIT}" if named else "")


def _towns(photos: Sequence[tracks.Photo]) -> list[tuple[str, float, float]]:
    """The world's largest towns and those near a track, the largest first."""
    towns = place_names.towns()
    answers = np.unique([photo.album.latlng for photo in photos], axis=0)
    vectors = geometry.to_vectors(*towns.latlng.T)
    cosine = np.cos(_NEAR_KM / geometry.EARTH_RADIUS_KM)
    near = np.zeros(len(vectors), bool)
    for answer in geometry.to_vectors(*answers.T):
        near |= vectors @ answer > cosine
    rows = np.union1d(
        np.arange(min(_WORLD_TOWNS, len(vectors))),
        np.flatnonzero(near)[:_NEAR_TOWNS],
    )
    return [(str(towns.names[k]), *towns.latlng[k].tolist()) for k in rows]


def _summary(photos: Sequence[tracks.Photo]) -> str:
    """A line on the album."""
    places = len(track_drawing.places_of(photos))
    parts = [_count(len(photos), "photo"), _count(places, "place")]
    outliers = sum(photo.outlier for photo in photos)
    if outliers:
        parts.append(_count(outliers, "outlier"))
    times = [photo.time for photo in photos if photo.time]
    if times:
        parts.append(" to ".join(dict.fromkeys((times[0], times[-1]))))
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _write_title(
    drawing: "Figure", title: str, photos: Sequence[tracks.Photo]
) -> None:
    height = drawing.get_size_inches()[1]
    for text, inches, size, colour in (
        (_shorten(title, 90), 0.12, 14, "black"),
        (_summary(photos), 0.43, 10, _INK),
    ):
        drawing.text(
            _EDGE / _WIDTH,
            1 - inches / height,
            text,
            va="top",
            fontsize=size,
            color=colour,
            parse_math=False,
        )


def _draw_side(
    drawing: "Figure",
    axes: "Axes",
    frame: local_maps.Frame,
    photos: Sequence[tracks.Photo],
) -> None:
    """Beside the map: where in the world it is, the legend, the outliers."""
    from matplotlib.lines import Line2D

    height = drawing.get_size_inches()[1]
    top = height - _TITLE
    if frame.centre is not None:
        top -= _SIDE / 2.05
        _draw_inset(drawing, frame, top)
    handles = [Line2D([], [], **style) for style in _legend(photos)]
    left = _WIDTH - _SIDE - _EDGE
    drawing.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / _WIDTH, (top - 0.1) / height),
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.45,
        frameon=False,
        fontsize=9.5,
    )
    drawing.text(
        left / _WIDTH,
        _EDGE / height,
        _credits(),
        va="bottom",
        fontsize=7,
        color=_INK,
    )
    top -= 0.25 + 0.21 * len(handles)
    _write_outliers(drawing, left, top, photos)


def _legend(photos: Sequence[tracks.Photo]) -> list[dict[str, Any]]:
    """Styles and labels of what the map of these photos shows."""
    rows: list[dict[str, Any]] = [
        {"c": maps.ANSWER, "marker": "o", "label": "album's answer"}
    ]
    if any(photo.single.latlng != photo.album.latlng for photo in photos):
        rows.append(
            {"c": track_drawing.SINGLE, "mfc": "none", "label": "photo alone"}
        )
    if any(photo.truth is not None for photo in photos):
        label = {"marker": "x", "ls": ":", "label": "truth"}
        rows.append({"c": maps.TRUTH, **label})
    if any(photo.outlier for photo in photos):
        ring = {"mec": track_drawing.OUTLIER, "mfc": maps.ANSWER, "mew": 1.8}
        rows.append({"c": track_drawing.OUTLIER, "label": "outlier"} | ring)
    common = {"marker": "o", "lw": 1, "ms": 6}
    return [common | row for row in rows]


def _draw_inset(
    drawing: "Figure", frame: local_maps.Frame, bottom: float
) -> None:
    """The world, `bottom` inches up, and the frame on it."""
    from matplotlib.patches import Polygon

    height = drawing.get_size_inches()[1]
    left = _WIDTH - _SIDE - _EDGE
    axes = drawing.add_axes(
        (
            left / _WIDTH,
            bottom / height,
            _SIDE / _WIDTH,
            _SIDE / 2.05 / height,
        )
    )
    maps.draw_world(axes, "c")
    for ring in outlines.cut_ring(local_maps.outline(frame)):
        xy = outlines.equal_earth(*ring.T)
        axes.add_artist(Polygon(xy, fc=track_drawing.OUTLIER, alpha=0.25)).set(
            zorder=5
        )
        axes.add_artist(Polygon(xy, fc="none", ec=track_drawing.OUTLIER)).set(
            zorder=6
        )
    x, y = outlines.equal_earth(*np.array(frame.centre))
    if frame.width_km < 1500:  # less than can be seen
        axes.plot(
            x,
            y,
            "o",
            mfc="none",
            mec=track_drawing.OUTLIER,
            ms=9,
            mew=1.5,
            zorder=6,
        )


def _write_outliers(
    drawing: "Figure",
    left: float,
    top: float,
    photos: Sequence[tracks.Photo],
) -> None:
    """Numbers and names of outliers, as many as there is room for."""
    height = drawing.get_size_inches()[1]
    numbers = [k for k, photo in enumerate(photos, 1) if photo.outlier]
    room = int((top - 2 * _EDGE) / 0.36) - 1
    kept = numbers if len(numbers) <= room else numbers[: room - 1]
    rows = [_outlier_text(k, photos[k - 1]) for k in kept]
    if len(kept) < len(numbers):
        rows.append(f"and {len(numbers) - len(kept):,} more")
    if not rows:
        return
    drawing.text(
        left / _WIDTH,
        top / height,
        "Outliers\n" + "\n".join(rows),
        va="top",
        fontsize=8.5,
        linespacing=1.4,
        color=track_drawing.OUTLIER,
        parse_math=False,
    )


def _outlier_text(number: int, photo: tracks.Photo) -> str:
    """Two lines: which photo, and where it would be if it were alone."""
    return (
        f"{number}  {_shorten(photo.name, _NAME_LETTERS)}\n"
        f"    alone {maps.place_text(photo.single.latlng)},"
        f" {maps.km_text(photo.km_apart)} off"
    )


def _shorten(text: str, most: int) -> str:
    """In one line, without its middle if it is longer."""
    text = " ".join(text.split())
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
