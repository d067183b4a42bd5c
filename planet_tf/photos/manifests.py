"""Manifests: CSV and Parquet files with a row for each photo, as columns.

A value that is no number or no UTF-8 is its row's fault and never ends a job:
CSV is read as bytes, and what is odd becomes NaN, an unknown time or a
replacement character here.
"""

import contextlib
import csv
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from planet_tf.photos import column_names, exif, records
from planet_tf.photos.column_names import COLUMNS

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_DELIMITERS = ",;\t"
_HEADER_BYTES = 1 << 16
_CSV_BLOCK_BYTES = 8 << 20
_PARQUET_ROWS = 1 << 16
_LAST_SECOND = 253402300799  # of the year 9999


# Opens a file of any file system to read its bytes, as they are.
Open = Callable[[str], AbstractContextManager[BinaryIO]]


class SourceError(ValueError):
    """A source that cannot be read, and what to do about it."""


class Batch(NamedTuple):
    """Some rows of a manifest.

    Attributes:
      columns: by our names for them, those that there are.
      numbers: (n,) of the rows, as an editor counts them.
      malformed: number and fault of rows that are not in the columns.
    """

    columns: dict[str, pa.Array]
    numbers: np.ndarray
    malformed: list[tuple[int, str]]


def is_manifest(source: str) -> bool:
    """Whether a source is CSV or Parquet, by its name."""
    return source.lower().endswith(_CSV + _PARQUET)


def read_rows(
    path: str,
    needed: Sequence[str],
    given: Mapping[str, str],
    only: bool,
    open_file: Open,
) -> Iterator[Batch]:
    """Rows of a manifest in batches.

    Args:
      path: of the manifest.
      needed: columns that it must have, by our names.
      given: names that the user gave for columns.
      only: whether no other than the needed columns are read.
      open_file: opens it.

    Raises:
      SourceError: if it cannot be read, or lacks a column.
    """
    unpacked = functools.partial(_open, open_file)

    def choose(names: Sequence[str]) -> dict[str, str]:
        found = find_columns(names, given, needed, path)
        return {f: n for f, n in found.items() if f in needed or not only}

    read = _read_csv if path.lower().endswith(_CSV) else _read_parquet
    try:
        yield from read(path, choose, unpacked)
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def find_columns(
    names: Sequence[str],
    given: Mapping[str, str],
    needed: Sequence[str],
    path: str,
) -> dict[str, str]:
    """Names of columns by the names we have for them.

    Raises:
      SourceError: if one is missing.
    """
    found = {}
    for field, aliases in COLUMNS.items():
        wanted = [given[field]] if field in given else aliases
        position = column_names.find(names, wanted)
        if position is not None:
            found[field] = names[position]
        elif field in given:
            raise SourceError(
                f"{path} has no column {given[field]}, which --columns names"
                f" for {field}. It has: {', '.join(names)}"
            )
    missing = [field for field in needed if field not in found]
    if missing:
        accepted = "; ".join(f"{f}: {', '.join(COLUMNS[f])}" for f in missing)
        raise SourceError(
            f"{path} has no column for {', '.join(missing)}. It has:"
            f" {', '.join(names)}. Accepted, in any case, are {accepted};"
            " --columns names others"
        )
    return found


_Choose = Callable[[Sequence[str]], dict[str, str]]


def _read_csv(path: str, choose: _Choose, unpacked: Open) -> Iterator[Batch]:
    """Batches of columns of bytes; the header is row 1, an empty line none."""
    malformed: list[tuple[int, str]] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        complaint = f"{row.actual_columns} columns, not {row.expected_columns}"
        malformed.append((row.number, complaint))
        return "skip"

    delimiter, chosen = _read_header(path, choose, unpacked)
    with unpacked(path) as file:
        told, number = 0, 2
        for batch in _open_csv(file, skip, delimiter, list(chosen.values())):
            numbers = row_numbers(number, len(batch), [n for n, _ in malformed])
            columns = {f: batch.column(name) for f, name in chosen.items()}
            yield Batch(columns, numbers, malformed[told:])
            told = len(malformed)
            number = int(numbers[-1]) + 1 if len(numbers) else number
        if malformed[told:]:
            none = dict.fromkeys(chosen, pa.nulls(0, pa.binary()))
            yield Batch(none, np.arange(0), malformed[told:])


def _read_header(
    path: str, choose: _Choose, unpacked: Open
) -> tuple[str, dict[str, str]]:
    """The delimiter of a CSV file, and the names of its columns by ours.

    The delimiter is the one by which the needed columns are there.
    """
    with unpacked(path) as file:
        head = file.read(_HEADER_BYTES)
    line = head.removeprefix(b"\xef\xbb\xbf").splitlines()[:1]
    text = line[0].decode() if line else ""
    if not text.strip() or not text.isprintable() and "\t" not in text:
        raise SourceError(f"cannot read {path}: it has no line of names")
    likeliest = max(_DELIMITERS, key=text.count)
    for delimiter in sorted(_DELIMITERS, key=lambda d: d != likeliest):
        names = next(csv.reader([text], delimiter=delimiter))
        with contextlib.suppress(SourceError):
            return delimiter, choose(names)
    names = next(csv.reader([text], delimiter=likeliest))
    return likeliest, choose(names)  # which says what is missing


@contextlib.contextmanager
def _open(open_file: Open, path: str) -> Iterator[BinaryIO]:
    """A file to read by Arrow, unpacked."""
    with open_file(path) as file:
        packed = path.lower().endswith(".gz")
        yield pa.CompressedInputStream(file, "gzip") if packed else file


def _open_csv(
    file: BinaryIO,
    skip: Callable[[Any], str],
    delimiter: str,
    names: Sequence[str],
) -> pa.csv.CSVStreamingReader:
    # Columns of bytes: a value that is no number, or no UTF-8, is the row's
    # fault and must not end the job.
    return pa.csv.open_csv(
        file,
        pa.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        pa.csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            invalid_row_handler=skip,
        ),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            include_columns=names,
        ),
    )


def row_numbers(first: int, count: int, skipped: Sequence[int]) -> np.ndarray:
    """The `count` numbers from `first` on that are not skipped."""
    numbers = np.arange(first, first + count + len(skipped))
    return numbers[~np.isin(numbers, skipped)][:count]


def _read_parquet(
    path: str, choose: _Choose, unpacked: Open
) -> Iterator[Batch]:
    """Batches of the columns we know; the first row is row 1."""
    with unpacked(path) as file:
        parquet = pa.parquet.ParquetFile(file)
        chosen = choose(parquet.schema_arrow.names)
        number = 1
        for batch in parquet.iter_batches(
            _PARQUET_ROWS, columns=list(chosen.values())
        ):
            columns = {f: batch.column(name) for f, name in chosen.items()}
            yield Batch(columns, np.arange(number, number + len(batch)), [])
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
    if not is_numeric(column):
        column = _texts(column)
        column = pc.if_else(pc.equal(column, ""), "nan", column)
    try:
        column = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        return np.array([_number(text) for text in column.to_pylist()])
    return pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False)


def is_numeric(column: pa.Array) -> bool:
    """Whether a column holds numbers and not text."""
    kind = column.type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def is_missing(column: pa.Array) -> np.ndarray:
    """Where a column (n,) has no value."""
    if is_numeric(column):
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
            result[i] = exif.parse_time(dates[i])
    return result
