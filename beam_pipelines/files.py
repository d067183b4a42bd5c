"""Files of the Beam programs, on any file system that Beam knows.

What is written gets a temporary name and is renamed when it is whole, so that
a file with its proper name is never half a file.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from planet_tf.photos.rejects import PhotoError, Reason

INCOMPLETE = ".incomplete"  # how temporary names end


def full_path(path: str) -> str:
    """The path with its directory: Beam cannot create a bare file name."""
    return path if "://" in path else os.path.abspath(path)


@contextlib.contextmanager
def create(path: str) -> Iterator[BinaryIO]:
    """A file to write bytes to, which appears when the block has ended.

    Two workers that write the same file at once do not disturb each other.
    """
    temporary = f"{path}.{uuid.uuid4().hex}{INCOMPLETE}"
    with FileSystems.create(
        temporary, compression_type=CompressionTypes.UNCOMPRESSED
    ) as file:
        yield file
    FileSystems.rename([temporary], [path])


def write(path: str, data: bytes) -> None:
    """Writes a whole file."""
    with create(path) as file:
        file.write(data)


def open_file(path: str) -> BinaryIO:
    """A file to read as it is, without unpacking."""
    return FileSystems.open(
        path, compression_type=CompressionTypes.UNCOMPRESSED
    )


def read(path: str) -> bytes:
    """Reads a whole file as it is, without unpacking."""
    with open_file(path) as file:
        return file.read()


def write_json(value: Any, path: str) -> None:
    """Writes a value as JSON, always the same bytes."""
    write(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def names(directory: str) -> list[str]:
    """Paths of the files below a directory, from there; [] if there is none."""
    [match] = FileSystems.match([join(directory, "**")])
    start = len(join(directory, ""))
    return sorted(found.path[start:] for found in match.metadata_list)


def changed(path: str) -> float:
    """When a file was last changed, in Unix seconds."""
    return FileSystems.last_updated(path)


def join(directory: str, name: str) -> str:
    """The path of a file in a directory."""
    return f"{directory.rstrip('/')}/{name}"


def delete(paths: list[str]) -> None:
    """Deletes files."""
    FileSystems.delete(paths)


def read_photo(uri: str, offset: int, length: int) -> bytes:
    """Bytes of a file, all of them from `offset` if `length` is negative.

    Raises:
      PhotoError: if there is no such file, or it ends before.
    """
    with open_photo(uri) as file:
        if offset:
            file.seek(offset)
        data = file.read(length) if length >= 0 else file.read()
    if len(data) < length:
        raise PhotoError(
            Reason.TRUNCATED_ARCHIVE,
            f"{uri} has {len(data)} of the {length} bytes from {offset} on",
        )
    return data


def open_photo(uri: str) -> BinaryIO:
    """An image file to read; PhotoError if there is none."""
    try:
        return open_file(uri)
    except (OSError, ValueError) as error:
        try:
            exists = FileSystems.exists(uri)
        except ValueError as unknown:  # no file system has such names
            raise PhotoError(Reason.UNREADABLE_FILE, str(unknown)) from error
        if not exists:
            raise PhotoError(Reason.MISSING_FILE, f"no file {uri}") from error
        if isinstance(error, (PermissionError, IsADirectoryError)):
            raise PhotoError(Reason.UNREADABLE_FILE, str(error)) from error
        raise  # it may be the network, so that the runner tries again
