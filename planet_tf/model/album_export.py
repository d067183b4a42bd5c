"""The SavedModel of an album model: embeddings in, cells out."""

import os

import keras
import tensorflow as tf

from planet_tf.data import data_dirs
from planet_tf.model import export, model_dir
from planet_tf.options.train_config import TrainAlbumsConfig


class AlbumGeolocator(export.Servable):
    """A trained album model with what it takes to read its answers.

    Signatures, both taking `embedding` (b, t, features) of b albums' photos in
    the order of time, as the photo model's SavedModel gives them, `photos`
    (b,), how many of the t are photos, and `gap_hours` (b, t) since the photo
    before, -1 where not known:
      serving_default: `token`, `probability` (b, t, 5), `latlng` (b, t, 5, 2)
        of the likeliest cells of each photo, best first.
      distribution: `probabilities` (b, t, classes) in label order.

    Attributes:
      photo_model: the fingerprint of the photo model's weights.
    """

    def __init__(
        self,
        model: keras.Model,
        albums: data_dirs.Albums,
        config: TrainAlbumsConfig,
    ):
        partition_file = os.path.join(config.model_dir, model_dir.PARTITION)
        super().__init__(model, albums.partition, partition_file)
        self.photo_model = tf.Variable(
            albums.model_fingerprint, trainable=False
        )
        spec = {
            "embedding": tf.TensorSpec((None, None, albums.features)),
            "photos": tf.TensorSpec((None,), tf.int32),
            "gap_hours": tf.TensorSpec((None, None)),
        }
        signature = [
            tf.TensorSpec(x.shape, x.dtype, n) for n, x in spec.items()
        ]
        self.distribution = tf.function(self._distribution, signature)
        self.top_cells = tf.function(self._top_cells, signature)

    def _distribution(
        self, embedding: tf.Tensor, photos: tf.Tensor, gap_hours: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        album = {"embedding": embedding, "photos": photos}
        logits = self.model(album | {"gap_hours": gap_hours}, training=False)
        return {"probabilities": tf.nn.softmax(tf.cast(logits, tf.float32))}

    def _top_cells(
        self, embedding: tf.Tensor, photos: tf.Tensor, gap_hours: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        found = self._distribution(embedding, photos, gap_hours)
        return self.answers(found["probabilities"])

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The functions to serve, by name."""
        return {
            "serving_default": self.top_cells,
            "distribution": self.distribution,
        }
