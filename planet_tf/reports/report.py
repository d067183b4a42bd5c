"""An evaluation's figures, as data that goes into JSON (PlaNet section 4)."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planet_tf.answering import metrics
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.reports import bootstrap, calibration, scores
from planet_tf.reports.bootstrap import Bootstrap

FORMAT, VERSION = "planet_tf.report", 1
TRUTH = "truth"  # whose whereabouts these are, among those of the systems
_RIGHT = (0.8, 0.9, 0.95)  # shares that one may want of the given answers
_CURVE_POINTS = 200  # of the curve of risk


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The answers of systems for the same n photos.

    Attributes:
      truth: (n, 2).
      systems: their answers by name; the first one is what is evaluated.
      bootstrap: of the photos.
      ceiling: the answers of who always finds the right cell.
      whereabouts: of the systems' first answers by name, and of TRUTH; empty if
        there are no polygons of countries.
      groupings: by what the photos are sorted into parts.
      ways: systems that answer from the same probabilities as the evaluated
        one by some rule, it among them; the others are compared with the
        first. Empty if there are none.
    """

    truth: np.ndarray
    systems: Mapping[str, scores.Answers]
    bootstrap: Bootstrap
    ceiling: scores.Answers | None = None
    whereabouts: Mapping[str, scores.Whereabouts] = dataclasses.field(
        default_factory=dict
    )
    groupings: Sequence[scores.Grouping] = ()
    ways: Sequence[str] = ()

    @property
    def ours(self) -> str:
        """The name of the evaluated system."""
        return next(iter(self.systems))

    @functools.cached_property
    def errors(self) -> dict[str, np.ndarray]:
        """Errors (n, k) of each system's answers, in km."""
        return {
            name: metrics.errors_km(answers.points, self.truth)
            for name, answers in self.systems.items()
        }

    @functools.cached_property
    def scores(self) -> dict[str, dict[str, np.ndarray]]:
        """What each photo scores by each system's answers, (n,) by name."""
        found = {}
        for name, answers in self.systems.items():
            where = None
            if name in self.whereabouts:
                where = self.whereabouts[TRUTH], self.whereabouts[name]
            found[name] = scores.score(answers, self.errors[name], where)
        return found


def bootstrap_of(
    config: EvaluateConfig, group: np.ndarray | None, photos: int
) -> Bootstrap:
    """The Bootstrap that the options ask for.

    Args:
      config: of the evaluation.
      group: (photos,) names of what photos belong to, "" for nothing; None if
        that is not known of any.
      photos: how many.
    """
    options = {"resamples": config.resamples, "seed": config.seed}
    if group is None or config.resample_by == "photo":
        return bootstrap.of_photos(photos, **options)
    return bootstrap.of_groups(group, **options)


def make(evaluated: Evaluated) -> dict[str, Any]:
    """All figures with 95 % intervals; nan and infinity are None."""
    # Only the evaluated system is looked at in parts.
    figures = {
        name: scores.Figures(
            evaluated.scores[name],
            errors[:, 0],
            evaluated.bootstrap,
            evaluated.groupings if name == evaluated.ours else (),
        )
        for name, errors in evaluated.errors.items()
    }
    ours = figures[evaluated.ours]
    report: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "photos": len(evaluated.truth),
        "groups": evaluated.bootstrap.groups,
        "system": evaluated.ours,
        "systems": {name: found.overall() for name, found in figures.items()},
        "without_answer": {
            name: int(np.isnan(answers.points[:, 0]).any(axis=-1).sum())
            for name, answers in evaluated.systems.items()
        },
        "differences": {
            name: ours.minus(found)
            for name, found in figures.items()
            if found is not ours
        },
        "parts": ours.by_part(),
    }
    if evaluated.ways:
        report["ways"] = _best_ways(
            {name: figures[name] for name in evaluated.ways}
        )
    if evaluated.ceiling is not None:
        ceiling = _ceiling(evaluated, evaluated.ceiling)
        report["ceiling"] = ceiling.overall()
        report["ceiling_reached"] = _reached(ours, ceiling, evaluated.bootstrap)
    answers = evaluated.systems[evaluated.ours]
    if answers.probabilities is not None:
        first = answers.probabilities[:, 0]
        report["confidence"] = _confidence(evaluated, answers, first)
    return json_ready(report)


def _best_ways(figures: Mapping[str, scores.Figures]) -> dict[str, Any]:
    """Which of some systems is best at each radius, against the first one."""
    plain, *others = figures
    overall = {name: figures[name].overall() for name in others}
    apart = {name: figures[name].minus(figures[plain]) for name in others}
    found = {}
    for km in metrics.RADII_KM:
        within = f"top1_within_{km}km"
        best = max(others, key=lambda name: overall[name][within])
        share = {"best": best, "share": overall[best][within]}
        found[f"{km}km"] = share | apart[best][within]
    return {"against": plain, "by_radius": found}


def _ceiling(evaluated: Evaluated, answers: scores.Answers) -> scores.Figures:
    """Figures of who always finds the right cell."""
    errors = metrics.errors_km(answers.points, evaluated.truth)
    return scores.Figures(
        scores.score(answers, errors), errors[:, 0], evaluated.bootstrap
    )


def _reached(
    ours: scores.Figures, ceiling: scores.Figures, resampling: Bootstrap
) -> dict[str, dict[str, Any]]:
    """What share of the ceiling's shares within the radii is reached."""
    own, best = ours.overall(), ceiling.overall()
    own_samples, best_samples = ours.samples(), ceiling.samples()
    found = {}
    for km in metrics.RADII_KM:
        name = f"top1_within_{km}km"
        if not best[name]:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = own_samples[name] / best_samples[name]
        low, high = resampling.interval(
            np.where(best_samples[name], samples, 0)
        )
        found[name] = {
            "share": own[name] / best[name],
            "interval": (float(low), float(high)),
        }
    return found


def _confidence(
    evaluated: Evaluated, answers: scores.Answers, probabilities: np.ndarray
) -> dict[str, Any]:
    """What the probabilities (n,) of the first answers say."""
    confidence = np.nan_to_num(probabilities)
    errors = evaluated.errors[evaluated.ours][:, 0]
    found: dict[str, Any] = {"within": {}}
    for km in metrics.RADII_KM:
        curve = calibration.risk_coverage(confidence, errors <= km)
        found["within"][f"{km}km"] = {
            "risk_area": curve.area,
            "abstention": _abstentions(curve),
            "curve": _curve(curve),
        }
    if answers.cell_rank is not None:
        right = answers.cell_rank < 1
        bins = calibration.reliability(confidence, right, evaluated.bootstrap)
        found["reliability"] = {
            "expected_calibration_error": bins.error,
            "interval": bins.interval,
            "bins": [
                {"from": low, "to": high, "photos": n, "confidence": c}
                | {"accuracy": a}
                for (low, high), n, c, a in zip(
                    bins.edges.tolist(),
                    bins.photos.tolist(),
                    bins.confidence.tolist(),
                    bins.accuracy.tolist(),
                    strict=True,
                )
            ],
        }
    return found


def _abstentions(curve: calibration.RiskCoverage) -> list[dict[str, Any]]:
    """The least confidence to answer at, for shares of right answers."""
    rows = []
    for right in _RIGHT:
        found = curve.abstention(right)
        threshold, coverage = found or (None, 0.0)
        rows.append(
            {"right": right, "threshold": threshold, "coverage": coverage}
        )
    return rows


def _curve(curve: calibration.RiskCoverage) -> dict[str, list[float]]:
    """The curve, thinned out for a picture."""
    last = len(curve.coverage) - 1
    kept = np.unique(np.linspace(0, last, _CURVE_POINTS).astype(int))
    return {
        name: getattr(curve, name)[kept].tolist()
        for name in ("coverage", "risk", "threshold")
    }


def json_ready(found: Any) -> Any:
    """The same with None for the numbers that JSON does not have."""
    if isinstance(found, Mapping):
        return {key: json_ready(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [json_ready(value) for value in found]
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found
