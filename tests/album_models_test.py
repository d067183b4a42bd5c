import functools

import numpy as np
import pytest
import tensorflow as tf

from planet_tf.model import album_models
from planet_tf.options.album_variants import VARIANTS

FEATURES, UNITS, CLASSES = 6, 5, 4
# Rounding, in float64, of sums in another order.
EXACT = {"rtol": 0, "atol": 1e-12}


@functools.cache
def make_model(variant, **options):
    """A model of random weights, which tests leave as they are."""
    known = {"units": UNITS, "precision": "float64"}
    tf.keras.utils.set_random_seed(1)
    model = album_models.AlbumClassifier(
        CLASSES, variant=VARIANTS[variant], **(known | options)
    )
    model(batch([3]))  # makes the weights
    rng = np.random.default_rng(2)  # biases too are to say something
    model.set_weights(
        [rng.normal(0, 0.5, w.shape) for w in model.get_weights()]
    )
    return model


def photos(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, FEATURES))


def batch(counts, padded=None, seed=0, padding=7.0, **columns):
    """Albums of so many photos; what is no photo is not blank."""
    longest = padded or max(counts)
    embedding = np.full((len(counts), longest, FEATURES), padding)
    for album, count in enumerate(counts):
        embedding[album, :count] = photos(count, seed + album)
    return {
        "embedding": tf.constant(embedding),
        "photos": tf.constant(counts, tf.int32),
        "gap_hours": tf.fill((len(counts), longest), -1.0),
    } | columns


def states(model, sequence):
    """What the model's own forward LSTM gives over a sequence (t, f)."""
    return model.lstm(tf.constant(sequence[None]))[0]


def logits(model, found):
    return model.head(found).numpy()


@pytest.mark.parametrize(
    ("variant", "offset"), [("offset1", 1), ("offset2", 2)]
)
def test_an_offset_answers_so_many_photos_later(variant, offset):
    model = make_model(variant)
    album = photos(5)
    blanks = np.zeros((offset, FEATURES))
    direct = states(model, np.concatenate([album, blanks]))
    found = model(batch([5]))[0]
    np.testing.assert_allclose(found, logits(model, direct[offset:]), **EXACT)


def test_a_plain_model_answers_at_each_photo():
    model = make_model("lstm")
    direct = states(model, photos(5))
    np.testing.assert_allclose(
        model(batch([5]))[0], logits(model, direct), **EXACT
    )


def test_a_repeated_model_answers_in_the_second_pass_only():
    model = make_model("repeated")
    direct = states(model, np.tile(photos(5), (2, 1)))
    found = model(batch([5]))[0]
    np.testing.assert_allclose(found, logits(model, direct[5:]), **EXACT)
    assert np.abs(found - logits(model, direct[:5])).max() > 1e-2


@pytest.mark.parametrize("passes", [1, 2])
def test_a_bidirectional_model_reads_backwards_too(passes):
    name = {1: "bidirectional", 2: "bidirectional_repeated"}[passes]
    model = make_model(name)
    album = np.tile(photos(5), (passes, 1))
    forward, backward = model.lstm.forward_layer, model.lstm.backward_layer
    there = forward(tf.constant(album[None]))[0]
    back = backward(tf.constant(album[None]))[0][::-1]
    direct = tf.concat([there, back], -1)[-5:]
    np.testing.assert_allclose(
        model(batch([5]))[0], logits(model, direct), **EXACT
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_and_the_other_albums_change_nothing(variant):
    model = make_model(variant)
    alone = model(batch([9]))
    narrow, wide = (model(batch([9, 3, 1], padded=n)) for n in (11, 20))
    blank = model(batch([9, 3, 1], padded=20, padding=0.0))
    for found in (narrow, wide, blank):
        np.testing.assert_allclose(found[0, :9], alone[0], **EXACT)
    for album, count in ((1, 3), (2, 1)):
        np.testing.assert_allclose(
            narrow[album, :count], wide[album, :count], **EXACT
        )
        np.testing.assert_allclose(
            narrow[album, :count], model(batch([count], seed=album))[0], **EXACT
        )


@pytest.mark.parametrize(
    ("variant", "seen"),  # how many photos after its own an answer depends on
    [
        ("lstm", 0),
        ("offset1", 1),
        ("offset2", 2),
        ("repeated", 5),
        ("bidirectional", 5),
        ("bidirectional_repeated", 5),
        ("alone", 0),
    ],
)
def test_an_answer_depends_on_just_the_photos_that_were_read(variant, seen):
    model = make_model(variant)
    album = batch([6])["embedding"]
    count = tf.constant([6])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(album)
        answers = model({"embedding": album, "photos": count})
        answers = tf.reduce_sum(answers**2, -1)[0]
    # Six gradients one by one: to vectorise them takes longer.
    slopes = tape.jacobian(answers, album, experimental_use_pfor=False)
    slopes = slopes[:, 0]  # (answer, photo, feature)
    depends = np.abs(slopes.numpy()).max(-1) > 1e-12
    answer, photo = np.indices((6, 6))
    wanted = photo <= answer + seen
    if variant == "alone":
        wanted = photo == answer
    np.testing.assert_array_equal(depends, wanted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_gets_no_gradient(variant):
    model = make_model(variant)
    album = batch([4, 6], padded=9)
    with tf.GradientTape() as tape:
        tape.watch(album["embedding"])
        answers = model(album, training=True)
        loss = tf.reduce_sum(answers[0, :4] ** 2) + tf.reduce_sum(
            answers[1, :6]
        )
    slopes = np.abs(tape.gradient(loss, album["embedding"]).numpy()).max(-1)
    assert (slopes[0, :4] > 0).all()
    assert (slopes[1, :6] > 0).all()
    assert (slopes[0, 4:] == 0).all()
    assert (slopes[1, 6:] == 0).all()


@pytest.mark.parametrize(
    "count", [1, pytest.param(1000, marks=pytest.mark.slow)]
)
def test_albums_of_one_and_of_a_thousand_photos_are_answered(count):
    for variant in ("lstm", "offset2", "bidirectional_repeated"):
        found = make_model(variant)(batch([count, 1])).numpy()
        assert found.shape == (2, count, CLASSES)
        assert np.isfinite(found[0]).all()
        assert np.isfinite(found[1, :1]).all()


def test_time_between_photos_is_read_where_it_is_known():
    model = make_model("lstm", time_gaps=True)

    def answers(*hours):
        gaps = tf.constant([hours], tf.float64)
        return model(batch([3], gap_hours=gaps)).numpy()[0]

    unknown = answers(-1, -1, -1)
    np.testing.assert_array_equal(unknown, answers(-1, -5, -1e9))
    for hours in (0.0, 1.0, 48.0):
        found = answers(-1, hours, -1)
        np.testing.assert_array_equal(found[0], unknown[0])
        assert np.abs(found[1] - unknown[1]).max() > 1e-3
    np.testing.assert_array_equal(answers(-1, 0, 0), answers(-1, 1e-9, 0))


def test_bfloat16_is_for_the_arithmetic_only():
    model = make_model("repeated", precision="bfloat16")
    found = model(
        batch([5]) | {"embedding": tf.constant(photos(5)[None], tf.float32)}
    )
    assert found.dtype == "float32"
    assert {w.dtype for w in model.weights} == {"float32"}
    exact = make_model("repeated")(batch([5]))
    assert 0 < np.abs(np.array(found) - np.array(exact)).max() < 0.05
