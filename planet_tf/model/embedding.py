"""What a photo model makes of photos before it says a place."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_NO_JPEG = b""  # which the model takes for a grey image


class Embedder:
    """A loaded photo model.

    Attributes:
      photo_size: of the short side of the photos it is asked about.
      batch_size: photos that it is asked about at once.
    """

    def __init__(self, module: Any, photo_size: int, batch_size: int):
        self._module = module
        self.photo_size = photo_size
        self.batch_size = batch_size

    def embed(self, jpegs: Sequence[bytes]) -> list[np.ndarray | None]:
        """The penultimate layer (features,) float32 of each photo of a batch.

        Args:
          jpegs: at most `batch_size` images, as images.fit makes them.

        Returns:
          None for images that cannot be decoded.
        """
        # A last batch is filled up to a power of two: a GPU looks for the
        # best way to compute each size that it meets.
        size = min(self.batch_size, 1 << (len(jpegs) - 1).bit_length())
        fill = [_NO_JPEG] * (size - len(jpegs))
        found = self._module.embed(tf.constant([*jpegs, *fill]))
        pairs = zip(
            found["embedding"].numpy(), found["valid"].numpy(), strict=True
        )
        vectors = [vector if valid else None for vector, valid in pairs]
        return vectors[: len(jpegs)]
