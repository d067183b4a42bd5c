"""Photos inside larger files: tar, msgpack and TFRecord, by reference.

An image is named by the file that it is in, its first byte there and its
length; whoever writes shards reads just these bytes. What an archive says of a
photo has the names of a manifest's columns.
"""

import functools
import io
import itertools
import json
import posixpath
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO, Protocol, cast

import msgpack
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from beam_pipelines import files, samples
from beam_pipelines.photos import Photos, Source
from beam_pipelines.samples import Sample
from planet_tf.photos import images, manifests, records, tars
from planet_tf.photos.rejects import PhotoError, Reason, Reject

# Features and keys that hold an image, beside a manifest's names for paths.
_IMAGE_KEYS = ("jpeg", "image/encoded", "image_bytes", "encoded")
_PHOTOS_PER_BATCH = 1024
_FRAME_HEAD = struct.Struct("<Q4s")  # of a record: length and its checksum
_MAX_RECORD_BYTES = 1 << 30


def read_archive(
    path: str, source: Source
) -> Iterator[tuple[Photos, list[Reject]]]:
    """Photos of an archive in batches, and what in it is no photo.

    Raises:
      SourceError: if it cannot be opened.
    """
    read = _reader(path)
    try:
        with files.open_photo(path) as file:
            found = read(file, path, source.columns)
            for first in found:
                some = itertools.islice(found, _PHOTOS_PER_BATCH - 1)
                yield samples.to_photos(itertools.chain([first], some), source)
    except PhotoError as error:
        raise manifests.SourceError(f"cannot read {path}: {error}") from error


def _reader(path: str) -> Callable[..., Iterator[Sample | Reject]]:
    if path.lower().endswith(".tar"):
        return read_tar
    if path.lower().endswith((".msg", ".msgpack")):
        return read_msgpack
    return read_examples


def read_tar(
    file: BinaryIO, uri: str, given: Mapping[str, str]
) -> Iterator[Sample | Reject]:
    """Samples of a WebDataset: members with one path up to the first dot."""
    name = posixpath.basename(uri)
    for tar, key, members in tars.samples(file, name):
        faults = [member for member in members if isinstance(member, Reject)]
        if tar is None or faults:
            yield from faults
        else:
            whole = [m for m in members if isinstance(m, tarfile.TarInfo)]
            yield _tar_sample(tar, uri, key, whole, given)


def _tar_sample(
    tar: tarfile.TarFile,
    uri: str,
    key: str,
    group: Sequence[tarfile.TarInfo],
    given: Mapping[str, str],
) -> Sample | Reject:
    members = {m.name[len(key) :].lower(): m for m in group}
    image = next((members[x] for x in images.SUFFIXES if x in members), None)
    where = f"{posixpath.basename(uri)}/{key}"
    if image is None:
        there = ", ".join(m.name for m in group)
        detail = f"no image: {there}"
        return Reject(where, "read", Reason.MISSING_PATH, detail)
    facts: Any = {}
    if ".json" in members:
        text = _open(tar, members[".json"]).read()
        try:
            facts = json.loads(text)
            facts = samples.facts_of(facts, given)
        except (ValueError, AttributeError, RecursionError):
            detail = f"no JSON object: {text[:40]!r}"
            return Reject(where, "read", Reason.MALFORMED_ROW, detail)
    return Sample(
        name=key,
        facts=facts,
        uri=uri,
        offset=image.offset_data,
        length=image.size,
        open=functools.partial(_open, tar, image),
    )


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """A file of a tar, which all members are that `tars` gives."""
    return cast(IO[bytes], tar.extractfile(member))


def read_msgpack(
    file: BinaryIO, uri: str, given: Mapping[str, str]
) -> Iterator[Sample | Reject]:
    """Samples of maps, one after the other, as MP-16 circulates."""
    # Raw: older writers made no difference between text and bytes.
    unpacker = msgpack.Unpacker(file, raw=True, max_buffer_size=1 << 30)
    for number in itertools.count(1):
        where = f"{posixpath.basename(uri)}:record {number}"
        start = unpacker.tell()
        try:
            found = _unpack_map(unpacker)
        except msgpack.OutOfData:
            if unpacker.tell() != start or tars.is_there(file, start):
                detail = f"it ends within the record at byte {start}"
                yield Reject(where, "read", Reason.TRUNCATED_ARCHIVE, detail)
            return
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            detail = f"no map at byte {start}, the rest is not read: {error}"
            yield Reject(where, "read", Reason.MALFORMED_ARCHIVE, detail)
            return
        if found:
            yield _mapped_sample(where, uri, *found, given)


def _unpack_map(
    unpacker: msgpack.Unpacker,
) -> tuple[dict[str, Any], dict[str, int]] | None:
    """A map, and where the bytes of its values start.

    None for a nil: downloaders leave one for a photo that they did not get.
    """
    try:
        count = unpacker.read_map_header()
    except ValueError:
        if unpacker.unpack() is None:
            return None
        raise
    values, places = {}, {}
    for _ in range(count):
        key = unpacker.unpack()
        key = key.decode() if isinstance(key, bytes) else str(key)
        values[key] = unpacker.unpack()
        if isinstance(values[key], bytes):
            places[key] = unpacker.tell() - len(values[key])
    return values, places


def _mapped_sample(
    where: str,
    uri: str,
    values: Mapping[str, Any],
    places: Mapping[str, int],
    given: Mapping[str, str],
) -> Sample | Reject:
    """A sample of a mapping in which the image is a value."""
    key = _image_key(places)
    if key is None:
        there = ", ".join(sorted(values))
        return Reject(
            where, "read", Reason.MISSING_PATH, f"no image among: {there}"
        )
    texts = {
        name: value.decode(errors="replace")
        if isinstance(value, bytes)
        else value
        for name, value in values.items()
        if name != key
    }
    data = values[key]
    return Sample(
        name=where,
        facts=samples.facts_of(texts, given),
        uri=uri,
        offset=places[key],
        length=len(data),
        open=lambda: io.BytesIO(data),
    )


def _image_key(places: Mapping[str, Any]) -> str | None:
    lower = {key.lower(): key for key in places}
    names = (*manifests.COLUMNS["path"], *_IMAGE_KEYS)
    return next((lower[name] for name in names if name in lower), None)


def read_examples(
    file: BinaryIO, uri: str, given: Mapping[str, str]
) -> Iterator[Sample | Reject]:
    """Samples of a TFRecord file of tf.Examples."""
    number, name = 0, posixpath.basename(uri)
    try:
        for number, (offset, data) in enumerate(read_frames(file), 1):
            where = f"{posixpath.basename(uri)}:record {number}"
            try:
                values = _example(data)
            except DecodeError as error:
                detail = f"no tf.Example: {error}"
                yield Reject(where, "read", Reason.MALFORMED_ROW, detail)
                continue
            places = {
                key: offset + data.find(value)
                for key, value in values.items()
                if isinstance(value, bytes)
            }
            yield _mapped_sample(where, uri, values, places, given)
    except PhotoError as error:
        where = f"{name}:record {number + 1}"
        yield Reject(where, "read", error.reason, error.detail)


def _example(data: bytes) -> dict[str, Any]:
    """The features of a tf.Example that have one value."""
    example = tf_example_pb2.Example.FromString(data)
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found: Sequence[Any] = getattr(feature, kind).value if kind else ()
        if len(found) == 1:
            values[name] = found[0]
    return values


class Readable(Protocol):
    """What bytes are read from, front to back."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes, fewer at the end."""


def read_frames(file: Readable) -> Iterator[tuple[int, bytes]]:
    """Records of a TFRecord file, each with where its data starts.

    Raises:
      PhotoError: at the first record that is cut off or has a wrong checksum.
    """
    start = 0
    while head := file.read(_FRAME_HEAD.size):
        length = 0
        if len(head) == _FRAME_HEAD.size:
            length, check = _FRAME_HEAD.unpack(head)
            if check != records.masked_crc(head[:8]):
                raise _bad_frame(start, "the checksum of its length is wrong")
        if length > _MAX_RECORD_BYTES:
            raise _bad_frame(start, f"it says it has {length} bytes")
        body = file.read(length + 4)
        if len(head) < _FRAME_HEAD.size or len(body) < length + 4:
            raise PhotoError(
                Reason.TRUNCATED_ARCHIVE,
                f"it ends within the record at byte {start}",
            )
        data, check = body[:-4], body[-4:]
        if check != records.masked_crc(data):
            raise _bad_frame(start, "its checksum is wrong")
        yield start + _FRAME_HEAD.size, data
        start += len(head) + len(body)


def _bad_frame(start: int, what: str) -> PhotoError:
    return PhotoError(
        Reason.MALFORMED_ARCHIVE,
        f"record at byte {start}, the rest is not read: {what}",
    )
