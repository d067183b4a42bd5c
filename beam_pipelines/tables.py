"""Photos that do not say where they were taken, and a table that does.

Both are cut by a hash of the photo's id and meet by it, in batches. What goes
through the shuffle are references and rows, some 200 bytes each; a piece, what
one worker joins, has 100,000 of 10**8 photos.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import batches, splits
from beam_pipelines.photos import Photos
from planet_tf.photos import records
from planet_tf.photos.rejects import Reason, Reject

NEEDED = ("photo_id", "lat", "lng")  # columns of a table
_PIECES = 1024


@dataclasses.dataclass(eq=False)
class JoinTable(beam.PTransform):
    """Photos with the places, owners, albums and times of a table.

    Takes a dict of PCollections of Photos: `photos`, and `table`, whose rows
    have no images.

    Attributes:
      name: of the table, for what is rejected.
    """

    name: str

    def expand(self, found: Mapping[str, Any]) -> Any:
        """Gives `photos` (Photos) and `rejects` (Reject)."""
        pieces = {
            kind: some | f"Cut {kind}" >> beam.ParDo(batches.Cut(_piece))
            for kind, some in found.items()
        }  # (int, Photos)
        return (
            pieces
            | beam.CoGroupByKey()
            | beam.ParDo(_Join(self.name)).with_outputs(
                "rejects", main="photos"
            )
        )


def _piece(photos: Photos) -> np.ndarray:
    return splits.hashes(photos.photo_id) % np.uint64(_PIECES)


@dataclasses.dataclass(eq=False)
class _Join(beam.DoFn):
    name: str

    def process(
        self, group: tuple[int, Mapping[str, Iterable[Photos]]]
    ) -> Iterator[Any]:
        _, found = group
        photos, rejects = join(
            batches.join(found["photos"]),
            batches.join(found["table"]),
            self.name,
        )
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)
        yield photos


def join(
    photos: Photos, table: Photos, name: str
) -> tuple[Photos, list[Reject]]:
    """Photos with what a table's rows of their ids say.

    Of rows with one id the smallest is taken. Rejected are those that differ,
    photos without a row, and rows without a photo.
    """
    rows, rejects = _by_id(table)
    row = np.array([rows.get(i, -1) for i in photos.photo_id], np.int64)
    for photo_id in photos.photo_id[row < 0]:
        detail = f"no row in {name}"
        reason = Reason.MISSING_COORDINATES
        rejects.append(Reject(photo_id, "read", reason, detail))
    unused = np.setdiff1d(np.array(list(rows.values()), np.int64), row)
    for photo_id in table.photo_id[unused]:
        detail = f"a row in {name}"
        reason = Reason.NO_PHOTO_OF_ROW
        rejects.append(Reject(photo_id, "read", reason, detail))
    photos, facts = photos.take(row >= 0), table.take(row[row >= 0])
    unknown = facts.taken_at == records.UNKNOWN_TIME
    joined = dataclasses.replace(
        photos,
        lat=facts.lat,
        lng=facts.lng,
        owner_id=_either(facts.owner_id, photos.owner_id),
        album_id=_either(facts.album_id, photos.album_id),
        taken_at=np.where(unknown, photos.taken_at, facts.taken_at),
    )
    return joined, rejects


def _either(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(first != "", first, second)


def _by_id(table: Photos) -> tuple[dict[str, int], list[Reject]]:
    """The row of each id, and rejects of rows that say something else."""
    rows = table.rows()
    found: dict[str, int] = {}
    rejects = []
    for i in sorted(range(len(rows)), key=rows.__getitem__):
        photo_id = rows[i][0]
        if photo_id in found:
            kept = rows[found[photo_id]]
            if rows[i][4:] == kept[4:]:  # says nothing else
                continue
            detail = f"kept is the row with lat {kept[4]}, lng {kept[5]}"
            reject = Reject(photo_id, "read", Reason.DUPLICATE_ID, detail)
            rejects.append(reject)
        else:
            found[photo_id] = i
    return found, rejects
