"""What each photo scores, by one system's answers, and figures of many.

A figure is the mean of a score over photos, or the median of the error. The
radii are the paper's (section 4). GeoScore is the game's and OSV-5M's
(Astruc et al., 2024): 5,000 points for the very place, falling by e with each
1,492.7 km.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planet_tf.answering import metrics
from planet_tf.reports.bootstrap import Bootstrap

MEDIAN = "median_km"

_GEOSCORE_POINTS, _GEOSCORE_KM = 5_000.0, 1_492.7


@dataclasses.dataclass(frozen=True)
class Answers:
    """A system's ranked answers for n photos.

    Attributes:
      points: (n, k, 2) = (lat, lng), best first; nan where there is none.
      probabilities: (n, k) of them; None if the system gives none.
      cell_rank: (n,) which of the answers' cells, from 0 on, the photo is in;
        k or more if in none of them; None if the answers are no cells.
      extra: further scores (n,) of the system's own, by name; nan where a
        photo does not count.
    """

    points: np.ndarray
    probabilities: np.ndarray | None = None
    cell_rank: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """Countries and continents of n photos and of their first answers.

    Attributes:
      country: (n,) int, -1 at sea.
      continent: (n,) int, -1 at sea.
    """

    country: np.ndarray
    continent: np.ndarray


def score(
    answers: Answers,
    errors: np.ndarray,
    whereabouts: tuple[Whereabouts, Whereabouts] | None = None,
) -> dict[str, np.ndarray]:
    """Scores (n,) of each photo by name; nan where a photo does not count.

    Args:
      answers: of the system.
      errors: (n, k) of its answers, in km.
      whereabouts: of the truth and of the first answers. Photos at sea do not
        count for countries and continents.
    """
    found = score_errors(errors)
    if answers.cell_rank is not None:
        found["top1_cell"] = (answers.cell_rank < 1).astype(float)
        top = answers.cell_rank < metrics.TOP
        found[f"top{metrics.TOP}_cell"] = top.astype(float)
    if whereabouts is not None:
        for name in ("country", "continent"):
            true, own = (getattr(where, name) for where in whereabouts)
            found[name] = np.where(true < 0, np.nan, true == own)
    return found | dict(answers.extra)


def score_errors(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (n,) that errors (n, k) in km suffice for, by name.

    A photo without an answer, its errors infinite, is wrong in every way; only
    `mean_km` is of those that have one.
    """
    found = {
        name: hits.astype(float)
        for name, hits in metrics.within(errors).items()
    }
    first = errors[:, 0]
    found["mean_km"] = np.where(np.isinf(first), np.nan, first)
    found["geoscore"] = geoscore(first)
    return found


def geoscore(km: np.ndarray | float) -> np.ndarray:
    """Points (n,) for errors (n,) in km, as the game gives them."""
    return _GEOSCORE_POINTS * np.exp(-km / _GEOSCORE_KM)


@dataclasses.dataclass(frozen=True)
class Grouping:
    """A way to sort photos into parts, for figures of each.

    Attributes:
      title: what they are sorted by.
      parts: names.
      part: (n,) int, which part a photo is of; -1 for none.
    """

    title: str
    parts: tuple[str, ...]
    part: np.ndarray


class Figures:
    """Means of scores over any parts of the photos, with intervals.

    Those of two systems on the same photos come of the same resamples, so
    that they can be subtracted.
    """

    def __init__(
        self,
        scores: dict[str, np.ndarray],
        first: np.ndarray,
        bootstrap: Bootstrap,
        groupings: Sequence[Grouping] = (),
    ):
        """Takes all sums that are needed.

        Args:
          scores: (n,) by name, of `score`.
          first: (n,) errors of the first answers in km, for their median.
          bootstrap: of the same photos.
          groupings: of the same photos.
        """
        self.names = tuple(scores)
        self.scores = scores
        self._values = np.stack(list(scores.values()), 1)
        self._first = first
        self._bootstrap = bootstrap
        self._groupings = groupings
        everyone = Grouping("", ("",), np.zeros(len(first), int))
        self._overall = self._sums(everyone)
        self._medians = bootstrap.medians(first)

    def overall(self) -> dict[str, Any]:
        """Figures of all photos by name, `photos`, and `intervals`.

        Beside the means of the scores there is `median_km`.
        """
        found = self._summaries(*self._overall)[0]
        low, high = self._bootstrap.interval(self._medians)
        intervals = found["intervals"] | {MEDIAN: (float(low), float(high))}
        return found | {
            MEDIAN: float(np.median(self._first)),
            "intervals": intervals,
        }

    def by_part(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The same for each part that has photos, but without the median."""
        found = {}
        for grouping in self._groupings:
            parts = self._summaries(*self._sums(grouping))
            found[grouping.title] = {
                name: figures
                for name, figures in zip(grouping.parts, parts, strict=True)
                if figures["photos"]
            }
        return found

    def samples(self) -> dict[str, np.ndarray]:
        """Figures of all photos in each resample (resamples,), by name."""
        means = self._overall[2][:, 0]
        found = dict(zip(self.names, means.T, strict=True))
        return found | {MEDIAN: self._medians}

    def minus(self, other: "Figures") -> dict[str, dict[str, Any]]:
        """How far figures are above another system's on the same photos.

        By name: `difference`, its `interval`, and for means the `p_value`.
        """
        own, others = self.overall(), other.overall()
        own_samples, other_samples = self.samples(), other.samples()
        found = {}
        for name in own_samples.keys() & other_samples.keys():
            apart = own_samples[name] - other_samples[name]
            low, high = self._bootstrap.interval(apart)
            found[name] = {
                "difference": own[name] - others[name],
                "interval": (float(low), float(high)),
            }
            if name in self.scores:
                each = self.scores[name] - other.scores[name]
                each = np.nan_to_num(each)  # where one of them has no score
                found[name]["p_value"] = self._bootstrap.p_value(each)
        return {name: found[name] for name in own_samples if name in found}

    def _sums(
        self, grouping: Grouping
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Photos (parts,), means (parts, m), samples (resamples, parts, m)."""
        part, parts = grouping.part, len(grouping.parts)
        inside = part >= 0
        counts = ~np.isnan(self._values)
        sums, counted = (
            np.stack(
                [np.bincount(part[inside], c[inside], parts) for c in own.T], 1
            )
            for own in (np.where(counts, self._values, 0), counts)
        )
        photos = np.bincount(part[inside], minlength=parts)
        samples = self._bootstrap.sums(self._values, part, parts)
        return photos, _divided(sums, counted), _divided(*samples)

    def _summaries(
        self, photos: np.ndarray, means: np.ndarray, samples: np.ndarray
    ) -> list[dict[str, Any]]:
        """Figures by name, `photos` and `intervals`, of each part."""
        low, high = self._bootstrap.interval(samples).tolist()
        return [
            {
                "photos": count,
                **dict(zip(self.names, own, strict=True)),
                "intervals": dict(
                    zip(self.names, zip(a, b, strict=True), strict=True)
                ),
            }
            for count, own, a, b in zip(
                photos.tolist(), means.tolist(), low, high, strict=True
            )
        ]


def _divided(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The quotients; nan where nothing was counted."""
    return np.divide(
        sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0
    )
