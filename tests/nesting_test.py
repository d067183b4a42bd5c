import dataclasses
import itertools

import numpy as np
import pytest
import s2geometry as s2

from planet_tf import config_flags
from planet_tf.geo import geometry, nesting
from planet_tf.geo import partition as partition_lib
from planet_tf.options.train_config import TrainConfig

CELLS = (60, 20, 7)


def places(photos=3000):
    """Of all densities, at a pole, the antimeridian, in the Americas."""
    rng = np.random.default_rng(5)
    centres = rng.uniform([-90, -180], [90, 180], (50, 2))
    centres[:4] = [[90, 0], [-17, 180], [40.7, -74], [-33, -70]]
    found = centres[rng.integers(0, 50, photos)]
    found = found + rng.normal(size=(photos, 2)) * 10 ** rng.uniform(
        -3, 1, (photos, 1)
    )
    found[:, 1] = geometry.wrap_lng(found[:, 1])
    return found.clip([-90, -180], [90, 180])


@pytest.fixture(scope="module", params=[False, True], ids=["cells", "other"])
def fine(request):
    return partition_lib.build(
        *places().T, max_photos=30, min_photos=3, other_class=request.param
    )


@pytest.fixture(scope="module")
def nested(fine):
    return nesting.nest(fine, CELLS)


def containing(coarse, token):
    """The class of the one coarse cell that has a cell in it, by looking."""
    own = s2.S2CellId.FromToken(token)
    [found] = [
        i
        for i, above in enumerate(coarse.tokens)
        if s2.S2CellId.FromToken(above).contains(own)
    ]
    return found + coarse.other_class


def test_every_cell_lies_in_its_ancestor_in_each_partition(fine, nested):
    assert nested.ancestors.shape == (len(CELLS), fine.num_classes)
    for coarse, row in zip(nested.partitions, nested.ancestors, strict=True):
        wanted = [containing(coarse, token) for token in fine.tokens]
        assert row[int(fine.other_class) :].tolist() == wanted
        assert set(row.tolist()) == set(range(coarse.num_classes))


def test_other_lies_in_other_alone(fine, nested):
    for coarse, row in zip(nested.partitions, nested.ancestors, strict=True):
        assert coarse.other_class == fine.other_class
        if fine.other_class:
            assert np.flatnonzero(row == 0).tolist() == [0]
            assert coarse.token(0) == "other"


def test_a_photos_class_in_each_is_the_ancestor_of_its_own(fine, nested):
    lat, lng = places().T
    own = fine.labels(lat, lng)
    there = own >= 0  # or "other"
    if not fine.other_class:
        assert not there.all()
        lat, lng, own = lat[there], lng[there], own[there]
    inside = own >= int(fine.other_class)
    for coarse, row in zip(nested.partitions, nested.ancestors, strict=True):
        labels = coarse.labels(lat, lng)
        np.testing.assert_array_equal(row[own][inside], labels[inside])


def test_partitions_have_about_the_cells_asked_for_and_nest(fine, nested):
    sizes = [len(coarse.tokens) for coarse in nested.partitions]
    assert len(fine.tokens) > sizes[0] > sizes[1] > sizes[2] >= 2
    for size, wanted in zip(sizes, CELLS, strict=True):
        assert abs(size - wanted) <= 0.3 * wanted
    assert nested.num_classes == tuple(n + fine.other_class for n in sizes)
    # Cells of one class have one class in all that are coarser.
    for finer, coarser in itertools.pairwise(nested.ancestors):
        pairs = set(zip(finer.tolist(), coarser.tolist(), strict=True))
        assert len(pairs) == len(set(finer.tolist()))


def test_without_numbers_there_is_no_nesting(fine):
    assert nesting.nest(fine, ()) is None


@pytest.mark.parametrize("cells", [(10_000,), (60, 10_000), (2, 1)])
def test_partitions_that_are_no_coarser_are_refused(fine, cells):
    with pytest.raises(nesting.NestingError) as caught:
        nesting.nest(fine, cells)
    said = str(caught.value)
    assert f"--coarse_cells is {config_flags.text(cells)}: of a" in said
    assert f"of {len(fine.tokens)} cells the nearest to" in said


def test_cells_of_unknown_photos_are_refused(fine):
    plain = dataclasses.replace(fine, photos=(0,) * len(fine.tokens))
    with pytest.raises(config_flags.UsageError) as caught:
        nesting.nest(plain, (7,))
    assert "--coarse_cells: the partition does not say how" in str(caught.value)


@pytest.mark.parametrize(
    "cells", [(16, 64), (16, 16), (64, 16, 32), (1,), (16, 0), (-3,)]
)
def test_numbers_that_do_not_fall_to_two_at_least_are_refused(cells):
    with pytest.raises(config_flags.UsageError) as caught:
        TrainConfig(shards="", model_dir="", coarse_cells=cells)
    assert f"--coarse_cells is {config_flags.text(cells)}; needed are" in str(
        caught.value
    )


@pytest.mark.parametrize("text", ["", "64", "64,16"])
def test_the_flag_is_a_list_of_numbers(text):
    argv = ["train", "--shards=s", "--model_dir=m", f"--coarse_cells={text}"]
    config, _ = config_flags.parse(TrainConfig, argv, usage="")
    assert config.coarse_cells == tuple(map(int, filter(None, text.split(","))))
