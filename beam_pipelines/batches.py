"""Batches of photos joined, cut by keys, and searched for repetitions.

Photos stay in batches from the source to the writer: an element of a pipeline
is thousands of references, not one.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines.photos import Photos
from planet_tf.photos.rejects import Reject

# References that are gathered before they are cut: a piece for each of 10,000
# keys still has some, and all take about 40 MB.
_PHOTOS_GATHERED = 65_536
# Images that one element asks to read: little enough to spread over workers.
_PHOTOS_PER_READER = 512


def join(batches: Iterable[Any]) -> Any:
    """One batch of some, in their order; an empty one of Photos if of none.

    A batch is a dataclass of arrays, or of such batches.
    """
    batches = list(batches)
    if not batches:
        return Photos.from_rows([])
    if isinstance(batches[0], np.ndarray):
        return np.concatenate(batches)
    kind = type(batches[0])
    return kind(
        *(
            join(getattr(batch, field.name) for batch in batches)
            for field in dataclasses.fields(kind)
        )
    )


def pieces(photos: Photos) -> Iterator[Photos]:
    """The batch as such pieces as one reader of images should get."""
    for start in range(0, len(photos), _PHOTOS_PER_READER):
        yield photos.take(slice(start, start + _PHOTOS_PER_READER))


class Cut(beam.DoFn):
    """Cuts batches into pieces by a key, (int, batch).

    The batches of a bundle are gathered first. Cut one by one, small batches
    would go through a shuffle as an element for each photo.
    """

    def __init__(self, keys: Callable[[Any], np.ndarray]):
        """`keys` gives the key of each photo of a batch, (n,) integers."""
        self.keys = keys

    def start_bundle(self) -> None:
        """Begins with no batch."""
        self.batches: list[Any] = []

    def process(self, batch: Any) -> Iterator[tuple[int, Any]]:
        """Gives pieces when enough photos have been gathered."""
        self.batches.append(batch)
        if sum(map(len, self.batches)) >= _PHOTOS_GATHERED:
            yield from self._cut()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Gives the pieces of what is left."""
        window = GlobalWindow()
        for piece in self._cut():
            yield WindowedValue(piece, window.max_timestamp(), (window,))

    def _cut(self) -> Iterator[tuple[int, Any]]:
        batch = join(self.batches)
        self.batches = []
        if len(batch):
            keys = self.keys(batch)
            order = np.argsort(keys, kind="stable")
            for run in runs(keys[order]):
                rows = order[run]
                yield int(keys[rows[0]]), batch.take(rows)


def runs(values: np.ndarray) -> list[slice]:
    """Where equal values stand, in an array (n,) or (n, k) in order."""
    if not len(values):
        return []
    changed = values[1:] != values[:-1]
    if values.ndim > 1:
        changed = changed.any(-1)
    bounds = np.concatenate([[0], np.flatnonzero(changed) + 1, [len(values)]])
    return list(map(slice, bounds[:-1].tolist(), bounds[1:].tolist()))


def count_read(found: Any) -> Any:
    """Counts the photos of a batch, or a reject, as Beam's `photos_read`."""
    photos = 1 if isinstance(found, Reject) else len(found)
    Metrics.counter("planet_tf", "photos_read").inc(photos)
    return found
