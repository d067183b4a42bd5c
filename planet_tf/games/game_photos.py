"""Photos to play with: some of those that the model was not trained on."""

import dataclasses
import random
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from planet_tf.data import data_dirs, decoding
from planet_tf.geo import geometry
from planet_tf.photos import images

ROUNDS = 5  # photos of a game, as in GeoGuessr
_FEATURES = ("image", "photo_id", "lat", "lng")
_APART_KM = 100.0  # photos of a game, where there are such
_NO_LIMIT = 1 << 20  # pixels of a side: photos keep their size


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and where it was taken.

    Attributes:
      photo_id: in the data set.
      jpeg: as the model was trained on such; it may say where it is from.
      place: (lat, lng) in degrees.
    """

    photo_id: str
    jpeg: bytes
    place: tuple[float, float]

    def shown(self) -> bytes:
        """The photo without what its file says of where it was taken."""
        return images.fit(self.jpeg, _NO_LIMIT)


def load(
    shards: data_dirs.Shards, split: str, most: int, rng: random.Random
) -> list[Photo]:
    """Photos of a split, at most so many, drawn file by file.

    Raises:
      DataError: if there are not enough for a game.
    """
    paths = [path for path, _ in shards.split(split)]
    rng.shuffle(paths)
    drawn: list[Photo] = []
    for path in paths:
        found = list(_read(path))
        rng.shuffle(found)
        drawn += found[: most - len(drawn)]
        if len(drawn) == most:
            break
    if len(drawn) < ROUNDS:
        raise data_dirs.DataError(
            f"{shards.directory} has {len(drawn)} photos in split {split!r};"
            f" a game needs {ROUNDS}"
        )
    return drawn


def _read(path: str) -> Iterator[Photo]:
    dataset = tf.data.TFRecordDataset(path)
    for record in dataset.as_numpy_iterator():
        photo = decoding.parse(record, _FEATURES)
        yield Photo(
            photo["photo_id"].numpy().decode(),
            photo["image"].numpy(),
            (float(photo["lat"]), float(photo["lng"])),
        )


def of_a_game(photos: Sequence[Photo], rng: random.Random) -> list[Photo]:
    """Photos for a game, in random order and, if there are such, far apart."""
    left = rng.sample(photos, len(photos))
    chosen: list[Photo] = []
    while len(chosen) < ROUNDS:
        best = next((p for p in left if _is_apart(p, chosen)), left[0])
        chosen.append(best)
        left.remove(best)
    return chosen


def _is_apart(photo: Photo, others: Sequence[Photo]) -> bool:
    places = np.array([other.place for other in others]).reshape(-1, 2)
    km = geometry.great_circle_km(*photo.place, *places.T)
    return bool(np.all(km >= _APART_KM))
