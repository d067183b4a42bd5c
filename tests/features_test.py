import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from planet_tf.data import data_dirs, decoding
from planet_tf.evaluation import features


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    coarse = rng.uniform(40, 160, (4, 8, 8, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1)))


@pytest.mark.parametrize("name", features.HAND_MADE)
def test_features_of_a_photo_do_not_depend_on_its_batch(pixels, name):
    make = features.HAND_MADE[name]
    alone = np.concatenate([make(photo[None]) for photo in pixels])
    np.testing.assert_allclose(make(pixels), alone, atol=1e-9)
    assert np.abs(alone[0] - alone[1]).max() > 0.1


@pytest.mark.parametrize("name", features.HAND_MADE)
def test_photos_of_one_colour_have_finite_features(name):
    grey = np.stack([np.full((64, 64, 3), level) for level in (0, 127, 255)])
    found = features.HAND_MADE[name](grey.astype(float))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, found[:1].repeat(3, 0), atol=1e-6)


def test_brightness_contrast_and_tint_do_not_change_a_tiny_image(pixels):
    found = features.tiny_images(pixels)
    assert found.shape == (4, 8 * 8 * 3)
    other = features.tiny_images([1.4, 1.2, 0.5] * pixels + [30, 0, 10])
    np.testing.assert_allclose(other, found, atol=1e-3)


def test_brightness_and_contrast_do_not_change_gradients(pixels):
    found = features.gradient_histograms(pixels)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    other = features.gradient_histograms(1.4 * pixels + 20)
    np.testing.assert_allclose(other, found, atol=1e-6)


@pytest.mark.parametrize("turns", range(4))
def test_an_edge_counts_in_its_direction_and_square(turns):
    image = np.zeros((64, 64))
    image[:, 32:] = 100  # dark to light: direction 0, middle column
    image = np.rot90(image, -turns)  # clockwise, as directions count
    found = features.gradient_histograms(
        np.repeat(image[None, :, :, None], 3, axis=-1)
    ).reshape(3, 3, 8)
    assert set(np.nonzero(found > 0.01)[2]) == {2 * turns}
    middle = found[:, 1] if turns % 2 == 0 else found[1]
    assert (middle[:, 2 * turns] > 0.5).all()


def test_a_direction_between_two_is_shared():
    slope = (
        np.arange(64.0)[None, :] + np.tan(np.pi / 8) * np.arange(64)[:, None]
    )
    found = features.gradient_histograms(
        np.repeat(slope[None, :, :, None], 3, axis=-1)
    ).reshape(3, 3, 8)
    np.testing.assert_allclose(found[1, 1, 0], found[1, 1, 1], rtol=1e-6)
    assert found[1, 1, 2:].max() < 1e-6


@pytest.mark.parametrize(
    "rgb, lab",
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((10, 10, 10), (2.74, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb, lab):
    np.testing.assert_allclose(
        features.lab(np.array(rgb, float)), lab, atol=0.02
    )


def test_colours_are_counted_one_by_one(pixels):
    found = features.color_histograms(pixels)
    np.testing.assert_allclose((found**2).sum(axis=1), 1)
    colors = features.lab(pixels[0]).reshape(-1, 3)
    colors = (colors - colors.mean(0)) / (colors.std(0) + 1e-3)
    wanted = np.zeros((17, 7, 7))
    for l, a, b in colors:  # noqa: E741
        at = (l + 2.5) / 5 * 17, (a + 5) / 10 * 7, (b + 5) / 10 * 7
        low = [int(np.floor(x)) for x in at]
        i, j, k = (
            min(max(x, 0), m) for x, m in zip(low, (16, 6, 6), strict=True)
        )
        wanted[i, j, k] += 1
    np.testing.assert_allclose(found[0] ** 2, wanted.ravel() / 4096, atol=1e-9)


def test_where_colours_are_does_not_change_their_histogram(pixels):
    turned = features.color_histograms(np.rot90(pixels, axes=(1, 2)))
    np.testing.assert_allclose(
        turned, features.color_histograms(pixels), atol=1e-6
    )


def test_features_are_of_the_splits_photos_in_its_order(small_shards):
    shards = data_dirs.open_shards(str(small_shards))

    def embed(jpegs):
        return {"embedding": tf.strings.length(jpegs)[:, None]}

    found = features.of_split(shards, "train", 1000, embed)
    assert list(found.vectors) == [*features.HAND_MADE, features.EMBEDDING]
    assert found.places.shape == (320, 2)
    assert {v.dtype for v in found.vectors.values()} == {np.dtype("float32")}
    paths = [path for path, _ in shards.split("train")]
    for i, record in enumerate(tf.data.TFRecordDataset(paths).take(3)):
        photo = decoding.parse(record, ("image", "lat", "lng"))
        jpeg = photo["image"].numpy()
        place = [float(photo["lat"]), float(photo["lng"])]
        assert found.places[i].tolist() == place
        assert found.vectors[features.EMBEDDING][i] == len(jpeg)
        small = (
            Image.open(io.BytesIO(jpeg))
            .convert("RGB")
            .resize((64, 64), Image.Resampling.BOX)
        )
        wanted = features.tiny_images(np.asarray(small, float)[None])[0]
        # Two decoders and two ways to scale: alike, not equal.
        tiny = found.vectors[features.TINY]
        assert np.corrcoef(tiny[i], wanted)[0, 1] > 0.8
        assert np.corrcoef(tiny[i + 1], wanted)[0, 1] < 0.5


def test_at_most_so_many_photos_and_no_embedding_unless_asked(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    found = features.of_split(shards, "train", 7)
    assert len(found.places) == 7
    assert list(found.vectors) == list(features.HAND_MADE)


@pytest.mark.parametrize("level, last", [(255.0, 16), (0.0, 0)])
def test_colours_far_from_the_mean_count_in_the_outermost_bins(level, last):
    photo = np.full((1, 64, 64, 3), 127.0)
    photo[:, :4, :4] = level  # 16 deviations away
    found = features.color_histograms(photo)[0].reshape(17, 7, 7) ** 2
    np.testing.assert_allclose(found[last].sum(), 16 / 4096)
    np.testing.assert_allclose(found[8].sum(), 1 - 16 / 4096)
