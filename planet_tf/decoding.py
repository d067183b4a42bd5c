"""From a photo record's bytes to an image for the network.

One way for training, evaluation and the SavedModel: a window of the photo,
scaled to a square in [-1, 1].
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from planet_tf import images, records
from planet_tf.config import TrainConfig


def parse(record: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Some features of serialised photo records, one or (n,)."""
    spec = records.photo_spec()
    features = {
        name: tf.io.FixedLenFeature((), tf.as_dtype(spec[name]))
        for name in names
    }
    return tf.io.parse_example(record, features)


def evaluation_image(
    jpeg: tf.Tensor, size: int, photo_size: int = 0
) -> tf.Tensor:
    """The middle square of a JPEG, (size, size, 3) float32 in [-1, 1].

    Args:
      jpeg: the photo.
      size: side of the image.
      photo_size: what photos' short sides were scaled down to, if it is known;
        saves time, changes nothing.
    """
    shape = _safe_shape(jpeg)
    side = tf.minimum(shape[0], shape[1])
    corner = (shape[:2] - side) // 2
    window = tf.concat([corner, [side, side]], 0)
    pixels = _window_pixels(jpeg, window, size, photo_size)
    return pixels / 127.5 - 1.0


def training_image(
    jpeg: tf.Tensor, config: TrainConfig, seed: tf.Tensor, photo_size: int = 0
) -> tf.Tensor:
    """A random view of a JPEG, a function of the seed (2,) int64.

    A crop of random area and aspect, scaled to a square; by option turned
    by quarters; brightness and contrast. For `photo_size` see
    evaluation_image.
    """
    begin, window, _ = tf.image.stateless_sample_distorted_bounding_box(
        _safe_shape(jpeg),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(0.8, 1.25),
        area_range=(config.min_crop_area, 1.0),
    )
    crop = tf.concat([begin[:2], window[:2]], 0)
    pixels = _window_pixels(jpeg, crop, config.image_size, photo_size)
    # Of another seed, as the crop would draw the same numbers.
    draws = tf.random.stateless_uniform((3,), seed + (1, 0), -1.0, 1.0)
    if config.rotate:
        turns = tf.cast(tf.floor((draws[2] + 1.0) * 2.0), tf.int32)
        pixels = tf.image.rot90(pixels, turns)
    if config.color_jitter:
        image = _jitter_color(
            pixels, *tf.unstack(config.color_jitter * draws[:2])
        )
    else:
        image = pixels / 127.5 - 1.0
    return tf.ensure_shape(image, (config.image_size, config.image_size, 3))


def _jitter_color(
    pixels: tf.Tensor, contrast: tf.Tensor, shift: tf.Tensor
) -> tf.Tensor:
    """Scales contrast by e**contrast around the mean, shifts brightness.

    Takes pixels in [0, 255] to [-1, 1]. In the few passes over whole rows
    that take half the time of the plain (image - mean) * factor + mean + shift.
    """
    size = pixels.shape[0]
    rows = tf.reshape(pixels, (size, size * 3))
    mean = tf.reduce_mean(tf.reshape(tf.reduce_mean(rows, 0), (size, 3)), 0)
    factor = tf.exp(contrast) / 127.5
    offset = mean * (1 / 127.5 - factor) + (shift - 1.0)
    image = rows * factor + tf.tile(offset, [size])
    return tf.reshape(tf.clip_by_value(image, -1, 1), (size, size, 3))


def _safe_shape(jpeg: tf.Tensor) -> tf.Tensor:
    """Height, width, channels of a JPEG, refusing decompression bombs."""
    shape = tf.io.extract_jpeg_shape(jpeg)
    pixels = tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64)
    # Not tf.debugging's, which branches and takes a tenth of the whole.
    check = tf.raw_ops.Assert(
        condition=pixels <= images.Limits().max_pixels,
        data=["a photo has too many pixels", pixels],
    )
    with tf.control_dependencies([check]):
        return tf.identity(shape)


def _window_pixels(
    jpeg: tf.Tensor, window: tf.Tensor, size: int, photo_size: int
) -> tf.Tensor:
    """A window (top, left, height, width) as a square with 0 to 255.

    Bilinear interpolation looks at the nearest four pixels alone, so of a
    window of twice the size and more the decoder makes 1/2, 1/4 or 1/8 first,
    by means, which takes less time than to decode all pixels.
    """

    def scaled(ratio: int, method: str = "bilinear") -> tf.Tensor:
        pixels = tf.io.decode_and_crop_jpeg(
            jpeg, window // ratio, channels=3, ratio=ratio
        )
        return tf.image.resize(pixels, (size, size), method)

    if 0 < photo_size < 2 * size:
        image = scaled(1)  # a branch takes a tenth of the time
    else:
        ways = [(1,), (2,), (4,), (8,), (8, "area")]
        larger = [
            tf.reduce_min(window[2:]) >= size << i for i in range(1, len(ways))
        ]
        image = tf.switch_case(
            tf.math.count_nonzero(tf.stack(larger), dtype=tf.int32),
            [functools.partial(scaled, *way) for way in ways],
        )
    return tf.ensure_shape(image, (size, size, 3))
