"""What a partition is good for: its size, its cells, its ceiling.

The ceiling is what a classifier would score that always finds the right cell
and answers one point of it. All that is counted over photos is counted in
whole numbers, so that the counts of parts add up to those of the whole.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from planet_tf.answering import metrics
from planet_tf.geo import geometry, place_names
from planet_tf.geo.partition import Partition

FEATURES = 2048  # that the model's head has of a photo
REGION_LEVEL = 8  # of the cells that regions are made of, some 35 km wide
QUANTILES = {
    "min": 0.0,
    "p5": 0.05,
    "p25": 0.25,
    "median": 0.5,
    "p75": 0.75,
    "p95": 0.95,
    "max": 1.0,
}
TOP = 10
KEPT, DROPPED = "kept", "dropped"
ANSWERS = ("centres", "means")  # of the cells, by the ceiling


@dataclasses.dataclass(frozen=True)
class Cells:
    """What is known of the cells of a partition, by their position (n,).

    Attributes:
      levels: int64.
      km2: areas.
      photos: int64; None if the partition does not tell.
      density: photos per km2; None likewise.
      names: where their points are; empty without the package for it.
    """

    levels: np.ndarray
    km2: np.ndarray
    photos: np.ndarray | None
    density: np.ndarray | None
    names: list[place_names.Name]


def head_parameters(classes: int) -> int:
    """Weights and biases of a model's last layer for so many classes."""
    return (FEATURES + 1) * classes


def cells_of(partition: Partition) -> Cells:
    """The cells' levels, areas, densities and names."""
    km2 = np.array([geometry.cell_area_km2(t) for t in partition.tokens])
    photos = np.array(partition.photos) if any(partition.photos) else None
    named = place_names.available()
    return Cells(
        levels=geometry.levels(partition.ids),
        km2=km2,
        photos=photos,
        density=None if photos is None else photos / km2,
        names=place_names.names(partition.latlng) if named else [],
    )


def count_regions(
    lat: np.ndarray, lng: np.ndarray, partition: Partition
) -> dict[str, int]:
    """Photos inside and outside the cells, by level-8 cell.

    The keys are "kept TOKEN" and "dropped TOKEN"; dicts of parts add up.
    """
    regions = geometry.parents(geometry.leaf_ids(lat, lng), REGION_LEVEL)
    inside = _positions(partition, lat, lng) >= 0
    counts = {}
    for name, rows in ((KEPT, inside), (DROPPED, ~inside)):
        ids, photos = np.unique(regions[rows], return_counts=True)
        tokens = geometry.to_tokens(ids)
        for token, n in zip(tokens, photos.tolist(), strict=True):
            counts[f"{name} {token}"] = n
    return counts


def count_within(
    lat: np.ndarray, lng: np.ndarray, partition: Partition
) -> dict[str, int]:
    """Photos within the radii of the answers of a perfect classifier.

    The keys are "photos", "outside" (all cells: never within) and, for each
    radius, "centres KM" and "means KM"; dicts of parts add up.
    """
    cell = _positions(partition, lat, lng)
    inside = cell >= 0
    cell, lat, lng = cell[inside], lat[inside], lng[inside]
    centres = geometry.from_vectors(geometry.cell_vectors(partition.ids))
    counts = {"photos": len(inside), "outside": int((~inside).sum())}
    for name, points in zip(ANSWERS, (centres, partition.latlng), strict=True):
        answers = points[cell]
        km = geometry.great_circle_km(answers[:, 0], answers[:, 1], lat, lng)
        for radius in metrics.RADII_KM:
            counts[f"{name} {radius}"] = int((km <= radius).sum())
    return counts


def figures(
    partition: Partition,
    cells: Cells,
    regions: Mapping[str, int] | None = None,
    within: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """All figures of a partition, None where they are unknown.

    Args:
      partition: what is reported on.
      cells: its cells.
      regions: of the photos it was made of, from `count_regions`.
      within: of other photos, from `count_within`.
    """
    parameters = head_parameters(partition.num_classes)
    kept = None if cells.photos is None else int(cells.photos.sum())
    return {
        "fingerprint": partition.fingerprint,
        "max_photos": partition.max_photos,
        "min_photos": partition.min_photos,
        "max_level": partition.max_level,
        "other_class": partition.other_class,
        "cells": len(partition.tokens),
        "classes": partition.num_classes,
        "head": {
            "parameters": parameters,
            "megabytes": parameters * 4 / 1e6,
        },
        "photos": {
            KEPT: kept,
            DROPPED: None if kept is None else partition.dropped,
        },
        "levels": _histogram(cells.levels),
        "km2": quantiles(cells.km2),
        "photos_per_cell": quantiles(cells.photos),
        "photos_per_km2": quantiles(cells.density),
        "over_max_photos": _over_max_photos(partition, cells),
        "densest": _densest(partition, cells),
        "at_max_level": _at_max_level(partition, cells),
        "place_names": bool(cells.names),
        "source": None if regions is None else region_figures(regions),
        "ceiling": None if within is None else ceiling(within),
    }


def quantiles(values: np.ndarray | None) -> dict[str, float] | None:
    """The least, the largest and what lies between, of values (n,)."""
    if values is None:
        return None
    found = np.quantile(values, list(QUANTILES.values()))
    return dict(zip(QUANTILES, found.tolist(), strict=True))


def region_figures(regions: Mapping[str, int]) -> dict[str, Any]:
    """Kept and dropped photos, in all and by country, most photos first.

    Without names of places there are no countries: `regions` is None.
    """
    pairs = [key.split() for key in regions]
    photos = list(regions.values())
    totals: collections.Counter[str] = collections.Counter()
    for (kind, _), n in zip(pairs, photos, strict=True):
        totals[kind] += n
    result = {KEPT: totals[KEPT], DROPPED: totals[DROPPED]}
    if not place_names.available():
        return result | {"regions": None}
    ids = geometry.from_tokens([token for _, token in pairs])
    points = geometry.from_vectors(geometry.cell_vectors(ids))
    table: dict[str, dict[str, int]] = {}
    for (kind, _), n, name in zip(
        pairs, photos, place_names.names(points), strict=True
    ):
        row = table.setdefault(name.country, {KEPT: 0, DROPPED: 0})
        row[kind] += n
    order = sorted(table, key=lambda r: (-sum(table[r].values()), r))
    return result | {"regions": [{"region": r, **table[r]} for r in order]}


def ceiling(within: Mapping[str, int]) -> dict[str, Any]:
    """Shares of all photos, those outside all cells being wrong."""
    photos = within["photos"]
    if not photos:
        raise ValueError("the ceiling was to be taken of no photos at all")
    shares: dict[str, Any] = {
        "photos": photos,
        "outside": within["outside"],
        "outside_share": within["outside"] / photos,
    }
    for name in ANSWERS:
        shares[name] = {
            f"within_{km}km": within[f"{name} {km}"] / photos
            for km in metrics.RADII_KM
        }
    return shares


def _positions(
    partition: Partition, lat: np.ndarray, lng: np.ndarray
) -> np.ndarray:
    """Positions (n,) of the cells that hold points, negative outside."""
    return partition.labels(lat, lng) - int(partition.other_class)


def _histogram(levels: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(levels, return_counts=True)
    pairs = zip(found.tolist(), counts.tolist(), strict=True)
    return {str(level): n for level, n in pairs}


def _over_max_photos(
    partition: Partition, cells: Cells
) -> list[dict[str, Any]] | None:
    """Cells over t1, most photos first."""
    if cells.photos is None or partition.max_photos is None:
        return None
    over = np.flatnonzero(cells.photos > partition.max_photos)
    order = np.argsort(-cells.photos[over], kind="stable")
    return _table(partition, cells, cells.photos, over[order])


def _densest(partition: Partition, cells: Cells) -> list[dict[str, Any]] | None:
    if cells.photos is None:
        return None
    rows = np.argsort(-cells.photos / cells.km2, kind="stable")[:TOP]
    return _table(partition, cells, cells.photos, rows)


def _at_max_level(partition: Partition, cells: Cells) -> dict[str, Any] | None:
    """Cells that would not be split for any number of photos, and theirs."""
    if cells.photos is None or partition.max_level is None:
        return None
    at_cap = cells.levels == partition.max_level
    photos = int(cells.photos[at_cap].sum())
    return {
        "cells": int(at_cap.sum()),
        "photos": photos,
        "photos_share": photos / int(cells.photos.sum()),
    }


def _table(
    partition: Partition, cells: Cells, photos: np.ndarray, rows: np.ndarray
) -> list[dict[str, Any]]:
    """Facts of some cells."""
    return [
        {
            "token": partition.tokens[k],
            "level": int(cells.levels[k]),
            "photos": int(photos[k]),
            "km2": float(cells.km2[k]),
            "photos_per_km2": float(photos[k] / cells.km2[k]),
            "lat": partition.points[k][0],
            "lng": partition.points[k][1],
            "place": str(cells.names[k]) if cells.names else None,
        }
        for k in rows
    ]
