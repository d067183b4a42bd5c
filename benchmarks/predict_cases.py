"""What benchmarks.predict measures: a directory of photos, and no photos."""

import itertools
import os
import shutil
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks import collection, rounds, serve_cases
from benchmarks.predict import Config
from planet_tf.model import export
from planet_tf.photos import photo_files
from planet_tf.prediction import pieces

_BATCH_SIZES = (8, 16, 32, 64)


def serve(config: Config) -> None:
    """Makes a model and photos, and asks it in turns."""
    directory = os.path.join(config.work, "model")
    serve_cases.make_model(config, directory)
    items = make_photos(config)
    locator = export.Geolocator(directory)
    passes = {size: Bare(locator, config, size) for size in _BATCH_SIZES}
    rates = {
        size: one.work()["photos_per_second"] for size, one in passes.items()
    }
    best = max(rates, key=rates.get)
    predict = Predict(locator, config, items, best)
    predict.work()  # warms up
    rounds.serve(
        {"bare": passes[best].work, "predict": predict.work}, batch_size=best
    )


def make_photos(config: Config) -> pieces.Items:
    """Files as of cameras."""
    directory = os.path.join(config.work, "photos")
    os.makedirs(directory)
    found = collection.jpegs(config.sizes, np.random.default_rng(0))
    for number, jpeg in enumerate(itertools.islice(found, config.photos)):
        with open(os.path.join(directory, f"{number:06}.jpg"), "wb") as file:
            file.write(jpeg)
    return photo_files.find([directory])


class Bare:
    """The network on images that are there."""

    def __init__(self, locator: export.Geolocator, config: Config, size: int):
        self._locator, self._seconds, self._size = locator, config.seconds, size
        shape = size, config.image_size, config.image_size, 3
        self._images = tf.zeros(shape)

    def work(self) -> rounds.Result:
        """Its speed, over some seconds."""
        self._ask()  # warms up
        return measured(self._asked)

    def _asked(self) -> int:
        begun, photos = time.monotonic(), 0
        while not photos or time.monotonic() - begun < self._seconds:
            self._ask()
            photos += self._size
        return photos

    def _ask(self) -> np.ndarray:
        found = self._locator.module.of_images(self._images)
        return found["probability"].numpy()


class Predict:
    """What planet_tf.predict does once the model is loaded."""

    def __init__(
        self,
        locator: export.Geolocator,
        config: Config,
        items: pieces.Items,
        size: int,
    ):
        self._items, self._out = items, os.path.join(config.work, "out")
        self._asker = pieces.Asker(locator, pieces.Form("jsonl", 5, size))

    def work(self) -> rounds.Result:
        """Its speed, over all photos."""
        shutil.rmtree(self._out, ignore_errors=True)
        os.makedirs(self._out)
        paths = (os.path.join(self._out, name) for name in ("jsonl", "bad"))
        writes = self._asker.write(
            self._items, pieces.Paths(*paths), whole=True
        )
        return measured(lambda: sum(count for count, _ in writes))


def measured(work: Callable[[], int]) -> rounds.Result:
    """The speed of some work, which gives how many photos it was."""
    wall, cpu = time.monotonic(), time.process_time()
    photos = work()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return {
        "photos_per_second": photos / wall,
        "photos_per_cpu_second": photos / cpu,
    }
