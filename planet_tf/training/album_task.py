"""The album model as a task of loop.py (PlaNet section 3.3)."""

import keras
import numpy as np
import tensorflow as tf

from planet_tf.data import album_input, data_dirs
from planet_tf.model import album_export, album_models
from planet_tf.options import album_variants
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.sizing import planning, resources
from planet_tf.training import album_steps, steps


class AlbumTask:
    """Albums of embeddings, and the model of train_albums; see Task."""

    def __init__(self, config: TrainAlbumsConfig):
        self.config = config
        self.data = data_dirs.open_albums(config.albums)

    def plan(self, hardware: resources.Hardware) -> planning.Plan:
        """What the run takes on some hardware."""
        return planning.albums(self.config, self.data, hardware)

    def build_model(self) -> keras.Model:
        """A model with random weights."""
        return album_models.build(
            self.data.partition.num_classes,
            features=self.data.features,
            variant=album_variants.VARIANTS[self.config.variant],
            units=self.config.units,
            time_gaps=self.config.time_gaps,
            dropout=self.config.dropout,
            precision=self.config.precision,
        )

    def start(self, model: keras.Model) -> list[str]:
        """Nothing: the weights stay random."""
        del model
        return []

    def batches(
        self, first_step: int, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches from a step to the last, one a replica."""
        return album_input.training_batches(
            self.data, self.config, first_step=first_step, context=context
        )

    def step(self, model: keras.Model, optimizer: steps.Adagrad) -> steps.Step:
        """The train step of a replica."""
        return album_steps.replica_step(model, optimizer, self.config)

    def validation_batches(
        self, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches of the validation split."""
        return album_input.evaluation_batches(
            self.data,
            "validation",
            batch_size=self.config.batch_size // context.num_replicas_in_sync,
            context=context,
            limit=self.config.validation_photos,
        )

    def answer(self, model: keras.Model) -> steps.Answer:
        """The model's answers for a replica's batch of validation."""
        return album_steps.answer(model, self.data.partition.num_classes)

    def pictures(self, model: keras.Model) -> list[np.ndarray]:
        """None: embeddings are nothing to look at."""
        del model
        return []

    def servable(self, model: keras.Model) -> tf.Module:
        """What to export, of a model outside any strategy."""
        return album_export.AlbumGeolocator(model, self.data, self.config)
