"""A map of cells as one HTML file that needs no network.

An album's track may be drawn above the cells.

The page has all that it shows in it: the template, the style and the program
of planet_tf/web, the land, and the data, which the browser unpacks. It is a
program of its own; what it does is described in web/world.js.
"""

import base64
import dataclasses
import gzip
import html
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from planet_tf.drawing import tracks
from planet_tf.geo import outlines

_SCRIPTS = (
    "s2.js",
    "world.js",
    "draw.js",
    "values.js",
    "input.js",
    "track.js",
    "page.js",
)
LEAST_LAND_KM2 = 50.0  # smaller islands and lakes would double the land
_LAND_UNITS = 100  # a degree, some 1 km
_POINT_DIGITS = 5  # some 1 m


@dataclasses.dataclass(frozen=True)
class Column:
    """A value of each cell, which the map can be coloured by.

    Attributes:
      name: as people are told.
      values: (cells,) numbers; nan is unknown.
      unit: "" if there is none.
      log: whether colours are by the logarithm.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    log: bool = True


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cells to be drawn.

    Attributes:
      tokens: (cells,) of S2 cells that do not overlap.
      columns: at least one; the first one colours the map at the start.
      points: (cells, 2) = (lat, lng), a point in each; None for none.
      point_name: what these points are.
      names: (cells,) what is where; empty for none.
    """

    tokens: Sequence[str]
    columns: Sequence[Column]
    points: np.ndarray | None = None
    point_name: str = "point"
    names: Sequence[str] = ()


def page(
    title: str,
    subtitle: str,
    cells: Cells,
    land: outlines.Land,
    places: Sequence[tuple[str, float, float]] = (),
    credits: str = "",
    track: Sequence[tracks.Photo] = (),
) -> str:
    """The HTML of a map.

    Args:
      title: plain text, as all others.
      subtitle: a line below it.
      cells: what is shown.
      land: what is drawn below.
      places: names, lat and lng of towns, the most important first.
      credits: whose data it is.
      track: an album's photos in their order, to be shown above the cells.
    """
    web = importlib.resources.files("planet_tf") / "web"
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "credits": html.escape(credits),
        "css": (web / "map.css").read_text("utf-8"),
        "script": "\n".join((web / s).read_text("utf-8") for s in _SCRIPTS),
        "data": _pack(_data(cells, land, places, track)),
    }
    template = (web / "map.html").read_text("utf-8")
    # Pieces between the marks, so that no mark in a text is ever replaced.
    head, *rest = template.split("{{")
    pieces = [piece.split("}}", 1) for piece in rest]
    return head + "".join(parts[name] + text for name, text in pieces)


def _data(
    cells: Cells,
    land: outlines.Land,
    places: Sequence[tuple[str, float, float]],
    track: Sequence[tracks.Photo],
) -> dict[str, Any]:
    """What the page's program is given."""
    points = np.zeros((0, 2)) if cells.points is None else cells.points
    distinct = sorted(set(cells.names))
    position = {name: k for k, name in enumerate(distinct)}
    return {
        "tokens": list(cells.tokens),
        "columns": [_column(column) for column in cells.columns],
        "points": np.round(points, _POINT_DIGITS).tolist(),
        "point_name": cells.point_name,
        "names": distinct,
        "name_of": [position[name] for name in cells.names],
        "land": pack_land(land),
        "places": [
            (name, round(lat, 3), round(lng, 3)) for name, lat, lng in places
        ],
        "track": [_photo(photo) for photo in track],
    }


def _column(column: Column) -> dict[str, Any]:
    """A column as JSON can have it, with four figures that count."""
    values = [
        None if np.isnan(v) else v if v == int(v) else float(f"{v:.4g}")
        for v in np.asarray(column.values).tolist()
    ]
    return {
        "name": column.name,
        "unit": column.unit,
        "log": column.log,
        "values": values,
    }


def _photo(photo: tracks.Photo) -> dict[str, Any]:
    """What the panel of a photo tells."""
    truth, errors = photo.truth, photo.errors_km
    return {
        "name": photo.name,
        "time": photo.time,
        "album": _answer(photo.album),
        "single": _answer(photo.single),
        "apart": round(photo.km_apart, 3),
        "truth": truth and [round(x, _POINT_DIGITS) for x in truth],
        "error": errors and round(errors[1], 3),
        "outlier": photo.outlier,
        "jpeg": base64.b64encode(photo.jpeg).decode(),
    }


def _answer(answer: tracks.Answer) -> dict[str, Any]:
    return {
        "place": [round(x, _POINT_DIGITS) for x in answer.latlng],
        "probability": float(f"{answer.probability:.4g}"),
        "token": answer.token,
    }


def pack_land(land: outlines.Land) -> list[list[list[int]]]:
    """Rings of land, lakes and islands in them, as the page takes them."""
    return [
        [pack_line(ring) for ring in rings]
        for rings in (land.land, land.lakes, land.islands)
    ]


def pack_line(line: np.ndarray) -> list[int]:
    """Points in hundredths of degrees, each from the one before, flat."""
    rounded = np.rint(line * _LAND_UNITS).astype(int)
    return np.diff(rounded, axis=0, prepend=0).reshape(-1).tolist()


def _pack(data: Any) -> str:
    """JSON, gzip, base64: no character of it means anything in HTML."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # Without the time the same data is the same file.
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
