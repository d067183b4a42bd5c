"""Photos one by one, as archives and image files give them.

What is said of one has the names of a manifest's columns; a position that is
not said is looked for in the image.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

import numpy as np
import pyarrow as pa

from beam_pipelines import photos
from beam_pipelines.photos import Photos, Rows, Source
from planet_tf.photos import images, manifests, records
from planet_tf.photos.rejects import PhotoError, Reject


@dataclasses.dataclass(frozen=True)
class Sample:
    """A photo in a file: the whole file, or a part.

    Attributes:
      name: what it is called if it says no id.
      facts: what is said of it, as text, by our names.
      uri: the file.
      offset: the image's first byte there.
      length: its bytes.
      open: opens the image.
    """

    name: str
    facts: Mapping[str, str]
    uri: str
    offset: int
    length: int
    open: Callable[[], IO[bytes]]


def to_photos(
    found: Iterable[Sample | Reject], source: Source
) -> tuple[Photos, list[Reject]]:
    """Photos of samples, and those that are none.

    An image is opened when its sample comes, and only for a position that is
    not known otherwise. None is kept.
    """
    kept: list[tuple] = []
    rejects: list[Reject] = []
    for item in found:
        item = with_position(item, source)
        if isinstance(item, Reject):
            rejects.append(item)
        else:
            place = item.uri, item.offset, item.length
            kept.append((item.facts, item.name, *place))
    facts, *rest = zip(*kept, strict=True) if kept else [()] * 5
    kinds = (object, object, np.int64, np.int64)
    names, *places = map(np.array, rest, kinds)
    columns = {
        field: pa.array([said.get(field, "") for said in facts], pa.string())
        for field in manifests.COLUMNS
        if field != "path"
    }
    rows = Rows(lambda positions: names[positions].tolist(), *places)
    good, bad = photos.parse_photos(columns, rows, source)
    return good, rejects + bad


def with_position(item: Sample | Reject, source: Source) -> Sample | Reject:
    """A sample with the position of its EXIF, if its facts have none."""
    if isinstance(item, Reject) or source.table:
        return item
    facts = item.facts
    if "lat" in facts or "lng" in facts:
        return item
    try:
        with item.open() as file:
            lat, lng, taken_at = images.read_exif(file)
    except PhotoError as error:
        name = facts.get("photo_id", item.name)
        return Reject(name, "read", error.reason, error.detail)
    facts = {**facts, "lat": repr(lat), "lng": repr(lng)}
    if taken_at != records.UNKNOWN_TIME:
        facts.setdefault("taken_at", str(taken_at))
    return dataclasses.replace(item, facts=facts)


def facts_of(
    values: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, str]:
    """What a mapping says of a photo, by our names, as text."""
    lower = {str(key).strip().lower(): v for key, v in values.items()}
    found = {}
    for field, aliases in manifests.COLUMNS.items():
        names = [given[field].strip().lower()] if field in given else aliases
        value = next((lower[n] for n in names if n in lower), None)
        if field != "path" and value is not None and value != "":
            text = value if isinstance(value, str) else repr(value)
            # JSON may hold halves of characters, which no file can.
            found[field] = text.encode(errors="replace").decode()
    return found
