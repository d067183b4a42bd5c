"""A partition in the formats of other programs.

| format    | file    | what it keeps                                         |
|-----------|---------|-------------------------------------------------------|
| partition | .json   | everything                                            |
| csv       | .csv    | labels, cells as s2:TOKEN, photos, points; for people |
| planet_v2 | -       | labels and cells, as Google's label map of PlaNet v2  |
| tokens    | .tsv    | cells and points in the order of labels, no header    |
| geojson   | .geojson| the cells' outlines with all of these, for QGIS       |

The first four are read again. Programs that read planet_v2 and tokens want
bare tokens: do not open these files in a spreadsheet (see `cell_tokens`).
"""

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from planet_tf.geo import cell_tokens, geometry, outlines
from planet_tf.geo import partition as partition_lib
from planet_tf.geo.cell_lists import OTHER, FormatError
from planet_tf.geo.partition import Partition

_EDGE_DEGREES = 0.5  # of a polygon: so short, it looks as curved as it is
_DECIMALS = 9  # of degrees: 0.1 mm


def format_of(path: str) -> str:
    """The format that a file's name says; FormatError if it says none."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in _ENDINGS:
        raise FormatError(
            f"{path!r} does not say its format: it must end in"
            f" {', '.join(_ENDINGS)}, or give --format"
        )
    return _ENDINGS[ending]


def write(partition: Partition, file: IO[str], format: str) -> None:
    """Writes a partition in one of `FORMATS`, always the same bytes."""
    FORMATS[format](partition, file)


def write_labels(
    published: Iterable[tuple[int, int]], partition: Partition, file: IO[str]
) -> None:
    """Writes pairs of a published label and ours, with our cells, as CSV."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("published_label", "label", "cell"))
    for theirs, ours in published:
        rows.writerow((theirs, ours, _protected(partition.token(ours))))


def polygons(token: str) -> list[np.ndarray]:
    """Closed rings (n, 2) = (lng, lat) that cover a cell on a flat map.

    Counter-clockwise and cut at the antimeridian, as RFC 7946 wants; a cell
    around or at a pole has an edge along it.
    """
    level = int(geometry.levels(geometry.from_tokens([token]))[0])
    pieces = math.ceil(90 / 2**level / _EDGE_DEGREES)
    rings = outlines.cut_ring(geometry.cell_outline(token, pieces))
    return [
        np.concatenate([ring, ring[:1]])[:, ::-1].round(_DECIMALS)
        for ring in rings
    ]


def _protected(token: str) -> str:
    return token if token == OTHER else cell_tokens.PREFIX + token


def _rows(partition: Partition) -> Iterator[tuple[int, str, int, float, float]]:
    """Label, token, photos, lat and lng of each cell."""
    rows = zip(
        partition.tokens, partition.photos, partition.points, strict=True
    )
    for label, (token, photos, (lat, lng)) in enumerate(
        rows, int(partition.other_class)
    ):
        yield label, token, photos, lat, lng


def _write_csv(partition: Partition, file: IO[str]) -> None:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("label", "cell", "photos", "lat", "lng"))
    if partition.other_class:
        rows.writerow((0, OTHER, "", "", ""))
    for label, token, *rest in _rows(partition):
        rows.writerow((label, _protected(token), *rest))


def _write_planet_v2(partition: Partition, file: IO[str]) -> None:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("id", "S2CellId"))
    if partition.other_class:
        rows.writerow((0, OTHER))
    for label, token, *_ in _rows(partition):
        rows.writerow((label, token.ljust(16, "0")))


def _write_tokens(partition: Partition, file: IO[str]) -> None:
    if partition.other_class:
        raise FormatError(
            'a list of tokens has no place for the class "other", and all'
            " labels would be off by one; write csv or planet_v2"
        )
    for _, token, _, lat, lng in _rows(partition):
        file.write(f"{token}\t{lat!r}\t{lng!r}\n")


def _write_geojson(partition: Partition, file: IO[str]) -> None:
    file.write('{"type": "FeatureCollection", "features": [\n')
    levels = geometry.levels(partition.ids).tolist()
    features = (
        json.dumps(_feature(row, level))
        for row, level in zip(_rows(partition), levels, strict=True)
    )
    file.write(",\n".join(features))
    file.write("\n]}\n")


def _feature(
    row: tuple[int, str, int, float, float], level: int
) -> dict[str, Any]:
    label, token, photos, lat, lng = row
    rings = [[ring.tolist()] for ring in polygons(token)]
    shape = (
        {"type": "Polygon", "coordinates": rings[0]}
        if len(rings) == 1
        else {"type": "MultiPolygon", "coordinates": rings}
    )
    return {
        "type": "Feature",
        "id": label,
        "properties": {
            "token": token,
            "label": label,
            "photos": photos,
            "lat": lat,
            "lng": lng,
            "level": level,
        },
        "geometry": shape,
    }


FORMATS = {
    "partition": partition_lib.dump,
    "csv": _write_csv,
    "planet_v2": _write_planet_v2,
    "tokens": _write_tokens,
    "geojson": _write_geojson,
}
_ENDINGS = {
    ".json": "partition",
    ".csv": "csv",
    ".tsv": "tokens",
    ".geojson": "geojson",
}
