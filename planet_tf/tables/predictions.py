"""Answers of any system: where it says that photos were taken, best first.

Read from our predictions.jsonl, from JSON Lines of other systems, and from
tables with a row for each photo or for each of its answers (docs/predictions.md
shows each by example). Answers are never put in order by their probabilities:
where a file's order and its probabilities disagree, it is refused.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from planet_tf.geo import cell_tokens, geometry
from planet_tf.photos import column_names
from planet_tf.tables import answer_rows, answer_tables
from planet_tf.tables.answer_columns import Columns
from planet_tf.tables.answer_columns import PredictionsError as PredictionsError
from planet_tf.tables.answer_rows import Rows

# By how much a probability may exceed the one before it: files round them.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Ranked answers for n photos, at most k for each.

    Attributes:
      ids: (n,) str objects, in the order of the file.
      points: (n, k, 2) float64 degrees, best first; NaN where there is no
        answer, which is after all others.
      probabilities: (n, k), NaN where there is no answer; None if the file has
        none.
      tokens: (n, k) str objects, of the answers' S2 cells, "" where there is no
        answer; None likewise.
      columns: what was read, by what it is, for reports.
    """

    ids: np.ndarray
    points: np.ndarray
    probabilities: np.ndarray | None = None
    tokens: np.ndarray | None = None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Predictions":
        """Some of the photos, by mask or index."""
        some = self.probabilities, self.tokens
        probabilities, tokens = (x if x is None else x[rows] for x in some)
        return dataclasses.replace(
            self,
            ids=self.ids[rows],
            points=self.points[rows],
            probabilities=probabilities,
            tokens=tokens,
        )


def read_predictions(path: str, columns: Columns | None = None) -> Predictions:
    """Reads the answers of a system.

    Args:
      path: of a CSV, TSV or JSON Lines file, packed by gzip or not.
      columns: names of columns, where they are not the usual ones.

    Raises:
      PredictionsError: naming what has to be mended, and how.
    """
    rows = answer_tables.read(path, columns or Columns(), column_names.ANSWER)
    answer_rows.check_places(rows)
    if rows.rank is not None:
        rows = _ranked(rows, rows.rank)
    _check_gaps(rows)
    answered = ~np.isnan(rows.lat)
    return Predictions(
        ids=rows.ids,
        points=np.stack([rows.lat, rows.lng], -1),
        probabilities=_probabilities(rows, answered),
        tokens=_tokens(rows, answered),
        columns=rows.columns(),
    )


def read_all(name: str, columns: Columns | None = None) -> Predictions:
    """Reads the answers of a system from all files that a glob names.

    Args:
      name: of a file, or a glob of files of one kind.
      columns: as of `read_predictions`.

    Raises:
      PredictionsError: as `read_predictions`, or if the files do not say the
        same of photos.
    """
    paths = answer_rows.matches(name)
    parts = [read_predictions(path, columns) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if part.columns.keys() != first.columns.keys():
            raise PredictionsError(
                f"{path} has {', '.join(part.columns)}, but {paths[0]} has"
                f" {', '.join(first.columns)}: files that are read together"
                " have the same columns"
            )
    _check_same(paths, parts, "probability", "probabilities")
    _check_same(paths, parts, "cell", "tokens")
    return _together(parts) if len(parts) > 1 else first


def _check_same(
    paths: Sequence[str], parts: Sequence[Predictions], what: str, name: str
) -> None:
    """Raises PredictionsError if answers of some files have no `what`."""
    with_it: dict[bool, str] = {}
    for path, part in zip(paths, parts, strict=True):
        if not np.isnan(part.points).all():
            with_it[getattr(part, name) is not None] = path
    if len(with_it) > 1:
        raise PredictionsError(
            f"{with_it[False]}: no answer has a {what}, where those of"
            f" {with_it[True]} have one. Give one for each answer, or for none"
        )


def _together(parts: Sequence[Predictions]) -> Predictions:
    """Predictions one after the other, with as many answers as any has."""
    shape = sum(map(len, parts)), max(part.points.shape[1] for part in parts)

    def joined(arrays: Sequence[np.ndarray | None], empty: np.ndarray) -> Any:
        if all(array is None for array in arrays):
            return None
        start = 0
        for part, array in zip(parts, arrays, strict=True):
            if array is not None:  # else no photo of the part has an answer
                rows = slice(start, start + len(part))
                empty[rows, : array.shape[1]] = array
            start += len(part)
        return empty

    return Predictions(
        ids=np.concatenate([part.ids for part in parts]),
        points=joined([p.points for p in parts], np.full((*shape, 2), np.nan)),
        probabilities=joined(
            [part.probabilities for part in parts], np.full(shape, np.nan)
        ),
        tokens=joined(
            [part.tokens for part in parts], np.full(shape, "", object)
        ),
        columns=parts[0].columns,
    )


def _ranked(rows: Rows, rank: np.ndarray) -> Rows:
    """One row a photo, of rows that hold an answer each, of a rank (n,)."""
    name = rows.layout.name("rank")
    rows.refuse(
        ~((rank >= 0) & (rank == np.floor(rank)))[:, None],
        "rows without a rank",
        lambda i, _: f"{name} is {rank[i]:g}",
        "Ranks are 1, 2, 3, ... for each photo, 1 the best",
    )
    coded = pa.array(rows.ids).dictionary_encode()
    photo = coded.indices.to_numpy().astype(np.int64)
    place = rank.astype(np.int64) - int(rank.min() > 0)
    counts = np.bincount(photo)
    # A photo's ranks are complete if each is below their number, and met once.
    known = np.sort(photo * counts.max() + np.minimum(place, counts.max() - 1))
    if (place >= counts[photo]).any() or (np.diff(known) == 0).any():
        _refuse_ranks(rows, rank, photo, place, counts)
    at = photo, place
    shape = len(counts), int(counts.max())

    def grid(values: np.ndarray, fill: Any) -> np.ndarray:
        found = np.full(shape, fill, values.dtype)
        found[at] = values[:, 0]
        return found

    probability, token = rows.probability, rows.token
    return dataclasses.replace(
        rows,
        ids=coded.dictionary.to_numpy(zero_copy_only=False),
        lat=grid(rows.lat, np.nan),
        lng=grid(rows.lng, np.nan),
        probability=None if probability is None else grid(probability, np.nan),
        token=None if token is None else grid(token, ""),
        row=grid(rows.row, 0),
        rank=None,
    )


def _refuse_ranks(
    rows: Rows,
    rank: np.ndarray,
    photo: np.ndarray,
    place: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Raises PredictionsError that names the ranks which are not 1, 2, 3."""
    order = np.lexsort((place, photo))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    expected = np.empty_like(place)
    expected[order] = np.arange(len(place)) - first[photo[order]]
    rows.refuse(
        (place != expected)[:, None],
        "ranks that are met twice, or whose better ones are missing",
        lambda i, _: f"rank {rank[i]:g} of photo {rows.ids[i]!r}",
        "Ranks are 1, 2, 3, ... for each photo, each of them once",
    )


def _check_gaps(rows: Rows) -> None:
    missing = np.isnan(rows.lat)
    gaps = np.zeros_like(missing)
    gaps[:, 1:] = missing[:, :-1] & ~missing[:, 1:]
    rows.refuse(
        gaps,
        "answers after one that is missing",
        lambda i, j: f"photo {rows.ids[i]!r} has answer {j + 1} and no {j}",
        "Move the answers up",
    )


def _probabilities(rows: Rows, answered: np.ndarray) -> np.ndarray | None:
    """Checked probabilities; None if there is not one."""
    given = rows.probability
    if given is None or np.isnan(given).all():
        return None
    layout = rows.layout

    def describe(i: int, j: int) -> str:
        return f"{layout.name('probability', j)} is {given[i, j]:g}"

    outside = (given < 0) | (given > 1)
    percent = given[outside].max(initial=0) <= 100 and not (given < 0).any()
    rows.refuse(
        outside,
        "probabilities outside [0, 1]",
        describe,
        "Divide by 100 if they are percent; scores that are no probabilities"
        " belong in a column of another name"
        if percent
        else "Scores that are no probabilities belong in a column of another"
        " name",
    )
    rows.refuse(
        answered & np.isnan(given),
        "answers without a probability, where others have one",
        lambda i, j: f"photo {rows.ids[i]!r}, answer {j + 1}",
        "Give one for each answer, or for none",
    )
    known = np.where(answered, given, np.nan)
    _refuse_rising(rows, known)
    return known


def _refuse_rising(rows: Rows, given: np.ndarray) -> None:
    """Refuses answers (n, k) that are not in the order of probability."""
    rising = np.zeros(given.shape, bool)
    rising[:, 1:] = given[:, 1:] > given[:, :-1] + _ROUNDING
    rows.refuse(
        rising,
        "answers that are more probable than the one before them",
        lambda i, j: (
            f"photo {rows.ids[i]!r}, answer {j + 1}: {given[i, j]:g} after"
            f" {given[i, j - 1]:g}"
        ),
        "The first answer counts: put each photo's answers in the order that is"
        " meant, or leave the probabilities out",
    )


def _tokens(rows: Rows, answered: np.ndarray) -> np.ndarray | None:
    """Tokens of the answers' cells; None if there is not one."""
    given = rows.token
    if given is None or not (given != "").any():
        return None
    coded = pa.array(given.ravel()).dictionary_encode()
    texts = coded.dictionary.to_pylist()
    code = coded.indices.to_numpy().reshape(given.shape)
    causes = np.array(
        [cell_tokens.damage(text) if text else "" for text in texts], object
    )
    rows.refuse(
        (causes != "")[code],
        "names that are no S2 cells",
        lambda i, j: (
            f"{rows.layout.name('token', j)} is {given[i, j]!r}:"
            f" {causes[code[i, j]]}"
        ),
        f"Write tokens as text, in CSV as {cell_tokens.PREFIX}0994, which no"
        " spreadsheet takes for a number",
    )
    rows.refuse(
        answered & (given == ""),
        "answers without a cell, where others have one",
        lambda i, j: f"photo {rows.ids[i]!r}, answer {j + 1}",
        "Give one for each answer, or for none",
    )
    named = [text for text in texts if text]
    ids = cell_tokens.read_ids(named, range(len(named)), numbers=False)
    plain = dict(zip(named, geometry.to_tokens(ids), strict=True)) | {"": ""}
    return np.where(
        answered, np.array([plain[t] for t in texts], object)[code], ""
    )
