import dataclasses
import math

import numpy as np
import pytest
import s2geometry as s2

from planet_tf.geo import partition as partition_lib
from planet_tf.model import heads

# Faces of all continents, a pole and the antimeridian.
PLACES = ((48.8, 2.3), (40.7, -74.0), (-33.4, -70.6), (89.9, 10), (0, 179.9))


def points(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    busy = rng.dirichlet(np.ones(len(PLACES)))  # another seed, other places
    at = np.array(PLACES)[rng.choice(len(PLACES), count, p=busy)]
    spread = rng.normal(0, 1, (count, 2)) * rng.choice([0.1, 3.0], (count, 1))
    lat, lng = (at + spread).T
    return np.clip(lat, -89.9, 89.9), (lng + 180) % 360 - 180


def partition(t1, t2=1, seed=0, **options):
    return partition_lib.build(
        *points(seed=seed), max_photos=t1, min_photos=t2, **options
    )


def leaf_cells():
    places = np.repeat([-33.4, 10.0, 40.7], 5), np.repeat([-70.6, 20.0, -74], 5)
    return partition_lib.build(
        *places, max_photos=2, min_photos=1, max_level=30
    )


def unknown_counts(partition):
    return dataclasses.replace(partition, photos=(0,) * len(partition.tokens))


def head(partition, seed=1, features=6):
    rng = np.random.default_rng(seed)
    classes = partition.num_classes
    return rng.normal(size=(features, classes)), rng.normal(size=classes)


def probabilities(features, kernel, bias):
    logits = features @ kernel + bias
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def brute_force(kernel, bias, old, new):
    """Row by row, with s2geometry's own containment."""
    olds = [s2.S2CellId.FromToken(t) for t in old.tokens]
    news = [s2.S2CellId.FromToken(t) for t in new.tokens]
    rows, biases = kernel[:, old.other_class :], bias[old.other_class :]
    kinds = dict.fromkeys(
        ("as before", "within an old one", "over old ones", "elsewhere"), 0
    )

    def shares(photos):
        photos = photos if all(photos) else [1] * len(photos)
        return [n / sum(photos) for n in photos]

    found = []
    for cell in news:
        inside = [o for o, c in enumerate(olds) if cell.contains(c)]
        around = [o for o, c in enumerate(olds) if c.contains(cell)]
        if around:
            (o,) = around
            siblings = [n for n, c in enumerate(news) if olds[o].contains(c)]
            share = shares([new.photos[n] for n in siblings])
            mine = share[siblings.index(news.index(cell))]
            found.append((rows[:, o], biases[o] + math.log(mine)))
            same = olds[o] == cell
            kinds["as before" if same else "within an old one"] += 1
        elif inside:
            share = shares([old.photos[o] for o in inside])
            row = sum(
                p * rows[:, o] for p, o in zip(share, inside, strict=True)
            )
            logit = sum(
                p * (biases[o] - math.log(p))
                for p, o in zip(share, inside, strict=True)
            )
            found.append((row, logit))
            kinds["over old ones"] += 1
        else:
            found.append((rows.mean(1), biases.min()))
            kinds["elsewhere"] += 1
    if new.other_class and old.other_class:
        found.insert(0, (kernel[:, 0], bias[0]))
    elif new.other_class:
        found.insert(0, (rows.mean(1), biases.min()))
    new_rows, new_biases = zip(*found, strict=True)
    return np.stack(new_rows, 1), np.array(new_biases), kinds


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (partition(200), partition(200)),
        (leaf_cells(), leaf_cells()),
        (partition(400), partition(50)),  # finer
        (partition(50), partition(400)),  # coarser
        # Both ways, with gaps on both sides and cells that were not there.
        (partition(60, 20), partition(90, 30, seed=5)),
        (partition(90, 30, seed=5), partition(60, 20)),
        (partition(60, other_class=True), partition(99, other_class=True)),
        (partition(60), partition(99, other_class=True)),
        (partition(60, other_class=True), partition(99)),
        (unknown_counts(partition(60)), unknown_counts(partition(90, seed=5))),
    ],
)
def test_rows_are_as_cell_by_cell_with_s2geometry(old, new):
    kernel, bias = head(old)
    found = heads.map_head(kernel, bias, old, new)
    wanted = brute_force(kernel, bias, old, new)
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-12)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-12)
    assert found[2] == wanted[2]


def test_the_tables_cases_have_all_kinds_of_cells():
    old, new = partition(60, 20), partition(90, 30, seed=5)
    assert all(heads.map_head(*head(old), old, new)[2].values())


@pytest.mark.parametrize("known", [True, False])
def test_cells_that_fill_an_old_one_share_its_probability(known):
    old, new = partition(400), partition(40)
    if not known:
        new = unknown_counts(new)
    kernel, bias = head(old)
    features = np.random.default_rng(2).normal(size=(20, 6))
    before = probabilities(features, kernel, bias)
    mapped = heads.map_head(kernel, bias, old, new)[:2]
    after = probabilities(features, *mapped)
    parent = old.labels(*new.latlng.T)
    assert len(new.tokens) > 2 * len(old.tokens)
    for label in range(old.num_classes):
        children = parent == label
        np.testing.assert_allclose(
            after[:, children].sum(1), before[:, label], rtol=1e-9
        )
        if known:
            photos = np.array(new.photos)[children]
            np.testing.assert_allclose(
                after[0, children] / before[0, label], photos / photos.sum()
            )


def test_there_and_back_is_the_same_head():
    coarse, fine = partition(400), partition(40)
    kernel, bias = head(coarse)
    there = heads.map_head(kernel, bias, coarse, fine)[:2]
    back = heads.map_head(*there, fine, coarse)
    np.testing.assert_allclose(back[0], kernel, atol=1e-12)
    np.testing.assert_allclose(back[1], bias, atol=1e-12)


def test_a_cell_over_others_never_has_more_than_their_sum():
    old, new = partition(40), partition(400)
    kernel, bias = head(old)
    features = np.random.default_rng(2).normal(size=(20, 6))
    logits = features @ kernel + bias
    mapped = heads.map_head(kernel, bias, old, new)
    parent = new.labels(*old.latlng.T)
    sums = [np.exp(logits[:, parent == n]).sum(1) for n in range(len(new.ids))]
    found = np.exp(features @ mapped[0] + mapped[1])
    assert (found <= np.stack(sums, 1) * (1 + 1e-9)).all()


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2), (2, 2)])
def test_heads_come_from_those_of_their_place_else_from_the_first(
    before, after
):
    olds = [partition(t1) for t1 in (60, 200, 900)[:before]]
    news = [partition(t1, seed=5) for t1 in (90, 300, 600)[:after]]
    parts = [head(old, seed=i) for i, old in enumerate(olds)]
    kernel, bias, kinds = heads.map_heads(
        np.hstack([kernel for kernel, _ in parts]),
        np.hstack([bias for _, bias in parts]),
        olds,
        news,
    )
    donors = [0, 1 if before > 1 else 0, 2 if before > 2 else 0][:after]
    wanted = [
        heads.map_head(*parts[of], olds[of], new)
        for of, new in zip(donors, news, strict=True)
    ]
    np.testing.assert_array_equal(kernel, np.hstack([x[0] for x in wanted]))
    np.testing.assert_array_equal(bias, np.hstack([x[1] for x in wanted]))
    assert kinds == [x[2] for x in wanted]


def test_the_same_partition_keeps_every_bit():
    old = partition(60, other_class=True)
    kernel, bias = (x.astype(np.float32) for x in head(old))
    found = heads.map_head(kernel, bias, old, old)
    np.testing.assert_array_equal(found[0], kernel)
    np.testing.assert_array_equal(found[1], bias)
    assert found[0].dtype == found[1].dtype == np.float32
    assert found[2]["as before"] == len(old.tokens)
