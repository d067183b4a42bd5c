"""Answers for some thousand photos, to a file that is there when it is whole.

A piece's bytes depend on its photos, the model and the options alone, so that
it does not matter who writes it, on how many machines, after how many crashes.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from planet_tf.answering import photo_answers, prediction_files
from planet_tf.model import export
from planet_tf.photos import images
from planet_tf.photos.photo_files import PhotoFile
from planet_tf.photos.rejects import PhotoError, Reason, Reject

_BATCHES_AHEAD = 3

Items = Sequence[PhotoFile | Reject]  # as photo_files lists them


@dataclasses.dataclass(frozen=True)
class Form:
    """What the answers look like.

    Attributes:
      format: of prediction_files.FORMATS.
      top: answers for each photo.
      batch_size: photos that the model is asked about at once; the last bits
        of probabilities depend on it.
    """

    format: str
    top: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where a piece goes.

    Attributes:
      answers: file of those, if there are any.
      rejects: file of what could not be answered. It is written last and may
        be empty: if it is there, the piece is done.
    """

    answers: str
    rejects: str

    def done(self) -> bool:
        """Whether the piece is there, whole."""
        return tf.io.gfile.exists(self.rejects)


class Asker:
    """Asks a model about photos by the piece."""

    def __init__(self, locator: export.Geolocator, form: Form):
        self._locator, self._form = locator, form
        self._texts = prediction_files.FORMATS[form.format]
        self._answerer = photo_answers.Answerer(locator.partition)

    def write(
        self, items: Items, paths: Paths, whole: bool
    ) -> Iterator[tuple[int, int]]:
        """Answers a piece, while threads read and fit the next photos.

        Args:
          items: the photos, and what is none.
          paths: where to.
          whole: whether the file of answers stands for itself, or is to be put
            together with others.

        Yields:
          For each batch, how many items and how many of them rejects it had.
        """
        rejects: list[Reject] = []
        said: list[concurrent.futures.Future] = []
        with concurrent.futures.ThreadPoolExecutor(1) as words:
            for batch in self._fitted(items):
                good, bad = self._embedded(batch)
                rejects += bad
                # In words while the model is asked about the next ones.
                said.append(words.submit(self._said, good))
                yield len(batch), len(bad)
        texts = [text for future in said for text in future.result()]
        if texts:
            text = self._texts.between.join(texts)
            write(paths.answers, self._alone(text) if whole else text)
        write(paths.rejects, "".join(r.line() + "\n" for r in rejects))

    def _alone(self, text: str) -> str:
        return self._texts.head(self._form.top) + text + self._texts.tail

    def _said(self, good: dict[str, np.ndarray]) -> list[str]:
        """The texts of photos by the penultimate layer."""
        if not good:
            return []
        probabilities = self._locator.classify(np.stack(list(good.values())))
        answers = self._answerer.answers(probabilities, self._form.top)
        return [
            self._texts.photo(photo_id, answer, self._form.top)
            for photo_id, answer in zip(good, answers, strict=True)
        ]

    def _embedded(
        self, batch: Sequence[tuple[str, bytes] | Reject]
    ) -> tuple[dict[str, np.ndarray], list[Reject]]:
        """The penultimate layer by photo, and what could not be read."""
        rejects = [found for found in batch if isinstance(found, Reject)]
        photos = [found for found in batch if not isinstance(found, Reject)]
        if not photos:
            return {}, rejects
        ids, jpegs = zip(*photos, strict=True)
        embedding, valid = self._locator.embed(jpegs)
        rejects += [
            reject(photo_id, Reason.CORRUPT_IMAGE, "TensorFlow cannot read it")
            for photo_id, is_valid in zip(ids, valid, strict=True)
            if not is_valid
        ]
        rows = zip(ids, embedding, valid, strict=True)
        return {name: row for name, row, is_valid in rows if is_valid}, rejects

    def _fitted(
        self, items: Items
    ) -> Iterator[list[tuple[str, bytes] | Reject]]:
        """Batches of photos as the model takes them, or why not."""
        size = self._form.batch_size
        ahead: collections.deque[list[concurrent.futures.Future]] = (
            collections.deque()
        )
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            for start in itertools.count(0, size):
                batch = items[start : start + size]
                if batch:
                    ahead.append([threads.submit(self._fit, x) for x in batch])
                if len(ahead) > _BATCHES_AHEAD or not batch:
                    if not ahead:
                        return
                    yield [future.result() for future in ahead.popleft()]

    def _fit(self, item: PhotoFile | Reject) -> tuple[str, bytes] | Reject:
        if isinstance(item, Reject):
            return item
        try:
            jpeg = images.fit(item.read(), self._locator.photo_size)
        except PhotoError as error:
            return reject(item.photo_id, error.reason, error.detail)
        return item.photo_id, jpeg


def reject(photo_id: str, reason: Reason, detail: str) -> Reject:
    """A photo that is not answered."""
    return Reject(photo_id, "predict", reason, detail)


def write(path: str, text: str) -> None:
    """Writes a file that appears when it is whole."""
    with tf.io.gfile.GFile(path + ".incomplete", "w") as file:
        file.write(text)
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)
