import dataclasses
import io

import bad_inputs
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL
from PIL import Image

from planet_tf.data import decoding
from planet_tf.options.train_config import TrainConfig
from planet_tf.photos import images


def make_config(**options):
    options = SMALL_MODEL | options
    return TrainConfig(shards="unused", model_dir="unused", **options)


def view(jpeg, config, *seed):
    seed = tf.constant(seed, tf.int64)
    return decoding.training_image(tf.constant(jpeg), config, seed).numpy()


def test_evaluation_takes_the_middle_square(make_jpeg):
    jpeg = make_jpeg(width=200, height=100)
    image = decoding.evaluation_image(tf.constant(jpeg), 100)
    whole = tf.io.decode_jpeg(jpeg).numpy()
    wanted = whole[:, 50:150] / 127.5 - 1
    # The decoder smooths colours across the window's edges, or not.
    np.testing.assert_allclose(image[:, 1:-1], wanted[:, 1:-1], atol=1e-6)
    np.testing.assert_allclose(image, wanted, atol=0.1)


@pytest.mark.parametrize("rotate", [False, True])
def test_augmentation_is_a_function_of_its_seed(make_jpeg, rotate):
    config = make_config(rotate=rotate)
    jpeg = make_jpeg(width=120, height=100)
    assert np.array_equal(view(jpeg, config, 1, 2), view(jpeg, config, 1, 2))
    for other in ((1, 3), (2, 2)):
        assert not np.array_equal(
            view(jpeg, config, 1, 2), view(jpeg, config, *other)
        )
    assert np.abs(view(jpeg, config, 1, 2)).max() <= 1


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch, make_jpeg):
    limits = images.Limits(max_pixels=80 * 60 - 1)
    monkeypatch.setattr(images, "Limits", lambda: limits)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pix"):
        decoding.evaluation_image(tf.constant(make_jpeg(80, 60)), 75)


def striped_jpeg(width, height):
    """Fine stripes and noise, which alias, on coarse ones."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 20, (height, width))
    fine = 60 * np.sin(x / 1.3) * np.sin(y / 1.7)
    gray = 127 + fine + 40 * np.sin((x + y) / width * 30) + noise
    pixels = gray[..., None] * [1, 0.9, 0.8] + [0, 10, 20]
    file = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


# All ways to scale down a middle square to 75 pixels.
SHORT_SIDES = (160, 320, 624, 1000, 1304, 2400)


@pytest.mark.parametrize("side", SHORT_SIDES)
def test_large_photos_do_not_alias(side):
    jpeg = striped_jpeg(side + 96, side)
    image = decoding.evaluation_image(tf.constant(jpeg), 75).numpy()
    whole = Image.open(io.BytesIO(jpeg)).crop((48, 0, 48 + side, side))
    wanted = np.asarray(whole.resize((75, 75), Image.Resampling.BILINEAR))
    plain = tf.image.resize(np.asarray(whole), (75, 75)).numpy()

    def error(pixels):
        return np.sqrt(np.mean((pixels - wanted) ** 2))

    assert error((image + 1) * 127.5) < 6
    assert error(plain) > 10


def test_training_scales_as_evaluation_does():
    config = make_config(min_crop_area=0.999, color_jitter=0)
    jpeg = striped_jpeg(1000, 1000)
    image = decoding.evaluation_image(tf.constant(jpeg), 75).numpy()
    for seed in range(20):
        crop = view(jpeg, config, 1, seed)
        if np.abs(crop - image).mean() < 0.02:
            return
    raise AssertionError("no crop is like the whole photo")


@pytest.mark.parametrize("side", [80, 149])
def test_a_known_size_of_photos_changes_nothing(make_jpeg, side):
    jpeg, config = make_jpeg(side + 30, side), make_config()
    seed = tf.constant((1, 2), tf.int64)
    for known in (side, 0):
        looks = (
            decoding.evaluation_image(tf.constant(jpeg), 75, known).numpy(),
            decoding.training_image(tf.constant(jpeg), config, seed, known),
        )
        if known:
            wanted = looks
    assert all(map(np.array_equal, looks, wanted))


def test_jitter_scales_contrast_around_each_colours_mean(make_jpeg):
    jpeg = make_jpeg(width=100, height=100)
    plain = view(jpeg, make_config(color_jitter=0), 1, 2)
    looks = [view(jpeg, make_config(color_jitter=0.1), 1, 2) for _ in "ab"]
    assert np.array_equal(*looks)
    # Of each colour a factor and a shift around its mean, the same for all.
    mean = plain.mean((0, 1))
    inside = np.abs(looks[0]) < 1
    found = []
    for color in range(3):
        x = (plain - mean)[..., color][inside[..., color]]
        y = looks[0][..., color][inside[..., color]]
        factor, offset = np.polyfit(x, y, 1)
        np.testing.assert_allclose(y, factor * x + offset, atol=1e-5)
        found.append((factor, offset - mean[color]))
    np.testing.assert_allclose(found, found[:1] * 3, atol=1e-5)
    factor, shift = found[0]
    assert 0 < abs(np.log(factor)) <= 0.1 and 0 < abs(shift) <= 0.1


def test_turned_views_are_of_all_four_kinds(make_jpeg):
    jpeg = make_jpeg(width=90, height=90)
    options = {"color_jitter": 0, "min_crop_area": 0.9}
    turned = {}
    for seed in range(16):
        upright = view(jpeg, make_config(**options), 1, seed)
        image = view(jpeg, make_config(rotate=True, **options), 1, seed)
        for quarters in range(4):
            if np.array_equal(np.rot90(upright, quarters), image):
                turned[quarters] = seed
    assert sorted(turned) == [0, 1, 2, 3]


SQUARES = tf.function(
    lambda data: decoding.evaluation_images(data, 75),
    input_signature=[tf.TensorSpec([None], tf.string)],
)


def test_a_batch_of_jpegs_is_each_jpegs_square(make_jpeg):
    sizes = [(80, 60), (60, 80), (75, 75), (160, 150), (800, 610), (20, 30)]
    jpegs = [make_jpeg(w, h, seed=w) for w, h in sizes]
    found, valid = SQUARES(tf.constant(jpegs))
    shape = SQUARES.get_concrete_function().output_shapes[0]
    assert shape.as_list() == [None, 75, 75, 3]  # as layers want it
    assert valid.numpy().all()
    for jpeg, image in zip(jpegs, found, strict=True):
        wanted = decoding.evaluation_image(tf.constant(jpeg), 75)
        np.testing.assert_allclose(image, wanted, atol=1e-6)


@pytest.mark.parametrize("side", [40, 75, 149, 150, 400, 1296])
def test_a_png_is_taken_as_the_jpeg_of_its_pixels(make_jpeg, side):
    pair = [
        make_jpeg(side + 32, side, format="JPEG", quality=100, subsampling=0),
        make_jpeg(side + 32, side, format="PNG"),
    ]
    (jpeg, png), valid = SQUARES(tf.constant(pair))
    assert valid.numpy().all()
    assert np.abs(jpeg - png).mean() < 0.03


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "I;16"])
def test_pngs_of_all_modes_are_read(mode):
    gray = Image.fromarray(
        np.tile(np.arange(0, 250, 2, dtype=np.uint8), (125, 1))
    )
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    else:
        image = gray.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    found, valid = SQUARES(tf.constant([file.getvalue()]))
    assert valid.numpy().all()
    ramp = found.numpy()[0].mean(axis=(0, 2))
    wanted = np.linspace(0, 248, 75) / 127.5 - 1
    assert ramp == pytest.approx(wanted, abs=0.05)


def test_what_is_transparent_is_white():
    file = io.BytesIO()
    Image.new("RGBA", (90, 80), (255, 0, 0, 51)).save(file, "PNG")
    found, _ = SQUARES(tf.constant([file.getvalue()]))
    wanted = np.array([255, 204, 204]) / 127.5 - 1
    np.testing.assert_allclose(
        found[0], np.broadcast_to(wanted, (75, 75, 3)), atol=1e-5
    )


def test_of_odd_files_those_are_valid_that_show_an_image(make_jpeg):
    odd = bad_inputs.images()
    good = make_jpeg()
    files = [good, *(data for data, _ in odd.values()), good]
    found, valid = SQUARES(tf.constant(files))
    valid = valid.numpy()
    assert valid[0] and valid[-1]
    np.testing.assert_array_equal(found[0], found[-1])
    assert 5 < valid.sum() < len(files) - 5
    np.testing.assert_array_equal(found.numpy()[~valid], 0)
    # A batch with broken images and one without give the same squares.
    again, all_valid = SQUARES(
        tf.constant([f for f, v in zip(files, valid, strict=True) if v])
    )
    assert all_valid.numpy().all()
    np.testing.assert_array_equal(again, found.numpy()[valid])


def test_too_many_pixels_are_marked_before_they_are_unpacked(
    monkeypatch, make_jpeg
):
    limits = dataclasses.replace(images.Limits(), max_pixels=80 * 60 - 1)
    monkeypatch.setattr(images, "Limits", lambda: limits)
    files = [
        make_jpeg(80, 60),
        make_jpeg(80, 60, format="PNG"),
        make_jpeg(79, 60, format="PNG"),
    ]
    _, valid = decoding.evaluation_images(tf.constant(files), 75)
    assert valid.numpy().tolist() == [False, False, True]
