"""Photos that people name in, files of answers out.

A file holds the answers of a piece of the photos of one source, a tar or a
table or a run of image files, and is named by both numbers: neither the runner
nor the workers change a byte, and a file that is there is not made again.
"""

import collections
import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from beam_pipelines import files, rejects, running
from planet_tf.photos import photo_files
from planet_tf.photos.photo_files import PhotoFile
from planet_tf.photos.rejects import Reject

if TYPE_CHECKING:
    from planet_tf.prediction.pieces import Asker, Form, Paths

READ = "photos"  # how all that was read is called among the counts
_Piece = tuple[str, list[PhotoFile | Reject]]


@dataclasses.dataclass(frozen=True)
class Model:
    """A photo model where workers find it, and what it is asked for.

    Attributes:
      directory: of the model.
      weights: the fingerprint of those that it must have.
      min_cell_km: no answer is finer.
      form: of the answers.
    """

    directory: str
    weights: str
    min_cell_km: float
    form: "Form"

    def load(self) -> "Asker":
        """Who asks it; ModelError if it was changed meanwhile."""
        from beam_pipelines.embedding import ModelError
        from planet_tf.model import export
        from planet_tf.prediction import pieces

        locator = export.Geolocator(self.directory, self.min_cell_km)
        if locator.weights != self.weights:
            raise ModelError(
                f"{self.directory} has the weights {locator.weights}, but the"
                f" pipeline was started for {self.weights}: it was changed"
                " meanwhile; start again with another --out"
            )
        return pieces.Asker(locator, self.form)


@dataclasses.dataclass(eq=False)
class WriteAnswers(beam.PTransform):
    """Answers photos, to files in a directory.

    Attributes:
      names: of photos, as people give them.
      out: the directory.
      model: that answers.
      piece_photos: of a file, at most.
    """

    names: Sequence[str]
    out: str
    model: Model
    piece_photos: int

    def expand(self, root: beam.Pipeline) -> beam.PCollection:
        """Gives one dict of counts, of READ and by reasons for rejects."""
        return (
            root
            | beam.Create([list(self.names)])
            | beam.FlatMap(numbered_sources)  # (int, list[str])
            | "Tars and tables" >> beam.Reshuffle()
            | beam.FlatMap(pieces_of, self.piece_photos)  # _Piece
            | "Pieces" >> beam.Reshuffle()
            | beam.ParDo(_Answer(self.out, self.model))  # dict[str, int]
            | beam.CombineGlobally(rejects.add_counts)
        )


def numbered_sources(names: list[str]) -> Iterator[tuple[int, list[str]]]:
    """What photo_files.sources finds, counted."""
    yield from enumerate(photo_files.sources(names))


def pieces_of(
    source: tuple[int, list[str]], piece_photos: int
) -> Iterator[_Piece]:
    """The photos of a numbered source in pieces, each with its name."""
    number, paths = source
    piece, items = 0, []
    for item in photo_files.photos(paths):
        items.append(item)
        if len(items) == piece_photos:
            yield f"{number:05}-{piece:05}", items
            piece, items = piece + 1, []
    if items:
        yield f"{number:05}-{piece:05}", items


@dataclasses.dataclass(eq=False)
class _Answer(beam.DoFn):
    """Writes a piece's files, unless they are there, and counts."""

    out: str
    model: Model
    shared: Shared = dataclasses.field(default_factory=Shared)

    def setup(self) -> None:
        # One for all threads of a process.
        self._asker = self.shared.acquire(self.model.load)

    def process(self, piece: _Piece) -> Iterator[dict[str, int]]:
        name, items = piece
        paths = self._paths(name)
        if not paths.done():
            for count, bad in self._asker.write(items, paths, whole=True):
                Metrics.counter(running.NAMESPACE, "answered").inc(count - bad)
                Metrics.counter(running.NAMESPACE, "rejected").inc(bad)
        lines = files.read(paths.rejects).decode().splitlines()
        reasons = [json.loads(line)["reason"] for line in lines]
        yield {READ: len(items), **collections.Counter(reasons)}

    def _paths(self, name: str) -> "Paths":
        from planet_tf.prediction.pieces import Paths

        form = self.model.form.format
        return Paths(
            files.join(self.out, f"predictions-{name}.{form}"),
            files.join(self.out, f"rejects-{name}.jsonl"),
        )
