"""Any system's predictions, from a file, against a ground truth in another."""

from collections.abc import Sequence
from typing import Any

from planet_tf.geo import partition as partition_lib
from planet_tf.geo.geometry import EARTH_RADIUS_KM
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.reports import photo_parts, report, report_dir, report_text
from planet_tf.reports.scores import Answers
from planet_tf.tables import matching, predictions, truths
from planet_tf.tables.answer_columns import Columns
from planet_tf.tables.predictions import Predictions
from planet_tf.tables.truths import Truth

_FIELDS = ("id", "lat", "lng", "probability", "token", "rank")
_TRUTH_FIELDS = ("id", "lat", "lng", "group")


def evaluate(config: EvaluateConfig) -> None:
    """Writes the report and prints it.

    Raises:
      PredictionsError: of files that do not fit each other.
      PartitionError: of --partition.
    """
    partition = _read_partition(config.partition)
    truth, answers, counts = matching.align(
        truths.read_truth(
            config.truth, _columns(config, _TRUTH_FIELDS, "truth_")
        ),
        predictions.read_all(config.predictions, _columns(config, _FIELDS)),
        missing=config.missing,
        extra=config.extra,
        duplicates=config.duplicates,
        match=config.match,
    )
    evaluated = _evaluated(config, truth, answers, partition)
    facts: dict[str, Any] = {
        "what": f"{counts['photos']:,} photos of {config.truth}",
        "predictions": config.predictions,
        "truth": config.truth,
        "columns": {"predictions": answers.columns, "truth": truth.columns},
        "counts": counts,
    }
    found = report_dir.write(
        config.out, evaluated, truth.ids, facts, notes=[_counts_text(counts)]
    )
    print(report_text.summary(found))
    print(f"\n{_counts_text(counts)}\n\nwritten to {config.out}")


def _columns(
    config: EvaluateConfig, fields: Sequence[str], prefix: str = ""
) -> Columns:
    names = {
        field: getattr(config, f"{prefix}{field}_column") or None
        for field in fields
    }
    return Columns(**names, option=f"--{prefix}{{}}_column")


def _read_partition(path: str) -> partition_lib.Partition | None:
    if not path:
        return None
    from etils import epath

    with epath.Path(path).open() as file:
        return partition_lib.load(file)


def _evaluated(
    config: EvaluateConfig,
    truth: Truth,
    answers: Predictions,
    partition: partition_lib.Partition | None,
) -> report.Evaluated:
    rank = None
    if answers.tokens is not None:
        rank = photo_parts.cell_rank(answers.tokens, truth.latlng)
    system = Answers(answers.points, answers.probabilities, rank)
    systems = {config.name: system}
    places = photo_parts.places(truth.latlng, systems, partition)
    resampling = report.bootstrap_of(config, truth.group, len(truth))
    return report.Evaluated(truth.latlng, systems, resampling, **places)


def _counts_text(counts: dict[str, int]) -> str:
    """What was counted as wrong or left out, in words."""
    told = {
        "missing": "not in the predictions",
        "without_answer": "in them without an answer, which is wrong",
        "extra": "only in the predictions, left out",
        "duplicates": "again in the predictions, left out",
        "truth_duplicates": "again in the truth, left out",
        "same_as_truth": "answered with the truth to the last digit",
    }
    found = [f"{counts[k]:,} {text}" for k, text in told.items() if counts[k]]
    photos = f"{counts['photos']:,} photos"
    sphere = f"distances are on a sphere of radius {EARTH_RADIUS_KM} km"
    return "; ".join([photos, *found, sphere]) + "."
