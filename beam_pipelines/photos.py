"""Batches of photos by reference, and the columns of a table made into them.

Photos travel through Beam as references, thousands to an element. An element
for each photo takes fifty times the CPU, and images that go through a shuffle
six times their size in memory: images are read where shards are written.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from planet_tf.geo import geometry
from planet_tf.photos import manifests
from planet_tf.photos.rejects import Reason, Reject

TO_THE_END = -1  # the length of an image that is a file of its own
# Types of the columns of Photos.
_KINDS = (
    *(object, object, np.int64, np.int64, float, float),
    *(object, object, np.int64),
)


@dataclasses.dataclass(frozen=True)
class Photos:
    """A batch of n photos by reference; a field is an array (n,).

    Attributes:
      photo_id: str.
      uri: str, the file that the image is in.
      offset: int64, the image's first byte there.
      length: int64, how many bytes it has, or TO_THE_END.
      lat: float64 degrees.
      lng: float64 degrees in [-180, 180).
      owner_id: str, "" if unknown.
      album_id: str, "" if unknown.
      taken_at: int64 Unix seconds, or records.UNKNOWN_TIME.
    """

    photo_id: np.ndarray
    uri: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    lat: np.ndarray
    lng: np.ndarray
    owner_id: np.ndarray
    album_id: np.ndarray
    taken_at: np.ndarray

    def __len__(self) -> int:
        return len(self.photo_id)

    def take(self, rows: Any) -> "Photos":
        """The batch of some rows, by slice, mask or index."""
        return Photos(*(column[rows] for column in self._columns()))

    def rows(self) -> list[tuple]:
        """One tuple a photo, in the order of the fields."""
        return list(zip(*(c.tolist() for c in self._columns()), strict=True))

    @staticmethod
    def from_rows(rows: Sequence[Sequence]) -> "Photos":
        """The inverse of `rows`."""
        columns = zip(*rows, strict=True) if rows else [()] * len(_KINDS)
        return Photos(*map(np.array, columns, _KINDS))

    def _columns(self) -> list[np.ndarray]:
        return [getattr(self, f.name) for f in dataclasses.fields(self)]


@dataclasses.dataclass(frozen=True)
class Places:
    """A batch of n photos of which only the coordinates are known.

    Attributes:
      lat: (n,) float64 degrees.
      lng: (n,) float64 degrees in [-180, 180).
    """

    lat: np.ndarray
    lng: np.ndarray

    def __len__(self) -> int:
        return len(self.lat)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where photos come from, and which of them are taken.

    Attributes:
      photos: a path or a glob on any file system that Beam knows, or
        "tfds:NAME/SPLIT"; see `sources`.
      columns: names of columns by our names for them, before the usual ones.
      table: a manifest with what is known of the photos, by their id, where
        they do not say it themselves; "" for none.
      keep_null_island: whether lat 0, lng 0 is a place, and not a missing one.
    """

    photos: str
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    table: str = ""
    keep_null_island: bool = False


@dataclasses.dataclass(frozen=True)
class Rows:
    """What tells n rows of a table apart, beside their columns.

    Attributes:
      names: what rows are called that have no id, by their positions (k,).
      uri: (n,) where the images are; "" where that is not known.
      offset: (n,) as of Photos.
      length: (n,) as of Photos.
    """

    names: Callable[[np.ndarray], list[str]]
    uri: np.ndarray
    offset: np.ndarray
    length: np.ndarray


def parse_photos(
    columns: Mapping[str, pa.Array], rows: Rows, source: Source
) -> tuple[Photos, list[Reject]]:
    """Photos of columns of text or numbers, and the rows that are none.

    A photo without an id has its path as id, and without a path the name of
    its row. With a table the places are not looked at: they are there.
    """
    nothing = pa.nulls(len(rows.uri), pa.string())
    owners, albums, paths, ids = (
        manifests.texts(columns.get(field, nothing))
        for field in ("owner_id", "album_id", "path", "photo_id")
    )
    ids = np.where(ids == "", paths, ids)
    nameless = np.flatnonzero(ids == "")
    ids[nameless] = rows.names(nameless)
    lat, lng, bad, reasons = places_of(columns, source)
    photos = Photos(
        photo_id=ids,
        uri=rows.uri,
        offset=rows.offset,
        length=rows.length,
        lat=lat,
        lng=lng,
        owner_id=owners,
        album_id=albums,
        taken_at=manifests.times(columns.get("taken_at", nothing)),
    )
    if source.table:  # which will say where they are
        bad, reasons = bad[:0], reasons[:0]
    unknown = np.setdiff1d(np.flatnonzero(rows.uri == ""), bad)
    bad = np.concatenate([bad, unknown])
    causes = [*reasons, *[Reason.MISSING_PATH] * len(unknown)]
    rejects = place_rejects(ids[bad], causes, columns, bad)
    return (photos.take(_but(len(photos), bad)) if rejects else photos), rejects


def parse_places(
    columns: Mapping[str, pa.Array],
    names: Callable[[np.ndarray], list[str]],
    source: Source,
) -> tuple[Places, list[Reject]]:
    """Places of columns of text or numbers, and the rows that are none."""
    lat, lng, bad, reasons = places_of(columns, source)
    rejects = place_rejects(names(bad), reasons, columns, bad)
    if rejects:
        good = _but(len(lat), bad)
        lat, lng = lat[good], lng[good]
    return Places(lat, lng), rejects


def _but(count: int, positions: np.ndarray) -> np.ndarray:
    """A mask (count,) of all but some positions."""
    mask = np.ones(count, bool)
    mask[positions] = False
    return mask


def places_of(
    columns: Mapping[str, pa.Array], source: Source
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Degrees of n rows, and which of them are no places.

    Returns:
      lat (n,), lng (n,) in [-180, 180), positions of the k rows that are no
      place, and the reasons why (k,).
    """
    nothing = pa.nulls(len(next(iter(columns.values()))), pa.string())
    places = [columns.get(field, nothing) for field in ("lat", "lng")]
    lat, lng = map(manifests.numbers, places)
    good = (np.abs(lat) <= 90) & (np.abs(lng) <= 180)  # and no nan
    if not source.keep_null_island:
        good &= (lat != 0) | (lng != 0)
    bad = np.flatnonzero(~good)
    reasons = coordinate_reasons(lat[bad], lng[bad], source.keep_null_island)
    for column in places if len(bad) else ():
        missing = manifests.is_missing(column.take(pa.array(bad)))
        reasons[missing] = Reason.MISSING_COORDINATES
    if (lng >= 180).any():
        lng = np.where(good, geometry.wrap_lng(np.where(good, lng, 0)), lng)
    return lat, lng, bad, reasons


def coordinate_reasons(
    lat: np.ndarray, lng: np.ndarray, keep_null_island: bool = False
) -> np.ndarray:
    """Why degrees are no place, (n,) Reason; "" where they are one."""
    reasons = np.full(lat.shape, "", object)
    if not keep_null_island:
        reasons[(lat == 0) & (lng == 0)] = Reason.NULL_ISLAND
    reasons[~(np.abs(lng) <= 180)] = Reason.LNG_OUT_OF_RANGE
    reasons[~(np.abs(lat) <= 90)] = Reason.LAT_OUT_OF_RANGE
    reasons[np.isnan(lat) | np.isnan(lng)] = Reason.NOT_A_NUMBER
    return reasons


def place_rejects(
    ids: Iterable[str],
    reasons: Iterable[Reason],
    columns: Mapping[str, pa.Array],
    positions: np.ndarray,
) -> list[Reject]:
    """Rejects of the rows at some positions, by what is there (k,)."""
    nothing = pa.nulls(len(positions), pa.string())
    lat, lng = (
        manifests.texts(columns[field].take(pa.array(positions)))
        if field in columns
        else manifests.texts(nothing)
        for field in ("lat", "lng")
    )
    return [
        Reject(photo_id, "read", reason, f"lat {a!r}, lng {b!r}")
        for photo_id, reason, a, b in zip(ids, reasons, lat, lng, strict=True)
    ]
