"""Which records of an epoch are read by whom, and in which order.

An epoch's records, files in random order, are cut into as many *lanes* as the
options say, runs of records whose lengths differ by one at most. A lane mixes
the files of its run some at a time, in a fixed pattern, so that the place of
its n-th record in each of them follows by counting: it can be entered
anywhere, without reading what comes before.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

FILES_AT_ONCE = 8  # that a lane mixes while it reads
_READ_AHEAD = 4  # records of each of them
_ROWS = 4096  # of the pattern in which they are mixed, made at a time
# Leaving records out, TensorFlow reads the beginning of each, and with it a
# buffer: a small one costs 1/8 of the file with records of 33 kB.
_BUFFER, _SKIPPING_BUFFER = 262_144, 4_096  # bytes


class Runs(NamedTuple):
    """Runs of records in files, int64 (n,) each.

    Attributes:
      file: which file.
      first: the first record in it.
      count: how many records.
    """

    file: tf.Tensor
    first: tf.Tensor
    count: tf.Tensor


def deal_epoch(photos: tf.Tensor, seed: tf.Tensor) -> Runs:
    """All records of an epoch, in an order of files drawn by the seed (2,).

    It begins within a file, so that neither the lanes' ends nor the photos
    left over at the epoch's end are the same in each epoch.

    Args:
      photos: (files,) int64, how many each file holds.
      seed: of the order.
    """
    seeds = tf.random.split(seed)
    order = tf.random.experimental.stateless_shuffle(
        tf.range(tf.size(photos, tf.int64)), seeds[0]
    )
    count = tf.gather(photos, order)
    begin = tf.random.stateless_uniform((1,), seeds[1], 0, count[0], tf.int64)
    return Runs(
        file=tf.concat([order, order[:1]], 0),
        first=tf.concat([begin, tf.zeros_like(order)], 0),
        count=tf.concat([count[:1] - begin, count[1:], begin], 0),
    )


def cut(runs: Runs, low: tf.Tensor, high: tf.Tensor) -> Runs:
    """The records from position `low` to before `high`."""
    ends = tf.cumsum(runs.count)
    starts = ends - runs.count
    first = tf.maximum(low, starts)
    count = tf.minimum(high, ends) - first
    kept = count > 0
    return Runs(
        file=runs.file[kept],
        first=(runs.first + first - starts)[kept],
        count=count[kept],
    )


def first_of_each(photos: tf.Tensor, wanted: int) -> Runs:
    """The first records of all files, in all `wanted`, by their shares.

    Args:
      photos: (files,) int64, how many each file holds.
      wanted: at most as many as all hold.
    """
    ends = tf.cumsum(photos) * wanted // tf.reduce_sum(photos)
    count = tf.concat([ends[:1], ends[1:] - ends[:-1]], 0)
    file = tf.range(tf.size(photos, tf.int64))
    return Runs(file, tf.zeros_like(count), count)


def records(
    path: Callable[[tf.Tensor], tf.Tensor], runs: Runs, start: tf.Tensor
) -> tf.data.Dataset:
    """The records of runs, mixed; from the `start`-th on.

    Args:
      path: of the n-th file.
      runs: at least one, none of them empty.
      start: how many records to leave out, without reading them.
    """
    many = tf.size(runs.count, tf.int64)
    groups = -(-many // FILES_AT_ONCE)
    bounds = many * tf.range(groups + 1) // groups
    before = tf.concat([[tf.constant(0, tf.int64)], tf.cumsum(runs.count)], 0)
    before = tf.gather(before, bounds)  # records before each group
    start = tf.cast(start, tf.int64)
    first = tf.searchsorted(before, start[None], "right", tf.int64)[0] - 1

    def group(number: tf.Tensor) -> tf.data.Dataset:
        low, high = bounds[number], bounds[number + 1]
        return _mixed(
            path,
            Runs(*(column[low:high] for column in runs)),
            tf.maximum(start - before[number], 0),
        )

    return tf.data.Dataset.range(first, groups).flat_map(group)


def run_records(
    path: tf.Tensor, first: tf.Tensor, count: tf.Tensor
) -> tf.data.Dataset:
    """Some records of a file."""
    buffer = tf.where(first > 0, _SKIPPING_BUFFER, _BUFFER)
    found = tf.data.TFRecordDataset(path, buffer_size=tf.cast(buffer, tf.int64))
    return found.skip(first).take(count).prefetch(_READ_AHEAD)


def _mixed(
    path: Callable[[tf.Tensor], tf.Tensor], runs: Runs, start: tf.Tensor
) -> tf.data.Dataset:
    """The records of at most FILES_AT_ONCE runs, from the `start`-th on.

    Row by row of a pattern with as many rows as the longest run has records;
    of a shorter run, records are spread over the rows evenly.
    """
    missing = FILES_AT_ONCE - tf.size(runs.count)
    file, first, count = (tf.pad(column, [[0, missing]]) for column in runs)
    rows, total = tf.reduce_max(count), tf.reduce_sum(count)
    row = start * rows // total
    done = count * row // rows  # records of each run before that row
    files = [
        run_records(path(file[i]), first[i] + done[i], count[i] - done[i])
        for i in range(FILES_AT_ONCE)
    ]

    def pattern(begin: tf.Tensor) -> tf.data.Dataset:
        some = tf.range(begin, tf.minimum(begin + _ROWS, rows))[:, None]
        taken = count * (some + 1) // rows > count * some // rows
        return tf.data.Dataset.from_tensor_slices(tf.where(taken)[:, 1])

    choice = tf.data.Dataset.range(row, rows, _ROWS).flat_map(pattern)
    mixed = tf.data.Dataset.choose_from_datasets(files, choice)
    return mixed.skip(start - tf.reduce_sum(done))
