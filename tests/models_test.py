import keras
import numpy as np
import pytest
import replicas
import tensorflow as tf

from planet_tf.geo import nesting, partition
from planet_tf.model import models, nested_heads


def small(**options):
    keras.utils.set_random_seed(0)
    return models.photo_classifier(7, image_size=75, width=0.1, **options)


def images(count=2):
    return np.random.default_rng(0).uniform(-1, 1, (count, 75, 75, 3))


@pytest.mark.parametrize(
    ("precision", "computed"),
    [
        ("float32", "float32"),
        ("bfloat16", "bfloat16"),
        ("float64", "float64"),
    ],
)
def test_logits_have_a_column_a_class_in_any_precision(precision, computed):
    model = small(precision=precision)
    logits = model(images(), training=False)
    assert logits.shape == (2, 7)
    assert model.get_layer(models.EMBEDDING).compute_dtype == computed
    wanted = "float32" if precision == "bfloat16" else computed
    assert logits.dtype.name == wanted
    assert {w.dtype for w in model.weights} == {wanted}


@pytest.mark.usefixtures("short_models")
@pytest.mark.parametrize(
    ("precision", "after"), [("float32", []), ("bfloat16", ["Activation"])]
)
def test_a_model_of_one_head_ends_in_it(precision, after):
    layers = small(precision=precision).layers
    kinds = [type(layer).__name__ for layer in layers]
    pooled = "GlobalAveragePooling2D"
    assert kinds == ["InputLayer", "Functional", pooled, "Dense", *after]
    names = [layer.name for layer in layers]
    assert names[:4] == ["images", models.TRUNK, models.EMBEDDING, models.HEAD]


def coarser():
    """Two partitions over one of seven classes."""
    lat = np.repeat([50, 48, 40, 35, -33, -34, -18], 5)
    lng = np.repeat([2, 10, -74, -90, -70, -60, 179], 5)
    fine = partition.build(lat, lng, max_photos=6, min_photos=1)
    return nesting.nest(fine, (5, 2))


@pytest.mark.usefixtures("short_models")
@pytest.mark.parametrize("precision", ["bfloat16", "float32", "float64"])
def test_logits_are_of_the_product_of_all_heads(precision):
    nested = coarser()
    model = small(precision=precision, nested=nested)
    head = model.get_layer(models.HEAD)
    sizes = [7, *nested.num_classes]
    assert head.units == sum(sizes) > 10
    both = keras.Model(model.input, [head.output, model.output])
    outputs, logits = both(images(), training=False)
    assert logits.dtype == ("float64" if precision == "float64" else "float32")
    parts = tf.split(tf.cast(outputs, tf.float64), sizes, axis=1)
    shares = [tf.nn.softmax(part).numpy() for part in parts]
    wanted = shares[0]
    for coarse, row in zip(shares[1:], nested.ancestors, strict=True):
        wanted = wanted * coarse[:, row]
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(tf.nn.softmax(logits), wanted, rtol=1e-5)


@pytest.mark.slow
def test_the_full_model_has_the_parameters_of_inception_v3_and_a_head():
    # 21,802,784 of InceptionV3 without its top, and a row of 2,048 weights
    # and a bias for each of the paper's cells.
    model = models.photo_classifier(26_263)
    assert model.count_params() == 21_802_784 + 26_263 * 2_049


@pytest.mark.slow
def test_it_fits_weights_of_keras_own_inception_v3():
    trunk = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(75, 75, 3), pooling="avg"
    )
    model = models.photo_classifier(7, image_size=75)
    for mine, theirs in zip(
        model.weights[: len(trunk.weights)], trunk.weights, strict=True
    ):
        mine.assign(theirs)
    embed = keras.Model(model.input, model.get_layer(models.EMBEDDING).output)
    x = images()
    np.testing.assert_allclose(embed(x), trunk(x), atol=1e-5)


@pytest.mark.slow
def test_standardized_images_have_no_brightness_contrast_or_tint():
    x = images()
    tinted = x * [0.5, 0.7, 0.3] + [0.2, -0.1, 0.1]
    plain, model = small(), small(standardize=True)

    def moved(model):
        logits = np.asarray(model(x)), np.asarray(model(tinted))
        return np.abs(logits[0] - logits[1]).max() / np.abs(logits[0]).max()

    assert moved(plain) > 0.2
    assert moved(model) < 0.1
    layer = model.get_layer("standardize")
    found = np.asarray(layer(tinted))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 1, atol=0.03)


def after_a_step(layer_class, precision, scale):
    """What a batch norm gives, changes and passes back, in float64."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(3, 2, (4, 5, 6, 7)), tf.float32)
    weights = tf.constant(rng.normal(0, 1, images.shape), tf.float32)
    layer = layer_class(momentum=0.8, scale=scale, dtype=precision)
    layer.build(images.shape)
    for i, variable in enumerate(layer.weights):
        variable.assign(variable + rng.uniform(0.1, i + 1, 7))
    before = layer(images, training=False)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    sources = [images, *[v.value for v in layer.trainable_variables]]
    passed = tape.gradient(total, sources)
    moved = [v.value for v in layer.non_trainable_variables]
    found = [before, outputs, *passed, *moved]
    return [np.asarray(tf.cast(x, tf.float64)) for x in found]


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-5), ("mixed_bfloat16", 1e-2), ("float64", 0)],
)
def test_batch_norm_is_keras_own_but_for_rounding(precision, tolerance, scale):
    theirs, ours = (
        after_a_step(layer_class, precision, scale)
        for layer_class in (
            keras.layers.BatchNormalization,
            models.FusedBatchNormalization,
        )
    )
    assert len(ours) == 6 + scale
    for mine, wanted in zip(ours, theirs, strict=True):
        scatter = np.abs(wanted).max()
        np.testing.assert_allclose(mine, wanted, atol=tolerance * scatter)


def test_frozen_batch_norm_stays_as_it_is():
    layer = models.FusedBatchNormalization()
    layer.trainable = False
    x = tf.random.stateless_normal((2, 3, 3, 5), (0, 1), mean=2.0)
    np.testing.assert_array_equal(
        layer(x, training=True), layer(x, training=False)
    )
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))


@pytest.mark.slow
def test_dropout_changes_nothing_but_training():
    plain, model = small(), small(dropout=0.5)
    model.set_weights(plain.get_weights())
    np.testing.assert_array_equal(model(images()), plain(images()))


def dropped(seed, replicas=None, photos=8):
    """The share of each feature that a dropout of 0.25 lets through."""
    layer = models.SeededDropout(0.25)

    def replica():
        count = replicas.num_replicas_in_sync if replicas else 1
        with models.dropout_seed(seed):
            return layer(tf.ones((photos // count, 500)), training=True)

    if replicas is None:
        return replica().numpy()
    found = tf.function(lambda: replicas.run(replica))()
    return np.concatenate(
        [x.numpy() for x in replicas.experimental_local_results(found)]
    )


def test_dropout_is_a_function_of_the_seed_and_the_place_in_the_batch():
    first = dropped((3, 7))
    np.testing.assert_array_equal(dropped((3, 7)), first)
    np.testing.assert_array_equal(dropped((3, 7), replicas.strategy(2)), first)
    assert {*np.unique(first)} == {0, np.float32(1 / 0.75)}
    assert abs(first.mean() - 1) < 0.05
    for other in (dropped((3, 8)), dropped((4, 7)), first[::-1]):
        assert 0.3 < (other != first).mean() < 0.45  # 2 * 0.25 * 0.75


def test_dropout_without_a_seed_is_refused():
    with pytest.raises(RuntimeError, match="models.dropout_seed"):
        models.SeededDropout(0.5)(tf.ones((2, 3)), training=True)


@pytest.mark.slow
def test_batch_norm_is_as_asked():
    model = small(batch_norm_momentum=0.8, synchronized_batch_norm=True)
    layers = [
        layer
        for layer in model.get_layer(models.TRUNK).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(layers) == 94
    assert {layer.momentum for layer in layers} == {0.8}
    assert all(layer.synchronized for layer in layers)


@pytest.mark.parametrize(
    ("filters", "width", "wanted"),
    [(192, 1.0, 192), (192, 0.25, 48), (96, 0.25, 24), (32, 0.1, 8)],
)
def test_widths_scale_filters_to_multiples_of_eight(filters, width, wanted):
    assert models.scaled_filters(filters, width) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("nested", [None, coarser()])
def test_a_saved_model_answers_the_same(tmp_path, nested):
    model = small(dropout=0.5, nested=nested)
    assert (nested_heads.of_model(model) is None) == (nested is None)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(images()), again(images()))
