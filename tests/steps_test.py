import keras
import numpy as np
import pytest
import replicas
import tensorflow as tf

from planet_tf.model import models, nested_heads
from planet_tf.options.train_config import TrainConfig
from planet_tf.sizing import traffic
from planet_tf.training import photo_steps, steps

CLASSES = 5
ANCESTORS = np.array([[0, 0, 1, 2, 2], [0, 0, 0, 1, 1]])
BATCH = 8


def make_config(**options):
    known = {"batch_size": BATCH, "steps": 12, "precision": "float64"}
    return TrainConfig(shards="", model_dir="", **(known | options))


def small_model(*, dropout=0.0, synchronized=False, norm=True, nested=False):
    """Of the photo model's kinds of layers, in float64."""
    with_norm = keras.layers.BatchNormalization(
        momentum=0.5, synchronized=synchronized
    )
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            *([with_norm] if norm else []),
            keras.layers.Activation("relu"),
            keras.layers.GlobalAveragePooling2D(),
            *([models.SeededDropout(dropout)] if dropout else []),
            keras.layers.Dense(CLASSES + 5 * nested, name=models.HEAD),
            *([nested_heads.NestedHeads(ANCESTORS)] if nested else []),
        ]
    )


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def photos(batches=6, seed=0):
    rng = np.random.default_rng(seed)
    n = batches * BATCH
    return {
        "image": rng.normal(size=(n, 6, 6, 3)),
        "label": rng.integers(0, CLASSES, n),
        "latlng": rng.normal(size=(n, 2)).astype("float32"),
    }


class Training:
    """A small model on some replicas, with its loop over `photos`."""

    def __init__(self, config, count=1, data=None, targets=None, **model):
        self.strategy = replicas.strategy(count)
        keras.utils.set_random_seed(3)
        with self.strategy.scope():
            self.model = small_model(dropout=config.dropout, **model)
            self.optimizer = steps.Adagrad(self.model.trainable_variables)
        step = photo_steps.replica_step(
            self.model, self.optimizer, config, targets
        )
        self.loop = steps.make_train_loop(self.strategy, step)
        self.batches = replicas.batches(
            self.strategy, BATCH, photos() if data is None else data
        )

    def run(self, many, stop=False):
        return self.loop(self.batches, many, stop)

    def state(self):
        weights = self.model.get_weights()
        slots = [
            replicas.values(self.strategy, v)[0]
            for v in self.optimizer.accumulators
        ]
        return [*weights, *slots]


def largest_difference(left, right):
    return max(np.abs(a - b).max() for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.25, 0.5, 1, 1, 1, 1]),
        ("linear", [0.25, 0.5, 1, 0.75, 0.5, 0]),
        ("cosine", [0.25, 0.5, 1, 0.5 + 0.5**1.5, 0.5, 0]),
    ],
)
def test_the_rate_warms_up_and_decays_as_asked(schedule, rates):
    config = make_config(learning_rate=2.0, warmup_steps=4, schedule=schedule)
    schedule = steps.RateSchedule(config)
    found = [float(schedule(step)) for step in (0, 1, 4, 6, 8, 12)]
    assert found == pytest.approx([2 * rate for rate in rates], abs=1e-6)


def test_a_constant_rate_does_not_depend_on_the_number_of_steps():
    short, long = (
        steps.RateSchedule(make_config(steps=n, warmup_steps=4))
        for n in (12, 1000)
    )
    for step in range(12):
        assert float(short(step)) == float(long(step))


def test_the_fused_update_is_that_of_keras():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape) for shape in ((3, 4), (4,))]
    ours, theirs = ([keras.Variable(x) for x in start] for _ in range(2))
    adagrad = steps.Adagrad(ours)
    known = keras.optimizers.Adagrad(0.045)
    for _ in range(3):
        gradients = [tf.constant(rng.normal(size=x.shape)) for x in start]
        adagrad.apply(gradients, ours, tf.constant(0.045, tf.float64))
        known.apply(gradients, theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    assert adagrad.iterations.numpy() == 3


@pytest.fixture(params=["sum", "factors"])
def sent(request, monkeypatch):
    """Either way for replicas to come by the head's gradient."""
    monkeypatch.setattr(
        traffic,
        "head_factors_are_sent",
        lambda *args, replicas, device: (
            request.param == "factors" and replicas > 1
        ),
    )
    return request.param


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    "options",
    [{}, {"dropout": 0.4, "clip_norm": 0.1, "soft_labels_km": 100.0}],
)
def test_two_replicas_train_as_one(options):
    config = make_config(**options)
    targets = soft_targets if config.soft_labels_km else None
    one, two = (
        Training(config, count, targets=targets, synchronized=True)
        for count in (1, 2)
    )
    begun = one.state()
    assert largest_difference(begun, two.state()) == 0
    found = [training.run(5) for training in (one, two)]
    assert largest_difference(begun, one.state()) > 1e-3
    assert largest_difference(one.state(), two.state()) < 1e-8
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def soft_targets(labels, latlng):
    """Half to the cell, the rest by place to its neighbour or all."""
    hot = tf.one_hot(labels, CLASSES)
    share = tf.sigmoid(latlng[:, :1])
    return 0.5 * hot + 0.5 * (
        share * tf.roll(hot, 1, axis=1) + (1 - share) / CLASSES
    )


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("count", "clip_norm", "soft"),
    [(1, 0.0, False), (1, 0.05, False), (2, 0.05, False), (2, 0.0, True)],
)
def test_a_step_is_that_of_the_global_batch(count, clip_norm, soft):
    config = make_config(clip_norm=clip_norm, learning_rate=0.6, warmup_steps=2)
    targets = soft_targets if soft else None
    training = Training(config, count, targets=targets, norm=False)
    twin = small_model(norm=False)
    twin.set_weights(training.model.get_weights())
    losses, accuracies, stops = training.run(1)

    first = {name: x[:BATCH] for name, x in photos().items()}
    with tf.GradientTape() as tape:
        logits = twin(first["image"])
        wanted = (
            soft_targets(first["label"], first["latlng"])
            if soft
            else tf.one_hot(first["label"], CLASSES)
        )
        shares = tf.nn.log_softmax(logits)
        loss = -tf.reduce_mean(
            tf.reduce_sum(tf.cast(wanted, tf.float64) * shares, axis=1)
        )
    gradients = tape.gradient(loss, twin.trainable_variables)
    gradients = [g.numpy() for g in gradients]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert norm > 0.06  # clipping has something to do
    scale = clip_norm / norm if clip_norm else 1.0
    for variable, g in zip(twin.trainable_variables, gradients, strict=True):
        g = scale * g
        variable.assign(variable - 0.6 / 2 * g / np.sqrt(0.1 + g**2))
    assert (
        largest_difference(training.model.get_weights(), twin.get_weights())
        < 1e-7  # the rate is float32
    )
    assert losses == pytest.approx([float(loss)], rel=1e-5)
    hits = logits.numpy().argmax(axis=1) == first["label"]
    assert accuracies == pytest.approx([hits.mean()])
    assert stops == 0


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("count", "soft"), [(1, False), (1, True), (2, False), (2, True)]
)
def test_several_heads_learn_their_own_partitions(count, soft):
    config = make_config(learning_rate=0.6)
    targets = soft_targets if soft else None
    training = Training(config, count, targets=targets, norm=False, nested=True)
    twin = small_model(norm=False, nested=True)
    twin.set_weights(training.model.get_weights())
    losses, accuracies, _ = training.run(1)

    first = {name: x[:BATCH] for name, x in photos().items()}
    wanted = (
        soft_targets(first["label"], first["latlng"])
        if soft
        else tf.one_hot(first["label"], CLASSES)
    ).numpy()
    below = keras.Model(twin.inputs[0], twin.get_layer(models.HEAD).output)
    with tf.GradientTape() as tape:
        outputs = below(first["image"])
        heads = outputs[:, :5], outputs[:, 5:8], outputs[:, 8:]
        loss = 0.0
        for logits, row in zip(heads, [range(5), *ANCESTORS], strict=True):
            member = np.equal.outer(row, np.arange(logits.shape[1]))
            shares = tf.math.log(tf.nn.softmax(logits))
            loss -= tf.reduce_sum(wanted @ member * shares) / BATCH / 3
    gradients = tape.gradient(loss, twin.trainable_variables)
    for variable, g in zip(twin.trainable_variables, gradients, strict=True):
        variable.assign(variable - 0.6 * g / tf.sqrt(0.1 + g**2))
    assert (
        largest_difference(training.model.get_weights(), twin.get_weights())
        < 1e-7  # the rate is float32
    )
    assert losses == pytest.approx([float(loss)], rel=1e-5)
    fine, coarse, coarser = (tf.nn.softmax(x).numpy() for x in heads)
    together = fine * coarse[:, ANCESTORS[0]] * coarser[:, ANCESTORS[1]]
    hits = together.argmax(axis=1) == first["label"]
    assert accuracies == pytest.approx([hits.mean()])


def test_moving_statistics_are_averaged_over_replicas_at_every_step():
    training = Training(make_config(learning_rate=0.0), count=2)
    twin = small_model()
    twin.set_weights(training.model.get_weights())
    norm = training.model.layers[1]
    data = photos()["image"]
    mean = np.zeros(4)
    for step in range(3):
        training.run(1)
        images = data[step * BATCH : (step + 1) * BATCH]
        parts = [
            twin.layers[0](half).numpy().mean(axis=(0, 1, 2))
            for half in np.split(images, 2)
        ]
        mean = 0.5 * mean + 0.5 * np.mean(parts, axis=0)
        for variable in (norm.moving_mean, norm.moving_variance):
            left, right = replicas.values(training.strategy, variable.value)
            np.testing.assert_array_equal(left, right)
        np.testing.assert_allclose(norm.moving_mean.numpy(), mean, atol=1e-7)


def test_a_loop_of_steps_is_the_steps_one_by_one():
    config = make_config(dropout=0.5)
    together, apart = (Training(config, count=2) for _ in range(2))
    losses, accuracies, _ = together.run(4)
    single = [apart.run(1) for _ in range(4)]
    assert largest_difference(together.state(), apart.state()) == 0
    np.testing.assert_array_equal(losses, [x[0][0] for x in single])
    np.testing.assert_array_equal(accuracies, [x[1][0] for x in single])


def test_another_number_of_steps_is_not_compiled_anew():
    training = Training(make_config())
    traced = []
    head = training.model.get_layer(models.HEAD)
    call = head.call
    head.call = lambda *args, **options: (
        traced.append(1) or call(*args, **options)
    )
    for many, stop in ((1, False), (2, False), (3, True)):
        training.run(many, stop)
    assert len(traced) == 1


def test_dropout_repeats_by_step_and_differs_by_step_and_seed():
    same = {
        k: np.tile(x[:1], (24,) + (1,) * (x.ndim - 1))
        for k, x in photos().items()
    }
    options = {"dropout": 0.5, "learning_rate": 0.0}

    def losses(seed=0, first=0, many=3):
        training = Training(
            make_config(seed=seed, **options), data=same, norm=False
        )
        training.optimizer.iterations.assign(first)
        return training.run(many)[0]

    found = losses()
    assert len(set(found)) == 3
    np.testing.assert_array_equal(losses(first=1, many=2), found[1:])
    assert not set(losses(seed=1)) & set(found)


@pytest.mark.parametrize("count", [1, 2])
def test_whether_to_stop_is_summed_over_replicas(count):
    training = Training(make_config(), count)
    assert training.run(2, stop=False)[2] == 0
    assert training.run(2, stop=True)[2] == count


@pytest.mark.parametrize("count", [1, 2])
def test_validation_gathers_the_global_batch(count):
    training = Training(make_config(), count)
    step = steps.make_validation_step(
        training.strategy,
        lambda batch: (training.model(batch["image"], training=False), batch),
        first_cell=1,
    )
    data = photos(batches=2) | {"weight": np.arange(16.0, dtype="float32")}
    batches = replicas.batches(training.strategy, BATCH, data)
    found = [step(next(batches), stop) for stop in (False, True)]
    logits = training.model(data["image"], training=False).numpy()
    for name, wanted in {
        "loss": -np.log(
            np.exp(logits)[np.arange(16), data["label"]]
            / np.exp(logits).sum(axis=1)
        ),
        "hit": logits.argmax(axis=1) == data["label"],
        # Four cells: "other", with label 0, is no answer.
        "cells": np.argsort(-logits[:, 1:], axis=1),
        "latlng": data["latlng"],
        "weight": data["weight"],
    }.items():
        together = np.concatenate([x[name] for x in found])
        np.testing.assert_allclose(together, wanted, rtol=1e-6)
    assert [x["stop"].tolist() for x in found] == [
        [0] * count,
        [1] * count,
    ]
