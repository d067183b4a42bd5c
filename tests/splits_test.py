import collections
import itertools

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from photo_batches import batch

from beam_pipelines import splits
from planet_tf.geo import geometry, partition
from planet_tf.photos.rejects import Reason, Reject


def world(seed=0, points=4000):
    """Points all over the Earth, on the antimeridian and at the poles too."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, points)))
    lng = rng.uniform(-180, 180, points)
    lat[:4], lng[4:8] = [90, -90, 90, -90], -180
    lat[: points // 2] = 40.7 + rng.normal(size=points // 2)
    lng[: points // 2] = -74.0 + rng.normal(size=points // 2)
    return lat, lng


@pytest.fixture
def save(tmp_path):
    """A function that writes a partition for workers to load."""

    def save(cells):
        path = tmp_path / "partition.json"
        with path.open("w") as file:
            partition.dump(cells, file)
        return splits.PartitionFile(str(path), cells.fingerprint)

    return save


def test_photos_outside_the_partition_are_rejected(save):
    lat, lng = world()
    cells = partition.build(lat[:500], lng[:500], max_photos=50, min_photos=20)
    file = save(cells)
    inside = cells.labels(lat, lng) >= 0
    assert 0 < inside.sum() < len(lat)
    with TestPipeline("FnApiRunner") as p:
        found = (
            p
            | beam.Create([batch(lat, lng)])
            | beam.ParDo(splits.DropOutside(file)).with_outputs(
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


def test_a_reject_says_of_a_photo_where_it_is(save):
    cells = partition.build([41.0], [-74.0], max_photos=5, min_photos=1)
    drop = splits.DropOutside(save(cells))
    drop.setup()
    some = batch([48.5, 41.0], [2.25, -74.0])
    outside, inside = drop.process(some)
    assert inside.photo_id.tolist() == ["id1"]
    assert outside.tag == "rejects"
    assert outside.value == Reject(
        "id0",
        "assign",
        Reason.OUTSIDE_PARTITION,
        "no cell holds lat 48.5, lng 2.25",
    )


def test_with_an_other_class_no_photo_is_outside(save):
    lat, lng = world()
    cells = partition.build(
        lat[:500], lng[:500], max_photos=50, min_photos=20, other_class=True
    )
    drop = splits.DropOutside(save(cells))
    drop.setup()
    [kept] = drop.process(batch(lat, lng))
    assert len(kept) == len(lat)


def test_a_partition_that_was_changed_meanwhile_is_refused(save):
    lat, lng = world()
    file = save(partition.build(lat, lng, max_photos=500, min_photos=20))
    assert file.load() is file.load()  # read once by a process
    save(partition.build(lat, lng, max_photos=100, min_photos=1))
    assert file.load().fingerprint == file.fingerprint
    splits._load.cache_clear()
    with pytest.raises(partition.PartitionError, match="changed meanwhile"):
        file.load()


def test_a_partition_that_is_no_text_is_refused_as_none(tmp_path):
    path = tmp_path / "partition.json"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(partition.PartitionError, match="no partition"):
        splits.PartitionFile(str(path), "sha256:0").load()


FRACTIONS = {"validation": 0.2, "test": 0.1}


def test_a_group_is_never_on_both_sides_of_a_split():
    lat, lng = world()
    rng = np.random.default_rng(0)
    owners = rng.choice(["", "", "ann", "bob"], len(lat))
    albums = rng.choice(["", "", "trip", "walk"], len(lat))
    some = batch(lat, lng, owner_id=owners, album_id=albums)
    names = splits.split_names(some, FRACTIONS, seed=0)
    places = geometry.parents(geometry.leaf_ids(lat, lng), 8)
    sides = collections.defaultdict(set)
    for owner, album, place, name in zip(
        owners, albums, places.tolist(), names, strict=True
    ):
        group = ("owner", owner) if owner else ("album", album)
        sides[group if group[1] else ("place", place)].add(name)
    assert {kind for kind, _ in sides} == {"owner", "album", "place"}
    assert all(len(side) == 1 for side in sides.values())
    # Nor are there fewer groups than that.
    assert len(set(splits.group_keys(some))) == len(sides)
    for split in (*FRACTIONS, "train"):
        part = splits.only(some, split, FRACTIONS, seed=0)
        assert part.photo_id.tolist() == some.photo_id[names == split].tolist()


def test_a_place_is_named_by_the_token_of_its_cell():
    lat, lng = world(points=20)
    cells = geometry.parents(geometry.leaf_ids(lat, lng), 8)
    expected = [f"place {token}" for token in geometry.to_tokens(cells)]
    assert splits.group_keys(batch(lat, lng)).tolist() == expected


@pytest.mark.parametrize("owner", ["", "a", "album a", "owner a", "a b"])
@pytest.mark.parametrize("album", ["", "a", "album a", "owner a", "b"])
def test_no_group_has_the_key_of_another(owner, album):
    [key] = splits.group_keys(
        batch([1.0], [2.0], owner_id=[owner], album_id=[album])
    )
    place = splits.group_keys(batch([1.0], [2.0]))[0]
    group = ("owner", owner) if owner else ("album", album)
    assert key == " ".join(group if group[1] else ("place", place.split()[1]))
    assert key.partition(" ")[::2] == (
        group if group[1] else tuple(place.split())
    )


def test_a_split_has_its_share_and_depends_on_the_group_and_seed_only():
    n = 20000
    some = batch(np.zeros(n), np.zeros(n), owner_id=[f"o{i}" for i in range(n)])
    names = splits.split_names(some, FRACTIONS, seed=0)
    shares = {name: (names == name).mean() for name in set(names)}
    assert shares == pytest.approx(
        {"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.01
    )
    order = np.random.default_rng(0).permutation(n)
    again = splits.split_names(some.take(order), FRACTIONS, seed=0)
    assert (again == names[order]).all()
    other = splits.split_names(some, FRACTIONS, seed=1)
    assert (other != names).any()


def test_a_split_does_not_depend_on_the_order_of_the_fractions():
    # shards.json is written with its keys sorted.
    fractions = {"validation": 0.2, "test": 0.1, "albums": 0.3}
    keys = [f"owner {i}" for i in range(1_000)]
    names = splits.of_keys(keys, fractions, seed=0)
    assert set(names) == {"train", *fractions}
    for others in itertools.permutations(fractions.items()):
        assert (splits.of_keys(keys, dict(others), seed=0) == names).all()


def test_a_share_begins_with_its_first_hash_and_ends_before_the_next(
    monkeypatch,
):
    fractions = {"validation": 0.25, "test": 0.5}
    expected = {
        0: "validation",
        2**62 - 2**10: "validation",
        2**62: "test",
        3 * 2**62 - 2**11: "test",
        3 * 2**62: "train",
        2**64 - 1: "train",
    }
    hashes = np.array(list(expected), np.uint64)
    monkeypatch.setattr(splits, "hashes", lambda texts: hashes)
    names = splits.of_keys(["key"] * len(expected), fractions, seed=0)
    assert names.tolist() == list(expected.values())


def test_a_split_never_changes():
    # Shards that are written tomorrow must not mix with those of today.
    keys = ["owner ann", "owner bob", "album trip", "place 89c4"]
    fractions = {"validation": 0.25, "test": 0.25}
    found = {seed: splits.of_keys(keys, fractions, seed) for seed in (0, 7)}
    for seed, names in found.items():
        for key, name in zip(keys, names, strict=True):
            share = splits.hash64(f"{seed} {key}") / 2**64
            index = min(int(share * 4), 2)
            assert name == ("validation", "test", "train")[index]


def test_a_split_may_take_nothing_and_may_be_of_nothing():
    some = batch([1.0, 2.0], [3.0, 4.0])
    none = {"validation": 0.0, "test": 0.0}
    assert set(splits.split_names(some, none, 0)) == {"train"}
    assert len(splits.split_names(some.take([]), none, 0)) == 0


def test_the_hash_never_changes():
    assert splits.hash64("planet") == 2987904033251683482


def test_hashes_of_many_texts_are_those_of_each():
    texts = ["planet", "", "\u00e9", "planet"]
    found = splits.hashes(texts)
    assert found.dtype == np.uint64
    assert found.tolist() == [splits.hash64(text) for text in texts]
    assert splits.hashes([]).shape == (0,)
