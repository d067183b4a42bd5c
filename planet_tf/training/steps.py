"""What training compiles, of any model: updates, loop, validation.

A replica's step sees its part of the global batch. Gradients, batch norm's
moving statistics and the figures to report are summed over the replicas by
one all-reduce; then each makes the same update. So after every step all
replicas hold the same state, and a step does what one replica with the whole
batch would do, but for batch norm, which normalises over a replica's part
unless it is synchronized.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from planet_tf.answering import metrics
from planet_tf.options.train_config import RunConfig
from planet_tf.training import all_reduce

Batch = dict[str, tf.Tensor]
Step = Callable[..., tuple[tf.Tensor, ...]]
Answer = Callable[[Batch], tuple[tf.Tensor, Batch]]


class RateSchedule:
    """Learning rate by step: linear warm-up, then constant or down to 0."""

    def __init__(self, config: RunConfig):
        self.config = config

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The rate of a step, counted from 0."""
        config = self.config
        step = tf.cast(step, tf.float32)
        rate = config.learning_rate * tf.minimum(
            1.0, (step + 1) / max(1, config.warmup_steps)
        )
        if config.schedule == "constant":
            return rate  # whatever --steps is: it may be raised later
        left = config.steps - config.warmup_steps
        done = tf.clip_by_value((step - config.warmup_steps) / left, 0.0, 1.0)
        if config.schedule == "linear":
            return rate * (1.0 - done)
        return rate * 0.5 * (1.0 + tf.cos(math.pi * done))


class Adagrad(tf.Module):
    """Adagrad (Duchi et al. 2011) of gradients that are summed already.

    Keras' optimizer clips before it sums over replicas, so that clipping
    would depend on their number; and its update passes over memory some seven
    times where one fused kernel a variable does it once.

    Attributes:
      iterations: the steps made, a variable.
      accumulators: a variable for each trained one.
    """

    def __init__(self, variables: Sequence[keras.Variable], start: float = 0.1):
        super().__init__(name="adagrad")
        self.iterations = tf.Variable(
            tf.zeros((), tf.int64),
            trainable=False,
            name="iterations",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.accumulators = [
            tf.Variable(
                tf.fill(v.shape, tf.cast(start, v.dtype)),
                trainable=False,
                name=f"{v.path}/accumulator",
            )
            for v in variables
        ]

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        rate: tf.Tensor,
    ) -> None:
        """Updates the variables; in a replica, with what is equal in all."""
        for gradient, variable, accumulator in zip(
            gradients, variables, self.accumulators, strict=True
        ):
            tf.raw_ops.ResourceApplyAdagrad(
                var=variable.value.handle,
                accum=accumulator.handle,
                lr=tf.cast(rate, gradient.dtype),
                grad=gradient,
            )
        self.iterations.assign_add(1)


class Update:
    """The last part of a replica's step, after its gradients."""

    def __init__(
        self, model: keras.Model, optimizer: Adagrad, config: RunConfig
    ):
        self.trained = model.trainable_variables
        # And not the seeds that Keras keeps in some layers.
        self.statistics = [
            v
            for v in model.non_trainable_variables
            if tf.as_dtype(v.dtype).is_floating
        ]
        self.optimizer = optimizer
        self.clip_norm = config.clip_norm
        self.seed = config.seed
        self.schedule = RateSchedule(config)

    def dropout_seed(self) -> tf.Tensor:
        """The seed (2,) of this step."""
        done = tf.identity(self.optimizer.iterations)
        return tf.stack([tf.constant(self.seed, tf.int64), done])

    def __call__(
        self,
        partial: Sequence[tf.Tensor],
        whole: Sequence[tf.Tensor],
        figures: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        """Updates all variables; returns the figures, summed over replicas.

        Args:
          partial: this replica's gradients of the first variables.
          whole: the global batch's gradients of the others.
          figures: of this replica.
        """
        done = tf.identity(self.optimizer.iterations)
        summed, figures = _all_reduce(partial, self.statistics, figures)
        gradients = [*summed, *whole]
        if self.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        self.optimizer.apply(gradients, self.trained, self.schedule(done))
        return tuple(tf.unstack(tf.cast(figures, tf.float32)))


def _all_reduce(
    gradients: Sequence[tf.Tensor],
    statistics: Sequence[keras.Variable],
    figures: Sequence[tf.Tensor],
) -> tuple[Sequence[tf.Tensor], tf.Tensor]:
    """Sums gradients and figures over replicas; means of the statistics.

    All in one call, as each costs a round trip between workers. Batch norm's
    moving statistics follow each replica's own part of the batch; their mean
    goes back to all replicas.
    """
    figures = tf.stack([tf.cast(x, gradients[0].dtype) for x in figures])
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return gradients, figures
    own = [tf.identity(v.value) for v in statistics]
    # The last layers' gradients, which are ready first, go first.
    sums = all_reduce.sums([*reversed(gradients), *own, figures], context)
    of_statistics = sums[len(gradients) : -1]
    for variable, total in zip(statistics, of_statistics, strict=True):
        variable.assign(total / replicas)
    return sums[: len(gradients)][::-1], sums[-1]


def losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross entropies (...) of logits (..., classes); of no label, anything."""
    labels = tf.maximum(labels, 0)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def make_train_loop(
    strategy: tf.distribute.Strategy, step: Step
) -> Callable[[Any, int, bool], tuple[np.ndarray, np.ndarray, int]]:
    """Several steps in one call of the device.

    Args:
      strategy: of the replicas.
      step: of a replica: of its batch and of any numbers. It trains, and
        returns the global batch's mean loss and accuracy and the numbers,
        summed over replicas.

    Returns:
      A function of a distributed iterator, the number of steps and whether
      this worker has been asked to stop. It returns each step's loss and
      accuracy (n,) over the global batch, and how many replicas were asked
      to stop: the same number in all workers.
    """

    @tf.function
    def loop(iterator: Any, many: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        rows = tf.TensorArray(tf.float32, many, element_shape=(3,))
        for i in tf.range(many):
            figures = strategy.run(step, args=(next(iterator), stop))
            local = [strategy.experimental_local_results(x) for x in figures]
            rows = rows.write(i, tf.stack([x[0] for x in local]))
        return rows.stack()

    def call(iterator: Any, many: int, stop: bool) -> tuple:
        # Tensors, since Python's numbers would compile anew for each value.
        rows = loop(iterator, tf.constant(many), tf.constant(float(stop)))
        losses, accuracies, stops = rows.numpy().T
        return losses, accuracies, int(stops[-1])

    return call


def make_validation_step(
    strategy: tf.distribute.Strategy,
    answer: Answer,
    first_cell: int,
) -> Callable[[Any, bool], dict[str, np.ndarray]]:
    """One batch of validation.

    Args:
      strategy: where the model is.
      answer: of a replica's batch, the logits (n, classes) of its photos and
        their `label`, `latlng` and `weight`.
      first_cell: the label of the partition's first cell.

    Returns:
      A function of a distributed batch and of whether this worker has been
      asked to stop. Of the global batch (n,) it returns `loss`, `hit`,
      `cells` (n, k) the likeliest, `latlng`, `weight`; and `stop` (replicas,).
    """

    def replica(batch: Batch, stop: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, photos = answer(batch)
        of_cells = logits[:, first_cell:]  # "other" is no answer
        k = min(metrics.TOP, of_cells.shape[-1])
        return {
            "loss": losses(logits, photos["label"]),
            "hit": tf.cast(tf.argmax(logits, -1) == photos["label"], tf.int32),
            "cells": tf.math.top_k(of_cells, k).indices,
            "latlng": photos["latlng"],
            "weight": photos["weight"],
            "stop": tf.reshape(tf.cast(stop, tf.int32), (1,)),
        }

    @tf.function
    def step(batch: Any, stop: tf.Tensor) -> dict[str, tf.Tensor]:
        found = strategy.run(replica, args=(batch, stop))
        return {k: strategy.gather(x, axis=0) for k, x in found.items()}

    def call(batch: Any, stop: bool) -> dict[str, np.ndarray]:
        found = step(batch, tf.constant(stop))
        return {k: x.numpy() for k, x in found.items()}

    return call
