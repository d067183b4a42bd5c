"""Manifests: CSV and Parquet files with a row for each photo, as columns.

A value that is no number or no UTF-8 is its row's fault and never ends a job:
CSV is read as bytes, and what is odd becomes NaN, an unknown time or a
replacement character here.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from planet_tf import images, records

# Names of columns that are understood, in any case; the first one counts.
COLUMNS = {
    "photo_id": ("photo_id", "id", "image_id", "img_id"),
    "path": ("path", "image", "file", "filename", "file_name", "uri"),
    "lat": ("lat", "latitude"),
    "lng": ("lng", "lon", "long", "longitude"),
    "owner_id": ("owner_id", "owner", "user_id", "user", "author"),
    "album_id": ("album_id", "album"),
    "taken_at": ("taken_at", "time", "datetime", "date_taken", "timestamp"),
}
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz")
_CSV_BLOCK_BYTES = 8 << 20
_PARQUET_ROWS = 1 << 16
_LAST_SECOND = 253402300799  # of the year 9999

# A record batch, the numbers of its rows, and number and fault of rows that
# are not in it.
Rows: TypeAlias = tuple[pa.RecordBatch, np.ndarray, list[tuple[int, str]]]


class SourceError(ValueError):
    """A source that cannot be read, and what to do about it."""


def is_manifest(source: str) -> bool:
    """Whether a source is CSV or Parquet, by its name."""
    return source.lower().endswith(_CSV + _PARQUET)


def read_rows(path: str) -> Iterator[Rows]:
    """Rows of a manifest in batches.

    Raises:
      SourceError: if it cannot be read.
    """
    read = _read_csv if path.lower().endswith(_CSV) else _read_parquet
    try:
        yield from read(path)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def find_columns(
    batch: pa.RecordBatch, path: str, with_images: bool
) -> dict[str, pa.Array]:
    """Columns by the names we have for them; SourceError if one is missing."""
    names = batch.schema.names
    places = {name.strip().lower(): i for i, name in enumerate(names)}
    found = {}
    for field, aliases in COLUMNS.items():
        place = next((places[a] for a in aliases if a in places), None)
        if place is not None:
            found[field] = batch.column(place)
    needed = ("lat", "lng", "path") if with_images else ("lat", "lng")
    missing = [field for field in needed if field not in found]
    if missing:
        accepted = "; ".join(f"{f}: {', '.join(COLUMNS[f])}" for f in missing)
        raise SourceError(
            f"{path} has no column for {', '.join(missing)}. It has:"
            f" {', '.join(names)}. Accepted, in any case, are {accepted}"
        )
    return found


def _read_csv(path: str) -> Iterator[Rows]:
    """Batches of columns of bytes; the header is row 1, an empty line none."""
    malformed: list[tuple[int, str]] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        complaint = f"{row.actual_columns} columns, not {row.expected_columns}"
        malformed.append((row.number, complaint))
        return "skip"

    with _open(path) as file:
        names = _open_csv(file, skip, ()).schema.names
    malformed.clear()
    with _open(path) as file:
        told, number = 0, 2
        for batch in _open_csv(file, skip, names):
            numbers = row_numbers(number, len(batch), [n for n, _ in malformed])
            yield batch, numbers, malformed[told:]
            told = len(malformed)
            number = int(numbers[-1]) + 1 if len(numbers) else number
        if malformed[told:]:
            yield batch.slice(0, 0), numbers[:0], malformed[told:]


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """A file to read by Arrow, which cannot read Beam's unpacked files."""
    with FileSystems.open(
        path, compression_type=CompressionTypes.UNCOMPRESSED
    ) as file:
        packed = path.lower().endswith(".gz")
        yield pa.CompressedInputStream(file, "gzip") if packed else file


def _open_csv(
    file: BinaryIO, skip: Callable[[Any], str], names: Sequence[str]
) -> pa.csv.CSVStreamingReader:
    # Columns of bytes: a value that is no number, or no UTF-8, is the row's
    # fault and must not end the job.
    return pa.csv.open_csv(
        file,
        pa.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
    )


def row_numbers(first: int, count: int, skipped: Sequence[int]) -> np.ndarray:
    """The `count` numbers from `first` on that are not skipped."""
    numbers = np.arange(first, first + count + len(skipped))
    return numbers[~np.isin(numbers, skipped)][:count]


def _read_parquet(path: str) -> Iterator[Rows]:
    """Batches of the columns we know; the first row is row 1."""
    known = {alias for aliases in COLUMNS.values() for alias in aliases}
    with _open(path) as file:
        parquet = pa.parquet.ParquetFile(file)
        names = parquet.schema_arrow.names
        used = [name for name in names if name.strip().lower() in known]
        number = 1
        for batch in parquet.iter_batches(_PARQUET_ROWS, columns=used or names):
            yield batch, np.arange(number, number + len(batch)), []
            number += len(batch)


def _texts(column: pa.Array) -> pa.Array:
    """Any column as text without outer blanks, "" where there is nothing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column = column.cast(pa.string())
    except pa.ArrowInvalid:  # bytes that are no UTF-8
        column = pa.array(
            [b and b.decode(errors="replace") for b in column.to_pylist()],
            pa.string(),
        )
    return pc.fill_null(pc.utf8_trim_whitespace(column), "")


def texts(column: pa.Array) -> np.ndarray:
    """A column as str (n,) object without outer blanks, "" where empty."""
    return _texts(column).to_numpy(zero_copy_only=False)


def numbers(column: pa.Array) -> np.ndarray:
    """A column as float64; NaN where it is empty or no number."""
    if not _is_numeric(column):
        column = _texts(column)
        column = pc.if_else(pc.equal(column, ""), "nan", column)
    try:
        column = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        return np.array([_number(text) for text in column.to_pylist()])
    return pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False)


def _is_numeric(column: pa.Array) -> bool:
    kind = column.type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def is_missing(column: pa.Array) -> np.ndarray:
    """Where a column (n,) has no value."""
    if _is_numeric(column):
        return column.is_null().to_numpy(zero_copy_only=False)
    return texts(column) == ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def times(column: pa.Array) -> np.ndarray:
    """Unix seconds (n,) int64 of numbers, dates, or text of either."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    seconds = numbers(column)
    known = np.abs(seconds) <= _LAST_SECOND
    result = np.full(len(column), records.UNKNOWN_TIME)
    result[known] = np.floor(seconds[known]).astype(np.int64)
    if not known.all():
        dates = texts(column)
        for i in np.flatnonzero(np.isnan(seconds) & (dates != "")):
            result[i] = images.parse_time(dates[i])
    return result
