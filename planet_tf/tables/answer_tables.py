"""Reads tables of answers or truths: CSV, or JSON Lines by answer_lines.

The form is told by content, and so is the delimiter: the one by which the
columns are there. Texts are read as they stand, so that the id 007 stays one,
and numbers are made of them here.
"""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from planet_tf.tables import answer_columns, answer_lines, answer_rows
from planet_tf.tables.answer_columns import Columns, Layout, PredictionsError
from planet_tf.tables.answer_rows import Rows

# The columns of a table by the cells of its first line and the delimiter, where
# it is known to have no line of names, and no quotes; else None.
Headerless = Callable[[Sequence[str], str], Layout | None]

_DELIMITERS = ",;\t"
_BLOCK_BYTES = 8 << 20
_NOTHING = pa.array(
    sorted(
        {
            spelled(word)
            for word in answer_rows.NOTHING
            for spelled in (str, str.upper, str.capitalize)
        }
        | {"NaN"}
    )
)


def read(
    path: str,
    columns: Columns,
    whose: str,
    headerless: Headerless = lambda cells, delimiter: None,
) -> Rows:
    """What a table says.

    Args:
      path: on any file system that etils knows.
      columns: names of columns, where they are not the usual ones.
      whose: coordinates are wanted, column_names.ANSWER or TRUTH.
      headerless: knows tables without a line of names.

    Raises:
      PredictionsError: if it cannot be read, with what to do about it.
    """
    head = answer_rows.read_head(path)
    try:
        if head.lstrip().startswith(b"{"):
            rows = answer_lines.read(path, columns, whose)
        else:
            dialect = _dialect(head, columns, whose, headerless)
            rows = _Reader(path, dialect).rows()
    except answer_columns.LayoutError as error:
        raise PredictionsError(f"{path}: {error}") from error
    rows = _without_blank_end(rows)
    if not len(rows.ids):
        raise PredictionsError(f"{path} has no rows below its line of names")
    unnamed = (rows.ids == "")[:, None]
    rows.refuse(
        unnamed,
        "rows without an id",
        lambda i, j: f"{rows.layout.name('id')} is empty",
        "Give each photo its id",
    )
    return rows


def _without_blank_end(rows: Rows) -> Rows:
    """Without the rows of empty cells that spreadsheets leave at the end."""
    filled = ~np.isnan(rows.lat).all(1) | ~np.isnan(rows.lng).all(1)
    filled |= rows.ids != ""
    return rows.take(slice(0, int(np.flatnonzero(filled).max(initial=-1)) + 1))


@dataclasses.dataclass(frozen=True)
class _Dialect:
    """How a CSV file is written; `skip` rows come before the first one."""

    layout: Layout
    delimiter: str
    skip: int

    @property
    def quoting(self) -> bool:
        """Whether values may be in quotes."""
        return self.layout.header


def _dialect(
    head: bytes, columns: Columns, whose: str, headerless: Headerless
) -> _Dialect:
    """The delimiter by which there are columns, and these."""
    text = head.decode(errors="replace")
    line = text.lstrip().partition("\n")[0]
    failures = []
    for delimiter in sorted(_DELIMITERS, key=line.count, reverse=True):
        skip, cells = _first_row(text, delimiter)
        # Such tables are without quotes too: what looks like one is text.
        layout = headerless(line.rstrip("\r").split(delimiter), delimiter)
        if layout:
            return _Dialect(layout, delimiter, skip)
        try:
            layout = answer_columns.find_layout(cells, columns, whose)
        except answer_columns.LayoutError as error:
            failures.append(_of_header(error, cells))
        else:
            return _Dialect(layout, delimiter, skip + 1)
    raise failures[0]


def _first_row(text: str, delimiter: str) -> tuple[int, list[str]]:
    """The first row that is not empty, and how many are before it."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return next((i, cells) for i, cells in enumerate(rows) if cells)
    except csv.Error:  # of a cell that does not end
        return 0, text.partition("\n")[0].split(delimiter)


def _of_header(
    error: answer_columns.LayoutError, cells: Sequence[str]
) -> answer_columns.LayoutError:
    """The error, with what to do if the first row is none of names."""
    if sum(_is_number(cell.replace(",", ".")) for cell in cells) < 2:
        return error
    return answer_columns.LayoutError(
        "it has no line of names: its first line holds numbers. Write one"
        " above it, such as id,lat,lng"
    )


def _is_number(text: str) -> bool:
    try:
        answer_rows.to_float(text)
    except ValueError:
        return False
    return True


class _Reader:
    """Makes rows of the texts of a CSV file."""

    def __init__(self, path: str, dialect: _Dialect):
        self._path, self._dialect = path, dialect
        self._layout = dialect.layout
        self._table = _parse(path, dialect)
        self._faults: list[tuple[int, str]] = []

    def rows(self) -> Rows:
        """All rows; PredictionsError names values that are no numbers."""
        there = {field for field, at in self._layout.fields.items() if at}
        numbers = {
            field: self._numbers(field)
            for field in ("lat", "lng", "probability", "rank")
            if field in there
        }
        self._check()
        words = {
            field: self._words(field)
            for field in ("group", "token")
            if field in there
        }
        ids = pc.utf8_trim_whitespace(self._column("id"))
        rows = np.arange(len(self._table))[:, None]
        return Rows(
            path=self._path,
            layout=self._layout,
            ids=ids.to_numpy(zero_copy_only=False),
            lat=numbers["lat"],
            lng=numbers["lng"],
            probability=numbers.get("probability"),
            token=words.get("token"),
            rank=numbers["rank"][:, 0] if "rank" in there else None,
            group=words["group"][:, 0] if "group" in there else None,
            row=np.broadcast_to(rows, numbers["lat"].shape),
            lines=self._lines,
        )

    def _column(self, field: str, answer: int = 0) -> pa.ChunkedArray:
        return self._table.column(str(self._layout.fields[field][answer]))

    def _numbers(self, field: str) -> np.ndarray:
        """A field's columns (n, k); what is no number is kept as a fault."""
        count = len(self._layout.fields[field])
        found = np.empty((len(self._table), count))
        for j in range(count):
            found[:, j], bad = _to_numbers(
                self._column(field, j), self._dialect.delimiter != ","
            )
            name = self._layout.name(field, j)
            self._faults += [(row, f"{name} is {text!r}") for row, text in bad]
        return found

    def _check(self) -> None:
        if self._faults:
            raise answer_rows.fault_error(
                self._path,
                self._lines,
                len(self._faults),
                "values that are no numbers",
                sorted(self._faults)[: answer_rows.LISTED],
                "Needed are degrees as 48.8584 (or 48,8584 where the delimiter"
                " is no comma), or nothing where there is no answer",
            )

    def _words(self, field: str) -> np.ndarray:
        """A field's columns (n, k) as str objects, equal ones held once."""
        count = len(self._layout.fields[field])
        columns = [_shared_texts(self._column(field, j)) for j in range(count)]
        return np.stack(columns, 1)

    def _lines(self, rows: Sequence[int]) -> list[int]:
        """The lines that some rows begin on; reads the file once more."""
        found: dict[int, int] = {}
        last = max(rows)
        records = _records(self._path, self._dialect)
        for row, (line, _) in enumerate(records):
            if row in rows:
                found[row] = line
            if row == last:
                break
        return [found[row] for row in rows]


def _parse(path: str, dialect: _Dialect) -> pa.Table:
    """The columns that are needed, as text, named by their positions."""
    malformed: list[int] = []
    width = len(dialect.layout.names)

    def skip(row: pa.csv.InvalidRow) -> str:
        if row.text.strip(_DELIMITERS + " "):
            malformed.append(row.actual_columns)
        return "skip"

    used = {str(i) for found in dialect.layout.fields.values() for i in found}
    try:
        with answer_rows.open_file(path) as file:
            table = pa.csv.read_csv(
                file,
                pa.csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=[str(i) for i in range(width)],
                    skip_rows_after_names=dialect.skip,
                ),
                pa.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char='"' if dialect.quoting else False,
                    newlines_in_values=dialect.quoting,
                    invalid_row_handler=skip,
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(used, pa.string()),
                    include_columns=sorted(used),
                ),
            )
    except pa.ArrowInvalid as error:
        raise PredictionsError(
            f"cannot read {path}: {error}. Needed is CSV in UTF-8; a quote"
            ' (") that does not end takes all that follows for its text'
        ) from error
    if malformed:
        raise _malformed_error(path, dialect, len(malformed))
    return table


def _malformed_error(
    path: str, dialect: _Dialect, count: int
) -> PredictionsError:
    width = len(dialect.layout.names)
    faults = [
        f"line {line}: {len(cells)} columns"
        for line, cells in _records(path, dialect)
        if len(cells) != width
    ]
    more = "; ..." if count > answer_rows.LISTED else ""
    return PredictionsError(
        f"{path}: {count:,} rows have another number of columns than the line"
        f" of names, {width}. {'; '.join(faults[: answer_rows.LISTED])}{more}."
        " Quote values that hold the delimiter"
        f' {dialect.delimiter!r}, as in "a,b.jpg"'
    )


def _records(
    path: str, dialect: _Dialect
) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows below the line of names, each with the line that it begins on."""
    width = len(dialect.layout.names)
    with (
        answer_rows.open_file(path) as file,
        io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text,
    ):
        reader = csv.reader(
            text,
            delimiter=dialect.delimiter,
            quoting=csv.QUOTE_MINIMAL if dialect.quoting else csv.QUOTE_NONE,
            strict=dialect.quoting,  # else a quote may go on to the end
        )
        line = 1
        try:
            for number, cells in enumerate(reader):
                blank = not any(cell.strip() for cell in cells)
                if number >= dialect.skip and not (
                    blank and len(cells) != width
                ):
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise PredictionsError(
                f'{path}: line {line} has a quote (") that does not end:'
                f" {error}"
            ) from error


def _shared_texts(column: pa.ChunkedArray) -> np.ndarray:
    """A column (n,) of few different texts, each of them held once."""
    texts = pc.utf8_trim_whitespace(column).combine_chunks()
    words = texts.dictionary_encode()
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    texts = words.dictionary.to_numpy(zero_copy_only=False)
    return texts[words.indices.to_numpy()]


def _to_numbers(
    column: pa.ChunkedArray, decimal_comma: bool
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """A column (n,), NaN where there is nothing, and rows that are no numbers.

    The rows are given with their texts.
    """
    values: list[np.ndarray] = []
    bad: list[tuple[int, str]] = []
    start = 0
    for chunk in pc.utf8_trim_whitespace(column).chunks:
        found = pc.if_else(
            pc.is_in(chunk, value_set=_NOTHING),
            pa.scalar(None, pa.string()),
            chunk,
        )
        if decimal_comma:
            found = pc.replace_substring(found, ",", ".")
        try:
            found = found.cast(pa.float64())
            values.append(
                pc.fill_null(found, np.nan).to_numpy(zero_copy_only=False)
            )
        except pa.ArrowInvalid:  # or a number that only Python takes, as +1
            texts = found.to_pylist()
            wrong = [i for i, t in enumerate(texts) if t and not _is_number(t)]
            bad.extend((start + i, chunk[i].as_py()) for i in wrong)
            for i in wrong:
                texts[i] = None
            values.append(np.array(texts, np.float64))
        start += len(chunk)
    return np.concatenate([np.empty(0), *values]), bad
