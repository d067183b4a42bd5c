"""Heads of several nested partitions as one answer (see nesting.py).

One dense layer has the columns of all heads, side by side, the finest first:
its gradient, its optimiser and its checkpoints are those of any head.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("planet_tf")
class NestedHeads(keras.layers.Layer):
    """Logits of the fine classes, from those of all heads.

    A fine class has the product of its probability and of those of its
    ancestors, normalised over all fine classes. A head's probabilities are
    its exp(logits) over a number that is the same for all classes, and
    normalising takes that out again: the product's logits are the sums of the
    heads' logits.
    """

    def __init__(self, ancestors: Any, **options: Any):
        """Makes the layer, which has no weights.

        Args:
          ancestors: (coarser heads, fine classes), as of nesting.Nesting.
          **options: of all layers.
        """
        super().__init__(**options)
        self._ancestors = np.asarray(ancestors, np.int32)

    def split(self, outputs: tf.Tensor) -> list[tf.Tensor]:
        """The logits of each head (b, its classes), the finest first."""
        coarse = self._ancestors.max(axis=1) + 1  # none is without a fine one
        outputs = tf.cast(outputs, self.compute_dtype)
        return tf.split(outputs, [self._ancestors.shape[1], *coarse], axis=1)

    def labels(self, labels: tf.Tensor) -> list[tf.Tensor]:
        """The label (b,) for each head."""
        return [labels, *(tf.gather(row, labels) for row in self._ancestors)]

    def shares(self, of_classes: tf.Tensor) -> list[tf.Tensor]:
        """Soft labels (b, classes) for each head: sums over fine classes."""
        by_class = tf.transpose(of_classes)
        sums = (
            tf.math.unsorted_segment_sum(by_class, row, int(row.max()) + 1)
            for row in self._ancestors
        )
        return [of_classes, *(tf.transpose(total) for total in sums)]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Logits (b, fine classes) of the outputs (b, all classes)."""
        logits, *coarser = self.split(inputs)
        for of_coarse, row in zip(coarser, self._ancestors, strict=True):
            logits += tf.gather(of_coarse, row, axis=1)
        return logits

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again."""
        return super().get_config() | {"ancestors": self._ancestors.tolist()}


def of_model(model: keras.Model) -> NestedHeads | None:
    """The layer of a model that has several heads."""
    found = (x for x in model.layers if isinstance(x, NestedHeads))
    return next(found, None)
