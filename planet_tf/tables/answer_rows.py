"""What stands in each row of a table of answers or truths, and what is wrong.

Nothing is guessed and nothing left out: a value that is not what it should be
is refused with its line, column and text.
"""

import contextlib
import dataclasses
import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from planet_tf.tables.answer_columns import Layout, PredictionsError

LISTED = 5  # of what is wrong, in a message
# What programs write where there is no number, in lower case.
NOTHING = ("", "nan", "-nan", "null", "none", "na", "n/a", "#n/a", "<na>")
_HEAD_BYTES = 1 << 16
_OTHER_FORMS = {
    b"\xff\xfe": "UTF-16, as spreadsheets save 'Unicode text'; save it as"
    " 'CSV UTF-8', or: iconv -f UTF-16 -t UTF-8 OLD > NEW",
    b"\xfe\xff": "UTF-16; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8"
    " OLD > NEW",
    b"PK\x03\x04": "a spreadsheet (.xlsx) or a ZIP; save it as 'CSV UTF-8', or"
    " unpack it",
    b"PAR1": "Parquet; write it as CSV, as by"
    " pandas.read_parquet(OLD).to_csv(NEW, index=False)",
    b"BZh": "packed by bzip2; unpack it, or pack it by gzip",
    b"[": "one JSON list; write an object a line (JSON Lines), as by"
    " jq -c '.[]' OLD > NEW",
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a table says of n photos, or of one answer each, in its order.

    Attributes:
      path: of the table.
      layout: its columns.
      ids: (n,) str objects.
      lat: (n, k) degrees, best answer first; NaN where there is none.
      lng: (n, k) likewise.
      probability: (n, k) likewise; None if the table has none.
      token: (n, k) str objects, "" where there is none; None likewise.
      rank: (n,) of a row's only answer, NaN where there is none; None likewise.
      group: (n,) str objects, "" where there is none; None likewise.
      row: (n, k) which row of the file each answer is from.
      lines: the lines that rows of the file begin on, from 1.
    """

    path: str
    layout: Layout
    ids: np.ndarray
    lat: np.ndarray
    lng: np.ndarray
    probability: np.ndarray | None
    token: np.ndarray | None
    rank: np.ndarray | None
    group: np.ndarray | None
    row: np.ndarray
    lines: Callable[[Sequence[int]], list[int]]

    def columns(self) -> dict[str, str]:
        """Names of the columns that were read, by field; of many the first."""
        fields = self.layout.fields
        return {f: self.layout.name(f) for f in fields if fields[f]}

    def take(self, kept: slice) -> "Rows":
        """Some of the photos."""
        found = {
            field.name: getattr(self, field.name)[kept]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, **found)

    def refuse(
        self,
        wrong: np.ndarray,
        what: str,
        describe: Callable[[int, int], str],
        fix: str,
    ) -> None:
        """Raises PredictionsError if any of the answers (n, k) is wrong.

        Args:
          wrong: which are, (n, k).
          what: that they are.
          describe: one by its photo and its rank, from 0.
          fix: what to do.
        """
        found = np.flatnonzero(wrong)
        if not len(found):
            return
        some = [divmod(int(i), wrong.shape[1]) for i in found[:LISTED]]
        faults = [(int(self.row[i, j]), describe(i, j)) for i, j in some]
        raise fault_error(self.path, self.lines, len(found), what, faults, fix)


def fault_error(
    path: str,
    lines: Callable[[Sequence[int]], list[int]],
    count: int,
    what: str,
    faults: Sequence[tuple[int, str]],
    fix: str,
) -> PredictionsError:
    """The error that lists the first faults, pairs of a row and a text."""
    listed = "; ".join(
        f"line {line}: {text}"
        for line, (_, text) in zip(
            lines([row for row, _ in faults]), faults, strict=True
        )
    )
    more = "; ..." if count > len(faults) else ""
    return PredictionsError(
        f"{path}: {what} ({count:,} in all): {listed}{more}. {fix}"
    )


def check_places(rows: Rows) -> None:
    """Raises PredictionsError if lat or lng is out of range, or alone."""
    layout = rows.layout
    alone = np.isnan(rows.lat) != np.isnan(rows.lng)

    def describe_both(i: int, j: int) -> str:
        return (
            f"{layout.name('lat', j)} is {rows.lat[i, j]:g},"
            f" {layout.name('lng', j)} is {rows.lng[i, j]:g}"
        )

    rows.refuse(
        alone,
        "places with one coordinate of two",
        describe_both,
        "Give both, or none where there is no answer",
    )
    outside = (np.abs(rows.lat) > 90) | (np.abs(rows.lng) > 180)
    rows.refuse(
        outside,
        "places out of range",
        describe_both,
        _cause_outside(rows, outside),
    )


def _cause_outside(rows: Rows, outside: np.ndarray) -> str:
    """What most likely put places out of range."""
    lat, lng = np.abs(rows.lat[outside]), np.abs(rows.lng[outside])
    swapped = (lat > 90) & (lat <= 180) & (lng <= 90)
    # Of the places on land some 15 % are beyond 90 degrees east or west.
    if swapped.sum() > 0.01 * np.isfinite(rows.lat).sum() and swapped.all():
        return (
            "lat and lng look swapped: name the column of latitudes as lat, or"
            " rename the two"
        )
    if (lat <= 90).all() and (rows.lng[outside] > 180).all():
        return (
            "Longitudes are -180 to 180 degrees: take 360 from those above 180"
        )
    return "Needed are degrees, lat in [-90, 90] and lng in [-180, 180]"


def to_float(text: str) -> float:
    """The number of a text; ValueError if it is none."""
    if "_" in text:  # which Python allows in numbers, and nothing else
        raise ValueError(text)
    return float(text)


def matches(name: str) -> list[str]:
    """The files that a glob names, sorted; what is no glob names itself.

    Raises:
      PredictionsError: if there are none.
    """
    if not set(name) & set("*?["):
        return [name]
    from etils import epath

    at = min(i for i, c in enumerate(name) if c in "*?[")
    start = name[:at].rpartition("/")[0]
    pattern = name[len(start) :].lstrip("/")
    found = epath.Path(start or ("/" if name[0] == "/" else ".")).glob(pattern)
    paths = sorted(map(os.fspath, found))
    if not paths:
        raise PredictionsError(f"no file is named like {name}")
    return paths


@contextlib.contextmanager
def open_file(path: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The bytes of a file, unpacked if gzip has packed them.

    Raises:
      PredictionsError: if it cannot be read.
    """
    from etils import epath

    try:
        with epath.Path(path).open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield gzip.GzipFile(fileobj=file) if packed else file
    except (OSError, EOFError, zlib.error) as error:
        cause = getattr(error, "strerror", None) or error
        raise PredictionsError(f"cannot read {path}: {cause}") from error


def read_head(path: str) -> bytes:
    """The first bytes of a table, after a byte order mark.

    Raises:
      PredictionsError: if it is none, with what to do about it.
    """
    with open_file(path) as file:
        head = file.read(_HEAD_BYTES)
    for start, form in _OTHER_FORMS.items():
        if head.lstrip().startswith(start):
            raise PredictionsError(f"{path} is {form}")
    if b"\0" in head:
        raise PredictionsError(
            f"{path} is no text in UTF-8: it holds zero bytes; save it as UTF-8"
        )
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        raise PredictionsError(f"{path} is empty")
    return head
