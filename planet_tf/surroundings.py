"""What a distribution says beyond its likeliest cells, in words."""

import functools

import numpy as np

from planet_tf import countries, radius, regions, spread
from planet_tf.partition import Partition

_SHARES = (0.5, 0.9)  # of the probability
_COUNTRIES = 3
_LEAST = 0.005  # less probable countries are not named


class Surroundings:
    """Radii and countries of distributions over a partition."""

    def __init__(self, partition: Partition):
        self.partition = partition

    def lines(self, probabilities: np.ndarray) -> list[str]:
        """Two lines of one photo's probabilities (classes,).

        Without polygons of countries it is the first one only.
        """
        first = int(self.partition.other_class)
        point = self.partition.latlng[probabilities[first:].argmax()]
        radii = radius.radius_holding(
            probabilities[None],
            self.partition,
            point[None],
            _SHARES,
            spread=self._evenly,
        )[0]
        far = ", ".join(
            f"{share:.0%} within {km:,.0f} km"
            for share, km in zip(_SHARES, radii, strict=True)
        )
        found = [f"  around the first: {far}"]
        if countries.available():
            found.append(f"  countries: {self._countries(probabilities)}")
        return found

    @functools.cached_property
    def _evenly(self) -> spread.Spread:
        return spread.evenly(self.partition)

    @functools.cached_property
    def _regions(self) -> regions.Regions:
        world = countries.countries()
        return regions.of_countries(
            self.partition, world, np.array(world.names)
        )

    def _countries(self, probabilities: np.ndarray) -> str:
        of_each = self._regions.probabilities(probabilities[None])[0]
        best = np.argsort(-of_each, kind="stable")[:_COUNTRIES]
        return ", ".join(
            f"{self._regions.names[i]} {of_each[i]:.1%}"
            for i in best
            if of_each[i] >= _LEAST
        )
