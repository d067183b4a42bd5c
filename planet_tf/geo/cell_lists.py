"""Partitions that others published, as tables of cells: read and checked.

Tables have commas, tabs or semicolons, such as Google's label map of PlaNet
v2 (`id,S2CellId`, id 0 being "other"), lists of `token`, `lat`, `lng` without
a header, and lists with counts and means (`class_label,hex_id,imgs_per_cell,
latitude_mean,longitude_mean`). Lines before the header, a byte order mark and
any line ends are fine. `cell_tokens` says which names of cells are refused.

A published label is what its column says, else the row's position, from 0.
Ours is the position in S2 order, after "other" if there is that class.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import planet_tf
from planet_tf.geo import cell_tokens, geometry
from planet_tf.geo.partition import Partition

OTHER = "other"
ACCEPTED = (
    "a partition.json; a table with a header, whose columns are token, hex_id,"
    " cell or S2CellId, and maybe id or class_label, photos or imgs_per_cell,"
    " lat or latitude_mean, lng or longitude_mean; or rows of a token, or of"
    " token<TAB>lat<TAB>lng, without a header"
)

# Names of columns, without case and signs; ids may be decimal numbers.
_TOKENS = ("token", "s2token", "hexid", "cell", "celltoken", "s2cell")
_IDS = ("s2cellid", "s2id", "cellid")
_COLUMNS = {
    "cell": _TOKENS + _IDS,
    "label": ("label", "classlabel", "class", "id", "index"),
    "photos": ("photos", "imgspercell", "count", "images", "numimages"),
    "lat": ("lat", "latitude", "latitudemean", "latmean", "meanlat"),
    "lng": (
        *("lng", "lon", "long", "longitude"),
        *("longitudemean", "lngmean", "lonmean", "meanlng", "meanlon"),
    ),
}
_WITHOUT_HEADER = {1: ("cell",), 3: ("cell", "lat", "lng")}
_LINES_BEFORE_HEADER = 10
_LISTED = 5  # of what is wrong, in a message


class FormatError(ValueError):
    """A file that holds no partition that could be used."""


@dataclasses.dataclass(frozen=True)
class CellList:
    """Cells as a file lists them, in its order.

    Attributes:
      rows: the line each stands on, from 1.
      names: as the file has them.
      ids: (n,) uint64.
      labels: the file's.
      photos: 0 if not known.
      points: (n, 2) lat, lng in degrees; None if the file has none.
      other_label: the file's label of the class "other"; None if it has none.
    """

    rows: list[int]
    names: list[str]
    ids: np.ndarray
    labels: list[int]
    photos: list[int]
    points: np.ndarray | None
    other_label: int | None


@dataclasses.dataclass(frozen=True)
class _Table:
    """Texts of a file's rows, by `_COLUMNS`; `name` is of the cell column."""

    rows: list[int]
    columns: dict[str, list[str]]
    name: str

    def take(self, kept: Sequence[int]) -> "_Table":
        return _Table(
            [self.rows[k] for k in kept],
            {n: [texts[k] for k in kept] for n, texts in self.columns.items()},
            self.name,
        )

    def values(self, column: str, convert: Callable[[str], Any]) -> list[Any]:
        """A column's values; FormatError names a row without one."""
        values = []
        for row, text in zip(self.rows, self.columns[column], strict=True):
            try:
                values.append(convert(text))
            except ValueError as error:
                raise FormatError(
                    f"row {row}, {column}: {text!r} is no number"
                ) from error
        return values


def read(text: str) -> CellList:
    """Reads a table of cells; FormatError or TokenError names bad rows."""
    table = _read_table(text)
    names = table.columns["cell"]
    labels = list(range(len(names)))
    if "label" in table.columns:
        labels = table.values("label", int)
    _check_labels(table.rows, labels)
    others = [k for k, name in enumerate(names) if name.lower() == OTHER]
    if len(others) > 1:
        a, b = table.rows[others[0]], table.rows[others[1]]
        raise FormatError(f'rows {a} and {b} are both "{OTHER}"')
    kept = [k for k in range(len(names)) if k not in others]
    if not kept:
        raise FormatError(f"the file lists no cells. Accepted: {ACCEPTED}")
    cells = table.take(kept)
    ids = cell_tokens.read_ids(
        cells.columns["cell"], cells.rows, numbers=cells.name in _IDS
    )
    known = "photos" in cells.columns
    return CellList(
        rows=cells.rows,
        names=cells.columns["cell"],
        ids=ids,
        labels=[labels[k] for k in kept],
        photos=cells.values("photos", _count) if known else [0] * len(kept),
        points=_points(cells),
        other_label=labels[others[0]] if others else None,
    )


def to_partition(
    cells: CellList, *, centres: bool = False
) -> tuple[Partition, np.ndarray, int]:
    """The partition of listed cells.

    Args:
      cells: the list.
      centres: take the cells' centres as their points, not the file's.

    Returns:
      The partition; our label (n,) of each cell of the list; and how many of
      the file's points are outside of their cells, if centres are taken.

    Raises:
      FormatError: if cells overlap or points are not in their cells.
      TokenError: if a point shows that a token lost zeros at its start.
    """
    outside = _check_points(cells, centres)
    _check_overlap(cells)
    points = cells.points
    if points is None or centres:
        points = geometry.from_vectors(geometry.cell_vectors(cells.ids))
    order = np.argsort(cells.ids)
    has_other = cells.other_label is not None
    partition = Partition(
        tokens=tuple(geometry.to_tokens(cells.ids[order])),
        photos=tuple(cells.photos[k] for k in order),
        points=tuple((lat, lng) for lat, lng in points[order].tolist()),
        max_photos=None,
        min_photos=None,
        max_level=None,
        dropped=0,
        other_class=has_other,
        made_by={
            "program": "planet_tf convert_partition",
            "code_version": planet_tf.__version__,
        },
    )
    labels = np.empty(len(order), np.int64)
    labels[order] = np.arange(len(order)) + has_other
    return partition, labels, outside


def _read_table(text: str) -> _Table:
    lines = text.removeprefix("\ufeff").splitlines()
    names, delimiter, start = _header(lines)
    rows: list[int] = []
    columns: dict[str, list[str]] = {n: [] for n in _COLUMNS if n in names}
    for number, line in enumerate(lines[start:], start + 1):
        fields = _split(line, delimiter)
        if not any(fields):
            continue
        if len(fields) < len(names):
            raise FormatError(
                f"row {number} has {len(fields)} of {len(names)} columns:"
                f" {line[:60]!r}"
            )
        rows.append(number)
        for name, texts in columns.items():
            texts.append(fields[names.index(name)])
    cell = names.index("cell")
    head = _split(lines[start - 1], delimiter) if start else [""] * len(names)
    return _Table(rows, columns, _plain(head[cell]))


def _header(lines: Sequence[str]) -> tuple[list[str], str, int]:
    """Our names of the columns, what is between, and where rows begin."""
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER]):
        for delimiter in ",\t;":
            names = [_our_name(f) for f in _split(line, delimiter)]
            if "cell" in names:
                return names, delimiter, number + 1
    first = _split(lines[0], "\t") if lines else []
    if len(first) in _WITHOUT_HEADER and _looks_like_row(first):
        return list(_WITHOUT_HEADER[len(first)]), "\t", 0
    raise FormatError(
        f"no column of cells was found; the file begins with"
        f" {lines[0][:80] if lines else ''!r}. Accepted: {ACCEPTED}"
    )


def _looks_like_row(fields: Sequence[str]) -> bool:
    """Whether it may be the first row of a list, be its token whole or not."""
    return (
        bool(re.match(r"(s2:)?[\da-fA-F]", fields[0]))
        and all(
            re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", text)
            for text in fields[1:]
        )
        and (len(fields) > 1 or "," not in fields[0])
    )


def _split(line: str, delimiter: str) -> list[str]:
    return [
        t.strip() for t in next(csv.reader([line], delimiter=delimiter), [])
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _our_name(field: str) -> str:
    """Of a column that is not known: what no column of ours is called."""
    for name, aliases in _COLUMNS.items():
        if _plain(field) in aliases:
            return name
    return ""


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _check_labels(rows: Sequence[int], labels: Sequence[int]) -> None:
    seen: dict[int, int] = {}
    for row, label in zip(rows, labels, strict=True):
        if label in seen:
            raise FormatError(
                f"rows {seen[label]} and {row} both have label {label}"
            )
        seen[label] = row


def _points(table: _Table) -> np.ndarray | None:
    if not {"lat", "lng"} <= table.columns.keys():
        return None
    lat = np.array(table.values("lat", float))
    lng = np.array(table.values("lng", float))
    bad = ~((np.abs(lat) <= 90) & (np.abs(lng) <= 360))  # NaN too
    if bad.any():
        k = int(np.argmax(bad))
        raise FormatError(
            f"row {table.rows[k]}: lat {lat[k]}, lng {lng[k]} is no place"
        )
    return np.stack([lat, geometry.wrap_lng(lng)], -1)


def _check_overlap(cells: CellList) -> None:
    """Raises FormatError if a cell is listed twice or inside of another."""
    first, last = geometry.range_bounds(cells.ids)
    found: list[str] = []
    outer = -1  # the last cell that is in no other
    # Of cells that begin together, the larger one comes first.
    for k in np.lexsort((~last, first)).tolist():
        if outer >= 0 and first[k] <= last[outer]:
            found.append(_overlap(cells, outer, k))
        else:
            outer = k
    if found:
        more = len(found) - _LISTED
        listed = found[:_LISTED] + ([f"and {more:,} more"] if more > 0 else [])
        raise FormatError(
            "cells overlap; either the list is none of a partition, or tokens"
            " in it were changed:\n  " + "\n  ".join(listed)
        )


def _overlap(cells: CellList, outer: int, inner: int) -> str:
    same = cells.ids[outer] == cells.ids[inner]
    how = "is the same cell as" if same else "is inside"
    names = [cells.names[inner], cells.names[outer]]
    text = f"{names[0]} (row {cells.rows[inner]}) {how} {names[1]}"
    text += f" (row {cells.rows[outer]})"
    if any(name.isdecimal() for name in names):
        text += "; one of digits only may have lost zeros at its start"
    return text


def _check_points(cells: CellList, centres: bool) -> int:
    """How many points are not in their cells; raises if they must be."""
    if cells.points is None:
        cell_tokens.check_zeros(cells.names, cells.rows, cells.ids)
        return 0
    first, last = geometry.range_bounds(cells.ids)
    leaves = geometry.leaf_ids(*cells.points.T)
    outside = np.flatnonzero((leaves < first) | (leaves > last)).tolist()
    causes = [""] * len(cells.ids)
    for k in outside:
        token = cell_tokens.with_zeros(cells.names[k], int(leaves[k]))
        if token:
            causes[k] = (
                f"its point is not in this cell but in {token}: zeros were"
                " lost at its start, as spreadsheets do"
            )
    cell_tokens.refuse(cells.rows, cells.names, causes)
    if outside and not centres:
        points = geometry.from_vectors(geometry.cell_vectors(cells.ids))
        km = geometry.great_circle_km(*points.T, *cells.points.T)
        listed = [
            f"row {cells.rows[k]}: {cells.names[k]}, lat"
            f" {cells.points[k, 0]}, lng {cells.points[k, 1]}: {km[k]:.3g} km"
            " from the cell's centre"
            for k in outside[:_LISTED]
        ]
        raise FormatError(
            f"{len(outside):,} points are not in their cells; --points=centre"
            " takes the cells' centres:\n  " + "\n  ".join(listed)
        )
    return len(outside)
