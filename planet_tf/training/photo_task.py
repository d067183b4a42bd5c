"""The photo model as a task of loop.py (PlaNet section 3.2)."""

import functools
import os

import keras
import numpy as np
import tensorflow as tf

from planet_tf.data import data_dirs, input_pipeline
from planet_tf.geo import nesting
from planet_tf.model import export, model_dir, models
from planet_tf.options.train_config import TrainConfig
from planet_tf.sizing import planning, resources
from planet_tf.training import (
    example_pictures,
    photo_steps,
    soft_labels,
    steps,
    warm_start,
)


class PhotoTask:
    """Photos of shards, and the model of `planet_tf.train`; see Task."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.data = data_dirs.open_shards(config.shards)
        self.nested = nesting.nest(self.data.partition, config.coarse_cells)

    def plan(self, hardware: resources.Hardware) -> planning.Plan:
        """What the run takes on some hardware."""
        return planning.photos(self.config, self.data, hardware)

    def build_model(self) -> keras.Model:
        """A model with random weights."""
        return build_model(
            self.config, self.data.partition.num_classes, self.nested
        )

    def start(self, model: keras.Model) -> list[str]:
        """The weights of --init_from."""
        if not self.config.init_from:
            return []
        return [
            warm_start.load(
                self.config.init_from, model, self.data.partition, self.nested
            )
        ]

    def batches(
        self, first_step: int, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches from a step to the last, one a replica."""
        return input_pipeline.training_batches(
            self.data, self.config, first_step=first_step, context=context
        )

    def step(self, model: keras.Model, optimizer: steps.Adagrad) -> steps.Step:
        """The train step of a replica."""
        soft = None
        if self.config.soft_labels_km:
            soft = soft_labels.SoftLabels(
                self.data.partition, self.config.soft_labels_km
            )
        return photo_steps.replica_step(model, optimizer, self.config, soft)

    def validation_batches(
        self, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches of the validation split."""
        return input_pipeline.evaluation_batches(
            self.data,
            "validation",
            image_size=self.config.image_size,
            batch_size=self.config.batch_size // context.num_replicas_in_sync,
            context=context,
            photos=self.config.validation_photos,
        )

    def answer(self, model: keras.Model) -> steps.Answer:
        """The model's answers for a replica's batch of validation."""
        return lambda batch: (model(batch["image"], training=False), batch)

    def pictures(self, model: keras.Model) -> list[np.ndarray]:
        """Validation photos beside maps of the model's answers."""
        return self._examples.pictures(model)

    @functools.cached_property
    def _examples(self) -> example_pictures.Examples:
        return example_pictures.Examples(
            self.data, self.config.example_photos, self.config.image_size
        )

    def servable(self, model: keras.Model) -> tf.Module:
        """What to export, of a model outside any strategy."""
        config = self.config
        partition_file = os.path.join(config.model_dir, model_dir.PARTITION)
        return export.PhotoGeolocator(
            model, self.data.partition, partition_file, config.image_size
        )


def build_model(
    config: TrainConfig,
    num_classes: int,
    nested: nesting.Nesting | None = None,
) -> keras.Model:
    """The photo model that a run's options ask for."""
    return models.photo_classifier(
        num_classes,
        image_size=config.image_size,
        width=config.width,
        batch_norm_momentum=config.batch_norm_momentum,
        synchronized_batch_norm=config.synchronized_batch_norm,
        standardize=config.standardize,
        dropout=config.dropout,
        precision=config.precision,
        nested=nested,
    )
