import keras
import numpy as np
import pytest
import replicas
import tensorflow as tf

from planet_tf.model import album_models
from planet_tf.options import album_variants
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.training import album_steps, steps

FEATURES, CLASSES, LONGEST, BATCH = 6, 4, 7, 4


def make_config(**options):
    known = {"batch_size": BATCH, "steps": 12, "precision": "float64"}
    return TrainAlbumsConfig(albums="", model_dir="", **(known | options))


def albums(batches=5, seed=0):
    """Albums of 1 to 7 photos, of which some have no label."""
    rng = np.random.default_rng(seed)
    n = batches * BATCH
    photos = rng.integers(1, LONGEST + 1, n)
    label = rng.integers(-1, CLASSES, (n, LONGEST))
    label[np.arange(LONGEST) >= photos[:, None]] = 0  # as padding has it
    weight = (label >= 0) & (np.arange(LONGEST) < photos[:, None])
    return {
        "embedding": rng.normal(size=(n, LONGEST, FEATURES)),
        "gap_hours": rng.uniform(-1, 30, (n, LONGEST)),
        "photos": photos.astype("int32"),
        "label": label,
        "latlng": rng.normal(size=(n, LONGEST, 2)).astype("float32"),
        "weight": weight.astype("float32"),
    }


class Training:
    """A small model on some replicas, with its loop over `albums`."""

    def __init__(self, config, count=1, data=None):
        self.strategy = replicas.strategy(count)
        keras.utils.set_random_seed(3)
        with self.strategy.scope():
            self.model = album_models.build(
                CLASSES,
                features=FEATURES,
                variant=album_variants.VARIANTS[config.variant],
                units=5,
                time_gaps=True,
                dropout=config.dropout,
                precision="float64",
            )
            optimizer = steps.Adagrad(self.model.trainable_variables)
        self.loop = steps.make_train_loop(
            self.strategy,
            album_steps.replica_step(self.model, optimizer, config),
        )
        data = albums() if data is None else data
        self.batches = replicas.batches(self.strategy, BATCH, data)

    def run(self, many):
        return self.loop(self.batches, many, False)


def largest_difference(left, right):
    pairs = zip(left.get_weights(), right.get_weights(), strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param(
            {"variant": "bidirectional_repeated"}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"variant": "offset2", "dropout": 0.4, "clip_norm": 0.1},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_replicas_train_as_one(options):
    one, two = (Training(make_config(**options), n) for n in (1, 2))
    begun = one.model.get_weights()
    assert largest_difference(one.model, two.model) == 0
    found = [training.run(4) for training in (one, two)]
    moved = zip(begun, one.model.get_weights(), strict=True)
    assert max(np.abs(a - b).max() for a, b in moved) > 1e-3
    assert largest_difference(one.model, two.model) < 1e-8
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_step_is_that_of_the_labelled_photos():
    training = Training(make_config(learning_rate=0.6))
    twin = Training(make_config()).model
    losses, accuracies, _ = training.run(1)

    first = {name: x[:BATCH] for name, x in albums().items()}
    counted = first["weight"] > 0
    assert 0 < counted.sum() < first["photos"].sum()
    with tf.GradientTape() as tape:
        logits = twin(first)[counted]
        hot = tf.one_hot(first["label"][counted], CLASSES, dtype=tf.float64)
        loss = -tf.reduce_mean(
            tf.reduce_sum(hot * tf.nn.log_softmax(logits), axis=-1)
        )
    gradients = tape.gradient(loss, twin.trainable_variables)
    for variable, g in zip(twin.trainable_variables, gradients, strict=True):
        variable.assign(variable - 0.6 * g / tf.sqrt(0.1 + g**2))
    assert largest_difference(training.model, twin) < 1e-7  # a float32 rate
    assert losses == pytest.approx([float(loss)], rel=1e-5)
    hits = logits.numpy().argmax(-1) == first["label"][counted]
    assert accuracies == pytest.approx([hits.mean()])


@pytest.mark.slow
def test_what_is_no_labelled_photo_changes_nothing():
    data = albums()
    other = albums(seed=1)
    beyond = np.arange(LONGEST) >= data["photos"][:, None]
    changed = data | {
        name: np.where(beyond[..., None], other[name], data[name])
        for name in ("embedding", "latlng")
    }
    changed["label"] = np.where(data["weight"] > 0, data["label"], 2)
    one, two = (Training(make_config(), data=x) for x in (data, changed))
    for left, right in zip(one.run(3), two.run(3), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6)
    assert largest_difference(one.model, two.model) < 1e-12


def test_a_batch_without_any_label_is_no_step():
    data = albums()
    data["weight"][:] = 0
    training = Training(make_config(), data=data)
    begun = Training(make_config()).model
    losses, accuracies, _ = training.run(2)
    assert losses.tolist() == accuracies.tolist() == [0, 0]
    assert largest_difference(training.model, begun) == 0


def test_validation_has_a_row_for_each_photo():
    training = Training(make_config())
    step = steps.make_validation_step(
        training.strategy,
        album_steps.answer(training.model, CLASSES),
        first_cell=0,
    )
    data = albums(batches=1)
    batches = replicas.batches(training.strategy, BATCH, data)
    found = step(next(batches), False)
    assert found["weight"].sum() == (data["weight"] > 0).sum()
    counted = found["weight"] > 0
    logits = training.model(data).numpy()[data["weight"] > 0]
    labels = data["label"][data["weight"] > 0]
    np.testing.assert_array_equal(
        found["hit"][counted], logits.argmax(-1) == labels
    )
    np.testing.assert_array_equal(
        found["cells"][counted], np.argsort(-logits, axis=-1)
    )
    np.testing.assert_array_equal(
        found["latlng"][counted], data["latlng"][data["weight"] > 0]
    )
    direct = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    np.testing.assert_allclose(found["loss"][counted], direct, rtol=1e-12)
