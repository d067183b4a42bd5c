"""Embeddings of photos by a trained model, which a worker process loads once.

A batch is made of the photos of one record file in their order, so that what a
photo is computed together with is the same in every run. In Beam's
RunInference it would follow the bundles, which each runner makes in its own
way, and with it the last bits of the embeddings.
"""

import dataclasses
from typing import TYPE_CHECKING

from apache_beam.utils.shared import Shared

if TYPE_CHECKING:
    from planet_tf.model.embedding import Embedder


class ModelError(ValueError):
    """A model that cannot be used, and what to do about it."""


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """Where workers find the photo model, which is no part of the pipeline.

    Attributes:
      path: of the SavedModel.
      weights: the fingerprint of those that must be in it.
      photo_size: of the short side of the photos it is asked about.
      batch_size: photos that it is asked about at once.
    """

    path: str
    weights: str
    photo_size: int
    batch_size: int

    def load(self) -> "Embedder":
        """The model; ModelError if it was changed meanwhile."""
        import tensorflow as tf

        from planet_tf.model.embedding import Embedder

        module = tf.saved_model.load(self.path)
        found = module.weights.numpy().decode()
        if found != self.weights:
            raise ModelError(
                f"{self.path} has the weights {found}, but the pipeline was"
                f" started for {self.weights}: it was changed meanwhile; start"
                " again"
            )
        return Embedder(module, self.photo_size, self.batch_size)


def weights_fingerprint(path: str) -> str:
    """What a SavedModel says of its weights, without loading them.

    Raises:
      ModelError: if it says nothing.
    """
    import tensorflow as tf

    try:
        variables = tf.train.load_checkpoint(f"{path}/variables/variables")
        found = variables.get_tensor("weights/.ATTRIBUTES/VARIABLE_VALUE")
    except (tf.errors.OpError, ValueError) as error:
        raise ModelError(
            f"{path} does not say what weights it has: it is damaged, or was"
            " exported before there were albums; train the model again"
        ) from error
    return found.decode()


@dataclasses.dataclass(frozen=True)
class SharedModel:
    """A model of which a worker process holds one, whatever its threads.

    Attributes:
      file: where it is.
      shared: Beam's handle of it.
    """

    file: ModelFile
    shared: Shared = dataclasses.field(default_factory=Shared)

    def load(self) -> "Embedder":
        """The process's one model."""
        return self.shared.acquire(self.file.load)
