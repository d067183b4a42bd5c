"""From a photo record's bytes to an image for the network.

One way for training, evaluation and the SavedModel: a window of the photo,
scaled to a square in [-1, 1].
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from planet_tf.options.train_config import TrainConfig
from planet_tf.photos import images, records

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


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


def evaluation_images(
    image_bytes: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The middle squares of JPEGs and PNGs, whatever else is among them.

    Of a JPEG the same as `evaluation_image`. What is transparent in a PNG is
    white.

    Args:
      image_bytes: (n,) string.
      size: side of the images.

    Returns:
      (n, size, size, 3) float32 in [-1, 1], gray where there is no image, and
      (n,) bool where there is one: neither broken nor of too many pixels.
    """
    count = tf.size(image_bytes, tf.int64)
    squares = tf.data.Dataset.from_tensor_slices(
        (tf.range(count), image_bytes)
    ).map(
        lambda i, data: (i, _square_of_any(data, size)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    # The only way within a graph to go on after an image that is broken.
    squares = squares.ignore_errors()
    gray = tf.zeros((size, size, 3))
    last = tf.data.Dataset.from_tensors((count, gray))  # or none might be left
    kept, images = (
        squares.concatenate(last).batch(count + 1).get_single_element()
    )
    kept, images = kept[:-1, None], images[:-1]
    shape = tf.stack([count, size, size, 3])
    valid = tf.scatter_nd(kept, tf.ones_like(kept[:, 0]), count[None]) > 0
    images = tf.cond(  # as it mostly is, without another copy
        tf.reduce_all(valid),
        lambda: images,
        lambda: tf.scatter_nd(kept, images, shape),
    )
    # Layers that look at all of an image want to know its shape.
    return tf.ensure_shape(images, (None, size, size, 3)), valid


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


def _square_of_any(data: tf.Tensor, size: int) -> tf.Tensor:
    """As evaluation_image; raises InvalidArgumentError if it is no image."""
    return tf.cond(
        tf.strings.substr(data, 0, len(_PNG_MAGIC)) == _PNG_MAGIC,
        lambda: _square_of_png(data, size),
        lambda: evaluation_image(_checked_jpeg(data), size),
    )


def _checked_jpeg(data: tf.Tensor) -> tf.Tensor:
    """The same bytes; other formats, which TensorFlow would read, fail."""
    is_jpeg = tf.strings.substr(data, 0, len(_JPEG_MAGIC)) == _JPEG_MAGIC
    check = tf.raw_ops.Assert(condition=is_jpeg, data=["no JPEG and no PNG"])
    with tf.control_dependencies([check]):
        return tf.identity(data)


def _square_of_png(png: tf.Tensor, size: int) -> tf.Tensor:
    """The middle square of a PNG, (size, size, 3) float32 in [-1, 1]."""
    # Width and height stand at fixed places, before anything is unpacked.
    sides = tf.io.decode_raw(
        tf.strings.substr(png, 16, 8), tf.int32, little_endian=False
    )
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(sides > 0)
        & (pixels <= images.Limits().max_pixels),
        data=["a photo has too many pixels", sides],
    )
    with tf.control_dependencies([check]):
        rgba = tf.io.decode_png(png, channels=4)
    side = tf.minimum(sides[0], sides[1])
    left, top = (sides[0] - side) // 2, (sides[1] - side) // 2
    rgba = tf.cast(rgba[top : top + side, left : left + side], tf.float32)
    opaque = rgba[..., 3:] / 255.0
    square = rgba[..., :3] * opaque + 255.0 * (1.0 - opaque)
    # Means of 2, 4 or 8 first, as of a JPEG; see _window_pixels.
    halvings = tf.math.count_nonzero(
        tf.stack([side >= size << i for i in (1, 2, 3)]), dtype=tf.int32
    )
    halved = tf.repeat(tf.bitwise.right_shift(side, halvings), 2)
    means = tf.image.resize(square, halved, "area")
    found = tf.cond(
        side >= 16 * size,
        lambda: tf.image.resize(means, (size, size), "area"),
        lambda: tf.image.resize(means, (size, size)),
    )
    return tf.ensure_shape(found / 127.5 - 1.0, (size, size, 3))


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
        ways = [functools.partial(scaled, ratio) for ratio in (1, 2, 4, 8)]
        ways.append(functools.partial(scaled, 8, "area"))
        larger = [
            tf.reduce_min(window[2:]) >= size << i for i in range(1, len(ways))
        ]
        image = tf.switch_case(
            tf.math.count_nonzero(tf.stack(larger), dtype=tf.int32), ways
        )
    return tf.ensure_shape(image, (size, size, 3))
