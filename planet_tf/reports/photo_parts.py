"""Where photos and answers are: cells, countries, and parts of the photos."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from planet_tf.answering import metrics, regions
from planet_tf.geo import countries, geometry
from planet_tf.geo.partition import Partition
from planet_tf.reports import report
from planet_tf.reports.scores import Answers, Grouping, Whereabouts

_QUANTILES = (0.25, 0.5, 0.75)


def places(
    truth: np.ndarray,
    systems: Mapping[str, Answers],
    partition: Partition | None,
) -> dict[str, Any]:
    """What places say of photos, as arguments of `report.Evaluated`.

    Args:
      truth: (n, 2).
      systems: their answers.
      partition: what to sort photos by and to take the ceiling of, if any.
    """
    found: dict[str, Any] = {"groupings": []}
    if countries.available():
        firsts = {name: own.points[:, 0] for name, own in systems.items()}
        firsts[report.TRUTH] = truth
        whereabouts = {n: locate(own) for n, own in firsts.items()}
        found["whereabouts"] = whereabouts
        continent = whereabouts[report.TRUTH].continent
        found["groupings"].append(by_continent(continent, continents()))
    if partition is not None:
        cell = cells_of(partition, truth)
        found["ceiling"] = ceiling(partition, cell)
        found["groupings"] += [
            by_level(partition, cell),
            by_photos(partition, cell),
        ]
    return found


def continents() -> tuple[str, ...]:
    """The names of all continents."""
    return tuple(sorted(set(countries.countries().continents)))


def locate(points: np.ndarray) -> Whereabouts:
    """The countries and continents of points (n, 2); -1 of nan, too."""
    country = countries.countries().find(*points.T)
    numbers = _continent_numbers()
    return Whereabouts(country, np.where(country < 0, -1, numbers[country]))


def _continent_numbers() -> np.ndarray:
    """The continent of each country, as a position in `continents`."""
    names = np.array(countries.countries().continents)
    return np.searchsorted(continents(), names)


def summed(
    partition: Partition,
) -> list[Callable[[np.ndarray], np.ndarray]]:
    """The likeliest country and continent of distributions (n, classes).

    By the sums of the probabilities of their cells. Nothing without polygons
    of countries. The functions give positions (n,), -1 at sea.
    """
    if not countries.available():
        return []
    world = countries.countries()
    numbers = np.arange(len(world.names)), _continent_numbers()
    return [
        functools.partial(
            _likeliest_region,
            regions.of_countries(partition, world, own.astype(str)),
        )
        for own in numbers
    ]


def _likeliest_region(
    of: regions.Regions, probabilities: np.ndarray
) -> np.ndarray:
    nowhere = (regions.AT_SEA, regions.OTHER)
    number = [-1 if name in nowhere else int(name) for name in of.names]
    return np.array(number)[of.probabilities(probabilities).argmax(axis=1)]


def ceiling(partition: Partition, cell: np.ndarray) -> Answers:
    """The answers of who always finds the right cell.

    A photo that is in no cell has none. `cell` (n,) is as of `cells_of`.
    """
    points = np.where(cell[:, None] >= 0, partition.latlng[cell], np.nan)
    rank = np.where(cell < 0, metrics.TOP, 0)
    return Answers(points[:, None], cell_rank=rank)


def cell_rank(tokens: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which of the cells (n, k) of answers a photo is in, (n,).

    Args:
      tokens: of the cells, best first; "" where there is no answer.
      truth: (n, 2) where the photos are.

    Returns:
      Positions from 0 on; no less than `metrics.TOP` if it is in none.
    """
    known, number = np.unique(tokens.astype(str), return_inverse=True)
    ids = np.zeros(len(known), np.uint64)
    ids[known != ""] = geometry.from_tokens(known[known != ""].tolist())
    first, last = geometry.range_bounds(ids)
    first[known == ""], last[known == ""] = 1, 0  # holds nothing
    leaf = geometry.leaf_ids(*truth.T)[:, None]
    number = number.reshape(tokens.shape)
    inside = (first[number] <= leaf) & (leaf <= last[number])
    nowhere = max(metrics.TOP, tokens.shape[1])
    return np.where(inside.any(axis=1), inside.argmax(axis=1), nowhere)


def by_continent(continent: np.ndarray, names: tuple[str, ...]) -> Grouping:
    """By the continent (n,) of the truth, -1 being the sea."""
    names = (*names, "at sea")
    return Grouping("continent", names, continent % len(names))


def by_level(partition: Partition, cell: np.ndarray) -> Grouping:
    """By the level of the cell (n,) of each photo: small cells are deep."""
    levels = geometry.levels(partition.ids)
    found = np.unique(levels)
    number = np.searchsorted(found, levels)[cell]
    return Grouping(
        "level of the cell",
        (*(f"level {level}" for level in found), "in no cell"),
        np.where(cell < 0, len(found), number),
    )


def by_photos(partition: Partition, cell: np.ndarray) -> Grouping:
    """By how many photos made the cell (n,), in quarters of the cells."""
    photos = np.array(partition.photos)
    bounds = np.unique(np.quantile(photos, _QUANTILES, method="lower"))
    edges = np.unique([photos.min() - 1, *bounds, photos.max()])
    names = [
        f"{low + 1:,} to {high:,}"
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    number = np.searchsorted(edges[1:], photos)[cell]
    return Grouping(
        "photos of the cell",
        (*names, "in no cell"),
        np.where(cell < 0, len(names), number),
    )


def cells_of(partition: Partition, latlng: np.ndarray) -> np.ndarray:
    """Positions (n,) of the cells that hold points (n, 2); -1 for none."""
    labels = partition.labels(*latlng.T)
    return np.maximum(labels - int(partition.other_class), -1)
