"""Answers for the photos of an album, each alone and among the others."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from planet_tf.data import album_input
from planet_tf.drawing import tracks
from planet_tf.geo import coarsening, geometry
from planet_tf.model import embedding, export, model_dir
from planet_tf.photos import album_order, exif, images, records
from planet_tf.prediction.album_photos import Album

_BATCH = 16  # photos that the photo model is asked about at once
_PICTURE = 160  # pixels of the short side of a photo in a map


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What an album model says of an album.

    Attributes:
      album: of the n photos that could be embedded.
      photos: (n,) with the likeliest cells.
      probabilities: (n, classes) of the photos among the others.
      unread: names of the photos that TensorFlow cannot decode.
    """

    album: Album
    photos: Sequence[tracks.Photo]
    probabilities: np.ndarray
    unread: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Outliers:
    """When a photo does not seem to belong to its album.

    Attributes:
      km: its own answer is further than that from the album's,
      probability: and it gives so much to what is that near to its own.
    """

    km: float
    probability: float


class AlbumLocator:
    """An album model to ask from Python, with the photo model below it.

    Attributes:
      config: of the training run.
      photos: the photo model.
      partition: the classes that are answered, as of `export.Geolocator`.
    """

    def __init__(self, directory: str, min_cell_km: float = 0.0):
        self.config = model_dir.read_config(directory)
        if not is_album_model(self.config):
            raise model_dir.ModelDirError(
                f"{directory} holds a photo model, not an album model of"
                " python -m planet_tf.train_albums; planet_tf.predict asks it"
            )
        partition = model_dir.read_partition(directory)
        self._module = export.load(directory, partition)
        below = os.path.join(directory, records.PHOTO_MODEL)
        self.photos = export.Geolocator(below, min_cell_km)
        if self.photos.weights != self.config["model_fingerprint"]:
            raise model_dir.ModelDirError(
                f"{below} has the weights {self.photos.weights}, but"
                f" {directory} was trained on embeddings of"
                f" {self.config['model_fingerprint']}: put back the photo"
                " model that belongs to it"
            )
        self.partition, self._limited = coarsening.limited(
            partition, min_cell_km
        )
        self._embedder = embedding.Embedder(
            self.photos.module, self.photos.photo_size, _BATCH
        )

    def ask(self, album: Album, outliers: Outliers) -> Answers:
        """Answers for all photos of an album that can be decoded."""
        vectors = enumerate(self._vectors(album))
        known = {i: vector for i, vector in vectors if vector is not None}
        read = list(known)
        unread = [n for i, n in enumerate(album.names) if i not in known]
        if not read:
            none = np.zeros((0, self.partition.num_classes), np.float32)
            return Answers(album.take(read), [], none, unread)
        features = np.stack(list(known.values()))
        album = album.take(read)
        single = self.photos.classify(features)
        among = self.among(features, album.times, album.timed)
        photos = self._photos(album, single, among, outliers)
        return Answers(album, photos, among, unread)

    def _vectors(self, album: Album) -> Iterator[np.ndarray | None]:
        """What the photo model makes of each photo; None if it cannot."""
        if album.embedding is not None:
            yield from album.embedding
        jpegs = album.jpegs or ()
        for start in range(0, len(jpegs), _BATCH):
            yield from self._embedder.embed(jpegs[start : start + _BATCH])

    def among(
        self, features: np.ndarray, times: Sequence[int], timed: bool
    ) -> np.ndarray:
        """Probabilities (n, classes) of an album's photos among the others.

        Longer albums than the model has seen are cut as write_albums does it.

        Args:
          features: (n, features) of the photos in their order.
          times: (n,) Unix seconds.
          timed: whether the order is that of the times.
        """
        found = []
        for run in album_order.even_cuts(
            len(features), self.config["max_photos"]
        ):
            gaps = album_input.gap_hours(
                tf.constant(times[run], tf.int64), tf.constant(timed)
            )
            asked = self._module.distribution(
                tf.constant(features[None, run]),
                tf.constant([run.stop - run.start]),
                gaps[None],
            )
            found.append(asked["probabilities"][0].numpy())
        return self._limited(np.concatenate(found))

    def _photos(
        self,
        album: Album,
        single: np.ndarray,
        among: np.ndarray,
        outliers: Outliers,
    ) -> list[tracks.Photo]:
        photos = []
        for i, name in enumerate(album.names):
            alone, answer = self._answer(single[i]), self._answer(among[i])
            photos.append(
                tracks.Photo(
                    name=name,
                    time=exif.time_text(album.times[i]),
                    single=alone,
                    album=answer,
                    truth=album.truths[i],
                    outlier=self._is_outlier(
                        single[i], alone, answer, outliers
                    ),
                    jpeg=images.fit(album.jpegs[i], _PICTURE)
                    if album.jpegs is not None
                    else b"",
                )
            )
        return photos

    def _answer(self, probabilities: np.ndarray) -> tracks.Answer:
        """The likeliest cell of (classes,)."""
        of_cells = probabilities[int(self.partition.other_class) :]
        best = int(of_cells.argmax())
        lat, lng = self.partition.points[best]
        return tracks.Answer(
            lat=lat,
            lng=lng,
            probability=float(of_cells[best]),
            token=self.partition.tokens[best],
        )

    def _is_outlier(
        self,
        probabilities: np.ndarray,
        alone: tracks.Answer,
        answer: tracks.Answer,
        outliers: Outliers,
    ) -> bool:
        apart = geometry.great_circle_km(*alone.latlng, *answer.latlng)
        if apart <= outliers.km:
            return False
        of_cells = probabilities[int(self.partition.other_class) :]
        km = geometry.great_circle_km(*alone.latlng, *self.partition.latlng.T)
        near = of_cells[km <= outliers.km].sum()
        return bool(near >= outliers.probability)


def is_album_model(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of a model directory is an album model's."""
    return "model_fingerprint" in config
