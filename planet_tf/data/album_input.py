"""From albums to batches of embedded photos; see streams.py."""

from collections.abc import Callable

import tensorflow as tf

from planet_tf.data import streams, windows
from planet_tf.data.data_dirs import Albums
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.photos import records

_SECONDS_PER_HOUR = 3600.0
UNKNOWN_GAP = -1.0  # hours


def parse(
    record: tf.Tensor,
    features: int,
    kept: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> streams.Example:
    """An album of n photos, from its serialised record.

    Args:
      record: the album.
      features: of a photo's embedding.
      kept: indices, rising, of the photos to take of so many; None: all.

    Returns:
      `embedding` (n, features) and `gap_hours` (n,) since the photo before,
      UNKNOWN_GAP if not known, float32; `label` (n,) int64, -1 for none;
      `latlng` (n, 2) float32; `weight` (n,) float32, 1 with a label, else 0;
      `photos`, n, int32.
    """
    types = records.album_photos_spec()
    names = [
        f"photos/{name}"
        for name in ("embedding", "label", "lat", "lng", "taken_at")
    ]
    spec = {
        name: tf.io.FixedLenSequenceFeature(
            (), tf.as_dtype(types[name]), allow_missing=True
        )
        for name in names
    }
    spec["timed"] = tf.io.FixedLenFeature((), tf.int64)
    found = tf.io.parse_single_example(record, spec)
    columns = [found[name] for name in names]
    columns[0] = tf.reshape(columns[0], (-1, features))
    if kept:
        chosen = kept(tf.size(found["photos/label"]))
        columns = [tf.gather(column, chosen) for column in columns]
    embedding, label, lat, lng, time = columns
    return {
        "embedding": embedding,
        "gap_hours": gap_hours(time, found["timed"] == 1),
        "label": label,
        "latlng": tf.stack([lat, lng], -1),
        "weight": tf.cast(label >= 0, tf.float32),
        "photos": tf.size(label),
    }


def some_of(photos: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Indices of photos, each left out by chance, though never all.

    Args:
      photos: how many there are, 1 at least.
      share: of all, the chance of each to be left out.
      seed: (2,) what chance follows from.
    """
    drawn = tf.random.stateless_uniform(photos[None], seed)
    kept = drawn >= tf.minimum(share, tf.reduce_max(drawn))
    return tf.where(kept)[:, 0]


def gap_hours(time: tf.Tensor, timed: tf.Tensor) -> tf.Tensor:
    """Hours since the photo before (n,), UNKNOWN_GAP if not known."""
    seconds = tf.cast(time[1:] - time[:-1], tf.float32)
    hours = tf.where(timed, seconds / _SECONDS_PER_HOUR, UNKNOWN_GAP)
    return tf.concat([[UNKNOWN_GAP], hours], 0)


def training_batches(
    albums: Albums,
    config: TrainAlbumsConfig,
    *,
    first_step: int,
    context: tf.distribute.InputContext,
) -> tf.data.Dataset:
    """One worker's batches from a step to the last, one a replica and step.

    Returns:
      A dataset of what `parse` gives, of b albums, padded to the longest of
      them; weights of what is no photo are 0.
    """

    def example(key: tf.Tensor, record: tf.Tensor) -> streams.Example:
        seed = windows.augmentation_seed(config, key)
        return parse(
            record,
            albums.features,
            lambda photos: some_of(photos, config.drop_photos, seed),
        )

    place = {"first_step": first_step, "context": context}
    examples = streams.training_examples(
        albums, config, lambda found: found, example, **place
    )
    each = config.batch_size // context.num_replicas_in_sync
    batches = _padded(examples, each, longest=None)
    return streams.up_to_the_end(batches, config, **place)


def evaluation_batches(
    albums: Albums,
    split: str,
    *,
    batch_size: int,
    context: tf.distribute.InputContext,
    limit: int = 0,
) -> tf.data.Dataset:
    """One worker's batches of a split; over all workers every album once.

    All batches are whole, padded to the longest album there may be, and all
    replicas have as many of them: what is missing is filled with blank albums
    of weight 0.

    Args:
      albums: where they are.
      split: which of them.
      batch_size: of a replica.
      context: which worker this is.
      limit: take so many at most; 0: all. See streams.evaluation_examples.
    """
    blank = {
        "embedding": tf.zeros((1, albums.features)),
        "gap_hours": tf.fill((1,), UNKNOWN_GAP),
        "label": tf.fill((1,), tf.constant(-1, tf.int64)),
        "latlng": tf.zeros((1, 2)),
        "weight": tf.zeros((1,)),
        "photos": tf.ones((), tf.int32),
    }
    examples = streams.evaluation_examples(
        albums,
        split,
        lambda record: parse(record, albums.features),
        blank,
        batch_size=batch_size,
        context=context,
        limit=limit,
    )
    return _padded(examples, batch_size, albums.max_photos).prefetch(
        tf.data.AUTOTUNE
    )


def _padded(
    examples: tf.data.Dataset, size: int, longest: int | None
) -> tf.data.Dataset:
    """Whole batches, padded to `longest`, or to the longest of each."""
    shapes = {
        name: spec.shape if not spec.shape.rank else [longest, *spec.shape[1:]]
        for name, spec in examples.element_spec.items()
    }
    return examples.padded_batch(size, shapes, drop_remainder=True)
