"""Sources: manifests and JPEG files to batches of references to photos.

Photos travel through Beam as references, thousands to an element. An element
for each photo takes fifty times the CPU, and images that go through a shuffle
six times their size in memory: images are read where shards are written.
"""

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from beam_pipelines import files, manifests
from planet_tf import geometry, images
from planet_tf.rejects import PhotoError, Reason, Reject

_JPEG = (".jpg", ".jpeg")
_JPEGS_PER_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Photos:
    """A batch of n photos by reference; a field is an array (n,).

    Attributes:
      photo_id: str.
      uri: str, where the image is; "" if only coordinates are known.
      lat: float64 degrees.
      lng: float64 degrees in [-180, 180).
      owner_id: str, "" if unknown.
      album_id: str, "" if unknown.
      taken_at: int64 Unix seconds, or records.UNKNOWN_TIME.
    """

    photo_id: np.ndarray
    uri: np.ndarray
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
        kinds = (object, object, float, float, object, object, np.int64)
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return Photos(*map(np.array, columns, kinds))

    def _columns(self) -> list[np.ndarray]:
        return [getattr(self, f.name) for f in dataclasses.fields(self)]


@dataclasses.dataclass(eq=False)
class ReadPhotos(beam.PTransform):
    """Photos of a source, in batches, and what in it is no photo.

    What the source is, its name says: CSV or Parquet files with the columns
    of `manifests`, paths in them being relative to the file; JPEG files with
    a position in their EXIF; or a directory, searched for JPEG files.

    Attributes:
      source: a path or a glob on any file system that Beam knows.
      with_images: whether a photo needs an image or only coordinates.
    """

    source: str
    with_images: bool = True

    def expand(self, root: Any) -> Any:
        """Gives PCollections `photos` (Photos) and `rejects` (Reject)."""
        return (
            root
            | beam.Create([self.source])  # str, a glob
            | beam.FlatMap(list_files)  # list[str], paths
            | beam.Reshuffle()  # files, never photos
            | beam.ParDo(
                _ReadFiles(), self.source, self.with_images
            ).with_outputs("rejects", main="photos")
        )


class _ReadFiles(beam.DoFn):
    def process(
        self, paths: list[str], source: str, with_images: bool
    ) -> Iterator[Any]:
        if manifests.is_manifest(source):
            batches = read_manifest(paths[0], with_images)
        else:
            batches = [read_jpegs(paths, jpeg_root(source))]
        for photos, rejects in batches:
            for reject in rejects:
                yield beam.pvalue.TaggedOutput("rejects", reject)
            yield photos


def jpeg_root(source: str) -> str:
    """The directory that the ids of a source's JPEG files start from."""
    glob_at = min(source.find(c) % (len(source) + 1) for c in "*?[")
    if glob_at < len(source) or source.lower().endswith(_JPEG):
        return source[:glob_at].rpartition("/")[0]
    return source


def list_files(source: str) -> list[list[str]]:
    """Files of a source, sorted, in lists that are read by one worker each.

    Raises:
      SourceError: if there is none.
    """
    paths = [file.path for file in _match(source)]
    step = 1 if manifests.is_manifest(source) else _JPEGS_PER_BATCH
    return [paths[i : i + step] for i in range(0, len(paths), step)]


def _match(source: str) -> list[FileMetadata]:
    directory = (
        not manifests.is_manifest(source) and jpeg_root(source) == source
    )
    pattern = FileSystems.join(source, "**") if directory else source
    [match] = FileSystems.match([pattern])
    found = sorted(match.metadata_list, key=lambda file: file.path)
    if directory:
        found = [f for f in found if f.path.lower().endswith(_JPEG)]
    if not found:
        raise manifests.SourceError(
            f"no photos at {source}: needed is a CSV or Parquet file, a"
            " directory with JPEG files, or a glob that matches some"
        )
    for file in found:
        if file.path != file.path.encode(errors="replace").decode():
            raise manifests.SourceError(
                f"the name of {file.path!r} is no UTF-8: rename it"
            )
    return found


def check_source(source: str, with_images: bool = True) -> float:
    """When the files of a source were last changed, in Unix seconds.

    Raises:
      SourceError: if there are none, or the first one lacks columns.
    """
    matched = _match(source)
    if manifests.is_manifest(source):
        next(read_manifest(matched[0].path, with_images), None)
    return max(file.last_updated_in_seconds for file in matched)


def read_manifest(
    path: str, with_images: bool
) -> Iterator[tuple[Photos, list[Reject]]]:
    """Photos of a CSV or Parquet file in batches, and the rows that are none.

    Raises:
      SourceError: if it cannot be read or has not the columns.
    """
    name = posixpath.basename(path)
    for batch, numbers, malformed in manifests.read_rows(path):
        photos, rejects = parse_rows(
            manifests.find_columns(batch, path, with_images),
            [f"{name}:row {number}" for number in numbers],
            path.rpartition("/")[0],
            with_images,
        )
        for number, fault in malformed:
            row = f"{name}:row {number}"
            rejects.append(_reject(row, Reason.MALFORMED_ROW, fault))
        yield photos, rejects


def parse_rows(
    columns: Mapping[str, pa.Array],
    row_ids: Sequence[str],
    directory: str,
    with_images: bool,
) -> tuple[Photos, list[Reject]]:
    """Photos of rows of text or numbers, and the rows that are none.

    A photo without an id has its path as id, and without a path its row.
    """
    nothing = pa.nulls(len(row_ids), pa.string())
    owners, albums, paths, ids = (
        manifests.texts(columns.get(field, nothing))
        for field in ("owner_id", "album_id", "path", "photo_id")
    )
    ids = np.where(ids == "", paths, ids)
    ids = np.where(ids == "", np.array(row_ids, object), ids)
    places = [columns["lat"], columns["lng"]]
    lat, lng = map(manifests.numbers, places)
    reasons = coordinate_reasons(lat, lng)
    for missing in map(manifests.is_missing, places):
        reasons[missing] = Reason.MISSING_COORDINATES
    if with_images:
        reasons[(reasons == "") & (paths == "")] = Reason.MISSING_PATH
    photos = Photos(
        photo_id=ids,
        uri=np.array([_resolve(directory, path) for path in paths], object),
        lat=lat,
        lng=lng,
        owner_id=owners,
        album_id=albums,
        taken_at=manifests.times(columns.get("taken_at", nothing)),
    )
    return _drop(photos, reasons, *places)


def coordinate_reasons(lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
    """Why degrees are no place, (n,) Reason; "" where they are one."""
    reasons = np.full(lat.shape, "", object)
    reasons[~(np.abs(lng) <= 180)] = Reason.LNG_OUT_OF_RANGE
    reasons[~(np.abs(lat) <= 90)] = Reason.LAT_OUT_OF_RANGE
    reasons[np.isnan(lat) | np.isnan(lng)] = Reason.NOT_A_NUMBER
    return reasons


def read_jpegs(paths: Sequence[str], root: str) -> tuple[Photos, list[Reject]]:
    """Photos of JPEG files with a position, and the files without one.

    A photo's id is its path below `root`.
    """
    found, rejects = [], []
    for path in paths:
        name = path[len(root) :].lstrip("/")
        try:
            with files.open_photo(path) as file:
                lat, lng, taken_at = images.read_exif(file)
            found.append((name, path, lat, lng, "", "", taken_at))
        except PhotoError as error:
            rejects.append(_reject(name, error.reason, error.detail))
    photos = Photos.from_rows(found)
    reasons = coordinate_reasons(photos.lat, photos.lng)
    photos, bad = _drop(
        photos, reasons, *map(pa.array, [photos.lat, photos.lng])
    )
    return photos, rejects + bad


def _drop(
    photos: Photos, reasons: np.ndarray, lat: pa.Array, lng: pa.Array
) -> tuple[Photos, list[Reject]]:
    """Photos without a reason against them; the others, by what was there."""
    bad = np.flatnonzero(reasons != "")
    found = zip(
        manifests.texts(lat.take(bad)),
        manifests.texts(lng.take(bad)),
        strict=True,
    )
    rejects = [
        _reject(photos.photo_id[i], reasons[i], f"lat {lat!r}, lng {lng!r}")
        for i, (lat, lng) in zip(bad, found, strict=True)
    ]
    good = photos.take(reasons == "")
    wrapped = dataclasses.replace(good, lng=geometry.wrap_lng(good.lng))
    return wrapped, rejects


def _reject(photo_id: str, reason: Reason, detail: str) -> Reject:
    return Reject(photo_id, "read", reason, detail)


def _resolve(directory: str, path: str) -> str:
    if not path or "://" in path or not directory:
        return path
    return posixpath.join(directory, path)
