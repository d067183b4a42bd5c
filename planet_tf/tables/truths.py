"""Where photos of a test set were taken, as ground truths circulate.

A table with an id, lat and lng in columns of their usual names, as Im2GPS,
Im2GPS3k, YFCC4k, YFCC25600 and MP-16 have (IMG_ID, AUTHOR, LAT, LON, ...),
OSV-5M (id, latitude, longitude, ..., creator_id) and lists made of GWS15k
(image_id or path, lat, lon); or lines of the YFCC100M, tab-separated without a
line of names, as YFCC4k was published first.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from planet_tf.photos import column_names
from planet_tf.tables import answer_rows, answer_tables
from planet_tf.tables.answer_columns import Columns, Layout
from planet_tf.tables.answer_rows import Rows


@dataclasses.dataclass(frozen=True)
class Truth:
    """Where n photos were taken.

    Attributes:
      ids: (n,) str objects, in the order of the file.
      latlng: (n, 2) float64 degrees.
      group: (n,) str objects, whose photo or of which album; photos of one are
        resampled together, and one without is alone in its own. None if the
        file does not say.
      columns: what was read, by what it is, for reports.
    """

    ids: np.ndarray
    latlng: np.ndarray
    group: np.ndarray | None = None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Truth":
        """Some of the photos, by mask or index."""
        group = None if self.group is None else self.group[rows]
        return dataclasses.replace(
            self, ids=self.ids[rows], latlng=self.latlng[rows], group=group
        )


def read_truth(path: str, columns: Columns | None = None) -> Truth:
    """Reads a ground truth.

    Args:
      path: of a CSV, TSV or JSON Lines file, packed by gzip or not.
      columns: names of columns, where they are not the usual ones.

    Raises:
      PredictionsError: naming what has to be mended, and how.
    """
    rows = answer_tables.read(
        path, columns or Columns(), column_names.TRUTH, _yfcc_layout
    )
    answer_rows.check_places(rows)
    rows.refuse(
        np.isnan(rows.lat),
        "photos without a place",
        lambda i, j: f"photo {rows.ids[i]!r}",
        "A truth says of each photo where it was taken; leave the others out",
    )
    return Truth(
        ids=rows.ids,
        latlng=np.concatenate([rows.lat, rows.lng], 1),
        group=_groups(rows),
        columns=rows.columns(),
    )


def _groups(rows: Rows) -> np.ndarray | None:
    """Groups of photos; a photo of which none is known is one by itself."""
    if rows.group is None or not (rows.group != "").any():
        return None
    return np.where(rows.group != "", rows.group, "photo " + rows.ids)


# The number of columns of a line of the YFCC100M, by where the photo's id is:
# its later edition has a row number before it and a hash after it.
_YFCC_WIDTHS = {25: 1, 23: 0}
_YFCC_OWNER = re.compile(r"[0-9]+@N[0-9]+")


def _yfcc_layout(cells: Sequence[str], delimiter: str) -> Layout | None:
    """The columns of the YFCC100M, which has longitude before latitude."""
    place = _YFCC_WIDTHS.get(len(cells))
    if delimiter != "\t" or place is None:
        return None
    owner = place + 1 + place  # past the hash
    if not (cells[place].isdigit() and _YFCC_OWNER.fullmatch(cells[owner])):
        return None
    names = [f"column {i + 1}" for i in range(len(cells))]
    fields = {"id": place, "group": owner, "lng": owner + 9, "lat": owner + 10}
    for field, position in fields.items():
        names[position] = f"{field} (column {position + 1})"
    return Layout(
        tuple(names), {f: (p,) for f, p in fields.items()}, header=False
    )
