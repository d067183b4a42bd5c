"""Reads answers or truths that are JSON objects, one a line.

A line holds a photo: its id, and lat and lng as numbers, as lists of numbers
(best answer first), or in a list of objects, as in our predictions.jsonl:

    {"photo_id": "a", "cells": [{"token": "89c25", "probability": 0.3,
     "lat": 40.7, "lng": -74.0}, ...]}

Python's own JSON reads them. It takes NaN, which programs in Python write and
JSON does not have, and knows the line of what is wrong.
"""

import contextlib
import dataclasses
import gc
import itertools
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from planet_tf.photos import column_names
from planet_tf.tables import answer_columns, answer_rows
from planet_tf.tables.answer_columns import Columns, Layout, PredictionsError
from planet_tf.tables.answer_rows import Rows

# Keys of lists of objects, one for each answer.
LISTS = (
    *("cells", "predictions", "answers", "candidates", "guesses"),
    *("top_k", "topk", "results"),
)
_CHUNK = 20_000  # lines that are held as Python objects at a time
_NUMBERS = {float, int, type(None)}
_OF_ANSWERS = ("lat", "lng", "probability", "token")
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


@dataclasses.dataclass(frozen=True)
class _Keys:
    """Where a line's answers are: in its own values, or in a list's objects."""

    layout: Layout
    list: str | None

    def field(self, name: str) -> tuple[str, ...]:
        """Keys of a field by rank; () if there is none."""
        return tuple(
            self.layout.names[i] for i in self.layout.fields.get(name, ())
        )


def read(path: str, columns: Columns, whose: str) -> Rows:
    """What the lines of a file say.

    Raises:
      PredictionsError: if it cannot be read, or has not the keys.
    """
    keys = _find_keys(path, columns, whose)
    parts = []
    with _without_collector():
        for lines, photos in _chunks(path, _CHUNK):
            parts.append(_part(path, keys, lines, photos))
    rows = _joined(path, keys, parts)
    if keys.list and rows.rank is not None:
        rows = _in_order(rows, rows.rank)
    return rows


def _joined(path: str, keys: _Keys, parts: Sequence["_Part"]) -> Rows:
    counts = np.concatenate([part.counts for part in parts])
    numbers = np.concatenate([part.lines for part in parts])
    inside = np.arange(max(1, int(counts.max()))) < counts[:, None]
    columns = {
        field: np.concatenate([part.columns[field] for part in parts])
        for field in parts[0].columns
    }
    of_answers = (*_OF_ANSWERS, "rank") if keys.list else _OF_ANSWERS
    for field in columns.keys() & of_answers:
        empty = ("", object) if field == "token" else (np.nan, float)
        grid = np.full(inside.shape, *empty)
        grid[inside] = columns[field]
        columns[field] = grid
    return Rows(
        path=path,
        layout=keys.layout,
        ids=columns["id"],
        lat=columns["lat"],
        lng=columns["lng"],
        probability=columns.get("probability"),
        token=columns.get("token"),
        rank=columns.get("rank"),
        group=columns.get("group"),
        row=np.broadcast_to(np.arange(len(counts))[:, None], inside.shape),
        lines=lambda rows: numbers[list(rows)].tolist(),
    )


def _in_order(rows: Rows, rank: np.ndarray) -> Rows:
    """Without the ranks (n, k) of lists, which have to be their order's."""
    first = 1 if np.nanmin(rank, initial=1) > 0 else 0
    rows.refuse(
        ~np.isnan(rows.lat) & (rank != first + np.arange(rank.shape[1])),
        "answers that are not where their ranks say",
        lambda i, j: (
            f"{rows.layout.name('rank')} {rank[i, j]:g} comes as number {j + 1}"
        ),
        "Lists of answers are in the order of their ranks, which are 1, 2, ...",
    )
    return dataclasses.replace(rows, rank=None)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """A block without garbage collection, which takes a third of its time.

    JSON makes millions of objects, and none that holds itself.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _chunks(
    path: str, size: int
) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Line numbers (n,) and objects of a file's lines, some at a time."""
    with answer_rows.open_file(path) as file:
        lines = (
            (number, line.removeprefix(b"\xef\xbb\xbf"))
            for number, line in enumerate(file, 1)
            if not line.isspace()
        )
        while some := list(itertools.islice(lines, size)):
            numbers, texts = zip(*some, strict=True)
            yield np.array(numbers, np.int64), _parse(path, numbers, texts)


def _parse(
    path: str, numbers: Sequence[int], lines: Sequence[bytes]
) -> list[dict[str, Any]]:
    """The objects of lines: together, which is a third faster, if they can."""
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        values = []
    if len(values) == len(lines) and set(map(type, values)) <= {dict}:
        return values
    return [
        _parse_line(path, number, line)
        for number, line in zip(numbers, lines, strict=True)
    ]


def _parse_line(path: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError is one
        raise PredictionsError(
            f"{path}: line {number} is no JSON: {error}. Needed is one object"
            " a line, in UTF-8"
        ) from error
    if not isinstance(value, dict):
        raise PredictionsError(
            f"{path}: line {number} is {line[:40].decode(errors='replace')!r};"
            " needed is one object a line, as {...}"
        )
    return value


def _find_keys(path: str, columns: Columns, whose: str) -> _Keys:
    """The keys of a file, by its first object that has an answer."""
    for _, [value] in _chunks(path, 1):
        names = list(value)
        place = column_names.find(names, LISTS)
        key = None if place is None else names[place]
        answers = None if key is None else value[key]
        if (
            key is not None
            and isinstance(answers, list)
            and answers
            and isinstance(answers[0], dict)
        ):
            return _Keys(_nested(value, key, columns, whose), key)
        if key is None or answers:
            layout = answer_columns.find_layout(names, columns, whose)
            return _Keys(layout, None)
    raise PredictionsError(f"{path}: no line has an answer")


def _nested(
    value: Mapping[str, Any], key: str, columns: Columns, whose: str
) -> Layout:
    """The layout of the objects of a list, and the id beside it."""
    outer = [name for name in value if name != key]
    place = column_names.find(
        outer, [columns.id] if columns.id else answer_columns.ALIASES["id"]
    )
    if place is None:
        return answer_columns.find_layout(outer, columns, whose)  # which raises
    inner = [outer[place], *value[key][0]]
    named = dataclasses.replace(columns, id=outer[place])
    return answer_columns.find_layout(inner, named, whose)


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some lines: their numbers (n,), how many answers each has, and columns.

    Columns of what answers have hold those of all photos, the others are (n,).
    """

    lines: np.ndarray
    counts: np.ndarray
    columns: dict[str, np.ndarray]


def _part(
    path: str,
    keys: _Keys,
    lines: np.ndarray,
    photos: Sequence[Mapping[str, Any]],
) -> _Part:
    try:
        lengths, found = _gather(keys, photos)
    except _MALFORMED:
        raise _malformed_error(path, keys, lines, photos) from None
    counts = np.array(lengths, np.int64)
    line_of = {field: np.repeat(lines, counts) for field in found}
    for field in ("id", "group", "rank"):
        if field not in found:
            for name in keys.field(field):
                found[field] = [photo.get(name) for photo in photos]
    columns = {
        field: _strings(values)
        if field in ("id", "group", "token")
        else _floats(path, field, values, line_of.get(field, lines))
        for field, values in found.items()
    }
    return _Part(lines, counts, columns)


def _gather(
    keys: _Keys, photos: Sequence[Mapping[str, Any]]
) -> tuple[list[int], dict[str, list[Any]]]:
    """How many answers each photo has, and the values of all by field.

    Raises:
      one of _MALFORMED: if a photo has not the keys, or not as many of each.
    """
    fields = [*_OF_ANSWERS, "rank"] if keys.list else _OF_ANSWERS
    names = {field: keys.field(field) for field in fields if keys.field(field)}
    if keys.list:
        lists = [photo[keys.list] or () for photo in photos]
        answers = list(itertools.chain.from_iterable(lists))
        return list(map(len, lists)), {
            field: list(map(operator.itemgetter(name), answers))
            for field, (name,) in names.items()
        }
    if len(names["lat"]) > 1:
        return [len(names["lat"])] * len(photos), {
            field: [photo[name] for photo in photos for name in ranked]
            for field, ranked in names.items()
        }
    counts: list[int] = []
    flat: dict[str, list[Any]] = {}
    for field, (name,) in names.items():
        lists = [
            value if isinstance(value, list) else [value]
            for value in map(operator.itemgetter(name), photos)
        ]
        flat[field] = list(itertools.chain.from_iterable(lists))
        if counts and counts != list(map(len, lists)):
            raise ValueError(f"there are not as many {name} as others")
        counts = list(map(len, lists))
    return counts, flat


def _malformed_error(
    path: str,
    keys: _Keys,
    lines: np.ndarray,
    photos: Sequence[Mapping[str, Any]],
) -> PredictionsError:
    """The error of the first line that cannot be gathered."""
    for number, photo in zip(lines, photos, strict=True):
        try:
            _gather(keys, [photo])
        except KeyError as error:
            return PredictionsError(
                f"{path}: line {number} has no {error}, and other lines have"
                " it; write null where there is no answer"
            )
        except _MALFORMED as error:
            return PredictionsError(
                f"{path}: line {number} is not of the others' form: {error}"
            )
    raise AssertionError("each line by itself can be gathered")


def _strings(values: Sequence[Any]) -> np.ndarray:
    """Values (n,) as str objects without outer blanks, "" for null.

    Equal ones are held once.
    """
    if set(map(type, values)) != {str}:
        values = ["" if value is None else str(value) for value in values]
    coded = pa.array(values, pa.string()).dictionary_encode()
    texts = pc.utf8_trim_whitespace(coded.dictionary)
    texts = texts.to_numpy(zero_copy_only=False)
    return texts[coded.indices.to_numpy()]


def _floats(
    path: str, field: str, values: Sequence[Any], lines: np.ndarray
) -> np.ndarray:
    """Values (n,) as float64, NaN for null; PredictionsError names others."""
    if set(map(type, values)) <= _NUMBERS:
        return np.array(values, np.float64)
    found = np.full(len(values), np.nan)
    faults = []
    for i, value in enumerate(values):
        text = "" if value is None else str(value).strip()
        if text.lower() not in answer_rows.NOTHING:
            try:
                found[i] = answer_rows.to_float(text)
            except ValueError:
                faults.append((i, f"{field} is {value!r}"))
    if faults:
        raise answer_rows.fault_error(
            path,
            lambda rows: lines[list(rows)].tolist(),
            len(faults),
            "values that are no numbers",
            faults[: answer_rows.LISTED],
            "Needed are degrees as 48.8584, or null where there is no answer",
        )
    return found
