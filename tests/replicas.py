"""Several replicas within the tests' own process, and a tiny model for them.

The replicas are on virtual CPUs, which must be made before TensorFlow is
used: import this at the top of a test module.
"""

import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from planet_tf.geo.nesting import Nesting
from planet_tf.model import models, nested_heads
from planet_tf.options.train_config import TrainConfig

_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    _CPU, [tf.config.LogicalDeviceConfiguration()] * 2
)


@functools.cache  # two strategies would mix up their collectives
def strategy(replicas: int) -> tf.distribute.Strategy:
    """A strategy of one or two replicas on the CPU."""
    if replicas == 1:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])


def batches(
    strategy: tf.distribute.Strategy, batch_size: int, data: dict
) -> Iterator:
    """Global batches of arrays, in order; each replica gets its part."""
    part = batch_size // strategy.num_replicas_in_sync
    return iter(
        strategy.distribute_datasets_from_function(
            lambda _: tf.data.Dataset.from_tensor_slices(data).batch(
                part, drop_remainder=True
            )
        )
    )


def values(
    strategy: tf.distribute.Strategy, variable: tf.Variable
) -> list[tf.Tensor]:
    """What each replica holds of a variable."""
    found = strategy.experimental_local_results(variable)
    return [value.numpy() for value in found]


def tiny_model(
    config: TrainConfig, num_classes: int, nested: Nesting | None = None
) -> keras.Model:
    """The photo model's kinds of layers, one of each."""
    coarse = nested.num_classes if nested else ()
    joined = [nested_heads.NestedHeads(nested.ancestors)] if nested else []
    return keras.Sequential(
        [
            keras.Input((config.image_size, config.image_size, 3)),
            keras.layers.Conv2D(8, 5, strides=4, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Activation("relu"),
            keras.layers.GlobalAveragePooling2D(name=models.EMBEDDING),
            models.SeededDropout(config.dropout),
            keras.layers.Dense(num_classes + sum(coarse), name=models.HEAD),
            *joined,
        ]
    )
