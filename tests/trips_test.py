"""Trips planned through places of a made-up world, and through a few."""

import numpy as np
import photo_batches
import pytest

from beam_pipelines import satellite, splits, trips
from beam_pipelines import write_shards as shards_program
from planet_tf.geo import geometry

RULE = trips.Rule()
FRACTIONS = {"validation": 0.2, "test": 0.1, "albums": 0.3}


def places_of_world(count=6000):
    """Crowded Americas, a crowd on the antimeridian, some anywhere."""
    rng = np.random.default_rng(0)
    centres = [(40.7, -74.0), (-23.5, -46.6), (-17.5, 180.0), (70.0, 25.0)]
    crowds = np.repeat(centres, count // 5, axis=0)
    crowds = crowds + rng.normal(size=crowds.shape) * [4, 6]
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count // 5)))
    anywhere = np.stack([lat, rng.uniform(-180, 180, len(lat))], -1)
    places = np.concatenate([crowds, anywhere])
    places[:, 1] = geometry.wrap_lng(places[:, 1])
    return np.unique(places, axis=0)


PLACES = places_of_world()


@pytest.fixture(scope="module")
def pools():
    return trips.pools(PLACES, FRACTIONS, 0, RULE)


@pytest.fixture(scope="module")
def planned(pools):
    return [
        trips.plan(pools["albums"], 0, number, RULE) for number in range(300)
    ]


def stops_of(trip):
    """The distinct places in the order of the visits."""
    moved = np.any(np.diff(trip.places, axis=0) != 0, axis=1)
    return trip.places[np.append(True, moved)]


def test_a_pool_has_all_places_of_the_blocks_of_its_split_and_no_other(pools):
    # The rule of write_shards, asked about photos of the blocks.
    photos = photo_batches.batch(
        *PLACES.T, owner_id=trips.block_owners(PLACES).tolist()
    )
    names = splits.split_names(photos, FRACTIONS, 0)
    assert set(pools) == set(FRACTIONS)
    for name, pool in pools.items():
        np.testing.assert_array_equal(pool.places, PLACES[names == name])
        blocks = trips.block_owners(pool.places)
        assert pool.weights.sum() == pytest.approx(len(set(blocks)))


def test_the_default_data_and_the_rule_of_splits_mean_the_same_blocks():
    assert trips.BLOCK_LEVEL == splits.PLACE_LEVEL


def test_the_trips_are_the_first_whose_names_are_not_in_train():
    found = list(trips.held_out(6000, FRACTIONS, 3))
    owners = [trips.trip_owner(number) for number in range(found[-1][0] + 1)]
    photos = photo_batches.batch(
        np.zeros(len(owners)), np.zeros(len(owners)), owner_id=owners
    )
    names = splits.split_names(photos, FRACTIONS, 3)
    assert len(owners) > trips._NUMBERS  # more than one look-up
    assert found == [(i, n) for i, n in enumerate(names) if n != "train"]
    assert list(trips.held_out(7, FRACTIONS, 3)) == found[:7]
    assert list(trips.held_out(7, FRACTIONS, 4)) != found[:7]


def test_a_trip_has_5_to_60_views_and_1_to_4_at_a_stop(planned):
    lengths = [len(trip.places) for trip in planned]
    assert min(lengths) == 5 and 55 < max(lengths) <= 60
    assert 17 < np.mean(lengths) < 27
    for trip in planned:
        assert len(trip.kinds) == len(trip.taken_at) == len(trip.places)
        stops, views = np.unique(trip.places, axis=0, return_counts=True)
        assert views.max() <= 4
        assert len(stops) == len(stops_of(trip))  # no place comes twice


def test_the_shortest_and_the_longest_trips_may_be_asked_for(pools):
    rule = trips.Rule(min_views=60, max_views=60, stop_views=1)
    trip = trips.plan(pools["test"], 0, 1, rule)
    assert len(stops_of(trip)) == len(trip.places) == 60
    rule = trips.Rule(min_views=1, max_views=1)
    assert len(trips.plan(pools["test"], 0, 1, rule).places) == 1


def test_times_rise_through_days_and_no_photo_is_made_at_night(planned):
    for trip in planned:
        assert trip.taken_at.dtype == np.int64
        assert (np.diff(trip.taken_at) > 0).all()
        by_sun = (trip.taken_at / 3600 + trip.places[:, 1] / 15) % 24
        assert (by_sun > 8 - 1e-6).all() and (by_sun < 20).all()
    days = [np.ptp(trip.taken_at) / 86_400 for trip in planned]
    assert 1 < np.median(days) < 5 and max(days) < 60
    years = [trip.taken_at[0] / 31_556_952 + 1970 for trip in planned]
    assert 2009.9 < min(years) < 2011 and 2019 < max(years) < 2020.1


def test_the_next_stop_is_near_but_for_some(planned):
    km = np.concatenate(
        [
            geometry.great_circle_km(*stops[:-1].T, *stops[1:].T)
            for stops in map(stops_of, planned)
        ]
    )
    assert len(km) > 1000
    assert 0.7 < (km <= RULE.near_km).mean() < 0.97
    assert (km > 2 * RULE.near_km).any()


def test_a_stop_is_in_reach_or_there_is_none_and_it_is_one_of_the_nearest(
    pools,
):
    pool = pools["validation"]
    rule = trips.Rule(far_share=0.0, min_views=40)
    beyond = 0
    for number in range(60):
        stops = stops_of(trips.plan(pool, 0, number, rule))
        for i in range(1, len(stops)):
            visited = (pool.places[:, None] == stops[:i]).all(-1).any(1)
            km = geometry.great_circle_km(*stops[i - 1], *pool.places.T)
            km = np.sort(km[~visited])
            found = geometry.great_circle_km(*stops[i - 1], *stops[i])
            limit = max(rule.near_km, km[rule.nearest - 1])
            if km[0] <= rule.near_km:
                limit = rule.near_km
            assert found <= limit + 1e-6
            beyond += found > rule.near_km
    assert beyond > 10


def test_a_trip_leaves_a_block_with_many_places():
    rng = np.random.default_rng(0)
    city = np.array([40.7, -74.0]) + 0.01 * rng.random((900, 2))
    around = np.array([40.7, -74.0]) + rng.uniform(-1, 1, (100, 2))
    pool = trips.Pool.of(np.concatenate([city, around]))
    walks = [trips.plan(pool, 0, n, RULE).places for n in range(50)]
    outside = np.abs(np.concatenate(walks) - [40.7, -74.0]).max(1) > 0.02
    assert outside.mean() > 0.6  # of the places they are a tenth


def test_kinds_come_in_the_stated_share(planned):
    kinds = np.concatenate([trip.kinds for trip in planned])
    assert (kinds != satellite.CLEAR).mean() == pytest.approx(0.4, abs=0.02)
    for kind in satellite.UNINFORMATIVE_KINDS:
        assert (kinds == kind).mean() == pytest.approx(0.4 / 3, abs=0.02)


def test_a_trip_follows_from_pool_seed_and_number_alone(pools, planned):
    def same(one, other):
        return (
            np.array_equal(one.places, other.places)
            and np.array_equal(one.taken_at, other.taken_at)
            and np.array_equal(one.kinds, other.kinds)
        )

    again = trips.plan(pools["albums"], 0, 7, RULE)
    assert same(again, planned[7])
    assert not same(planned[8], planned[7])
    assert not same(trips.plan(pools["albums"], 1, 7, RULE), planned[7])


@pytest.mark.parametrize("few", [0, 59])
def test_a_split_with_too_few_places_is_an_error_that_says_what_to_do(few):
    names = splits.of_keys(
        [f"owner {owner}" for owner in trips.block_owners(PLACES)],
        FRACTIONS,
        0,
    )
    keep = names != "test"
    keep[np.flatnonzero(names == "test")[:few]] = True
    with pytest.raises(trips.TooFewPlacesError) as error:
        trips.pools(PLACES[keep], FRACTIONS, 0, RULE)
    assert f"only {few} of {keep.sum()} places" in str(error.value)
    assert "--test_fraction=0.1" in str(error.value)


def test_a_pool_of_the_fewest_places_has_room_for_the_longest_trip():
    rule = trips.Rule(min_views=60, stop_views=1)
    pool = trips.Pool.of(PLACES[:60])
    stops = stops_of(trips.plan(pool, 0, 0, rule))
    np.testing.assert_array_equal(np.unique(stops, axis=0), pool.places)


def test_a_split_that_takes_nothing_needs_no_places():
    fractions = FRACTIONS | {"test": 0.0}
    assert set(trips.pools(PLACES, fractions, 0, RULE)) == {
        "validation",
        "albums",
    }
    found = dict(trips.held_out(500, fractions, 0))
    assert set(found.values()) == {"validation", "albums"}


def test_the_names_of_the_splits_are_those_of_write_shards():
    shards = shards_program.Config(photos="p", partition="p", out="o")
    assert set(shards.fractions()) == set(FRACTIONS)
