"""From shards to batches of images and labels, with tf.data.

What a training step sees is a function of the shards, the options and the
step alone, so that a run can stop anywhere and go on exactly, on another
number of machines too. An epoch's records, files in random order, are dealt
to *lanes*, each a stream of its own; every step takes the same number of
records from each lane, and each replica serves some lanes. A worker thus
reads only its own part of the files.
"""

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from planet_tf import images, records
from planet_tf import partition as partition_lib
from planet_tf.config import TrainConfig

FILES_AT_ONCE = 4  # that a lane mixes while it reads


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


def deal_epoch(
    files: Sequence[tuple[str, int]], *, lanes: int, seed: int, epoch: int
) -> list[list[tuple[str, int, int]]]:
    """Which records of an epoch each lane reads: (path, first, how many).

    The files are put in an order drawn for the epoch and cut into `lanes`
    runs of records whose lengths differ by one at most.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(files))
    files = [files[i] for i in order]
    ends = np.cumsum([n for _, n in files])
    bounds = [int(ends[-1]) * lane // lanes for lane in range(lanes + 1)]
    dealt = []
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        lane = []
        for (path, n), end in zip(files, ends.tolist(), strict=True):
            start = end - n
            first, last = max(low, start), min(high, end)
            if first < last:
                lane.append((path, first - start, last - first))
        dealt.append(lane)
    return dealt


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
    epoch: int,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's batches of an epoch, one a replica, from a step on.

    Returns:
      A dataset of images (b, size, size, 3) float32 in [-1, 1] and labels
      (b,) int64, with b the batch of one replica.
    """
    steps = steps_per_epoch(shards, config)
    per_lane = config.batch_size // config.lanes  # records a step
    workers = context.num_input_pipelines
    mine = config.lanes // workers
    dealt = deal_epoch(
        shards.split("train"),
        lanes=config.lanes,
        seed=config.seed,
        epoch=epoch,
    )

    def lane_records(lane: int) -> tf.data.Dataset:
        paths, first, many = zip(*dealt[lane], strict=True)
        found = tf.data.Dataset.from_tensor_slices(
            (list(paths), np.int64(first), np.int64(many))
        ).interleave(
            lambda path, start, n: (
                tf.data.TFRecordDataset(path).skip(start).take(n)
            ),
            cycle_length=FILES_AT_ONCE,
        )
        found = found.shuffle(
            max(1, config.shuffle_buffer // mine),
            seed=config.seed + 7919 * epoch + lane,
        )
        lane_key = tf.constant(lane << 40, tf.int64)
        found = found.enumerate().map(lambda i, r: (i + lane_key, r))
        return found.skip(first_step * per_lane).take(
            (steps - first_step) * per_lane
        )

    first_lane = context.input_pipeline_id * mine
    streams = [lane_records(first_lane + i) for i in range(mine)]
    choice = tf.data.Dataset.range(mine).repeat()
    choice = choice.flat_map(
        lambda lane: tf.data.Dataset.from_tensors(lane).repeat(per_lane)
    )
    dataset = tf.data.Dataset.choose_from_datasets(streams, choice)
    epoch_key = np.int64(config.seed + 1_000_003 * epoch)

    def example(key: tf.Tensor, record: tf.Tensor) -> tuple:
        photo = parse(record, ("image", "label"))
        image = training_image(
            photo["image"], config, seed=tf.stack([epoch_key, key])
        )
        return image, photo["label"]

    batch = config.batch_size // context.num_replicas_in_sync
    return (
        dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(
    shards: Shards,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's batches of a split; over all workers every photo once.

    All batches are whole and all replicas have as many of them: what is
    missing is filled with blank images of weight 0.

    Returns:
      A dataset of image, label, latlng (b, 2), weight.
    """
    paths = [path for path, _ in shards.split(split)]
    blank = {
        "image": tf.zeros((image_size, image_size, 3)),
        "label": tf.zeros((), tf.int64),
        "latlng": tf.zeros((2,)),
        "weight": tf.zeros(()),
    }

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        photo = parse(record, ("image", "label", "lat", "lng"))
        return {
            "image": evaluation_image(photo["image"], image_size),
            "label": photo["label"],
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
            "weight": tf.ones(()),
        }

    workers = context.num_input_pipelines
    together = batch_size * (context.num_replicas_in_sync // workers)
    per_worker = -(-shards.count(split) // workers)
    whole = -(-per_worker // together) * together
    return (
        tf.data.TFRecordDataset(paths)
        .shard(workers, context.input_pipeline_id)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .concatenate(tf.data.Dataset.from_tensors(blank).repeat())
        .take(whole)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def parse(record: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Some features of a serialised photo record."""
    spec = records.photo_spec()
    features = {
        name: tf.io.FixedLenFeature((), tf.as_dtype(spec[name]))
        for name in names
    }
    return tf.io.parse_single_example(record, features)


def evaluation_image(jpeg: tf.Tensor, size: int) -> tf.Tensor:
    """The middle square of a JPEG, (size, size, 3) float32 in [-1, 1]."""
    shape = _safe_shape(jpeg)
    side = tf.minimum(shape[0], shape[1])
    corner = (shape[:2] - side) // 2
    return _window_image(jpeg, tf.concat([corner, [side, side]], 0), size)


def training_image(
    jpeg: tf.Tensor, config: TrainConfig, seed: tf.Tensor
) -> tf.Tensor:
    """A random view of a JPEG, a function of the seed (2,) int64.

    A crop of random area and aspect, scaled to a square; by option turned
    by quarters; brightness and contrast.
    """
    seeds = tf.random.split(seed, 4)
    begin, window, _ = tf.image.stateless_sample_distorted_bounding_box(
        _safe_shape(jpeg),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seeds[0],
        min_object_covered=0.0,
        aspect_ratio_range=(0.8, 1.25),
        area_range=(config.min_crop_area, 1.0),
    )
    crop = tf.concat([begin[:2], window[:2]], 0)
    image = _window_image(jpeg, crop, config.image_size)
    if config.rotate:
        turns = tf.random.stateless_uniform((), seeds[1], 0, 4, tf.int32)
        image = tf.image.rot90(image, turns)
    if config.color_jitter:
        image = _jitter_color(image, config.color_jitter, seeds[2:])
    return tf.ensure_shape(image, (config.image_size, config.image_size, 3))


def _jitter_color(
    image: tf.Tensor, strength: float, seeds: tf.Tensor
) -> tf.Tensor:
    """Scales contrast by e**+-strength and shifts brightness by as much."""
    low, high = -strength, strength
    contrast = tf.exp(tf.random.stateless_uniform((), seeds[0], low, high))
    shift = tf.random.stateless_uniform((), seeds[1], low, high)
    mean = tf.reduce_mean(image, (0, 1))
    return tf.clip_by_value((image - mean) * contrast + mean + shift, -1, 1)


def _safe_shape(jpeg: tf.Tensor) -> tf.Tensor:
    """Height, width, channels of a JPEG, refusing decompression bombs."""
    shape = tf.io.extract_jpeg_shape(jpeg)
    pixels = tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64)
    check = tf.debugging.assert_less_equal(
        pixels,
        tf.constant(images.Limits().max_pixels, tf.int64),
        message="a photo has too many pixels",
    )
    with tf.control_dependencies([check]):
        return tf.identity(shape)


def _window_image(jpeg: tf.Tensor, window: tf.Tensor, size: int) -> tf.Tensor:
    """A window (top, left, height, width), scaled to a square in [-1, 1]."""
    pixels = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3)
    image = tf.image.resize(pixels, (size, size), antialias=False)
    return tf.ensure_shape(image / 127.5 - 1.0, (size, size, 3))
