import sys

import numpy as np
import pytest
import tensorflow as tf

from planet_tf.data import data_dirs
from planet_tf.training import example_pictures

SHARES = [0.1, 0.2, 0.3, 0.4]  # of the four classes


@pytest.fixture
def shards(small_shards):
    return data_dirs.open_shards(str(small_shards))


def model(images, training):
    """Answers the same for all photos."""
    assert not training
    return tf.repeat(tf.math.log([SHARES]), len(images), axis=0)


def test_each_example_is_a_picture_of_photo_and_map(shards):
    [picture] = example_pictures.Examples(shards, 1, 75).pictures(model)
    assert picture.dtype == np.uint8
    # The photo is at the left, dark on a white ground.
    assert picture[50:150, 20:150].mean() < 150
    assert picture[-10:, :10].mean() > 250


def test_example_photos_are_ever_the_same_and_have_their_places(shards):
    first, again = (
        example_pictures.load_examples(shards, 3, 75) for _ in range(2)
    )
    assert len(first) == 3
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left["image"], right["image"])
        assert left["image"].shape == (75, 75, 3)
        own = shards.partition.labels(*left["latlng"][:, None])
        assert own[0] >= 0


def test_more_examples_than_photos_are_all_photos(shards):
    assert len(example_pictures.load_examples(shards, 1_000, 75)) == 40


@pytest.mark.parametrize("count", [0, 4])
def test_without_matplotlib_it_says_so_and_draws_nothing(
    shards, count, monkeypatch, capfd
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    examples = example_pictures.Examples(shards, count, 75)
    assert examples.pictures(model) == []
    assert ("planet-tf[viz]" in capfd.readouterr().err) == (count > 0)
