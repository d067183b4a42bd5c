"""The model that a server asks: of photos, or of albums too."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from planet_tf.answering import photo_answers
from planet_tf.geo.partition import Partition
from planet_tf.model import export, model_dir
from planet_tf.photos import album_order
from planet_tf.prediction import album_prediction

AVERAGE = "average"  # how albums are answered without an album model


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What the model makes of a photo.

    Attributes:
      embedding: (features,), the penultimate layer.
      probabilities: (classes,) of `Model.partition`.
    """

    embedding: np.ndarray
    probabilities: np.ndarray


class Model:
    """A photo model, and an album model above it if the directory holds one.

    Attributes:
      photos: the photo model.
      partition: the classes that are answered.
      answerer: for all that they are answered by.
      how: albums are answered: "average", or the album model's variant.
    """

    def __init__(self, directory: str, min_cell_km: float):
        config = model_dir.read_config(directory)
        self._albums = None
        self.how = AVERAGE
        if album_prediction.is_album_model(config):
            self._albums = album_prediction.AlbumLocator(directory, min_cell_km)
            self.photos = self._albums.photos
            self.how = config["options"]["variant"]
        else:
            self.photos = export.Geolocator(directory, min_cell_km)
        self.partition: Partition = self.photos.partition
        self.answerer = photo_answers.Answerer(self.partition)

    def ask(self, jpegs: Sequence[bytes]) -> list[Asked | None]:
        """What it makes of photos; None for those that cannot be decoded."""
        embedding, valid = self.photos.embed(jpegs)
        probabilities = self.photos.classify(embedding)
        return [
            Asked(*row) if good else None
            for *row, good in zip(embedding, probabilities, valid, strict=True)
        ]

    def ask_album(
        self,
        photos: Sequence[Asked],
        names: Sequence[str],
        times: Sequence[int],
    ) -> np.ndarray:
        """Probabilities (n, classes) of an album's photos among the others.

        Args:
          photos: in any order.
          names: of the photos, (n,).
          times: Unix seconds or records.UNKNOWN_TIME, (n,).
        """
        if self._albums is None:
            mean = np.mean([photo.probabilities for photo in photos], axis=0)
            return np.tile(mean, (len(photos), 1))
        order, timed = album_order.in_order(names, times)
        found = self._albums.among(
            np.stack([photos[i].embedding for i in order]),
            [times[i] for i in order],
            timed,
        )
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return found[back]

    def warm_up(self, most: int) -> None:
        """Asks about batches of 1, 2, 4, ... photos, up to `most`.

        The first of each size takes long, and no client shall wait for it.
        """
        size = 1
        while size <= most:
            embedding, _ = self.photos.embed([b""] * size)
            probabilities = self.photos.classify(embedding)
            size *= 2
        self.answerer.answers(probabilities)
