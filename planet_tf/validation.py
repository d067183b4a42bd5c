"""Validation while training: every photo of the split once."""

import keras
import numpy as np
import tensorflow as tf

from planet_tf import input_pipeline, metrics, preemption, steps
from planet_tf.config import TrainConfig


class Validation:
    """Validates a model on all replicas, as often as it is called."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        shards: input_pipeline.Shards,
        config: TrainConfig,
    ):
        self.partition = shards.partition
        first_cell = int(shards.partition.other_class)
        self.step = steps.make_validation_step(strategy, model, first_cell)
        self.batches = strategy.distribute_datasets_from_function(
            lambda context: input_pipeline.evaluation_batches(
                shards,
                "validation",
                image_size=config.image_size,
                batch_size=config.batch_size // context.num_replicas_in_sync,
                context=context,
                photos=config.validation_photos,
            )
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
