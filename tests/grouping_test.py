import dataclasses
import random

import numpy as np
import pytest

from beam_pipelines import grouping, splits
from beam_pipelines.photos import TO_THE_END, Photos
from planet_tf.photos import records

HOUR = 3600
DAY = 24 * HOUR
RULE = grouping.Rule(
    root="/data",
    seen=grouping.DROP,
    fractions={"validation": 0.2, "test": 0.2, "albums": 0.3},
    split_seed=0,
    gap_seconds=8 * HOUR,
    max_photos=100,
    min_photos=1,
)


def photo(
    photo_id,
    path="/data/a.jpg",
    owner="",
    album="",
    at=records.UNKNOWN_TIME,
    latlng=(40.7, -74.0),
):
    """One row of Photos."""
    return (photo_id, path, 0, TO_THE_END, *latlng, owner, album, at)


def groups(*rows, gap_hours=8.0, root="/data", seed=None):
    """{(key, photo ids in order)} of albums in one split."""
    rows = list(rows)
    if seed is not None:
        random.Random(seed).shuffle(rows)
    photos = Photos.from_rows(rows)
    keys = grouping.keys(photos, root)
    names = np.full(len(rows), "train", object)
    found, rejects = grouping.groups(photos, keys, names, gap_hours * HOUR)
    assert sum(len(g.photos) for g in found) + len(rejects) == len(rows)
    return sorted((g.key, *g.photos.photo_id.tolist()) for g in found)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        # An album is of its owner.
        (
            [
                photo("a", owner="anna", album="x", at=1),
                photo("b", owner="bob", album="x", at=2),
                photo("c", owner="anna", album="x", at=9 * DAY),
                photo("d", album="x", at=3),
            ],
            [("album /x", "d"), ("album anna/x", "a", "c")]
            + [("album bob/x", "b")],
        ),
        # An owner's photos without album are cut at pauses, wherever they are.
        (
            [
                photo("a", "/data/1/a.jpg", owner="anna", at=0),
                photo("b", "/data/2/b.jpg", owner="anna", at=8 * HOUR),
                photo("c", "/data/1/c.jpg", owner="anna", at=16 * HOUR + 1),
            ],
            [("owner anna", "a", "b"), ("owner anna", "c")],
        ),
        # Photos of unknown time are not between those with times.
        (
            [
                photo("a", "/data/1/a.jpg", owner="anna", at=5),
                photo("b", "/data/1/b.jpg", owner="anna"),
                photo("c", "/data/1/c.jpg", owner="anna"),
                photo("d", "/data/2/d.jpg", owner="anna"),
            ],
            [
                ("owner anna", "a"),
                ("owner anna/1", "b", "c"),
                ("owner anna/2", "d"),
            ],
        ),
        # Directories, which are not cut at pauses.
        (
            [
                photo("a", "/data/1/a.jpg", at=5),
                photo("b", "/data/1/b.jpg", at=9 * DAY),
                photo("c", "/data/1/2/c.jpg", at=6),
                photo("d", "/data/d.jpg"),
            ],
            [
                ("directory ", "d"),
                ("directory 1", "a", "b"),
                ("directory 1/2", "c"),
            ],
        ),
        # Names with slashes are not taken for others.
        (
            [
                photo("a", owner="x/y", album="z", at=1),
                photo("b", owner="x", album="y/z", at=1),
                photo("c", owner="x%2Fy", album="z", at=1),
            ],
            [
                ("album x%252Fy/z", "c"),
                ("album x%2Fy/z", "a"),
                ("album x/y/z", "b"),
            ],
        ),
    ],
)
def test_photos_are_grouped_by_album_owner_or_directory(rows, wanted):
    assert groups(*rows) == wanted
    assert groups(*rows, seed=1) == wanted


def test_a_pause_as_long_as_the_limit_does_not_cut():
    rows = [photo(f"{i}", owner="a", at=i * 2 * HOUR) for i in range(4)]
    assert len(groups(*rows, gap_hours=2)) == 1
    assert len(groups(*rows, gap_hours=1.999)) == 4


def test_times_of_all_int64_can_be_subtracted():
    rows = [photo("a", owner="o", at=-(2**63) + 1)]
    rows += [photo("b", owner="o", at=2**63 - 1)]
    assert len(groups(*rows)) == 2


@pytest.mark.parametrize(
    ("uri", "inside", "root", "wanted"),
    [
        ("/data/1/a.jpg", "", "/data", "1"),
        ("/data/a.jpg", "", "/data/", ""),
        ("/data2/a.jpg", "", "/data", "/data2"),
        ("gs://b/x/a.jpg", "", "gs://b", "x"),
        ("/data/1.tar", "lisbon/a", "/data", "1.tar/lisbon"),
        ("/data/1.tar", "a", "/data", "1.tar"),
        ("a.jpg", "", "", ""),
    ],
)
def test_a_directory_is_named_from_the_sources(uri, inside, root, wanted):
    assert grouping.directory(uri, inside, root) == wanted


def ids_in_order(*rows):
    photos, timed = grouping.in_order(Photos.from_rows(rows))
    return photos.photo_id.tolist(), timed


def test_the_order_is_by_time_and_not_by_name():
    rows = [photo("c", at=1), photo("a", at=30), photo("b", at=-5)]
    assert ids_in_order(*rows) == (["b", "c", "a"], True)
    # Photos of one second are by name.
    rows = [photo("img10", at=1), photo("img9", at=1), photo("z", at=0)]
    assert ids_in_order(*rows) == (["z", "img9", "img10"], True)


def test_the_order_is_by_name_if_a_time_is_unknown():
    names = ["img1", "img01", "img2", "img10", "img010b", "img11"]
    rows = [photo(name, at=100 - i) for i, name in enumerate(names)]
    rows[2] = photo("img2")
    found, timed = ids_in_order(*rows[::-1])
    assert not timed
    assert found == ["img01", "img1", "img2", "img10", "img010b", "img11"]


def test_a_photo_that_is_in_an_album_twice_is_kept_once():
    rows = [
        photo("a", "/data/1.jpg", album="x", at=7),
        photo("a", "/data/2.jpg", album="x", at=5),
        photo("a", "/data/1.jpg", album="y", at=7),  # another album's
    ]
    assert groups(*rows) == [("album /x", "a"), ("album /y", "a")]


def some_photos():
    """300 photos of owners, of albums, and of nobody in many places."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(300):
        kind = i % 3
        rows.append(
            photo(
                f"p{i}",
                f"/data/{i // 3 % 9}/{i}.jpg",
                owner=f"owner{i % 31}" if kind == 0 else "",
                album=f"album{i % 17}" if kind == 1 else "",
                at=int(rng.integers(0, 9 * DAY)),
                latlng=tuple(rng.uniform([-60, -180], [60, 180])),
            )
        )
    return Photos.from_rows(rows)


def split_sets(photos, rule):
    """{key: the splits of its photos}."""
    keys = grouping.keys(photos, rule.root)
    found = {}
    names = grouping.split_names(photos, keys, rule)
    for key, name in zip(keys, names, strict=True):
        found.setdefault(key, set()).add(name)
    return found


def test_an_albums_split_is_that_of_its_photos():
    photos = some_photos()
    keys = grouping.keys(photos, RULE.root)
    names = grouping.split_names(photos, keys, RULE)
    of_photos = splits.split_names(photos, RULE.fractions, 0)
    assert set(of_photos) == {"train", "albums", "validation", "test"}
    wanted = np.where(of_photos == "albums", "train", of_photos)
    assert (names == wanted).all()
    found, _ = grouping.groups(photos, keys, names, RULE.gap_seconds)
    for group in found:
        rows = np.isin(photos.photo_id, group.photos.photo_id)
        assert set(names[rows]) == {group.split}
    # Directories over many places are in several splits.
    assert max(map(len, split_sets(photos, RULE).values())) > 1


def test_in_another_collection_an_album_is_whole_and_an_owner_too():
    rule = dataclasses.replace(
        RULE, seen=grouping.NONE, fractions={"validation": 0.3, "test": 0.3}
    )
    found = split_sets(some_photos(), rule)
    assert all(len(names) == 1 for names in found.values())
    assert set.union(*found.values()) == {"train", "validation", "test"}
    rows = [photo("a", owner="o", at=1), photo("b", owner="o")]
    rows += [photo("c", owner="o", album=f"{i}") for i in range(20)]
    found = split_sets(Photos.from_rows(rows), rule)
    assert len(found) == 22
    assert len(set.union(*found.values())) == 1


def test_splits_without_a_share_have_no_albums():
    fractions = {"validation": 0.0, "albums": 0.5, "test": 0.2}
    rule = dataclasses.replace(RULE, fractions=fractions)
    assert rule.splits == ["train", "test"]
