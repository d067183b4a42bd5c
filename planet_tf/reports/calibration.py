"""Whether probabilities mean what they say, and when better not to answer.

A confidence is the probability of a photo's first answer. It is calibrated if
of the answers given with 70 % about 70 % are right (Guo et al., 2017).
"""

import dataclasses

import numpy as np

from planet_tf.reports.bootstrap import Bootstrap

_BINS = 15  # of equal width, as Guo et al. have them
_TEMPERATURES = np.geomspace(0.25, 4, 33)


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Answers in bins of confidence, of those bins that have any.

    Attributes:
      edges: (bins, 2) lowest and highest confidence.
      photos: (bins,) in each.
      confidence: (bins,) mean.
      accuracy: (bins,) share of right answers.
      error: the expected calibration error: the mean over photos of the
        distance between their bin's confidence and accuracy.
      interval: of the error. Noise adds to it, so that the interval of a
        well calibrated system lies above its error.
    """

    edges: np.ndarray
    photos: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float
    interval: tuple[float, float]


def reliability(
    confidence: np.ndarray, right: np.ndarray, bootstrap: Bootstrap
) -> Reliability:
    """Of confidences (n,) in [0, 1] and whether the answers are right (n,)."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    photos = np.bincount(bins, minlength=_BINS)
    gap = np.zeros((len(bins), _BINS), np.float32)
    gap[np.arange(len(bins)), bins] = right - confidence
    sums, counts = bootstrap.sums(gap, np.zeros(len(bins), int), 1)
    samples = np.abs(sums[:, 0] / counts[:, 0]).sum(axis=1)
    low, high = bootstrap.interval(samples)
    some = photos > 0
    mean, accuracy = (
        np.bincount(bins, values, _BINS)[some] / photos[some]
        for values in (confidence, right)
    )
    edges = np.linspace(0, 1, _BINS + 1)
    return Reliability(
        edges=np.stack([edges[:-1], edges[1:]], 1)[some],
        photos=photos[some],
        confidence=mean,
        accuracy=accuracy,
        error=float(np.abs(mean - accuracy) @ photos[some] / len(bins)),
        interval=(float(low), float(high)),
    )


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong answers when only the surest photos are answered.

    Attributes:
      threshold: (m,) least confidence that is answered, falling.
      coverage: (m,) share of the photos that are.
      risk: (m,) share of wrong ones among those.
    """

    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray

    @property
    def area(self) -> float:
        """Mean risk over all coverages (AURC): lower is better."""
        widths = np.diff(self.coverage, prepend=0)
        return float(widths @ self.risk)

    def abstention(self, right: float) -> tuple[float, float] | None:
        """Threshold and coverage that answer most with this share right."""
        fit = np.flatnonzero(1 - self.risk >= right)
        if not len(fit):
            return None
        return float(self.threshold[fit[-1]]), float(self.coverage[fit[-1]])


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """Of confidences (n,) and right answers (n,); equal ones go together."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    answered = np.arange(1, len(order) + 1)
    risk = 1 - np.cumsum(right[order]) / answered
    last = np.append(ranked[1:] != ranked[:-1], True)
    return RiskCoverage(ranked[last], answered[last] / len(order), risk[last])


class TemperatureFit:
    """The temperature that makes a validation split likeliest.

    Logits are divided by it before the softmax: above 1 it takes confidence
    away. It changes neither the first answer nor the ranks.
    """

    def __init__(self) -> None:
        self._loss = np.zeros(len(_TEMPERATURES))
        self._photos = 0

    def add(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Takes photos' probabilities (n, classes) and their labels (n,)."""
        logits = np.log(np.maximum(probabilities, 1e-30, dtype=np.float32))
        own = logits[np.arange(len(labels)), labels]
        for i, temperature in enumerate(_TEMPERATURES):
            total = np.exp(logits / np.float32(temperature)).sum(axis=1)
            self._loss[i] += (np.log(total) - own / temperature).sum()
        self._photos += len(labels)

    @property
    def photos(self) -> int:
        """How many photos were taken."""
        return self._photos

    def best(self) -> float:
        """The best temperature, between the tried ones by a parabola."""
        i = int(np.argmin(self._loss))
        if not 0 < i < len(_TEMPERATURES) - 1:
            return float(_TEMPERATURES[i])
        before, here, after = self._loss[i - 1 : i + 2]
        shift = (before - after) / (2 * (before - 2 * here + after))
        step = np.log(_TEMPERATURES[1] / _TEMPERATURES[0])
        return float(_TEMPERATURES[i] * np.exp(shift * step))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, classes) at a temperature."""
    powers = np.maximum(probabilities, 1e-30) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)
