"""What a lane gives to each step of training, from any step on.

A lane's records of an epoch (see lanes.py) are shuffled in *windows* of some
steps, each by a seed of its own, so that a run that goes on reads the window
of its step and nothing that comes before. While one window is used the next
one is read, of the next epoch too: two windows of each lane are in memory.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from planet_tf.data import lanes
from planet_tf.options.train_config import RunConfig

# What numbers are drawn for: a part of their seed. The last one for two uses.
_DEAL, _SHUFFLE, _AUGMENT = range(3)


def seed(config: RunConfig, purpose: int, number: tf.Tensor) -> tf.Tensor:
    """A seed (2,) for what is drawn in a run, another one for each use."""
    return tf.stack([tf.constant(config.seed * 4 + purpose, tf.int64), number])


def augmentation_seed(config: RunConfig, key: tf.Tensor) -> tf.Tensor:
    """A seed (2,) for a photo with a key of `Windows.read`."""
    return seed(config, _AUGMENT, key)


def steps_per_window(config: RunConfig) -> int:
    """Steps whose records are shuffled together.

    Two windows of all lanes are the records of --shuffle_buffer.
    """
    return max(1, config.shuffle_buffer // (2 * config.batch_size))


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of some files.

    Attributes:
      config: options of the run.
      photos: (files,) int64, how many each file holds.
      path: of the n-th file.
    """

    config: RunConfig
    photos: tf.Tensor
    path: Callable[[tf.Tensor], tf.Tensor]

    def runs(self, epoch: tf.Tensor | int, lane: tf.Tensor | int) -> lanes.Runs:
        """What a lane has of an epoch."""
        total = tf.reduce_sum(self.photos)
        number = tf.cast(epoch, tf.int64)
        return lanes.cut(
            lanes.deal_epoch(self.photos, seed(self.config, _DEAL, number)),
            total * lane // self.config.lanes,
            total * (lane + 1) // self.config.lanes,
        )

    def read(self, lane: tf.Tensor, first_step: int) -> tf.data.Dataset:
        """What a lane gives to each step, from one on, to that of the end.

        Returns:
          A dataset of keys (n,) int64, unique in the run, and records (n,).
        """
        config = self.config
        per_step = config.batch_size // config.lanes
        slots = tf.range(per_step, dtype=tf.int64) + lane * per_step

        def shuffled(begin: tf.Tensor, window: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(
                tf.range(tf.size(window)),
                seed(config, _SHUFFLE, begin * config.lanes + lane),
            )
            steps = tf.data.Dataset.from_tensor_slices(
                tf.reshape(order, (-1, per_step))
            )
            return steps.enumerate(begin).map(
                lambda step, chosen: (
                    step * config.batch_size + slots,
                    tf.gather(window, chosen),
                )
            )

        done = first_step % self._epoch_steps() % steps_per_window(config)
        windows = self._windows(lane, first_step).prefetch(1)
        return windows.flat_map(shuffled).skip(done)

    def files(self, my_lanes: Sequence[int], first_step: int) -> Iterator[int]:
        """The files that lanes read, about in their order, each once."""
        seen: set[int] = set()
        epochs = range(first_step // self._epoch_steps(), self._epochs())
        for epoch in epochs:
            of_lanes = [self.runs(epoch, n).file.numpy() for n in my_lanes]
            for place in range(max(map(len, of_lanes))):
                for files in of_lanes:
                    for file in set(files[place : place + 1].tolist()) - seen:
                        seen.add(file)
                        yield file
            if len(seen) == len(self.photos):
                return

    def _windows(self, lane: tf.Tensor, first_step: int) -> tf.data.Dataset:
        """Windows from that of a step on: (first step, records)."""
        per_step = self.config.batch_size // self.config.lanes
        steps, window_steps = self._epoch_steps(), steps_per_window(self.config)
        first_epoch, epoch_step = divmod(first_step, steps)
        entered = epoch_step // window_steps * window_steps

        def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            begin = tf.where(epoch == first_epoch, entered, 0)
            begin = tf.cast(begin, tf.int64)
            many = (steps - begin) * per_step
            runs = self.runs(epoch, lane)
            found = (
                lanes.records(self.path, runs, begin * per_step)
                .take(many)
                # Else files with fewer records than they should have would
                # only shift what follows.
                .apply(tf.data.experimental.assert_cardinality(many))
                .batch(window_steps * per_step)
            )
            begins = tf.data.Dataset.range(begin, steps, window_steps)
            return tf.data.Dataset.zip(
                begins.map(lambda step: epoch * steps + step), found
            )

        epochs = tf.data.Dataset.range(first_epoch, self._epochs())
        return epochs.flat_map(of_epoch)

    def _epoch_steps(self) -> int:
        return int(sum(self.photos.numpy())) // self.config.batch_size

    def _epochs(self) -> int:
        return -(-self.config.steps // self._epoch_steps())
