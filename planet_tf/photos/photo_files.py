"""Photos that people name: files, directories, globs, tars and manifests.

Photos are named by where their bytes are, thousands of them at once, and are
read when they are needed.
"""

import dataclasses
import glob
import itertools
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from etils import epath

from planet_tf.photos import images, manifests, tars
from planet_tf.photos.rejects import PhotoError, Reason, Reject

_GLOB = frozenset("*?[")
_TAR = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclasses.dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo by where its bytes are.

    Attributes:
      photo_id: what its answer is called.
      path: of the file that it is, or is in.
      offset: of its first byte there.
      length: of it in bytes; -1: to the end.
    """

    photo_id: str
    path: str
    offset: int = 0
    length: int = -1

    def read(self) -> bytes:
        """Its bytes; PhotoError if they are not there."""
        try:
            with open_file(self.path) as file:
                if self.offset:
                    file.seek(self.offset)
                data = file.read(self.length)
        except FileNotFoundError as error:
            raise PhotoError(
                Reason.MISSING_FILE, "there is no such file"
            ) from error
        except (OSError, ValueError) as error:  # ValueError: a zero in a path
            cause = getattr(error, "strerror", None) or str(error)
            raise PhotoError(Reason.UNREADABLE_FILE, cause) from error
        if len(data) < self.length:
            raise PhotoError(
                Reason.TRUNCATED_ARCHIVE,
                f"{self.path} has {len(data)} of the {self.length} bytes from"
                f" {self.offset} on",
            )
        return data


def open_file(path: str) -> BinaryIO:
    """A file to read, on this machine or wherever etils finds it."""
    return epath.Path(path).open("rb") if "://" in path else open(path, "rb")  # noqa: SIM115


def sources(names: Iterable[str]) -> list[list[str]]:
    """What is named, in the order it is named: image files, tars, manifests.

    Files below a directory and those that a glob names are sorted, and each
    file is there once. A name of nothing stays what it is, for whoever reads it
    to say so.

    Returns:
      Paths: of images that follow each other, or of one tar or manifest.

    Raises:
      SourceError: for archives of which photos cannot be read singly.
    """
    paths = dict.fromkeys(itertools.chain.from_iterable(map(_find, names)))
    for path in paths:
        if path.lower().endswith(_PACKED):
            raise manifests.SourceError(
                f"{path}: photos in a packed archive cannot be read singly;"
                " unpack it to a plain .tar, or to files"
            )
    found: list[list[str]] = []
    for alone, run in itertools.groupby(paths, _holds_photos):
        some = list(run)
        found += [[path] for path in some] if alone else [some]
    return found


def photos(paths: Sequence[str]) -> Iterator[PhotoFile | Reject]:
    """The photos of one of `sources`, and what in it is none.

    Raises:
      SourceError: if a manifest cannot be read, or has no column of paths.
    """
    if not _holds_photos(paths[0]):
        return (PhotoFile(path, path) for path in paths)
    [path] = paths
    return (_in_tar if path.lower().endswith(_TAR) else _in_manifest)(path)


def find(names: Iterable[str]) -> list[PhotoFile | Reject]:
    """All photos that are named, in order, and what is none.

    Raises:
      SourceError: as `sources` and `photos`.
    """
    return [item for source in sources(names) for item in photos(source)]


def _find(name: str) -> list[str]:
    if "://" in name:
        return _find_elsewhere(name)
    if os.path.isdir(name):
        return sorted(
            os.path.join(parent, file)
            for parent, _, files in os.walk(name)
            for file in files
            if _is_image(file)
        )
    if _GLOB & set(name) and not os.path.exists(name):
        found = filter(os.path.isfile, glob.glob(name, recursive=True))
        return sorted(found) or [name]
    return [name]


def _find_elsewhere(name: str) -> list[str]:
    if _GLOB & set(name):
        at = min(i for i, c in enumerate(name) if c in _GLOB)
        start = name[:at].rpartition("/")[0]
        found = epath.Path(start).glob(name[len(start) + 1 :])
        return sorted(map(os.fspath, found)) or [name]
    path = epath.Path(name)
    if path.is_dir():
        found = map(os.fspath, path.rglob("*"))
        return sorted(filter(_is_image, found))
    return [name]


def _is_image(name: str) -> bool:
    return name.lower().endswith(images.SUFFIXES)


def _holds_photos(path: str) -> bool:
    return path.lower().endswith(_TAR) or manifests.is_manifest(path)


def _in_tar(path: str) -> Iterator[PhotoFile | Reject]:
    """The image files of a tar, whose ids are as if it were a directory."""
    try:
        file = open_file(path)
    except OSError as error:
        cause = error.strerror or error
        raise manifests.SourceError(f"cannot read {path}: {cause}") from error
    with file:
        for _, _, members in tars.samples(file, path):
            for member in members:
                if isinstance(member, Reject):
                    yield member
                elif _is_image(member.name):
                    photo_id = posixpath.join(path, member.name)
                    place = member.offset_data, member.size
                    yield PhotoFile(photo_id, path, *place)


def _in_manifest(path: str) -> Iterator[PhotoFile | Reject]:
    """The rows of a manifest, whose paths are from where it is."""
    directory = path.rpartition("/")[0]
    for batch in manifests.read_rows(path, ("path",), {}, False, open_file):
        files = manifests.texts(batch.columns["path"])
        ids = files
        if "photo_id" in batch.columns:
            given = manifests.texts(batch.columns["photo_id"])
            ids = np.where(given == "", files, given)
        for photo_id, file, number in zip(
            ids, files, batch.numbers, strict=True
        ):
            if file:
                yield PhotoFile(photo_id, _below(directory, file))
            else:
                where = photo_id or f"{path}:row {number}"
                yield Reject(where, "read", Reason.MISSING_PATH, "no path")
        for number, fault in batch.malformed:
            yield Reject(
                f"{path}:row {number}", "read", Reason.MALFORMED_ROW, fault
            )


def _below(directory: str, path: str) -> str:
    if not directory or "://" in path:
        return path
    return posixpath.join(directory, path)
