"""The train step of the photo model."""

from collections.abc import Callable

import keras
import tensorflow as tf

from planet_tf.model import models, nested_heads
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import head_gradient, steps

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
    nested = nested_heads.of_model(model)
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
            if nested:
                losses = _nested_losses(nested, outputs, batch, targets)
            else:
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


def _nested_losses(
    nested: nested_heads.NestedHeads,
    outputs: tf.Tensor,
    batch: steps.Batch,
    targets: Targets | None,
) -> tf.Tensor:
    """Cross entropies (b,), the means over the heads' own.

    Each head learns its partition by itself: the loss of the product would
    leave it open which of the heads tells two cells apart. The mean and not
    the sum, so that gradients of what the heads share stay as large as with
    one head: a learning rate, --clip_norm and the loss in the log keep their
    meaning.
    """
    of_heads = nested.split(outputs)
    if targets is None:
        losses = map(steps.losses, of_heads, nested.labels(batch["label"]))
    else:
        soft = targets(batch["label"], batch["latlng"])
        losses = map(
            tf.nn.softmax_cross_entropy_with_logits,
            nested.shares(tf.cast(soft, of_heads[0].dtype)),
            of_heads,
        )
    return tf.add_n(list(losses)) / len(of_heads)
