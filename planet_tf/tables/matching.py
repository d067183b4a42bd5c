"""Brings a system's answers to the photos of a truth, and leaves nothing out.

Photos without an answer, answers without a photo and ids that are met twice are
refused, with the option that would count them instead. What an option leaves
out or counts as wrong is in the counts, which belong in the report.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from planet_tf.tables.answer_columns import PredictionsError
from planet_tf.tables.predictions import Predictions
from planet_tf.tables.truths import Truth

MISSING = ("error", "wrong", "skip")
EXTRA = ("error", "ignore")
DUPLICATES = ("error", "first", "last")
MATCH = ("exact", "name", "stem")

_LISTED = 5  # ids in a message
_DIRECTORY = r"^.*[/\\]"
_EXTENSION = r"\.[A-Za-z][A-Za-z0-9]{0,4}$"


def align(
    truth: Truth,
    predictions: Predictions,
    *,
    missing: str = "error",
    extra: str = "error",
    duplicates: str = "error",
    match: str = "exact",
) -> tuple[Truth, Predictions, dict[str, int]]:
    """The truth, the answers to its photos in its order, and counts.

    Args:
      truth: where the photos were taken.
      predictions: where a system says they were.
      missing: of photos that the predictions have not: "error", "wrong" (no
        answer, which is wrong), or "skip" (left out of the truth too).
      extra: of predictions for other photos: "error" or "ignore".
      duplicates: of rows with an id that another row has, in either file:
        "error", or which of them to take, "first" or "last".
      match: what of ids has to be the same: "exact" all, "name" the file's name
        without directories, "stem" that without its extension.

    Returns:
      truth and predictions, and counts: `photos` that are evaluated;
      `missing`, `extra`, `duplicates` (rows of the predictions left out) and
      `truth_duplicates`; `without_answer`, photos for which the predictions
      have a row and no answer; `same_as_truth`, best answers that are the truth
      to the last digit.

    Raises:
      PredictionsError: naming ids, and the options that would count them.
    """
    _check_options(
        missing=missing, extra=extra, duplicates=duplicates, match=match
    )
    met = _meet(truth, predictions, match, duplicates == "last")
    problems = []
    if duplicates == "error":
        problems += _duplicate_problems("truth", truth.ids, met.truth, match)
        problems += _duplicate_problems(
            "predictions", predictions.ids, met.answers, match
        )
    if missing == "error":
        problems += _missing_problems(truth.ids[met.truth][met.answer < 0])
    if extra == "error":
        problems += _extra_problems(predictions.ids[met.answers][met.unused])
    if problems:
        problems += _hints(truth, predictions, match)
        raise PredictionsError("; ".join(problems))
    counts = {
        "missing": int((met.answer < 0).sum()),
        "extra": int(met.unused.sum()),
        "duplicates": len(predictions) - len(met.answers),
        "truth_duplicates": len(truth) - len(met.truth),
    }
    kept = met.answer >= (0 if missing == "skip" else -1)
    truth, row = truth.take(met.truth[kept]), met.answer[kept]
    answers = _answers(predictions, met.answers, row, truth.ids)
    unanswered = np.isnan(answers.points[:, 0, 0]) & (row >= 0)
    same = (answers.points[:, 0] == truth.latlng).all(1)
    counts["without_answer"] = int(unanswered.sum())
    counts["same_as_truth"] = int(same.sum())
    return truth, answers, {"photos": len(truth), **counts}


class _Met(NamedTuple):
    """Which rows belong together.

    Attributes:
      truth: (n,) rows of the truth, each key once.
      answers: (m,) rows of the predictions, each key once.
      answer: (n,) position among `answers`; -1 where there is none.
      unused: (m,) bool, answers for no photo of the truth.
    """

    truth: np.ndarray
    answers: np.ndarray
    answer: np.ndarray
    unused: np.ndarray


def _meet(
    truth: Truth, predictions: Predictions, match: str, last: bool
) -> _Met:
    places, answers = (_keys(x.ids, match) for x in (truth, predictions))
    rows = _distinct(places, last), _distinct(answers, last)
    places = places.take(pa.array(rows[0]))
    answers = answers.take(pa.array(rows[1]))
    unused = _positions(answers, places) < 0
    return _Met(*rows, _positions(places, answers), unused)


def _check_options(**given: str) -> None:
    choices = {
        "missing": MISSING,
        "extra": EXTRA,
        "duplicates": DUPLICATES,
        "match": MATCH,
    }
    for name, value in given.items():
        if value not in choices[name]:
            raise ValueError(
                f"{name} is {value!r}; it must be one of"
                f" {', '.join(choices[name])}"
            )


def _keys(ids: np.ndarray, match: str) -> pa.Array:
    """What of ids (n,) has to be the same."""
    keys = pa.array(ids, pa.large_string())
    if match != "exact":
        keys = pc.replace_substring_regex(keys, _DIRECTORY, "")
    if match == "stem":
        keys = pc.replace_substring_regex(keys, _EXTENSION, "")
    return keys


def _distinct(keys: pa.Array, last: bool) -> np.ndarray:
    """Positions, rising, of the first or last of each key."""
    coded = keys.dictionary_encode()
    code = coded.indices.to_numpy()
    found = np.empty(len(coded.dictionary), np.int64)
    rows = np.arange(len(code))
    # Of positions that are written twice the last one stays.
    order = rows if last else rows[::-1]
    found[code[order]] = order
    return np.sort(found)


def _positions(keys: pa.Array, among: pa.Array) -> np.ndarray:
    """Where each key (n,) is among others, -1 if it is not."""
    found = pc.fill_null(pc.index_in(keys, value_set=among), -1)
    return found.to_numpy().astype(np.int64)


def _duplicate_problems(
    name: str, ids: np.ndarray, kept: np.ndarray, match: str
) -> list[str]:
    twice = np.delete(ids, kept)
    if not len(twice):
        return []
    how = f", by --match={match}" if match != "exact" else ""
    ranked = (
        " (answers of one photo need a column rank)"
        if name == "predictions"
        else ""
    )
    return [
        f"{len(twice):,} rows of the {name} have an id that another row"
        f" has{how}: {_some(twice)}; --duplicates=first or last takes one and"
        f" counts the others{ranked}"
    ]


def _missing_problems(ids: np.ndarray) -> list[str]:
    if not len(ids):
        return []
    return [
        f"{len(ids):,} photos of the truth have no prediction: {_some(ids)};"
        " --missing=wrong counts them as wrong, --missing=skip leaves them out"
        " and counts how many"
    ]


def _extra_problems(ids: np.ndarray) -> list[str]:
    if not len(ids):
        return []
    return [
        f"{len(ids):,} predictions are for photos that the truth has not:"
        f" {_some(ids)}; --extra=ignore leaves them out and counts them"
    ]


def _hints(truth: Truth, predictions: Predictions, match: str) -> list[str]:
    """What would bring all photos together, or most likely keeps them apart."""
    for other in MATCH[MATCH.index(match) + 1 :]:
        theirs, ours = (_keys(x.ids, other) for x in (truth, predictions))
        if (_positions(theirs, ours) >= 0).all():
            return [f"--match={other} would find a prediction for each photo"]
    theirs, ours = (_keys(x.ids, match) for x in (truth, predictions))
    if (_positions(theirs, ours) >= 0).any():
        return []
    hints = [
        f"no id of the truth is one of the predictions: it has"
        f" {_some(truth.ids[:2])} (from {truth.columns.get('id', 'ids')}), they"
        f" have {_some(predictions.ids[:2])} (from"
        f" {predictions.columns.get('id', 'ids')})"
    ]
    numbers = pc.match_substring_regex(ours, r"^\d+\.0$|^\d(\.\d+)?[eE]\+\d+$")
    if pc.any(numbers).as_py():
        hints.append("a program took these ids for numbers; write them as text")
    return hints


def _some(ids: np.ndarray) -> str:
    more = ", ..." if len(ids) > _LISTED else ""
    return ", ".join(repr(str(x)) for x in ids[:_LISTED]) + more


def _answers(
    predictions: Predictions,
    kept: np.ndarray,
    row: np.ndarray,
    ids: np.ndarray,
) -> Predictions:
    """Answers for photos by their rows among those kept, none for -1."""
    absent = row < 0
    if not len(kept):
        raise PredictionsError("the predictions are of no photo at all")
    found = predictions.take(kept[np.maximum(row, 0)])
    found.points[absent] = np.nan
    if found.probabilities is not None:
        found.probabilities[absent] = np.nan
    if found.tokens is not None:
        found.tokens[absent] = ""
    return dataclasses.replace(found, ids=ids)
