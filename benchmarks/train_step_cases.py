"""The programs that benchmarks.train_step measures, but for PyTorch's."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import rounds
from planet_tf.data import data_dirs, input_pipeline
from planet_tf.model import models
from planet_tf.options.train_config import RunConfig, TrainConfig
from planet_tf.sizing import memory
from planet_tf.training import loop, photo_task, progress, steps

INPUT_BATCHES = 8  # that the input makes alone while a step would be made
_NEVER = 1_000_000_000
_PEAK_SIZE = 4_096  # of the square matrices
_PEAK_SECONDS = 0.5


def serve_loop(
    config: RunConfig,
    make_task: Callable[[Any], loop.Task],
    warm: int,
    timed: int,
) -> None:
    """The training of a task, held up whenever it comes to its log."""
    answer = rounds.claim_stdout()

    class PacedLog(progress.Log):
        """Waits for its turn after the last step of the one before."""

        turn_left = -1  # steps of the turn, warm ones included

        def training(self, *args: Any, **options: Any) -> None:
            start = time.perf_counter()
            super().training(*args, **options)
            now, used = time.perf_counter(), time.process_time()
            self.turn_left -= config.log_every
            if self.turn_left < 0:
                self.take_turn({})  # compiled
            elif self.turn_left == timed:
                self.turn_began, self.turn_used, self.turn_log = now, used, 0.0
            else:
                self.turn_log += now - start
            if self.turn_left == 0:
                self.take_turn(
                    {
                        "seconds": now - self.turn_began,
                        "cpu_seconds": used - self.turn_used,
                        "log": self.turn_log,
                    }
                )

        def take_turn(self, result: dict[str, Any]) -> None:
            answer(result)
            if not sys.stdin.readline():
                os._exit(0)  # leaves no checkpoint
            self.turn_left = warm + timed

    progress.Log = PacedLog
    memory.keep_freed()  # as planet_tf.train does
    loop.train(config, make_task)


def serve_bare(config: TrainConfig, classes: int, warm: int, n: int) -> None:
    """A step of the model and optimizer of planet_tf.train, and no more."""
    memory.keep_freed()
    keras.utils.set_random_seed(config.seed)
    model = photo_task.build_model(config, classes)
    optimizer = steps.Adagrad(model.trainable_variables)
    images, labels = _constant_batch(config, classes)

    @tf.function
    def step() -> tf.Tensor:
        loss, gradients = _gradients(model, images, labels)
        optimizer.apply(
            gradients, model.trainable_variables, config.learning_rate
        )
        return loss

    _serve_step(step, warm, n, gflop=forward_gflop(model))


def serve_stock(config: TrainConfig, classes: int, warm: int, n: int) -> None:
    """The same of Keras' own layers and optimizer."""
    model = _stock_model(config, classes)
    optimizer = keras.optimizers.Adagrad(config.learning_rate)
    optimizer.build(model.trainable_variables)
    images, labels = _constant_batch(config, classes)

    @tf.function
    def step() -> tf.Tensor:
        loss, gradients = _gradients(model, images, labels)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    _serve_step(step, warm, n)


def serve_fit(config: TrainConfig, classes: int, warm: int, n: int) -> None:
    """keras.Model.fit."""
    model = _stock_model(config, classes)
    model.compile(
        keras.optimizers.Adagrad(config.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # which is slower on CPUs
    )
    batch = _constant_batch(config, classes)
    batches = tf.data.Dataset.from_tensors(batch).repeat()

    def fit(many: int) -> None:
        model.fit(batches, steps_per_epoch=many, verbose=0)

    _serve_steps(fit, warm, n)


def serve_machine(
    config: TrainConfig, classes: int, precisions: list[str], n: int
) -> None:
    """The input alone, and the peaks of matrix products."""
    model = photo_task.build_model(config, classes)
    shards = data_dirs.open_shards(config.shards)
    batches = iter(
        input_pipeline.training_batches(
            shards,
            config,
            first_step=0,
            context=tf.distribute.InputContext(),
        )
    )

    def read(many: int) -> None:
        for _ in range(many * INPUT_BATCHES):
            next(batches)

    def input_alone() -> dict[str, Any]:
        found = timed_steps(read, 1, n)
        return {key: value / INPUT_BATCHES for key, value in found.items()}

    works = {precision: _peak(precision) for precision in precisions}
    rounds.serve(works | {"input": input_alone}, gflop=forward_gflop(model))


def forward_gflop(model: keras.Model) -> float:
    """Arithmetic of the convolutions and products for one image."""
    flop = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            flop += 1e9 * forward_gflop(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            flop += 2 * np.prod(layer.kernel.shape) * height * width
        elif isinstance(layer, keras.layers.Dense):
            flop += 2 * np.prod(layer.kernel.shape)
    return float(flop / 1e9)


def _peak(precision: str) -> Callable[[], dict[str, Any]]:
    shape = (_PEAK_SIZE, _PEAK_SIZE)
    one, other = (
        tf.cast(tf.random.stateless_normal(shape, (0, i)), precision)
        for i in range(2)
    )

    # The sum has the product ready when it is asked for.
    @tf.function
    def product() -> tf.Tensor:
        return tf.linalg.matmul(one, other)[0, 0]

    def work() -> dict[str, Any]:
        product().numpy()
        start, many = time.perf_counter(), 0
        while (seconds := time.perf_counter() - start) < _PEAK_SECONDS:
            product().numpy()
            many += 1
        return {"gflops": many * 2 * _PEAK_SIZE**3 / seconds / 1e9}

    return work


def _stock_model(config: TrainConfig, classes: int) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    mixed = config.precision == "bfloat16"
    keras.config.set_dtype_policy(
        "mixed_bfloat16" if mixed else config.precision
    )
    trunk = keras.applications.InceptionV3(
        include_top=False,
        weights=None,
        input_shape=(config.image_size, config.image_size, 3),
        pooling="avg",
    )
    logits = keras.layers.Dense(classes)(trunk.output)
    logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(trunk.input, logits)


def _gradients(
    model: keras.Model, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape, models.dropout_seed([0, 0]):
        logits = model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    return loss, tape.gradient(loss, model.trainable_variables)


def _constant_batch(config: TrainConfig, classes: int) -> tuple:
    rng = np.random.default_rng(config.seed)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    images = tf.constant(rng.uniform(-1, 1, shape), tf.float32)
    labels = rng.integers(0, classes, config.batch_size)
    return images, tf.constant(labels, tf.int64)


def _serve_step(
    step: Callable[[], tf.Tensor], warm: int, timed: int, **facts: Any
) -> None:
    def run(many: int) -> None:
        for _ in range(many):
            step().numpy()

    _serve_steps(run, warm, timed, **facts)


def _serve_steps(
    run: Callable[[int], None], warm: int, timed: int, **facts: Any
) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        run(2)
    rounds.serve({"step": lambda: timed_steps(run, warm, timed)}, **facts)


def timed_steps(
    run: Callable[[int], None], warm: int, timed: int
) -> rounds.Result:
    """What some steps take, after others that are not counted."""
    run(warm)
    start, used = time.perf_counter(), time.process_time()
    run(timed)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - used,
    }
