"""The train step of the photo model."""

from collections.abc import Callable

import keras
import tensorflow as tf

from planet_tf import head_gradient, models, steps
from planet_tf.config import TrainConfig

Targets = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def replica_step(
    model: keras.Model,
    optimizer: steps.Adagrad,
    config: TrainConfig,
    targets: Targets | None = None,
) -> steps.Step:
    """The train step of one replica, to run under a strategy.

    Args:
      model: the photo model.
      optimizer: of its trainable variables.
      config: options of the run.
      targets: soft labels; None for the photos' own cells.

    Returns:
      A function of a replica's batch (`image`, `label`, with soft labels
      `latlng`), as steps.make_train_loop wants it.
    """
    update = steps.Update(model, optimizer, config)
    head = model.get_layer(models.HEAD)
    below = update.trained[: -len(head.trainable_variables)]
    with_head = keras.Model(
        model.inputs, [head.input, head.output, *model.outputs]
    )

    def step(batch: steps.Batch, *numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with (
            tf.GradientTape() as tape,
            models.dropout_seed(update.dropout_seed()),
        ):
            inputs, outputs, logits = with_head(batch["image"], training=True)
            losses = _losses(logits, batch, targets)
            # Replicas' gradients are summed, so each takes its share.
            loss = tf.reduce_sum(losses) / config.batch_size
        *gradients, of_outputs = tape.gradient(loss, [*below, outputs])
        hits = tf.argmax(logits, -1) == batch["label"]
        accuracy = tf.reduce_sum(tf.cast(hits, tf.float32)) / config.batch_size
        partial, whole = head_gradient.of_replica(
            head, inputs, of_outputs, config.batch_size
        )
        return update([*gradients, *partial], whole, [loss, accuracy, *numbers])

    return step


def _losses(
    logits: tf.Tensor, batch: steps.Batch, targets: Targets | None
) -> tf.Tensor:
    if targets is None:
        return steps.losses(logits, batch["label"])
    soft = tf.cast(targets(batch["label"], batch["latlng"]), logits.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(soft, logits)
