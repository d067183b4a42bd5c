"""Probabilities of larger regions: coarser cells, countries, continents."""

import dataclasses
from typing import Protocol

import numpy as np
from scipy import sparse

from planet_tf.answering import spread as spread_lib
from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition

OTHER = "other"  # the class of that name is in no other region
AT_SEA = "at sea"


class Countries(Protocol):
    """What is asked of `countries.countries()`."""

    def find(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """Positions (n,) of countries, -1 at sea."""


@dataclasses.dataclass(frozen=True)
class Regions:
    """Regions, and how the classes of a partition are shared among them.

    Attributes:
      names: of the regions, each once.
      shares: (classes, regions), 1 in sum for each class.
    """

    names: tuple[str, ...]
    shares: sparse.csr_array

    def probabilities(self, of_classes: np.ndarray) -> np.ndarray:
        """Probabilities (n, regions) float64 of those of classes (n, m)."""
        return (self.shares.T @ of_classes.astype(np.float64).T).T


def at_level(partition: Partition, level: int) -> Regions:
    """S2 cells of a level by their tokens; cells above it stay what they are.

    In S2 order, after "other" if there is that class.
    """
    if not 0 <= level <= geometry.MAX_CELL_LEVEL:
        raise ValueError(f"level {level}; needed is 0 (a face) to 30 (a leaf)")
    ids = partition.ids.copy()
    finer = geometry.levels(ids) > level
    ids[finer] = geometry.parents(ids[finer], level)
    found, region = np.unique(ids, return_inverse=True)
    return _regions(
        partition,
        geometry.to_tokens(found),
        np.arange(len(ids)),
        region,
        np.ones(len(ids)),
    )


def of_countries(
    partition: Partition,
    countries: Countries,
    names: np.ndarray,
    *,
    halvings: int = 3,
) -> Regions:
    """Countries, or what they have in common, by name; and AT_SEA.

    A cell is shared as its land is, which is looked at in 4**halvings places.
    One without land among these, such as one with a small island, is where
    its point is.

    Args:
      partition: the classes.
      countries: where a place is.
      names: (m,) of each country: its own, its code, or its continent.
      halvings: how closely cells are looked at.
    """
    names, groups = np.unique([*names, AT_SEA], return_inverse=True)
    even = spread_lib.evenly(partition, halvings)
    country = np.asarray(countries.find(*even.points.reshape(-1, 2).T))
    country = country.reshape(even.weights.shape)
    land = np.where(country >= 0, even.weights, 0.0)
    total = land.sum(axis=1)
    cell, place = np.nonzero(land)
    wet = np.flatnonzero(total == 0)
    own = np.asarray(countries.find(*partition.latlng[wet].T))
    return _regions(
        partition,
        names.tolist(),
        np.concatenate([cell, wet]),
        # A country at sea is -1, the last of the names as they were given.
        groups[np.concatenate([country[cell, place], own])],
        np.concatenate([land[cell, place] / total[cell], np.ones(len(wet))]),
    )


def _regions(
    partition: Partition,
    names: list[str],
    cell: np.ndarray,
    region: np.ndarray,
    share: np.ndarray,
) -> Regions:
    """Regions that have any share, after "other" if there is that class."""
    table = sparse.csr_array(
        (share, (cell, region)), shape=(len(partition.tokens), len(names))
    )
    table.sum_duplicates()
    some = np.unique(region)
    table, names = table[:, some], [names[i] for i in some]
    if partition.other_class:
        table = sparse.block_diag([np.ones((1, 1)), table], format="csr")
        names = [OTHER, *names]
    return Regions(tuple(names), sparse.csr_array(table))
