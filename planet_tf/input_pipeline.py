"""From shards to batches of images and labels, with tf.data.

What a training step sees is a function of the shards, the options and the
step alone, so that a run can stop anywhere and go on exactly, on another
number of machines too. An epoch's records are dealt to *lanes* (see
lanes.py), which are shuffled in *windows* (see windows.py); every step takes
the same number of records from each lane, and each replica serves some lanes.
A worker thus reads only its own part of the files.

All of it is TensorFlow's own operations, since the machines that feed a TPU run
no Python.
"""

import dataclasses
import json
import os

import tensorflow as tf

from planet_tf import file_cache, lanes, records, windows
from planet_tf import partition as partition_lib
from planet_tf.config import TrainConfig
from planet_tf.decoding import evaluation_image, parse, training_image

_EVALUATED_FILES = 8  # read at a time


class ShardsError(ValueError):
    """Shards that are missing, unfinished or do not fit their partition."""


@dataclasses.dataclass(frozen=True)
class Shards:
    """A finished directory of shards.

    Attributes:
      directory: where it is.
      partition: the classes.
      fingerprint: of the record files.
      image_size: what photos' short sides were scaled down to, in pixels.
      files: record files of each split, with the photos in each.
    """

    directory: str
    partition: partition_lib.Partition
    fingerprint: str
    image_size: int
    files: dict[str, tuple[tuple[str, int], ...]]

    def split(self, name: str) -> tuple[tuple[str, int], ...]:
        """(path, photos) of each file of a split that holds photos."""
        found = [(p, n) for p, n in self.files.get(name, ()) if n]
        if not found:
            raise ShardsError(
                f"{self.directory} has no photos in split {name!r}; it has"
                f" {', '.join(self.files) or 'none'}"
            )
        return tuple(found)

    def count(self, name: str) -> int:
        """Photos in a split."""
        return sum(n for _, n in self.split(name))


def open_shards(directory: str) -> Shards:
    """Reads what write_shards says of its shards; ShardsError if it can't."""
    path = os.path.join(directory, records.SHARDS_FILE)
    if not tf.io.gfile.exists(path):
        raise ShardsError(
            f"{path} is missing: {directory} holds no finished shards; make"
            " them with python -m beam_pipelines.write_shards"
        )
    with tf.io.gfile.GFile(path) as file:
        info = json.load(file)
    made = info.get("format"), info.get("version")
    if made != (records.SHARDS_FORMAT, records.SHARDS_VERSION):
        raise ShardsError(
            f"{path} is {made[0]} version {made[1]}; needed is"
            f" {records.SHARDS_FORMAT} version {records.SHARDS_VERSION}: write"
            " the shards again"
        )
    with tf.io.gfile.GFile(
        os.path.join(directory, records.PARTITION_FILE)
    ) as file:
        partition = partition_lib.load(file)
    if partition.fingerprint != info["partition_fingerprint"]:
        raise ShardsError(
            f"the partition in {directory} has fingerprint"
            f" {partition.fingerprint}, its shards were labelled with"
            f" {info['partition_fingerprint']}: write the shards again"
        )
    files: dict[str, list[tuple[str, int]]] = {}
    for name, facts in sorted(info["files"].items()):
        split = records.split_of(name)
        entry = (os.path.join(directory, name), facts["photos"])
        files.setdefault(split, []).append(entry)
    return Shards(
        directory,
        partition,
        info["fingerprint"],
        info["image_size"],
        {split: tuple(entries) for split, entries in files.items()},
    )


def steps_per_epoch(shards: Shards, config: TrainConfig) -> int:
    """Whole batches in an epoch; ShardsError if there is none."""
    photos = shards.count("train")
    steps = photos // config.batch_size
    if not steps:
        raise ShardsError(
            f"{photos} training photos do not fill a batch of"
            f" {config.batch_size}; lower --batch_size"
        )
    return steps


def training_batches(
    shards: Shards,
    config: TrainConfig,
    *,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's batches from a step to the last, one a replica and step.

    Returns:
      A dataset of image (b, size, size, 3) float32 in [-1, 1], label (b,)
      int64, latlng (b, 2) float32, with b the batch of one replica.
    """
    steps_per_epoch(shards, config)  # refuses too few photos
    mine = config.lanes // context.num_input_pipelines
    first_lane = context.input_pipeline_id * mine
    my_lanes = range(first_lane, first_lane + mine)
    read = _windows(shards, config, my_lanes, first_step).read

    def parsed(keys: tf.Tensor, found: tf.Tensor) -> tuple:
        return keys, parse(found, ("image", "label", "lat", "lng"))

    def example(key: tf.Tensor, photo: dict[str, tf.Tensor]) -> dict:
        return {
            "image": training_image(
                photo["image"],
                config,
                windows.augmentation_seed(config, key),
                shards.image_size,
            ),
            "label": photo["label"],
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
        }

    replicas = context.num_replicas_in_sync
    own = replicas // context.num_input_pipelines
    return (
        tf.data.Dataset.range(first_lane, first_lane + mine)
        .interleave(
            lambda lane: read(lane, first_step),
            cycle_length=mine,
            num_parallel_calls=mine,
            deterministic=True,
        )
        .map(parsed)
        .unbatch()
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(config.batch_size // replicas, drop_remainder=True)
        .take((config.steps - first_step) * own)
        .prefetch(max(2, own))
    )


def _windows(
    shards: Shards, config: TrainConfig, my_lanes: range, first_step: int
) -> windows.Windows:
    """The windows of the training photos; starts to fill the cache."""
    paths, photos = zip(*shards.split("train"), strict=True)
    path = tf.constant(paths).__getitem__
    photos = tf.constant(photos, tf.int64)
    if config.cache_dir:
        cache = file_cache.FileCache(config.cache_dir, shards.fingerprint)
        path = cache.opener(paths)
    found = windows.Windows(config, photos, path)
    if config.cache_dir:
        cache.fill(paths[file] for file in found.files(my_lanes, first_step))
    return found


def evaluation_batches(
    shards: Shards,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    context: tf.distribute.InputContext,
    photos: int = 0,
) -> tf.data.Dataset:
    """One worker's batches of a split; over all workers every photo once.

    All batches are whole and all replicas have as many of them: what is
    missing is filled with blank images of weight 0.

    Args:
      shards: where the photos are.
      split: which of them.
      image_size: side of the images.
      batch_size: of a replica.
      context: which worker this is.
      photos: take so many at most, the first ones of each file, as many as its
        share; the same for any number of workers. 0: all.

    Returns:
      A dataset of image, label, latlng (b, 2), weight.
    """
    blank = {
        "image": tf.zeros((image_size, image_size, 3)),
        "label": tf.zeros((), tf.int64),
        "latlng": tf.zeros((2,)),
        "weight": tf.zeros(()),
    }

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        photo = parse(record, ("image", "label", "lat", "lng"))
        return {
            "image": evaluation_image(
                photo["image"], image_size, shards.image_size
            ),
            "label": photo["label"],
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
            "weight": tf.ones(()),
        }

    workers, worker = context.num_input_pipelines, context.input_pipeline_id
    paths, counts = zip(*shards.split(split), strict=True)
    total = shards.count(split)
    chosen = min(photos or total, total)
    runs = lanes.cut(
        lanes.first_of_each(tf.constant(counts, tf.int64), chosen),
        chosen * worker // workers,
        chosen * (worker + 1) // workers,
    )
    together = batch_size * (context.num_replicas_in_sync // workers)
    whole = -(-chosen // (workers * together)) * together
    return (
        tf.data.Dataset.from_tensor_slices(tuple(runs))
        .interleave(
            lambda file, first, count: lanes.run_records(
                tf.constant(paths)[file], first, count
            ),
            cycle_length=_EVALUATED_FILES,
            num_parallel_calls=_EVALUATED_FILES,
            deterministic=True,
        )
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .concatenate(tf.data.Dataset.from_tensors(blank).repeat())
        .take(whole)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
