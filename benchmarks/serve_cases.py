"""The bare SavedModel that benchmarks.serve compares the server with."""

import concurrent.futures
import functools
import io
import itertools
import json
import os
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import rounds
from benchmarks.serve import Config
from planet_tf.geo import partition
from planet_tf.model import export, model_dir, models
from planet_tf.photos import images

_PHOTOS = 64
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_PHOTO_SIZE = 342


def serve(config: Config) -> None:
    """Makes a model and photos, and asks it in turns."""
    directory = os.path.join(config.work, "model")
    make_model(config, directory)
    photos = make_photos(config)
    locator = export.Geolocator(directory)
    measured = functools.partial(rate, locator, photos, config.seconds)
    rates = {size: measured(size, bytes) for size in _BATCH_SIZES}
    best = max(rates, key=rates.get)
    rounds.serve(
        {
            "bare": lambda: {"rate": measured(best, bytes)},
            "fitted": lambda: {"rate": measured(best, fit)},
        },
        batch_size=best,
    )


def fit(photo: bytes) -> bytes:
    """A photo as the model takes it."""
    return images.fit(photo, _PHOTO_SIZE)


def make_model(config: Config, directory: str) -> None:
    """A directory of a photo model with random weights."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-60, -180], [70, 180], (12 * config.cells, 2))
    cells = partition.build(*points.T, max_photos=24, min_photos=1)
    os.makedirs(directory)
    path = os.path.join(directory, model_dir.PARTITION)
    with open(path, "w") as file:
        partition.dump(cells, file)
    facts = {
        "photo_size": _PHOTO_SIZE,
        "partition_fingerprint": cells.fingerprint,
    }
    with open(os.path.join(directory, model_dir.CONFIG), "w") as file:
        json.dump(facts, file)
    model = models.photo_classifier(
        cells.num_classes,
        image_size=config.image_size,
        width=config.width,
        precision="float32",
    )
    module = export.PhotoGeolocator(model, cells, path, config.image_size)
    export.save(module, os.path.join(directory, model_dir.EXPORT))


def make_photos(config: Config) -> list[bytes]:
    """Photos of smooth noise, also as files."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(_PHOTOS):
        small = rng.integers(0, 256, (12, 16, 3), np.uint8)
        size = (config.side * 4 // 3, config.side)
        file = io.BytesIO()
        Image.fromarray(small).resize(size).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
        with open(os.path.join(config.work, f"{i:03}.jpg"), "wb") as out:
            out.write(found[-1])
    return found


def rate(
    locator: export.Geolocator,
    photos: list[bytes],
    seconds: float,
    size: int,
    prepare: Callable[[bytes], bytes],
) -> float:
    """Photos a second, over so many seconds, in batches of a size.

    Threads prepare the next batch while the model is asked about one.
    """
    numbers = itertools.count()

    def ready() -> list[concurrent.futures.Future]:
        some = itertools.islice(numbers, size)
        return [threads.submit(prepare, photos[i % len(photos)]) for i in some]

    with concurrent.futures.ThreadPoolExecutor() as threads:
        ask(locator, ready())  # warms up
        begun, done, coming = time.monotonic(), 0, ready()
        while not done or time.monotonic() - begun < seconds:
            batch, coming = coming, ready()  # while the model is asked
            ask(locator, batch)
            done += size
        return done / (time.monotonic() - begun)


def ask(
    locator: export.Geolocator, batch: list[concurrent.futures.Future]
) -> np.ndarray:
    """The model's probabilities for photos that are being prepared."""
    jpegs = tf.constant([photo.result() for photo in batch])
    return locator.module.distribution(jpegs)["probabilities"].numpy()
