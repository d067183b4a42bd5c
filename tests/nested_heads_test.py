import keras
import numpy as np
import pytest
import tensorflow as tf

from planet_tf.model import nested_heads

# Six fine classes: "other", and cells in three and in two coarser ones.
ANCESTORS = np.array([[0, 1, 1, 2, 2, 3], [0, 1, 1, 1, 1, 2]])
SIZES = [6, 4, 3]


def outputs(photos=7, scale=3.0):
    rng = np.random.default_rng(0)
    return rng.normal(0, scale, (photos, sum(SIZES)))


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def product(found):
    """Of the probabilities of each class and of its ancestors, normalised."""
    heads = [softmax(x) for x in np.split(found, np.cumsum(SIZES)[:-1], 1)]
    shares = np.ones((len(found), SIZES[0]))
    for cell in range(SIZES[0]):
        shares[:, cell] *= heads[0][:, cell]
        for head, row in zip(heads[1:], ANCESTORS, strict=True):
            shares[:, cell] *= head[:, row[cell]]
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_answers_are_products_over_a_cell_and_its_ancestors(scale):
    found = outputs(scale=scale)
    layer = nested_heads.NestedHeads(ANCESTORS, dtype="float64")
    shares = tf.nn.softmax(layer(found)).numpy()
    np.testing.assert_allclose(shares, product(found), rtol=1e-9)
    assert shares.sum(1) == pytest.approx(np.ones(len(found)))


def test_outputs_of_bfloat16_are_joined_in_float32():
    given = tf.cast(outputs(), tf.bfloat16)
    layer = nested_heads.NestedHeads(ANCESTORS, dtype="float32")
    logits = layer(given)
    assert logits.dtype == tf.float32
    wanted = product(tf.cast(given, tf.float64).numpy())
    np.testing.assert_allclose(tf.nn.softmax(logits), wanted, rtol=1e-5)
    assert [x.dtype for x in layer.split(given)] == [tf.float32] * 3


def test_heads_lie_side_by_side_the_finest_first():
    found = outputs()
    parts = nested_heads.NestedHeads(ANCESTORS, dtype="float64").split(found)
    assert [x.shape[1] for x in parts] == SIZES
    np.testing.assert_array_equal(np.hstack(parts), found)


def test_labels_are_those_of_the_ancestors():
    found = nested_heads.NestedHeads(ANCESTORS).labels(tf.range(6))
    np.testing.assert_array_equal(found, [range(6), *ANCESTORS])


def test_soft_labels_are_summed_over_what_lies_in_a_class():
    shares = np.random.default_rng(1).dirichlet(np.ones(6), 9)
    found = nested_heads.NestedHeads(ANCESTORS).shares(tf.constant(shares))
    np.testing.assert_array_equal(found[0], shares)
    for summed, row in zip(found[1:], ANCESTORS, strict=True):
        wanted = [shares[:, row == n].sum(1) for n in range(row.max() + 1)]
        np.testing.assert_allclose(summed, np.stack(wanted, 1))


def test_a_label_alone_is_a_soft_label_of_one():
    layer = nested_heads.NestedHeads(ANCESTORS)
    hot = layer.shares(tf.one_hot(tf.range(6), 6))
    labels = layer.labels(tf.range(6))
    for soft, label, size in zip(hot, labels, SIZES, strict=True):
        np.testing.assert_array_equal(soft, tf.one_hot(label, size))


def test_it_is_made_again_from_its_config():
    layer = nested_heads.NestedHeads(ANCESTORS, name="joined")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.name == "joined"
    found = outputs().astype("float32")
    np.testing.assert_array_equal(again(found), layer(found))
    assert not layer.weights


@pytest.mark.parametrize("joined", [True, False])
def test_it_is_found_in_a_model_that_has_it(joined):
    layer = nested_heads.NestedHeads(ANCESTORS)
    model = keras.Sequential(
        [keras.layers.Dense(sum(SIZES)), *([layer] if joined else [])]
    )
    assert nested_heads.of_model(model) is (layer if joined else None)
