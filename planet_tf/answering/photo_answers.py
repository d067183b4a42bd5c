"""What people and programs are told of a photo, from its probabilities."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from planet_tf.answering import metrics, radius, regions, spread
from planet_tf.geo import countries, geometry, place_names
from planet_tf.geo.partition import Partition

RADIUS_SHARES = (0.5, 0.9)  # of the probability
_COUNTRIES = 5
_LEAST = 0.005  # less probable countries are not named


@dataclasses.dataclass(frozen=True)
class Cell:
    """One of the likeliest cells.

    Attributes:
      token: of the S2 cell.
      probability: that the photo was taken in it.
      lat: degrees, of the point that the cell stands for.
      lng: as lat.
      width_km: of a square of its area.
      place: the town and country of the point; "" without names of places.
    """

    token: str
    probability: float
    lat: float
    lng: float
    width_km: float
    place: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of a photo.

    Attributes:
      cells: the likeliest, best first.
      radius_km: by share of the probability, how far around the first cell's
        point it reaches.
      countries: names and probabilities of the likeliest, best first; empty
        without polygons of countries.
    """

    cells: tuple[Cell, ...]
    radius_km: dict[float, float]
    countries: tuple[tuple[str, float], ...]

    def json(self) -> dict[str, Any]:
        """As JSON has it; a line of predictions.jsonl but for the photo_id."""
        return {
            "cells": [dataclasses.asdict(cell) for cell in self.cells],
            "radius_km": {f"{s:.0%}": km for s, km in self.radius_km.items()},
            "countries": [
                {"name": name, "probability": p} for name, p in self.countries
            ],
        }

    def lines(self) -> list[str]:
        """As people read it: a line for each cell, under a header, and two."""
        lines = ["  rank  probability        lat         lng  cell"]
        width = max(len(cell.token) for cell in self.cells)
        for rank, cell in enumerate(self.cells, 1):
            lines.append(
                f"  {rank:4}  {cell.probability:11.2%}  {cell.lat:9.4f}"
                f"  {cell.lng:10.4f}  {cell.token:{width}}"
                f"  {cell.place}".rstrip()
            )
        far = ", ".join(
            f"{share:.0%} within {km:,.0f} km"
            for share, km in self.radius_km.items()
        )
        lines.append(f"  around the first: {far}")
        if self.countries:
            named = ", ".join(f"{name} {p:.1%}" for name, p in self.countries)
            lines.append(f"  countries: {named}")
        return lines


class Answerer:
    """Makes answers of distributions over a partition.

    Nothing in an answer is finer than the partition's cells.
    """

    def __init__(self, partition: Partition):
        self.partition = partition

    def answers(
        self, probabilities: np.ndarray, top: int = metrics.TOP
    ) -> list[Answer]:
        """Answers of `top` cells for probabilities (n, classes) by label."""
        of_cells = probabilities[:, int(self.partition.other_class) :]
        best = metrics.ranked(of_cells, top)
        radii = radius.radius_holding(
            probabilities,
            self.partition,
            self.partition.latlng[best[:, 0]],
            RADIUS_SHARES,
            spread=self._evenly,
        )
        named = self._countries(probabilities)
        self._name(np.unique(best))
        rows = zip(best.tolist(), of_cells, radii.tolist(), named, strict=True)
        return [
            Answer(
                cells=tuple(self._cell(k, shares[k]) for k in cells),
                radius_km=dict(zip(RADIUS_SHARES, km, strict=True)),
                countries=of_countries,
            )
            for cells, shares, km, of_countries in rows
        ]

    def _cell(self, k: int, probability: float) -> Cell:
        return Cell(
            token=self.partition.tokens[k],
            probability=float(probability),
            lat=self.partition.points[k][0],
            lng=self.partition.points[k][1],
            width_km=geometry.cell_area_km2(self.partition.tokens[k]) ** 0.5,
            place=self._places.get(k, ""),
        )

    def _name(self, cells: np.ndarray) -> None:
        """Finds the names of the cells (n,) that have none yet."""
        new = [k for k in cells.tolist() if k not in self._places]
        if new and place_names.available():
            found = place_names.names(self.partition.latlng[new])
            self._places.update(zip(new, map(str, found), strict=True))

    @functools.cached_property
    def _places(self) -> dict[int, str]:
        return {}

    @functools.cached_property
    def _evenly(self) -> spread.Spread:
        return spread.evenly(self.partition)

    @functools.cached_property
    def _regions(self) -> regions.Regions:
        world = countries.countries()
        return regions.of_countries(
            self.partition, world, np.array(world.names)
        )

    def _countries(
        self, probabilities: np.ndarray
    ) -> Sequence[tuple[tuple[str, float], ...]]:
        """The likeliest countries of each distribution."""
        if not countries.available():
            return [()] * len(probabilities)
        names = self._regions.names
        found = []
        for shares in self._regions.probabilities(probabilities):
            best = np.argsort(-shares, kind="stable")[:_COUNTRIES].tolist()
            found.append(
                tuple(
                    (names[i], float(shares[i]))
                    for i in best
                    if shares[i] >= _LEAST
                )
            )
        return found
