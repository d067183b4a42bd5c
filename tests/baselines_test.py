import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from planet_tf import baselines, data_dirs, decoding
from planet_tf import partition as partition_lib


def test_the_prior_answers_the_most_frequent_cells_first():
    rng = np.random.default_rng(0)
    places = np.array([[40.7, -74], [-33.4, -70.6], [-17.7, 178], [48.8, 2.3]])
    counts = [5, 30, 10, 20]
    latlng = np.repeat(places, counts, 0) + rng.normal(0, 0.1, (65, 2))
    partition = partition_lib.build(*latlng.T, max_photos=31, min_photos=1)
    points = baselines.prior_points(partition, 3)
    assert points.shape == (3, len(partition.tokens), 2)
    assert (points == points[0]).all()
    np.testing.assert_allclose(points[0], places[[1, 3, 2, 0]], atol=0.2)


@pytest.mark.parametrize("photos", [3, 600])
def test_nearest_neighbours_equal_a_search_one_by_one(photos):
    rng = np.random.default_rng(1)
    train, test = rng.normal(size=(700, 12)), rng.normal(size=(photos, 12))
    places = rng.uniform(-90, 90, (700, 2))
    found = baselines.nearest_points(train, places, test)
    for row, answers in zip(test, found, strict=True):
        order = np.argsort(((train - row) ** 2).sum(axis=1))[:5]
        assert (answers == places[order]).all()


def test_few_training_photos_give_few_neighbours():
    train = np.eye(3)
    found = baselines.nearest_points(train, np.ones((3, 2)), np.eye(3)[:1])
    assert found.shape == (1, 3, 2)


def test_brightness_contrast_and_tint_do_not_change_a_thumbnail():
    pixels = np.random.default_rng(0).uniform(0, 100, (2, 16, 16, 3))
    other = [2, 1.5, 0.5] * pixels + [30, 0, 10]
    found = baselines.normalized(pixels)
    np.testing.assert_allclose(baselines.normalized(other), found, atol=1e-6)


def test_thumbnails_are_of_the_splits_photos(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    train, places = baselines.thumbnails(shards, "train", 1000)
    assert train.shape == (320, 16 * 16 * 3)
    assert places.shape == (320, 2)
    assert len(baselines.thumbnails(shards, "train", 7)[0]) == 7
    paths = [path for path, _ in shards.split("train")]
    for i, record in enumerate(tf.data.TFRecordDataset(paths).take(3)):
        photo = decoding.parse(record, ("image", "lat", "lng"))
        image = Image.open(io.BytesIO(photo["image"].numpy()))
        small = np.asarray(image.resize((16, 16), Image.Resampling.BOX))
        wanted = baselines.normalized(small[None].astype(float)).ravel()
        # Two decoders and two ways to scale: alike, not equal.
        assert np.corrcoef(train[i], wanted)[0, 1] > 0.8
        assert np.corrcoef(train[i + 1], wanted)[0, 1] < 0.5
        assert places[i].tolist() == [float(photo["lat"]), float(photo["lng"])]
