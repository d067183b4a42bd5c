"""From shards to batches of images and labels; see streams.py."""

import tensorflow as tf

from planet_tf.data import streams, windows
from planet_tf.data.data_dirs import Shards
from planet_tf.data.decoding import evaluation_image, parse, training_image
from planet_tf.options.train_config import TrainConfig


def training_batches(
    shards: Shards,
    config: TrainConfig,
    *,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's batches from a step to the last, one a replica and step.

    Returns:
      A dataset of image (b, size, size, 3) float32 in [-1, 1], label (b,)
      int64, latlng (b, 2) float32, with b the batch of one replica.
    """

    def parsed(found: tf.Tensor) -> dict[str, tf.Tensor]:
        return parse(found, ("image", "label", "lat", "lng"))

    def example(
        key: tf.Tensor, photo: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        return {
            "image": training_image(
                photo["image"],
                config,
                windows.augmentation_seed(config, key),
                shards.image_size,
            ),
            "label": photo["label"],
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
        }

    place = {"first_step": first_step, "context": context}
    batches = streams.training_examples(
        shards, config, parsed, example, **place
    ).batch(
        config.batch_size // context.num_replicas_in_sync, drop_remainder=True
    )
    return streams.up_to_the_end(batches, config, **place)


def evaluation_batches(
    shards: Shards,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    context: tf.distribute.InputContext,
    photos: int = 0,
) -> tf.data.Dataset:
    """One worker's batches of a split; over all workers every photo once.

    All batches are whole and all replicas have as many of them: what is
    missing is filled with blank images of weight 0.

    Args:
      shards: where the photos are.
      split: which of them.
      image_size: side of the images.
      batch_size: of a replica.
      context: which worker this is.
      photos: take so many at most; 0: all. See streams.evaluation_examples.

    Returns:
      A dataset of image, label, latlng (b, 2), weight.
    """
    blank = {
        "image": tf.zeros((image_size, image_size, 3)),
        "label": tf.zeros((), tf.int64),
        "latlng": tf.zeros((2,)),
        "weight": tf.zeros(()),
    }

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        photo = parse(record, ("image", "label", "lat", "lng"))
        return {
            "image": evaluation_image(
                photo["image"], image_size, shards.image_size
            ),
            "label": photo["label"],
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
            "weight": tf.ones(()),
        }

    examples = streams.evaluation_examples(
        shards,
        split,
        example,
        blank,
        batch_size=batch_size,
        context=context,
        limit=photos,
    )
    return examples.batch(batch_size, drop_remainder=True).prefetch(
        tf.data.AUTOTUNE
    )
