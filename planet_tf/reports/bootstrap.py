"""Intervals of means and medians, by resampling what was measured.

Photos of one owner or album are right or wrong together, so that whole groups
are resampled; without groups, single photos. All that is asked of one
Bootstrap is resampled alike, also of another system's answers for the same
photos: the samples' differences are those of a paired comparison, which is
more certain than both systems are. (Efron and Tibshirani, 1993, chapter 13.)

Of more than 20,000 groups random ones are put together, which leaves the
spread of sums as it is: a million photos cost no more than 20,000.
"""

import dataclasses
import functools
import warnings

import numpy as np

MOST_GROUPS = 20_000  # the spread is then known to 0.5 %
_BATCH = 100  # resamples at a time
_WINDOW = 8  # standard deviations of the median's rank to look at, at first


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How to resample n photos.

    Attributes:
      group: (n,) int, from 0 on without gaps: photos that are drawn together.
      resamples: how many.
      seed: of the draws.
      confidence: of intervals.
    """

    group: np.ndarray
    resamples: int = 1_000
    seed: int = 0
    confidence: float = 0.95

    @functools.cached_property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.group.max(initial=-1)) + 1

    def sums(
        self, values: np.ndarray, part: np.ndarray, parts: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of each resample, by part.

        Args:
          values: (n, m); nan where a photo does not count.
          part: (n,) int in [0, parts), or -1 for none.
          parts: how many.

        Returns:
          The sums (resamples, parts, m), and of how many photos they are,
          of the same shape.
        """
        inside = part >= 0
        cell = self.group[inside] * parts + part[inside]
        columns = []
        for column in values[inside].T:
            counts = ~np.isnan(column)
            for own in (np.where(counts, column, 0), counts):
                columns.append(np.bincount(cell, own, self.groups * parts))
        # A group's sums in all parts are drawn together.
        of_group = np.stack(columns, 1).reshape(self.groups, -1)
        drawn = [w.astype(np.float64) @ of_group for w in self._batches()]
        found = np.concatenate(drawn).reshape(self.resamples, parts, -1)
        return found[..., ::2], found[..., 1::2]

    def medians(self, values: np.ndarray) -> np.ndarray:
        """Medians (resamples,) of values (n,), as np.median's."""
        order = np.argsort(values, kind="stable")
        ranked, group = values[order], self.group[order]
        spread = np.sqrt(len(order) * self._photos_together())
        width = int(_WINDOW * spread / 2) + 2
        found: list[float] = []
        while len(found) < self.resamples:
            # Of all ranks only those about the middle are looked at.
            low = max(0, len(order) // 2 - width)
            high = min(len(order), len(order) // 2 + width)
            found = self._middle(ranked, group, low, high)
            width *= 2
        return np.array(found)

    def _middle(
        self, ranked: np.ndarray, group: np.ndarray, low: int, high: int
    ) -> list[float]:
        """Medians of resamples, up to one that is not in the ranks' window."""
        below, all_photos = (
            np.bincount(own, minlength=self.groups)
            for own in (group[:low], group)
        )
        found: list[float] = []
        for weights in self._batches():
            weights = weights.astype(np.int64)
            start, total = weights @ below, weights @ all_photos
            ends = np.cumsum(weights[:, group[low:high]], axis=1)
            ends += start[:, None]
            for row, begin, photos in zip(ends, start, total, strict=True):
                # The photos in the middle, one or two, by their numbers.
                first, second = (photos + 1) // 2, photos // 2 + 1
                if begin >= first or row[-1] < second:
                    return found
                pair = np.searchsorted(row, [first, second])
                found.append(float(ranked[low + pair].mean()))
        return found

    def _photos_together(self) -> float:
        """Photos that are drawn at once with a photo, on average."""
        sizes = np.bincount(self.group)
        return float(sizes @ sizes / sizes.sum())

    def interval(self, samples: np.ndarray) -> np.ndarray:
        """The lower and upper bounds (2, ...) of samples (resamples, ...).

        Samples of nan do not count; bounds of none are nan.
        """
        tail = (1 - self.confidence) / 2
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.filterwarnings("ignore", "All-NaN slice")
            return np.nanquantile(samples, [tail, 1 - tail], axis=0)

    def p_value(self, differences: np.ndarray) -> float:
        """Of the mean difference of two systems on the same photos being 0.

        Were both the same, each group's differences (n,) could as well have
        the other sign: the share, two-sided, of random signs that give a mean
        as far from 0. It cannot be below 1 / (resamples + 1).
        """
        of_group = np.bincount(self.group, differences, self.groups)
        of_group = of_group[of_group != 0]
        rng = np.random.default_rng(self.seed)
        found = np.empty(self.resamples)
        for i in range(self.resamples):
            signs = rng.integers(0, 2, len(of_group), dtype=np.int8)
            found[i] = of_group @ (2.0 * signs - 1)
        # Sums in another order differ in their last bits.
        least = abs(of_group.sum()) * (1 - 1e-9)
        far = np.count_nonzero(np.abs(found) >= least)
        return (far + 1) / (self.resamples + 1)

    @functools.cached_property
    def _weights(self) -> np.ndarray:
        """How often each group is drawn, (resamples, groups) uint8."""
        rng = np.random.default_rng(self.seed)
        weights = np.empty((self.resamples, self.groups), np.uint8)
        for row in weights:
            drawn = rng.integers(0, self.groups, self.groups, dtype=np.uint32)
            row[:] = np.bincount(drawn, minlength=self.groups)
        return weights

    def _batches(self) -> list[np.ndarray]:
        return np.array_split(self._weights, -(-self.resamples // _BATCH))


def of_photos(count: int, **options: int) -> Bootstrap:
    """A Bootstrap of `count` single photos."""
    return _merged(np.arange(count), **options)


def of_groups(names: np.ndarray, **options: int) -> Bootstrap:
    """A Bootstrap of the photos' groups (n,).

    A photo whose group's name is "" is alone.
    """
    distinct, group = np.unique(names, return_inverse=True)
    alone = np.flatnonzero(names == "")
    if len(alone):  # the first name, whose number the first of them keeps
        group[alone[1:]] = len(distinct) + np.arange(len(alone) - 1)
    return _merged(group, **options)


def _merged(group: np.ndarray, **options: int) -> Bootstrap:
    """At most MOST_GROUPS groups, of random ones where there are more."""
    groups = int(group.max(initial=-1)) + 1
    if groups > MOST_GROUPS:
        rng = np.random.default_rng(options.get("seed", 0))
        group = (rng.permutation(groups) % MOST_GROUPS)[group]
    return Bootstrap(group, **options)
