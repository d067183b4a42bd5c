import dataclasses

import numpy as np
import pytest
from worlds import cells_around, distributions, world

from planet_tf.answering import regions, spread
from planet_tf.geo import geometry


@dataclasses.dataclass(frozen=True)
class FakeCountries:
    """Quarters of the north by longitude; the south is sea."""

    names = np.array(["W", "WW", "E", "EE"])
    continents = np.array(["West", "West", "East", "East"])

    def find(self, lat, lng):
        quarter = np.select([lng < -80, lng < 7, lng < 100], [1, 0, 2], 3)
        return np.where(lat > 3, quarter, -1).astype(np.int32)


def all_regions(made):
    fake = FakeCountries()
    return {
        "level 0": regions.at_level(made, 0),
        "level 4": regions.at_level(made, 4),
        "level 30": regions.at_level(made, 30),
        "countries": regions.of_countries(made, fake, fake.names),
        "continents": regions.of_countries(made, fake, fake.continents),
    }


@pytest.mark.parametrize("other_class", [False, True])
def test_regions_hold_all_probability(other_class):
    made, _ = world(other_class)
    rows = distributions(made)
    for found in all_regions(made).values():
        assert len(set(found.names)) == len(found.names)
        sums = found.probabilities(rows)
        assert sums.shape == (len(rows), len(found.names))
        assert sums.sum(axis=1) == pytest.approx(rows.sum(axis=1))
        assert (sums >= 0).all()
        assert (found.names[0] == "other") == other_class
        if other_class:
            assert sums[:, 0] == pytest.approx(rows[:, 0])


@pytest.mark.parametrize("level", [0, 3, 6, 12])
@pytest.mark.parametrize("other_class", [False, True])
def test_coarser_cells_sum_what_lies_in_them(level, other_class):
    made, _ = world(other_class)
    rows = distributions(made)
    wanted = {}
    for label in range(int(other_class), made.num_classes):
        cell = geometry.from_tokens([made.token(label)])
        if geometry.levels(cell)[0] > level:
            cell = geometry.parents(cell, level)
        (token,) = geometry.to_tokens(cell)
        wanted[token] = wanted.get(token, 0) + rows[:, label].astype(float)
    found = regions.at_level(made, level)
    tokens = found.names[int(other_class) :]
    assert list(tokens) == list(wanted)  # in S2 order too
    sums = found.probabilities(rows)[:, int(other_class) :]
    for column, sum_of in zip(sums.T, wanted.values(), strict=True):
        assert column == pytest.approx(sum_of)


def test_a_level_below_all_cells_changes_nothing():
    made, _ = world()
    found = regions.at_level(made, 30)
    assert found.names == made.tokens
    rows = distributions(made)
    assert found.probabilities(rows) == pytest.approx(rows)


@pytest.mark.parametrize("level", [-1, 31])
def test_a_level_that_is_none_is_refused(level):
    made, _ = world()
    with pytest.raises(ValueError, match="needed is 0"):
        regions.at_level(made, level)


def test_cells_are_shared_as_their_land_is():
    made, _ = world()
    fake = FakeCountries()
    found = regions.of_countries(made, fake, fake.names, halvings=2)
    even = spread.evenly(made, 2)
    column = {name: i for i, name in enumerate(found.names)}
    shared = found.shares.toarray()
    kinds = set()
    for cell in range(len(made.tokens)):
        wanted = np.zeros(len(column))
        for point, weight in zip(
            even.points[cell], even.weights[cell], strict=True
        ):
            country = fake.find(*point)
            if country >= 0:
                wanted[column[fake.names[country]]] += weight
        if not wanted.sum():
            wanted[column[regions.AT_SEA]] = 1
        kinds.add((wanted > 0).sum())
        assert shared[cell] == pytest.approx(wanted / wanted.sum())
    assert {1, 2} <= kinds


def test_continents_are_the_sums_of_their_countries():
    made, _ = world()
    rows = distributions(made)
    of = all_regions(made)
    countries = dict(
        zip(
            of["countries"].names,
            of["countries"].probabilities(rows).T,
            strict=True,
        )
    )
    continents = of["continents"]
    assert continents.names == ("East", "West", regions.AT_SEA)
    wanted = [
        countries["E"] + countries["EE"],
        countries["W"] + countries["WW"],
        countries[regions.AT_SEA],
    ]
    found = continents.probabilities(rows).T
    for column, sums in zip(found, wanted, strict=True):
        assert column == pytest.approx(sums)


def test_an_island_too_small_to_be_met_is_where_the_cells_point_is():
    island = (-17.3, 178.1)
    made, place = cells_around(island, (-40.0, -150.0), level=4)

    class Island(FakeCountries):
        def find(self, lat, lng):
            km = geometry.great_circle_km(lat, lng, *island)
            return np.where(km < 1, 2, -1)

    found = regions.of_countries(made, Island(), Island.names)
    assert found.names == ("E", regions.AT_SEA)
    assert found.shares.toarray()[place].tolist() == [[1, 0], [0, 1]]
