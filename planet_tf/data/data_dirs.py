"""Finished directories of record files: shards of photos, and albums."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from planet_tf.geo import partition as partition_lib
from planet_tf.photos import records


class DataError(ValueError):
    """Records that are missing, unfinished or do not fit their partition."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordFiles:
    """A finished directory of record files.

    Attributes:
      directory: where it is.
      partition: the classes.
      fingerprint: of the record files.
      files: record files of each split, with the records in each.
      what: the plural of a record.
      option: of the program that trains on them.
      model_options: of that program, which say how large the model is.
    """

    directory: str
    partition: partition_lib.Partition
    fingerprint: str
    files: dict[str, tuple[tuple[str, int], ...]]
    what: ClassVar[str]
    option: ClassVar[str]
    model_options: ClassVar[str]

    def split(self, name: str) -> tuple[tuple[str, int], ...]:
        """(path, records) of each file of a split that holds any."""
        found = [(p, n) for p, n in self.files.get(name, ()) if n]
        if not found:
            raise DataError(
                f"{self.directory} has no {self.what} in split {name!r}; it"
                f" has {', '.join(self.files) or 'none'}"
            )
        return tuple(found)

    def count(self, name: str) -> int:
        """Records in a split."""
        return sum(n for _, n in self.split(name))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in an epoch; DataError if there is none."""
        count = self.count("train")
        steps = count // batch_size
        if not steps:
            raise DataError(
                f"{count} training {self.what} do not fill a batch of"
                f" {batch_size}; lower --batch_size"
            )
        return steps

    def record_bytes(self) -> float:
        """About the size of a record."""
        path, count = self.split("train")[0]
        return tf.io.gfile.stat(path).length / count

    def facts(self) -> dict[str, Any]:
        """What a model directory says of them, beside the fingerprints."""
        raise NotImplementedError

    def companions(self) -> Sequence[str]:
        """Directories beside them that a model directory has copies of."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shards(RecordFiles):
    """Shards of photos.

    Attributes:
      image_size: what photos' short sides were scaled down to, in pixels.
      split_rule: by what photos were split: `seed` and `fractions`; None if
        the shards do not say.
    """

    image_size: int
    split_rule: dict[str, Any] | None
    what: ClassVar[str] = "photos"
    option: ClassVar[str] = "shards"
    model_options: ClassVar[str] = "--width or --image_size"

    def facts(self) -> dict[str, Any]:
        """How photos that the model is asked about are to be scaled."""
        return {"photo_size": self.image_size, "split_rule": self.split_rule}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Albums(RecordFiles):
    """Albums of embedded photos.

    Attributes:
      model_fingerprint: of the photo model that embedded them.
      features: numbers of a photo.
      max_photos: of the longest album.
    """

    model_fingerprint: str
    features: int
    max_photos: int
    what: ClassVar[str] = "albums"
    option: ClassVar[str] = "albums"
    model_options: ClassVar[str] = "--units"

    def facts(self) -> dict[str, Any]:
        """Of which photo model the embeddings must be."""
        names = ("model_fingerprint", "features", "max_photos")
        return {name: getattr(self, name) for name in names}

    def companions(self) -> Sequence[str]:
        """The photo model, without which embeddings say nothing."""
        return (records.PHOTO_MODEL,)


def open_shards(directory: str) -> Shards:
    """Reads what write_shards says of its shards; DataError if it can't."""
    info, common = _open(
        directory,
        records.SHARDS_FILE,
        (records.SHARDS_FORMAT, records.SHARDS_VERSION),
        Shards,
    )
    return Shards(
        image_size=info["image_size"],
        split_rule=info.get("split_rule"),
        **common,
    )


def open_albums(directory: str) -> Albums:
    """Reads what write_albums says of its albums; DataError if it can't."""
    info, common = _open(
        directory,
        records.ALBUMS_FILE,
        (records.ALBUMS_FORMAT, records.ALBUMS_VERSION),
        Albums,
    )
    names = ("model_fingerprint", "features", "max_photos")
    return Albums(**{name: info[name] for name in names}, **common)


def _open(
    directory: str, name: str, form: tuple[str, int], kind: type[RecordFiles]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a directory's description says, and what all kinds have of it."""
    path = os.path.join(directory, name)
    program = f"python -m beam_pipelines.write_{kind.option}"
    if not tf.io.gfile.exists(path):
        raise DataError(
            f"{path} is missing: {directory} holds no finished {kind.option};"
            f" make them with {program}"
        )
    with tf.io.gfile.GFile(path) as file:
        info = json.load(file)
    made = info.get("format"), info.get("version")
    if made != form:
        raise DataError(
            f"{path} is {made[0]} version {made[1]}; needed is {form[0]}"
            f" version {form[1]}: write the {kind.option} again"
        )
    with tf.io.gfile.GFile(
        os.path.join(directory, records.PARTITION_FILE)
    ) as file:
        partition = partition_lib.load(file)
    if partition.fingerprint != info["partition_fingerprint"]:
        raise DataError(
            f"the partition in {directory} has fingerprint"
            f" {partition.fingerprint}, its {kind.option} were labelled with"
            f" {info['partition_fingerprint']}: write the {kind.option} again"
        )
    files: dict[str, list[tuple[str, int]]] = {}
    for file_name, facts in sorted(info["files"].items()):
        entry = (os.path.join(directory, file_name), facts[kind.what])
        files.setdefault(records.split_of(file_name), []).append(entry)
    return info, {
        "directory": directory,
        "partition": partition,
        "fingerprint": info["fingerprint"],
        "files": {split: tuple(found) for split, found in files.items()},
    }
