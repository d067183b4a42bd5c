"""Pictures of example answers: validation photos beside maps."""

import sys
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from planet_tf.data import data_dirs, decoding
from planet_tf.drawing import pictures

_DPI = 80


class Examples:
    """Some validation photos, always the same, to ask a model about."""

    def __init__(self, shards: data_dirs.Shards, count: int, image_size: int):
        self.shards = shards
        self.photos: list[dict[str, np.ndarray]] = []
        if count and _can_draw():
            self.photos = load_examples(shards, count, image_size)

    def pictures(self, model: keras.Model) -> list[np.ndarray]:
        """Pictures (height, width, 3) uint8 of a model's answers."""
        if not self.photos:
            return []
        images = np.stack([photo["image"] for photo in self.photos])
        shares = tf.nn.softmax(model(images, training=False)).numpy()
        return [
            draw_example(self.shards, photo, share)
            for photo, share in zip(self.photos, shares, strict=True)
        ]


def _can_draw() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(
            "TensorBoard will show no pictures of examples: matplotlib is not"
            " installed (pip install 'planet-tf[viz]')",
            file=sys.stderr,
            flush=True,
        )
        return False
    return True


def load_examples(
    shards: data_dirs.Shards, count: int, image_size: int
) -> list[dict[str, np.ndarray]]:
    """Validation photos, always the same: the first ones of the first files.

    Shards are in random order, so that these are too.

    Returns:
      For each photo its `image` as the model sees it and `latlng` (2,).
    """
    paths = [path for path, _ in shards.split("validation")]

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        photo = decoding.parse(record, ("image", "lat", "lng"))
        return {
            "image": decoding.evaluation_image(photo["image"], image_size),
            "latlng": tf.stack([photo["lat"], photo["lng"]]),
        }

    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.interleave(tf.data.TFRecordDataset, cycle_length=count)
    return list(dataset.take(count).map(example).as_numpy_iterator())


def draw_example(
    shards: data_dirs.Shards,
    photo: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
) -> np.ndarray:
    """A photo beside the map of its answer, (height, width, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    lat, lng = photo["latlng"].tolist()
    image = np.round((photo["image"] + 1) * 127.5).astype(np.uint8)
    figure = pictures.examples_figure(
        shards.partition, [pictures.Example(image, probabilities, (lat, lng))]
    )
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
