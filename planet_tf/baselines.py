"""What a model must beat on the same photos.

The prior always answers the most frequent cells. The nearest neighbour
answers the places of the training photos that look most alike, on 16x16
pixels with brightness, contrast and tint taken out (the strongest of the
variants tried); it gives the neighbour's own position, not its cell's, and so
may be nearer than any classifier.
"""

import numpy as np
import tensorflow as tf

from planet_tf import data_dirs, decoding, metrics
from planet_tf.partition import Partition

THUMBNAIL = 16  # pixels of a side
_TEST_ROWS = 512  # compared at a time, to bound the memory


def prior_points(partition: Partition, photos: int) -> np.ndarray:
    """The most frequent cells' points, (photos, k, 2), for every photo."""
    counts = np.array(partition.photos, np.float64)
    top = metrics.ranked(counts[None], metrics.TOP)[0]
    return np.tile(partition.latlng[top], (photos, 1, 1))


def nearest_points(
    train: np.ndarray, places: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Places (n, k, 2) of the training thumbnails nearest to the test's.

    Args:
      train: (m, features) thumbnails.
      places: (m, 2) their (lat, lng).
      test: (n, features) thumbnails.
    """
    k = min(metrics.TOP, len(train))
    squares = (train**2).sum(axis=1)
    found = []
    for start in range(0, len(test), _TEST_ROWS):
        rows = test[start : start + _TEST_ROWS]
        distances = squares - 2 * rows @ train.T  # and a constant of the row
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, near, 1), axis=1)
        found.append(places[np.take_along_axis(near, order, 1)])
    return np.concatenate(found)


def thumbnails(
    shards: data_dirs.Shards, split: str, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails (n, features) and places (n, 2) of a split's photos.

    At most `most` of them, the first ones: their order is random.
    """

    def example(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo = decoding.parse(record, ("image", "lat", "lng"))
        pixels = tf.io.decode_jpeg(photo["image"], channels=3)
        small = tf.image.resize(pixels, (THUMBNAIL, THUMBNAIL), method="area")
        return small, tf.stack([photo["lat"], photo["lng"]])

    batches = (
        tf.data.TFRecordDataset([path for path, _ in shards.split(split)])
        .take(most)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(256)
    )
    columns = zip(*batches.as_numpy_iterator(), strict=True)
    pixels, places = (np.concatenate(column) for column in columns)
    return normalized(pixels).reshape(len(pixels), -1), places


def normalized(pixels: np.ndarray) -> np.ndarray:
    """Images (n, h, w, 3), each colour with mean 0 and deviation 1."""
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    return pixels / (pixels.std(axis=(1, 2), keepdims=True) + 1e-6)
