"""Validation while training: every photo of the split once."""

from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from planet_tf.answering import metrics
from planet_tf.data import data_dirs
from planet_tf.training import steps
from planet_tf.workers import preemption


class Validated(Protocol):
    """What of a training's task is needed; see loop.Task."""

    @property
    def data(self) -> data_dirs.RecordFiles:
        """The records."""

    def validation_batches(
        self, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches of the validation split."""

    def answer(self, model: keras.Model) -> steps.Answer:
        """The model's answers for a replica's batch."""


class Validation:
    """Validates a model on all replicas, as often as it is called."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        task: Validated,
    ):
        self.partition = task.data.partition
        self.step = steps.make_validation_step(
            strategy, task.answer(model), int(self.partition.other_class)
        )
        self.batches = strategy.distribute_datasets_from_function(
            task.validation_batches
        )

    def __call__(
        self, stop: preemption.StopSignals
    ) -> tuple[dict[str, float], np.ndarray] | None:
        """Figures of the split, and the errors in km (n, k) of its photos.

        None in all workers if one was asked to stop before the end.
        """
        found = []
        for batch in self.batches:
            found.append(self.step(batch, stop.requested))
            if found[-1]["stop"].any():
                return None
        real = np.concatenate([x["weight"] for x in found]) > 0
        loss, hit, cells, latlng = (
            np.concatenate([x[name] for x in found])[real]
            for name in ("loss", "hit", "cells", "latlng")
        )
        errors = metrics.errors_km(self.partition.latlng[cells], latlng)
        figures = metrics.summary(errors)
        figures["loss"] = float(loss.mean())
        figures["accuracy"] = float(hit.mean())
        return figures, errors
