"""Files of the weights of Keras' InceptionV3."""

import h5py
import keras
import numpy as np
import pytest

from planet_tf.model import models
from planet_tf.training import warm_start
from planet_tf.training.warm_start import WarmStartError


def images(count=2):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, 75, 75, 3)).astype(np.float32)


def load(path, model):
    return warm_start.load(str(path), model, "unused")


@pytest.fixture(scope="module")
def inception():
    """Keras' own InceptionV3 as if trained, with a head of 12 classes."""
    model = keras.applications.InceptionV3(
        weights=None, classes=12, input_shape=(75, 75, 3)
    )
    rng = np.random.default_rng(0)
    for weights in model.weights:
        if len(weights.shape) > 1:
            drawn = 1.4 * weights.numpy() * rng.uniform(0.8, 1.2, weights.shape)
        else:  # batch norm, its moving statistics too
            drawn = weights + 0.1 * np.abs(rng.normal(size=weights.shape))
        weights.assign(drawn)
    return model


@pytest.fixture(scope="module")
def without_top(inception):
    """The same without its head."""
    model = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(75, 75, 3)
    )
    model.set_weights(inception.get_weights()[:-2])
    return model


@pytest.fixture(scope="module")
def whole():
    """A photo model of full width."""
    return models.photo_classifier(4, image_size=75)


def write_published(model, path):
    """As the ImageNet weights that Keras publishes, which Keras 1 wrote."""
    with h5py.File(path, "w") as file:
        names = [layer.name.encode() for layer in model.layers]
        file.attrs["layer_names"] = names
        for layer in model.layers:
            group = file.create_group(layer.name)
            named = {f"{layer.name}/{w.name}:0": w for w in layer.weights}
            group.attrs["weight_names"] = [n.encode() for n in named]
            for name, weights in named.items():
                group[name] = weights.numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "top"),
    [
        ("kernels.h5", write_published, True),
        ("kernels_notop.h5", write_published, False),
        # Older Kerases wrote their own layout by this name too.
        ("old.weights.h5", write_published, False),
        ("new.weights.h5", keras.Model.save_weights, True),
        ("new.weights.h5", keras.Model.save_weights, False),
        ("whole.keras", keras.Model.save, True),
        ("whole.h5", keras.Model.save, False),
    ],
)
def test_keras_files_give_the_embeddings_of_keras_own_model(
    name, write, top, inception, without_top, whole, tmp_path
):
    path = tmp_path / name
    write(inception if top else without_top, str(path))
    before = whole.get_layer("logits").get_weights()
    said = load(path, whole)
    assert ("its head of 12 classes is left out" in said) == top
    embed = keras.Model(whole.input, whole.get_layer(models.EMBEDDING).output)
    found = embed(images(), training=False)
    wanted = np.mean(without_top(images(), training=False), axis=(1, 2))
    assert 0.1 < np.std(wanted) < 100
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    after = whole.get_layer("logits").get_weights()
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    path.write_bytes(path.read_bytes()[:-1_000_000])
    with pytest.raises(WarmStartError, match="Needed is a whole file"):
        load(path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras"])
def test_a_file_of_another_network_is_refused(name, whole, tmp_path):
    other = keras.Sequential(
        [keras.Input((75, 75, 3)), keras.layers.Conv2D(8, 3)]
    )
    write = other.save_weights if ".weights." in name else other.save
    write(tmp_path / name)
    with pytest.raises(WarmStartError, match="1 convolutions instead of 94"):
        load(tmp_path / name, whole)


@pytest.mark.slow
def test_a_file_that_is_no_weights_is_refused(whole, tmp_path):
    (tmp_path / "x.h5").write_text("not found")
    with pytest.raises(WarmStartError, match="does not have the weights"):
        load(tmp_path / "x.h5", whole)
