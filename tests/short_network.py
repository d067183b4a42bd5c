"""A short network for tests that ask nothing of InceptionV3 itself.

InceptionV3 has 94 convolutions, and at any width each graph of them takes
TensorFlow seconds to build. Here are the same kinds of layers, but few.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def instead_of_inception() -> Iterator[None]:
    """Photo models that are built meanwhile are short."""
    from planet_tf.model import models
    from planet_tf.sizing import model_size

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.keras.applications, "InceptionV3", _trunk)
        model_size.trunk.cache_clear()
        try:
            yield
        finally:
            model_size.trunk.cache_clear()


def _trunk(include_top: bool, weights: None, input_shape: tuple) -> Any:
    import keras

    def convolve(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        x = keras.layers.Conv2D(
            filters, size, strides=strides, padding="same", use_bias=False
        )(x)
        x = keras.layers.BatchNormalization(scale=False)(x)
        return keras.layers.Activation("relu")(x)

    assert not include_top
    inputs = keras.Input(input_shape)
    stem = convolve(inputs, 32, 3, strides=2)
    stem = keras.layers.MaxPooling2D(3, strides=2)(stem)
    pooled = keras.layers.AveragePooling2D(3, strides=2, padding="same")(stem)
    # As many features as InceptionV3's last layers have.
    branches = [
        convolve(stem, 320, 1, strides=2),
        convolve(convolve(stem, 48, 1), 768, 3, strides=2),
        convolve(convolve(stem, 64, 1), 768, 3, strides=2),
        convolve(pooled, 192, 1),
    ]
    return keras.Model(inputs, keras.layers.concatenate(branches))
