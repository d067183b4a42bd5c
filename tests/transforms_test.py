import collections
import json
import tempfile

import apache_beam as beam
import numpy as np
import pytest
import s2geometry as s2
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines import files, photos, transforms
from planet_tf import geometry, partition, records

# Clusters in the Americas (S2 faces 4 and 5: ids beyond int64), elsewhere, at
# both poles, at a cube's corner and edge, on both sides of the antimeridian.
CENTRES = [
    (40.7, -74.0),
    (-33.4, -70.6),
    (19.4, -99.1),
    (48.9, 2.35),
    (35.7, 139.7),
    (90.0, 0.0),
    (-90.0, 0.0),
    (35.26, 45.0),
    (0.0, 45.0),
    (-17.7, 179.999),
    (-17.7, -179.999),
]


def world(seed=0, points=4000):
    """Clustered points on the whole Earth, many at one place, (n,), (n,)."""
    rng = np.random.default_rng(seed)
    centres = np.array(CENTRES)[rng.integers(0, len(CENTRES), points)]
    spread = 10.0 ** rng.uniform(-5, 1.5, (points, 1))
    offset = rng.normal(size=(points, 2)) * spread
    lat = np.clip(centres[:, 0] + offset[:, 0], -90, 90)
    lng = geometry.wrap_lng(centres[:, 1] + offset[:, 1])
    lat[:150], lng[:150] = 40.7, -74.0
    return lat, lng


def batch(lat, lng, **fields):
    """Photos at points, with fields other than the usual ones."""
    n = len(lat)
    empty = np.full(n, "", object)
    values = {
        "photo_id": np.array([f"id{i}" for i in range(n)], object),
        "uri": empty,
        "lat": np.asarray(lat, float),
        "lng": np.asarray(lng, float),
        "owner_id": empty,
        "album_id": empty,
        "taken_at": np.full(n, records.UNKNOWN_TIME),
    }
    values |= {k: np.array(v, object) for k, v in fields.items()}
    return photos.Photos(**values)


def beam_partition(
    lat, lng, options, *, batches, runner="FnApiRunner", coarse=4
):
    """The pipeline's leaves, made a partition, and how many there were."""
    parts = np.array_split(
        np.random.default_rng(1).permutation(len(lat)), batches
    )
    with tempfile.TemporaryDirectory() as directory:
        # Nothing but files comes out of a pipeline.
        path = f"{directory}/leaves.json"
        with TestPipeline(runner) as p:
            _ = (
                p
                | beam.Create([batch(lat[i], lng[i]) for i in parts])
                | transforms.PartitionLeaves(
                    options["max_photos"], options["max_level"], coarse
                )
                | beam.Map(transforms.leaves_to_json, {})
                | beam.Map(files.write_json, path)
            )
        found = json.loads(files.read(path))
    table = transforms.leaves_from_json(found)
    return partition.from_leaves(table, **options)


def recursive_partition(lat, lng, max_photos, min_photos, max_level):
    """{token: photos} by s2geometry, one point and one cell at a time."""
    leaves = [
        s2.S2CellId(s2.S2LatLng.FromDegrees(*point))
        for point in zip(lat.tolist(), lng.tolist(), strict=True)
    ]
    result = {}

    def grow(level, ids):
        by_cell = collections.defaultdict(list)
        for leaf in ids:
            by_cell[leaf.parent(level).ToToken()].append(leaf)
        for token, inside in by_cell.items():
            if len(inside) > max_photos and level < max_level:
                grow(level + 1, inside)
            elif len(inside) >= min_photos:
                result[token] = len(inside)

    grow(0, leaves)
    return result


OPTIONS = [
    {"max_photos": 100, "min_photos": 5, "max_level": 20},
    {"max_photos": 17, "min_photos": 1, "max_level": 26},
    {"max_photos": 100, "min_photos": 5, "max_level": 3},
    {"max_photos": 3000, "min_photos": 5, "max_level": 20},
]


@pytest.mark.parametrize(
    "options, coarse",
    [
        (OPTIONS[0], 0),
        (OPTIONS[0], 4),
        (OPTIONS[0], 7),
        (OPTIONS[1], 5),
        (OPTIONS[2], 4),  # coarser than the coarse level
        (OPTIONS[3], 4),
    ],
)
def test_the_pipeline_gives_the_partition_made_in_one_go(
    options, coarse, monkeypatch
):
    monkeypatch.setattr(transforms, "_PHOTOS_PER_FLUSH", 700)
    lat, lng = world()
    found = beam_partition(lat, lng, options, batches=13, coarse=coarse)
    assert found == partition.build(lat, lng, **options)  # points, bit by bit
    assert dict(zip(found.tokens, found.photos, strict=True)) == (
        recursive_partition(lat, lng, **options)
    )


def test_the_comparison_above_is_not_trivial():
    lat, lng = world()
    coarse = geometry.parents(geometry.leaf_ids(lat, lng), 4)
    cells, counts = np.unique(coarse, return_counts=True)
    assert len(cells) > 20
    assert (counts > 100).any() and (counts < 5).any()
    assert (cells > np.uint64(2**63)).any()
    levels = {
        (options["max_photos"], options["max_level"]): set(
            geometry.levels(partition.build(lat, lng, **options).ids).tolist()
        )
        for options in OPTIONS
    }
    assert min(levels[100, 20]) < 4 < max(levels[100, 20])
    assert max(levels[100, 3]) == 3
    assert partition.build(lat, lng, **OPTIONS[0]).over_max_photos


@pytest.mark.parametrize("batches", [1, 5])
@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
def test_neither_batches_nor_runner_change_the_partition(batches, runner):
    lat, lng = world(seed=1)
    found = beam_partition(lat, lng, OPTIONS[0], batches=batches, runner=runner)
    assert found == partition.build(lat, lng, **OPTIONS[0])


def test_more_than_max_photos_splits_and_fewer_than_min_photos_drops():
    """Exactly t1 photos stay together, exactly t2 are kept."""
    here, there = (40.7, -74.0), (-33.4, -70.6)
    for n, split in ((10, False), (11, True)):
        lat, lng = np.array([here] * n + [there] * 3).T
        for small, kept in ((3, True), (4, False)):
            options = {"max_photos": 10, "min_photos": small, "max_level": 6}
            found = beam_partition(lat, lng, options, batches=4)
            first = geometry.parents(geometry.leaf_ids(*np.array([here]).T), 6)
            assert (geometry.to_tokens(first)[0] in found.tokens) == split
            assert sum(found.photos) == (n + 3 if kept else n)


def test_no_photos_give_no_leaves():
    with pytest.raises(partition.PartitionError, match="without cells"):
        beam_partition(np.zeros(0), np.zeros(0), OPTIONS[0], batches=1)


def test_photos_outside_the_partition_are_rejected():
    lat, lng = world()
    cells = partition.build(lat[:500], lng[:500], max_photos=50, min_photos=20)
    inside = cells.labels(lat, lng) >= 0
    assert 0 < inside.sum() < len(lat)
    with TestPipeline("FnApiRunner") as p:
        found = (
            p
            | beam.Create([batch(lat, lng)])
            | beam.ParDo(transforms.DropOutside(cells)).with_outputs(
                "rejects", main="photos"
            )
        )
        ids = np.array([f"id{i}" for i in range(len(lat))])
        assert_that(
            found.photos | beam.FlatMap(lambda batch: batch.photo_id.tolist()),
            equal_to(ids[inside].tolist()),
        )
        assert_that(
            found.rejects | beam.Map(lambda reject: reject.id),
            equal_to(ids[~inside].tolist()),
            label="rejects",
        )


def test_with_an_other_class_no_photo_is_outside():
    lat, lng = world()
    cells = partition.build(
        lat[:500], lng[:500], max_photos=50, min_photos=20, other_class=True
    )
    [kept] = transforms.DropOutside(cells).process(batch(lat, lng))
    assert len(kept) == len(lat)


FRACTIONS = {"validation": 0.2, "test": 0.1}


def test_a_group_is_never_on_both_sides_of_a_split():
    lat, lng = world()
    rng = np.random.default_rng(0)
    owners = rng.choice(["", "", "ann", "bob"], len(lat))
    albums = rng.choice(["", "", "trip", "walk"], len(lat))
    some = batch(lat, lng, owner_id=owners, album_id=albums)
    names = transforms.split_names(some, FRACTIONS, seed=0)
    places = geometry.parents(geometry.leaf_ids(lat, lng), 8)
    sides = collections.defaultdict(set)
    for owner, album, place, name in zip(
        owners, albums, places.tolist(), names, strict=True
    ):
        group = ("owner", owner) if owner else ("album", album)
        sides[group if group[1] else ("place", place)].add(name)
    assert {kind for kind, _ in sides} == {"owner", "album", "place"}
    assert all(len(side) == 1 for side in sides.values())


def test_a_split_has_its_share_and_depends_on_the_group_and_seed_only():
    n = 20000
    some = batch(np.zeros(n), np.zeros(n), owner_id=[f"o{i}" for i in range(n)])
    names = transforms.split_names(some, FRACTIONS, seed=0)
    shares = {name: (names == name).mean() for name in set(names)}
    assert shares == pytest.approx(
        {"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.01
    )
    order = np.random.default_rng(0).permutation(n)
    again = transforms.split_names(some.take(order), FRACTIONS, seed=0)
    assert (again == names[order]).all()
    other = transforms.split_names(some, FRACTIONS, seed=1)
    assert (other != names).any()


def test_a_split_may_take_nothing_and_may_be_of_nothing():
    some = batch([1.0, 2.0], [3.0, 4.0])
    none = {"validation": 0.0, "test": 0.0}
    assert set(transforms.split_names(some, none, 0)) == {"train"}
    assert len(transforms.split_names(some.take([]), none, 0)) == 0


def test_the_hash_never_changes():
    assert transforms.hash64("planet") == 2987904033251683482
