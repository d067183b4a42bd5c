"""What the photo model is made of, counted in its graph of layers."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import keras

from planet_tf.model import album_models, models
from planet_tf.options import album_variants

_BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}
# The share of all layers' outputs that a step holds at once. Measured, with
# TensorFlow's own, in peaks of memory of 16 models and batches on a CPU:
# estimates were right to 8 %.
_HELD = 0.9


@dataclasses.dataclass(frozen=True)
class Trunk:
    """A model below its head.

    Attributes:
      parameters: all numbers in its variables.
      fixed: those of them that are not trained.
      features: of a photo, which go into the head.
      activations: bytes that a train step holds for a photo, to compute
        gradients from.
    """

    parameters: int
    fixed: int
    features: int
    activations: int


@functools.cache  # it takes seconds, and some processes ask often
def trunk(*, precision: str, **options: Any) -> Trunk:
    """Counts the trunk of models.photo_classifier with these options."""
    model = models.photo_classifier(1, precision=precision, **options)
    features = model.get_layer(models.EMBEDDING).output.shape[-1]
    outputs = [
        math.prod(layer.output.shape[1:]) * _BYTES[layer.compute_dtype]
        for layer in _layers(model)
    ]
    return Trunk(
        parameters=model.count_params() - (features + 1),
        fixed=sum(math.prod(v.shape) for v in model.non_trainable_variables),
        features=features,
        activations=round(_HELD * sum(outputs)),
    )


def lstm(
    variant: album_variants.Variant,
    *,
    features: int,
    units: int,
    time_gaps: bool,
    precision: str,
) -> Trunk:
    """Counts an album model below its head; `activations` are of a photo."""
    inputs = features + (album_models.GAP_FEATURES if time_gaps else 0)
    directions = 1 + variant.bidirectional
    # Of a step: the input, four gates before and after, state, output.
    held = (inputs + 11 * units * directions) * _BYTES[precision]
    return Trunk(
        parameters=directions * 4 * units * (inputs + units + 1),
        fixed=0,
        features=directions * units,
        activations=variant.passes * held,
    )


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
