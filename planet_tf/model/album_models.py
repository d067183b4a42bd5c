"""Keras models of albums (PlaNet section 3.3): photos of one trip in order.

The embeddings that a frozen photo model gives an album's photos go through an
LSTM, and a softmax over the cells answers for each photo. The variants differ
in what the LSTM has seen of the album before it answers for a photo.
"""

from typing import Any

import keras
import tensorflow as tf

from planet_tf.model import models
from planet_tf.options.album_variants import Variant

GAP_FEATURES = 2  # numbers that say what time has passed


@keras.saving.register_keras_serializable("planet_tf")
class AlbumClassifier(keras.Model):
    """Embeddings of albums to a logit for each photo and class.

    An album's answers do not depend on how far it is padded, nor on the other
    albums of its batch.

    Attributes:
      variant: how albums are read.
      lstm: the layer that reads them.
      head: the layer that answers.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        variant: Variant,
        units: int = 2048,
        time_gaps: bool = False,
        dropout: float = 0.0,
        precision: str = "float32",
    ):
        """Makes the model without its weights, which the first call makes.

        Args:
          num_classes: classes of the partition.
          variant: how albums are read.
          units: width of the LSTM; of each, if there are two.
          time_gaps: read the time since the photo before, too.
          dropout: share of the LSTM's outputs left out in training, of all
            photos of an album the same; as of models.photo_classifier.
          precision: as of models.photo_classifier.
        """
        mixed = precision == "bfloat16"
        policy = "mixed_bfloat16" if mixed else precision
        super().__init__(name="album_classifier", dtype=policy)
        self.variant = variant
        self.time_gaps = time_gaps
        lstm = keras.layers.LSTM(
            units, return_sequences=True, name="lstm", dtype=policy
        )
        self.lstm = (
            keras.layers.Bidirectional(lstm, name="lstms", dtype=policy)
            if variant.bidirectional
            else lstm
        )
        self.dropout = models.SeededDropout(
            dropout, name="dropout", dtype=policy
        )
        self.head = keras.layers.Dense(
            num_classes, name=models.HEAD, dtype=policy
        )
        self.logits_dtype = "float32" if mixed else precision

    def call(
        self, albums: dict[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Logits (b, t, classes) of b albums of up to t photos.

        Those beyond an album's last photo mean nothing.

        Args:
          albums: `embedding` (b, t, features); `photos` (b,) int, how many
            of them are photos of the album, at least 1, the first ones; with
            time gaps `gap_hours` (b, t) since the photo before, negative
            where that is not known.
          training: whether dropout takes place.
        """
        read = albums["embedding"]
        if self.time_gaps:
            gaps = _gap_features(albums["gap_hours"])
            read = tf.concat([read, tf.cast(gaps, read.dtype)], -1)
        if self.variant.alone:
            states = self._states_of_each(read)
        else:
            photos = tf.cast(albums["photos"], tf.int32)[:, None]
            states = self._states(read, photos, training)
        states = self.dropout(
            states, training=training and self.dropout.rate > 0
        )
        return tf.cast(self.head(states), self.logits_dtype)

    def _states(
        self, read: tf.Tensor, photos: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """What the LSTM knows when it answers (b, t, units).

        Args:
          read: (b, t, features).
          photos: (b, 1), how many there are of each album.
          training: whether to train.
        """
        variant = self.variant
        longest = tf.shape(read)[1]
        steps = variant.passes * longest + variant.offset
        step = tf.range(steps)[None]
        last = variant.passes * photos
        # Blanks come last: an LSTM that reads forwards only has answered
        # before, and need not be kept from them, which takes time.
        mask = step < last + variant.offset if variant.bidirectional else None
        if variant == Variant(bidirectional=variant.bidirectional):
            return self.lstm(read, mask=mask, training=training)
        # One pass after another without padding between; then blanks.
        read = tf.pad(read, [[0, 0], [0, 1], [0, 0]])
        which = tf.where(step < last, step % photos, longest)
        states = self.lstm(
            tf.gather(read, which, batch_dims=1),
            mask=mask,
            training=training,
        )
        first = last - photos + variant.offset
        answers = tf.minimum(first + tf.range(longest), steps - 1)
        return tf.gather(states, answers, batch_dims=1)

    def _states_of_each(self, read: tf.Tensor) -> tf.Tensor:
        """As _states, of photos (b, t, features) that are read alone."""
        shape = tf.shape(read)
        single = tf.reshape(read, (-1, 1, read.shape[-1]))
        return tf.reshape(self.lstm(single), (*tf.unstack(shape[:2]), -1))


def _gap_features(hours: tf.Tensor) -> tf.Tensor:
    """Times between photos (b, t) as two numbers each, (b, t, 2).

    The logarithm of the hours, some -1 to 3 from a minute to weeks, and
    whether they are known.
    """
    known = tf.cast(hours >= 0, hours.dtype)
    hours = tf.maximum(hours, 1 / 60)
    return tf.stack([known * tf.math.log(hours) / 2, known], -1)


def build(
    num_classes: int, *, features: int, **options: Any
) -> AlbumClassifier:
    """An album model with its weights, for so many features of a photo.

    The options are those of AlbumClassifier.
    """
    model = AlbumClassifier(num_classes, **options)
    blank = {
        "embedding": tf.zeros((1, 1, features)),
        "photos": tf.ones((1,), tf.int32),
        "gap_hours": tf.fill((1, 1), -1.0),
    }
    model(blank)
    return model
