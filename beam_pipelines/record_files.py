"""Record files read again, as a check and not to train: photos and labels."""

import dataclasses
import hashlib
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2

from beam_pipelines import archives, files
from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition
from planet_tf.photos.records import Photo
from planet_tf.photos.rejects import PhotoError

DIGEST_BYTES = 16  # of an image's hash
_METRE = 1e-3  # in km; lat and lng are stored this well, as float32
# Of a record in its file: length, and that one's checksum.
_FRAME_HEAD = struct.Struct("<QI")
_READ_BYTES = 1 << 20


class Row(NamedTuple):
    """A record without its image."""

    offset: int
    image: bytes  # the hash
    photo: Photo


@dataclasses.dataclass(frozen=True)
class FileContent:
    """What could be read of a record file.

    Attributes:
      rows: its photos.
      bytes: its size.
      sha256: of the whole file; "" if it cannot be opened.
      problems: what is wrong with it.
    """

    rows: list[Row]
    bytes: int
    sha256: str
    problems: list[str]


class _Hashing:
    """A file that is read once, from front to back."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        self.bytes += len(data)
        return data


def read_file(path: str) -> FileContent:
    """Reads a record file up to what is wrong with its frames."""
    rows, problems = [], []
    try:
        with files.open_photo(path) as opened:
            file = _Hashing(opened)
            try:
                for offset, data in archives.read_frames(file):
                    try:
                        rows.append(_row(offset, decode_photo(data)))
                    except ValueError as error:
                        problems.append(f"record at byte {offset}: {error}")
            except PhotoError as error:
                problems.append(str(error))
            while file.read(_READ_BYTES):
                pass  # the rest belongs to the checksum
    except PhotoError as error:
        return FileContent([], 0, "", [str(error)])
    return FileContent(rows, file.bytes, file.digest.hexdigest(), problems)


def decode_photo(data: bytes) -> Photo:
    """The photo of a serialised tf.Example; ValueError if it is none."""
    try:
        features = tf_example_pb2.Example.FromString(data).features.feature
    except DecodeError as error:
        raise ValueError(f"no tf.Example: {error}") from error
    values = {}
    for field in dataclasses.fields(Photo):
        kind = features[field.name].WhichOneof("kind")
        found = getattr(features[field.name], kind).value if kind else []
        if len(found) != 1:
            raise ValueError(f"{field.name} has {len(found)} values, not one")
        value = found[0]
        if field.type is str and isinstance(value, bytes):
            value = value.decode()
        wanted: Any = field.type
        if not isinstance(value, wanted):
            raise ValueError(f"{field.name} is {value!r}: no {wanted}")
        values[field.name] = value
    return Photo(**values)


def read_photo_at(path: str, offset: int) -> Photo:
    """The photo whose data begin at an offset of a record file."""
    head = files.read_photo(path, offset - _FRAME_HEAD.size, _FRAME_HEAD.size)
    length, _ = _FRAME_HEAD.unpack(head)
    return decode_photo(files.read_photo(path, offset, length))


def _row(offset: int, photo: Photo) -> Row:
    image = hashlib.blake2b(photo.image, digest_size=DIGEST_BYTES).digest()
    return Row(offset, image, dataclasses.replace(photo, image=b""))


def latlng(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of the photos, two (n,)."""
    lat = np.array([row.photo.lat for row in rows], np.float64)
    lng = np.array([row.photo.lng for row in rows], np.float64)
    return lat, lng


def wrong_labels(rows: Sequence[Row], partition: Partition) -> list[str]:
    """What is wrong with places, labels and tokens.

    A place within a metre of the label's cell is fine, since the record has
    it rounded.
    """
    lat, lng = latlng(rows)
    valid = (np.abs(lat) <= 90) & (np.abs(lng) <= 180)  # no NaN either
    labels = np.full(len(rows), -1)
    labels[valid] = partition.labels(lat[valid], geometry.wrap_lng(lng[valid]))
    causes = []
    for row, ok, label in zip(rows, valid, labels.tolist(), strict=True):
        photo = row.photo
        if not ok:
            cause = "no such place"
        elif not 0 <= photo.label < partition.num_classes:
            cause = f"the partition has {partition.num_classes} classes"
        elif partition.token(photo.label) != photo.token:
            cause = f"the label's token is {partition.token(photo.label)}"
        elif photo.label != label and not _is_near(photo, label, partition):
            cause = f"the partition's label there is {label}"
        else:
            continue
        causes.append(
            f"photo {photo.photo_id}, label {photo.label}, token"
            f" {photo.token}, lat {photo.lat}, lng {photo.lng}: {cause}"
        )
    return causes


def _is_near(photo: Photo, label: int, partition: Partition) -> bool:
    """Whether a photo is within a metre of where its label is right."""
    # The class "other" begins where the cell that holds the photo ends.
    is_other = partition.other_class and photo.label == 0
    token = partition.token(label) if is_other else photo.token
    return km_to_outline(token, photo.lat, photo.lng) <= _METRE


def km_to_outline(token: str, lat: float, lng: float) -> float:
    """Distance in km of a point from the edges of a cell."""
    point = geometry.to_vectors(lat, lng)
    start = geometry.to_vectors(*geometry.cell_outline(token).T)
    end = np.roll(start, -1, 0)
    normal = np.cross(start, end)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    # Beside the edge and not beyond its ends: on the inner side of both.
    beside = (np.cross(normal, start) @ point > 0) & (
        np.cross(end, normal) @ point > 0
    )
    to_edge = np.where(beside, np.arcsin(np.abs(normal @ point)), np.inf)
    corners = np.linalg.norm(start - point, axis=-1)
    nearest = min(to_edge.min(), 2 * np.arcsin(corners.min() / 2))
    return float(nearest * geometry.EARTH_RADIUS_KM)
