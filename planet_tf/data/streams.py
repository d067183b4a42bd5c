"""From record files to batches, with tf.data, whatever the records are.

What a training step sees is a function of the record files, the options and
the step alone, so that a run can stop anywhere and go on exactly, on another
number of machines too. An epoch's records are dealt to *lanes* (see
lanes.py), which are shuffled in *windows* (see windows.py); every step takes
the same number of records from each lane, and each replica serves some lanes.
A worker thus reads only its own part of the files.

All of it is TensorFlow's own operations, since the machines that feed a TPU run
no Python.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from planet_tf.data import file_cache, lanes, windows
from planet_tf.data.data_dirs import RecordFiles
from planet_tf.options.train_config import RunConfig

Example = dict[str, tf.Tensor]
_EVALUATED_FILES = 8  # read at a time


def training_examples(
    data: RecordFiles,
    config: RunConfig,
    parse: Callable[[tf.Tensor], Any],
    example: Callable[[tf.Tensor, Any], Example],
    *,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's examples from a step on, in order; they do not end.

    Args:
      data: where the records are.
      config: options of the run.
      parse: features of records (n,), n of each.
      example: what a step sees of one record, by its key, a number that is
        unique in the run, and its features.
      first_step: where to begin.
      context: which worker this is.
    """
    data.steps_per_epoch(config.batch_size)  # refuses too few
    mine = config.lanes // context.num_input_pipelines
    first_lane = context.input_pipeline_id * mine
    my_lanes = range(first_lane, first_lane + mine)
    read = _windows(data, config, my_lanes, first_step).read
    return (
        tf.data.Dataset.range(first_lane, first_lane + mine)
        .interleave(
            lambda lane: read(lane, first_step),
            cycle_length=mine,
            num_parallel_calls=mine,
            deterministic=True,
        )
        .map(lambda keys, found: (keys, parse(found)))
        .unbatch()
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )


def up_to_the_end(
    batches: tf.data.Dataset,
    config: RunConfig,
    *,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """A worker's batches to the run's last step, one a replica and step."""
    own = context.num_replicas_in_sync // context.num_input_pipelines
    steps = config.steps - first_step
    return batches.take(steps * own).prefetch(max(2, own))


def _windows(
    data: RecordFiles, config: RunConfig, my_lanes: range, first_step: int
) -> windows.Windows:
    """The windows of the training records; starts to fill the cache."""
    paths, counts = zip(*data.split("train"), strict=True)
    path = tf.constant(paths).__getitem__
    counts = tf.constant(counts, tf.int64)
    if config.cache_dir:
        cache = file_cache.FileCache(config.cache_dir, data.fingerprint)
        path = cache.opener(paths)
    found = windows.Windows(config, counts, path)
    if config.cache_dir:
        cache.fill(paths[file] for file in found.files(my_lanes, first_step))
    return found


def evaluation_examples(
    data: RecordFiles,
    split: str,
    example: Callable[[tf.Tensor], Example],
    blank: Example,
    *,
    batch_size: int,
    context: tf.distribute.InputContext,
    limit: int = 0,
) -> tf.data.Dataset:
    """One worker's examples of a split; over all workers every record once.

    They fill whole batches, as many on all replicas: what is missing is
    filled with blanks.

    Args:
      data: where the records are.
      split: which of them.
      example: what is seen of a record.
      blank: what is not to count.
      batch_size: of a replica.
      context: which worker this is.
      limit: take so many at most, the first ones of each file, as many as its
        share; the same for any number of workers. 0: all.
    """
    workers, worker = context.num_input_pipelines, context.input_pipeline_id
    paths, counts = zip(*data.split(split), strict=True)
    total = data.count(split)
    chosen = min(limit or total, total)
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
    )
