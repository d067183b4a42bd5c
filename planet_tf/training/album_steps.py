"""The train step of an album model, and its answers in validation.

The mean over a batch is over its photos with a label, not over its albums.
"""

import keras
import tensorflow as tf

from planet_tf.model import models
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.training import steps


def replica_step(
    model: keras.Model, optimizer: steps.Adagrad, config: TrainAlbumsConfig
) -> steps.Step:
    """The train step of one replica, to run under a strategy.

    Args:
      model: an album model.
      optimizer: of its trainable variables.
      config: options of the run.

    Returns:
      A function of a replica's batch (what the model reads, `label` and
      `weight` (b, t)), as steps.make_train_loop wants it.
    """
    update = steps.Update(model, optimizer, config)

    def step(batch: steps.Batch, *numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
        context = tf.distribute.get_replica_context()
        weight = batch["weight"]
        # Known before the gradients, so that these need not be scaled later.
        photos = context.all_reduce("SUM", tf.reduce_sum(weight))
        weight /= tf.maximum(photos, 1.0)
        with (
            tf.GradientTape() as tape,
            models.dropout_seed(update.dropout_seed()),
        ):
            logits = model(batch, training=True)
            losses = steps.losses(logits, batch["label"])
            loss = tf.reduce_sum(losses * tf.cast(weight, losses.dtype))
        gradients = tape.gradient(loss, update.trained)
        hits = tf.argmax(logits, -1) == batch["label"]
        accuracy = tf.reduce_sum(tf.cast(hits, tf.float32) * weight)
        return update(gradients, [], [loss, accuracy, *numbers])

    return step


def answer(model: keras.Model, classes: int) -> steps.Answer:
    """The model's answers, as steps.make_validation_step wants them."""

    def of_photos(batch: steps.Batch) -> tuple[tf.Tensor, steps.Batch]:
        logits = tf.reshape(model(batch, training=False), (-1, classes))
        return logits, {
            "label": tf.reshape(batch["label"], (-1,)),
            "latlng": tf.reshape(batch["latlng"], (-1, 2)),
            "weight": tf.reshape(batch["weight"], (-1,)),
        }

    return of_photos
