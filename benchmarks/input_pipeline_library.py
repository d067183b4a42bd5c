"""What simplejpeg and OpenCV make of photos, for benchmarks.input_pipeline."""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import simplejpeg
import tensorflow as tf

from planet_tf.data import decoding

# As planet_tf.train crops.
_ASPECTS = (0.8, 1.25)
_LEAST_AREA = 0.5


def read_jpegs(shards: Any) -> list[bytes]:
    """All photos of shards."""
    paths = [path for path, _ in shards.split("train")]
    photos = tf.data.TFRecordDataset(paths).map(
        lambda record: decoding.parse(record, ["image"])["image"]
    )
    return list(photos.as_numpy_iterator())


def makers(
    jpegs: Sequence[bytes], size: int, many: int
) -> list[Callable[[], None]]:
    """Functions that make a batch: of images, the same fast, and decode alone.

    The last ones only decode, the first of them in the standard way. All use
    as many threads as there are CPUs, on photos chosen at random.
    """
    cv2.setNumThreads(1)  # each thread has an image of its own
    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    random = np.random.default_rng(0)

    def batch(fast: bool) -> None:
        out = np.empty((many, size, size, 3), np.float32)

        def one(place: int, jpeg: bytes, draws: np.ndarray) -> None:
            pixels = crop(decode(jpeg, fast), draws)
            pixels = cv2.resize(
                pixels, (size, size), interpolation=cv2.INTER_LINEAR
            )
            np.multiply(pixels, np.float32(1 / 127.5), out=out[place])
            np.subtract(out[place], np.float32(1), out=out[place])

        list(pool.map(one, range(many), chosen(), random.random((many, 4))))

    def decoded(fast: bool) -> None:
        list(pool.map(lambda jpeg: decode(jpeg, fast).shape, chosen()))

    def chosen() -> list[bytes]:
        return [jpegs[i] for i in random.integers(0, len(jpegs), many)]

    return [
        functools.partial(make, fast)
        for make in (batch, decoded)
        for fast in (False, True)
    ]


def decode(jpeg: bytes, fast: bool) -> np.ndarray:
    """Pixels; `fast` takes the less exact ways for DCT and colours."""
    return simplejpeg.decode_jpeg(jpeg, fastdct=fast, fastupsample=fast)


def crop(pixels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """A random part of an image, by four numbers in [0, 1)."""
    height, width = pixels.shape[:2]
    aspect = _ASPECTS[0] + draws[0] * (_ASPECTS[1] - _ASPECTS[0])
    area = height * width * (_LEAST_AREA + draws[1] * (1 - _LEAST_AREA))
    high = min(height, round((area / aspect) ** 0.5))
    wide = min(width, round((area * aspect) ** 0.5))
    top = int(draws[2] * (height - high + 1))
    left = int(draws[3] * (width - wide + 1))
    return pixels[top : top + high, left : left + wide]
