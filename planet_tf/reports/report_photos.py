"""photos.csv of a report: each photo's truth, answer and scores.

What another system's report on the same photos is compared with.
"""

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from planet_tf.answering import metrics
from planet_tf.reports import report, scores

_PLACES = ("lat", "lng", "answer_lat", "answer_lng")
_ERRORS = ("error_km", f"best_of_{metrics.TOP}_km")
_PROBABILITY = "probability"


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of a report.

    Attributes:
      ids: (n,) str.
      group: (n,) int, what was resampled together.
      truth: (n, 2).
      errors: (n, 2) km of the first answer and of the best of five; infinite
        without an answer.
      scores: (n,) of those that errors do not tell, by name; nan where a
        photo does not count.
    """

    ids: np.ndarray
    group: np.ndarray
    truth: np.ndarray
    errors: np.ndarray
    scores: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> "Photos":
        """Some of the photos."""
        return Photos(
            self.ids[rows],
            self.group[rows],
            self.truth[rows],
            self.errors[rows],
            {name: values[rows] for name, values in self.scores.items()},
        )

    def all_scores(self) -> dict[str, np.ndarray]:
        """All scores (n,) by name, as `scores.score` gives them."""
        return scores.score_errors(self.errors) | self.scores


def dump(evaluated: report.Evaluated, ids: np.ndarray) -> bytes:
    """The file for the evaluated system; places and errors are exact.

    Empty are answers that are not there and scores that do not count.
    """
    answers = evaluated.systems[evaluated.ours]
    errors = evaluated.errors[evaluated.ours]
    found = evaluated.scores[evaluated.ours]
    columns = dict(zip(_PLACES[:2], evaluated.truth.T, strict=True))
    columns |= dict(zip(_PLACES[2:], answers.points[:, 0].T, strict=True))
    best = metrics.best_of(errors, metrics.TOP)
    columns |= dict(zip(_ERRORS, (errors[:, 0], best), strict=True))
    if answers.probabilities is not None:
        columns[_PROBABILITY] = answers.probabilities[:, 0]
    # Scores that errors do not tell.
    told = scores.score_errors(errors).keys()
    columns |= {name: own for name, own in found.items() if name not in told}
    table = {"id": pa.array(ids.tolist()), "group": evaluated.bootstrap.group}
    for name, values in columns.items():
        table[name] = pa.array(values, mask=~np.isfinite(values))
    file = io.BytesIO()
    pa.csv.write_csv(pa.table(table), file)
    return file.getvalue()


def load(content: bytes) -> Photos:
    """Reads what `dump` wrote; ValueError says what is wrong with it."""
    text = pa.csv.ConvertOptions(column_types={"id": pa.string()})
    try:
        table = pa.csv.read_csv(io.BytesIO(content), convert_options=text)
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from error
    needed = ("id", "group", *_PLACES[:2], *_ERRORS)
    missing = sorted(set(needed) - set(table.column_names))
    others = {*needed, *_PLACES, _PROBABILITY}
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}")
    if not len(table):
        raise ValueError("there are no photos in it")

    def column(name: str, nothing: float = np.nan) -> np.ndarray:
        values = pc.cast(table[name], pa.float64())
        return pc.fill_null(values, nothing).to_numpy()

    try:
        return Photos(
            ids=table["id"].to_numpy(zero_copy_only=False),
            group=column("group").astype(int),
            truth=np.stack([column(name) for name in _PLACES[:2]], 1),
            errors=np.stack([column(name, np.inf) for name in _ERRORS], 1),
            scores={
                name: column(name)
                for name in table.column_names
                if name not in others
            },
        )
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from error
