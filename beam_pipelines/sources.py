"""Sources of photos: what a name stands for, and how it is read.

- `*.csv`, `*.tsv` (also `.gz`), `*.parquet`, `*.pq`: manifests, with a row for
  each photo and paths from where the manifest is.
- a directory, searched for image files; or a glob or path of such: photos with
  a position in their EXIF.
- `*.tar` (WebDataset), `*.msg`, `*.msgpack` (as MP-16 circulates).
- `tfds:NAME/SPLIT`, a data set that TFDS has prepared as TFRecord files, or
  `tfds:DIRECTORY/SPLIT`.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import logging
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from beam_pipelines import archives, files, photos, samples, tables
from beam_pipelines.photos import Photos, Places, Source
from planet_tf.photos import images, manifests
from planet_tf.photos.manifests import SourceError
from planet_tf.photos.rejects import Reason, Reject

_ARCHIVES = (".tar", ".msg", ".msgpack")
_TFDS = "tfds:"
_IMAGES_PER_BATCH = 256
_THREADS = 16  # at once waiting for the heads of image files
_ACCEPTED = (
    "accepted are a manifest (*.csv, *.tsv, *.parquet), a directory or glob of"
    f" images ({', '.join('*' + kind for kind in images.SUFFIXES)}), a glob of"
    " archives (*.tar, *.msg) or tfds:NAME/SPLIT"
)


@dataclasses.dataclass(eq=False)
class ReadPhotos(beam.PTransform):
    """Photos of a source, in batches, and what in it is no photo.

    Attributes:
      source: what is read.
      with_images: whether a photo needs an image or only coordinates.
    """

    source: Source
    with_images: bool = True

    def expand(self, root: Any) -> Any:
        """Gives PCollections `photos` (Photos, or Places) and `rejects`."""
        source = self.source
        read = functools.partial(
            read_files,
            source=source,
            # With a table, places are known when photos have met their rows.
            with_images=self.with_images or bool(source.table),
        )
        found = root | "Photos" >> _ReadFiles(source.photos, read)
        if not source.table:
            return found
        read_rows = functools.partial(read_table, source=source)
        table = root | "Table" >> _ReadFiles(source.table, read_rows)
        joined = {"photos": found.photos, "table": table.photos} | (
            tables.JoinTable(source.table)
        )
        rejects = (
            found.rejects,
            table.rejects,
            joined.rejects,
        ) | beam.Flatten()
        if self.with_images:
            return Found(joined.photos, rejects)
        return Found(joined.photos | beam.Map(_places), rejects)


class Found(NamedTuple):
    """What ReadPhotos gives: Photos or Places, and Reject."""

    photos: beam.PCollection
    rejects: beam.PCollection


def _places(found: Photos) -> Places:
    return Places(found.lat, found.lng)


# Gives batches of the files of one item of `list_files`, and what is no photo.
_Reader = Callable[[Sequence[str]], Iterator[tuple[Any, list[Reject]]]]


@dataclasses.dataclass(eq=False)
class _ReadFiles(beam.PTransform):
    name: str
    read: _Reader

    def expand(self, root: Any) -> Any:
        return (
            root.pipeline
            | beam.Create([self.name])  # str, of a source
            | beam.FlatMap(list_files)  # list[str], paths
            | beam.Reshuffle()  # files, never photos
            | beam.ParDo(_Read(self.read)).with_outputs(
                "rejects", main="photos"
            )
        )


@dataclasses.dataclass(eq=False)
class _Read(beam.DoFn):
    read: _Reader

    def setup(self) -> None:
        logging.getLogger(beam.runners.common.__name__).addFilter(_is_news)

    def process(self, paths: list[str]) -> Iterator[Any]:
        for found, rejects in self.read(paths):
            for reject in rejects:
                yield beam.pvalue.TaggedOutput("rejects", reject)
            yield found


def _is_news(record: logging.LogRecord) -> bool:
    """Whether it is no fault of a source, which programs tell in a line."""
    return not record.exc_info or not isinstance(
        record.exc_info[1], SourceError
    )


def read_files(
    paths: Sequence[str], source: Source, with_images: bool
) -> Iterator[tuple[Photos | Places, list[Reject]]]:
    """Photos of one item of `list_files`, and what in it is no photo.

    Raises:
      SourceError: if a file cannot be read, or has not the columns.
    """
    if manifests.is_manifest(source.photos):
        if not with_images:
            yield from read_places(paths[0], source)
            return
        needed = ("path",) if source.table else ("lat", "lng", "path")
        batches = read_manifest(paths[0], source, needed)
    elif _in_archives(source.photos):
        batches = archives.read_archive(paths[0], source)
    else:
        batches = iter([read_images(paths, source)])
    for found, rejects in batches:
        yield (found if with_images else _places(found)), rejects


def list_files(name: str) -> list[list[str]]:
    """Files of a source, sorted, in lists that are read by one worker each.

    Raises:
      SourceError: if there is none.
    """
    if name.startswith(_TFDS):
        paths = _tfds_files(name)
    else:
        paths = [file.path for file in _match(name)]
    alone = manifests.is_manifest(name) or _in_archives(name)
    step = 1 if alone else _IMAGES_PER_BATCH
    return [paths[i : i + step] for i in range(0, len(paths), step)]


def check_source(source: Source, with_images: bool = True) -> None:
    """Checks what can be checked of a source before a pipeline starts.

    Raises:
      SourceError: if there are no files, or the first one lacks columns.
    """
    first = list_files(source.photos)[0]
    if manifests.is_manifest(source.photos) or _in_archives(source.photos):
        with_images = with_images or bool(source.table)
        next(read_files(first, source, with_images), None)
    if source.table:
        if not manifests.is_manifest(source.table):
            raise SourceError(
                f"--table={source.table} must be a CSV or Parquet file"
            )
        [path], *_ = list_files(source.table)
        next(read_table([path], source), None)


def _in_archives(name: str) -> bool:
    return name.startswith(_TFDS) or name.lower().endswith(_ARCHIVES)


def image_root(name: str) -> str:
    """The directory that the ids of a source's image files start from."""
    glob_at = min(name.find(c) % (len(name) + 1) for c in "*?[")
    if glob_at < len(name) or name.lower().endswith(images.SUFFIXES):
        return name[:glob_at].rpartition("/")[0]
    return name


def root(name: str) -> str:
    """The directory that a source's files are below; "" if it has no such."""
    if name.startswith(_TFDS):
        return ""
    below = image_root(name)
    alone = manifests.is_manifest(name) or _in_archives(name)
    return name.rpartition("/")[0] if alone and below == name else below


def _match(name: str) -> list[FileMetadata]:
    if name.lower().endswith((".tar.gz", ".tgz")):
        raise SourceError(
            f"{name}: photos in a packed tar cannot be read singly; unpack it"
            " to a plain .tar (gunzip)"
        )
    alone = manifests.is_manifest(name) or _in_archives(name)
    directory = not alone and image_root(name) == name
    pattern = FileSystems.join(name, "**") if directory else name
    [match] = FileSystems.match([pattern])
    found = sorted(match.metadata_list, key=lambda file: file.path)
    taken = found
    if directory:
        taken = [f for f in found if f.path.lower().endswith(images.SUFFIXES)]
    if not taken:
        there = _there(found)
        if not found and FileSystems.exists(name):
            there = "it is there, but of no kind that is known by its name"
        raise SourceError(f"no photos at {name}: {there}; {_ACCEPTED}")
    for file in taken:
        if file.path != file.path.encode(errors="replace").decode():
            raise SourceError(
                f"the name of {file.path!r} is no UTF-8: rename it"
            )
    return taken


def _there(found: Sequence[FileMetadata]) -> str:
    """What is at a place where no images are."""
    kinds = collections.Counter(
        posixpath.splitext(file.path)[1].lower() or "without extension"
        for file in found
    )
    if not kinds:
        return "there are no files of that name"
    some = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common(5))
    more = ", ..." if len(kinds) > 5 else ""
    return f"there are {some}{more} (name them by a glob, as in DIR/*.csv)"


def _tfds_files(name: str) -> list[str]:
    """Record files of a data set's split."""
    import tensorflow_datasets as tfds

    data_set, _, split = name.removeprefix(_TFDS).rpartition("/")
    try:
        if FileSystems.exists(files.join(data_set, "features.json")):
            builder = tfds.builder_from_directory(data_set)
        else:
            builder = tfds.core.read_only_builder.builder_from_files(data_set)
    except Exception as error:  # TFDS has many, and no common one
        raise SourceError(
            f"{name}: no prepared data set {data_set!r}; needed is"
            " tfds:NAME/SPLIT of one that `tfds build NAME` has prepared, or"
            f" its directory ({error})"
        ) from error
    splits = builder.info.splits
    if split not in splits:
        raise SourceError(
            f"{name}: no split {split!r}; there are {', '.join(splits)}"
        )
    paths = [str(path) for path in splits[split].filepaths]
    if not all(".tfrecord" in posixpath.basename(path) for path in paths):
        raise SourceError(f"{name}: its files are no TFRecord files")
    return paths


def read_manifest(
    path: str, source: Source, needed: Sequence[str]
) -> Iterator[tuple[Photos, list[Reject]]]:
    """Photos of a CSV or Parquet file in batches, and the rows that are none.

    Raises:
      SourceError: if it cannot be read or has not the columns.
    """
    directory = path.rpartition("/")[0]
    columns = source.columns
    if source.table:  # which the other names are of
        columns = {
            k: v for k, v in columns.items() if k in ("photo_id", "path")
        }
    for batch in manifests.read_rows(
        path, needed, columns, False, files.open_file
    ):
        count = len(batch.numbers)
        uri = np.full(count, path, object)  # a table has no images
        if "path" in needed:
            uri = _resolve(directory, manifests.texts(batch.columns["path"]))
        rows = photos.Rows(
            names=_row_names(path, batch),
            uri=uri,
            offset=np.zeros(count, np.int64),
            length=np.full(count, photos.TO_THE_END),
        )
        found, rejects = photos.parse_photos(batch.columns, rows, source)
        yield found, rejects + _malformed(path, batch)


def read_table(
    paths: Sequence[str], source: Source
) -> Iterator[tuple[Photos, list[Reject]]]:
    """Rows of one item of `list_files`, as of photos without images.

    Raises:
      SourceError: if it cannot be read or has not the columns.
    """
    columns = {k: v for k, v in source.columns.items() if k != "path"}
    alone = Source("", columns, keep_null_island=source.keep_null_island)
    yield from read_manifest(paths[0], alone, tables.NEEDED)


def read_places(
    path: str, source: Source
) -> Iterator[tuple[Places, list[Reject]]]:
    """Places of a CSV or Parquet file in batches, and rows that are none.

    Raises:
      SourceError: if it cannot be read or has not the columns.
    """
    needed = ("lat", "lng")
    for batch in manifests.read_rows(
        path, needed, source.columns, True, files.open_file
    ):
        found, rejects = photos.parse_places(
            batch.columns, _row_names(path, batch), source
        )
        yield found, rejects + _malformed(path, batch)


def _row_names(path: str, batch: manifests.Batch) -> Any:
    name = posixpath.basename(path)
    return lambda rows: [f"{name}:row {n}" for n in batch.numbers[rows]]


def _malformed(path: str, batch: manifests.Batch) -> list[Reject]:
    name = posixpath.basename(path)
    return [
        Reject(f"{name}:row {number}", "read", Reason.MALFORMED_ROW, complaint)
        for number, complaint in batch.malformed
    ]


def read_images(
    paths: Sequence[str], source: Source
) -> tuple[Photos, list[Reject]]:
    """Photos of image files with a position, and the files without one.

    A photo's id is its path below the source's directory.
    """
    root = image_root(source.photos)
    found: Iterable[samples.Sample | Reject] = [
        samples.Sample(
            name=path[len(root) :].lstrip("/"),
            facts={},
            uri=path,
            offset=0,
            length=photos.TO_THE_END,
            open=functools.partial(files.open_photo, path),
        )
        for path in paths
    ]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(samples.with_position, found, itertools.repeat(source))
        return samples.to_photos(found, source)


def _resolve(directory: str, paths: np.ndarray) -> np.ndarray:
    """Paths (n,) from a manifest's directory; "" stays."""
    return np.array(
        [
            path
            if not path or "://" in path or not directory
            else posixpath.join(directory, path)
            for path in paths
        ],
        object,
    )
