"""The training loop of the photo model, from top to bottom (PlaNet 3.2).

A Keras model under a tf.distribute strategy, in a loop of our own: Keras'
`fit` does not run under MultiWorkerMirroredStrategy. A step is a function of
the step's number and the state before it, so that a run killed anywhere goes
on from its last checkpoint to the very same weights.
"""

import hashlib
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from planet_tf import (
    distribution,
    export,
    input_pipeline,
    metrics,
    model_dir,
    models,
    progress,
)
from planet_tf.config import TrainConfig
from planet_tf.config_flags import UsageError

_FINGERPRINT_KEY = "partition_fingerprint/.ATTRIBUTES/VARIABLE_VALUE"


def train(config: TrainConfig) -> None:
    """Trains until `config.steps`, from the last checkpoint if there is one."""
    # First of all: a worker cannot join a cluster after other operations.
    strategy = distribution.make_strategy(config.strategy, config.tpu)
    _check_lanes(config, strategy)
    shards = input_pipeline.open_shards(config.shards)
    chief = distribution.is_chief(strategy)
    model_dir.claim(config, shards, write=chief)
    keras.utils.set_random_seed(config.seed)

    # --- state
    with strategy.scope():
        model = build_model(config, shards.partition.num_classes)
        optimizer = keras.optimizers.Adagrad(RateSchedule(config))
        optimizer.build(model.trainable_variables)
    manager = _restore(config, shards, model, optimizer)
    train_step = make_train_step(strategy, model, optimizer, config)
    validation_step = make_validation_step(
        strategy, model, first_cell=int(shards.partition.other_class)
    )

    # --- loop
    step = int(optimizer.iterations.numpy())
    per_epoch = input_pipeline.steps_per_epoch(shards, config)
    log = progress.Log(config, write=chief, epoch_steps=per_epoch)
    log.start(step, shards, strategy.num_replicas_in_sync, model)
    while step < config.steps:
        epoch, first = divmod(step, per_epoch)
        batches = strategy.distribute_datasets_from_function(
            lambda context, epoch=epoch, first=first: (
                input_pipeline.training_batches(
                    shards,
                    config,
                    epoch=epoch,
                    first_step=first,
                    context=context,
                )
            )
        )
        for images, labels in batches:
            log.add(train_step(images, labels))
            step += 1
            if step % config.log_every == 0 or step == config.steps:
                log.training(step, optimizer)
            if step % config.validate_every == 0 or step == config.steps:
                average_batch_norm(strategy, model)
                figures = validate(strategy, validation_step, shards, config)
                log.validation(step, figures)
                if chief:
                    manager.save(checkpoint_number=step)
            if step == config.steps:
                break

    # --- export
    log.say(f"weights {weights_digest(model)}")
    target = os.path.join(config.model_dir, model_dir.EXPORT)
    if chief and not tf.io.gfile.exists(target):
        _export(config, shards, model, target)
    log.close()
    distribution.barrier(strategy)


def build_model(config: TrainConfig, num_classes: int) -> keras.Model:
    """The photo model that a run's options ask for."""
    return models.photo_classifier(
        num_classes,
        image_size=config.image_size,
        width=config.width,
        batch_norm_momentum=config.batch_norm_momentum,
        synchronized_batch_norm=config.synchronized_batch_norm,
        standardize=config.standardize,
        precision=config.precision,
    )


def weights_digest(model: keras.Model) -> str:
    """Tells whether two processes or runs have the very same weights."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return "sha256:" + digest.hexdigest()


class RateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate by step: linear warm-up, then constant or down to 0."""

    def __init__(self, config: TrainConfig):
        self.config = config

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step, counted from 0."""
        config = self.config
        step = tf.cast(step, tf.float32)
        warm = tf.minimum(1.0, (step + 1) / max(1, config.warmup_steps))
        left = config.steps - config.warmup_steps
        done = tf.clip_by_value((step - config.warmup_steps) / left, 0.0, 1.0)
        decay = {
            "constant": tf.ones_like(done),
            "linear": 1.0 - done,
            "cosine": 0.5 * (1.0 + tf.cos(np.pi * done)),
        }[config.schedule]
        return config.learning_rate * warm * decay

    def get_config(self) -> dict[str, Any]:
        """Keras' own needs; the run's config.json is what counts."""
        return {"config": self.config}


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
) -> Any:
    """A compiled step: global batch in, its mean loss and accuracy out."""

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            # Replicas' gradients are summed, so each takes its share.
            loss = tf.reduce_sum(losses) / config.batch_size
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        hits = tf.argmax(logits, -1) == labels
        accuracy = tf.reduce_sum(tf.cast(hits, tf.float32)) / config.batch_size
        return loss, accuracy

    @tf.function
    def step(images: Any, labels: Any) -> list[tf.Tensor]:
        found = strategy.run(replica_step, args=(images, labels))
        return [strategy.reduce("SUM", x, axis=None) for x in found]

    return step


def make_validation_step(
    strategy: tf.distribute.Strategy, model: keras.Model, first_cell: int
) -> Any:
    """A compiled step: batch in, losses, top cells, truth, weights out.

    `first_cell` is the label of the partition's first cell.
    """

    def replica_step(batch: dict[str, tf.Tensor]) -> tuple:
        logits = model(batch["image"], training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["label"], logits
        )
        of_cells = logits[:, first_cell:]  # "other" is no answer
        k = min(metrics.TOP, of_cells.shape[-1])
        top = tf.math.top_k(of_cells, k).indices
        hits = tf.cast(tf.argmax(logits, -1) == batch["label"], tf.int32)
        return losses, hits, top, batch["latlng"], batch["weight"]

    @tf.function
    def step(batch: Any) -> list[tf.Tensor]:
        found = strategy.run(replica_step, args=(batch,))
        return [strategy.gather(x, axis=0) for x in found]

    return step


def average_batch_norm(
    strategy: tf.distribute.Strategy, model: keras.Model
) -> None:
    """Gives all replicas the mean of their moving statistics.

    Each replica's batch norm follows its own batches; Keras 3 leaves them so.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    variables = [v.value for v in model.non_trainable_variables]

    @tf.function
    def average() -> None:
        def replica() -> None:
            context = tf.distribute.get_replica_context()
            for variable in variables:
                mean = context.all_reduce("MEAN", tf.identity(variable))
                variable.assign(mean)

        strategy.run(replica)

    average()


def validate(
    strategy: tf.distribute.Strategy,
    step: Any,
    shards: input_pipeline.Shards,
    config: TrainConfig,
) -> dict[str, float]:
    """Loss, accuracy and distances over the validation split."""
    per_replica = max(1, config.batch_size // strategy.num_replicas_in_sync)
    batches = strategy.distribute_datasets_from_function(
        lambda context: input_pipeline.evaluation_batches(
            shards,
            "validation",
            image_size=config.image_size,
            batch_size=per_replica,
            context=context,
        )
    )
    found = [[x.numpy() for x in step(batch)] for batch in batches]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    losses, hits, top, truth, weights = columns
    real = weights > 0
    points = shards.partition.latlng[top[real]]
    figures = metrics.summary(metrics.errors_km(points, truth[real]))
    figures["loss"] = float(losses[real].mean())
    figures["accuracy"] = float(hits[real].mean())
    return figures


def _check_lanes(config: TrainConfig, strategy: tf.distribute.Strategy) -> None:
    replicas = strategy.num_replicas_in_sync
    if config.lanes % replicas:
        raise UsageError(
            f"--lanes is {config.lanes} with {replicas} replicas: it must be a"
            f" multiple of them, e.g. --lanes={replicas}"
        )


def _restore(
    config: TrainConfig,
    shards: input_pipeline.Shards,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> tf.train.CheckpointManager:
    """Restores the newest checkpoint if there is one."""
    fingerprint = shards.partition.fingerprint
    checkpoint = tf.train.Checkpoint(
        model=model,
        optimizer=optimizer,
        partition_fingerprint=tf.Variable(fingerprint, trainable=False),
    )
    manager = tf.train.CheckpointManager(
        checkpoint,
        os.path.join(config.model_dir, model_dir.CHECKPOINTS),
        max_to_keep=config.keep_checkpoints,
    )
    path = manager.latest_checkpoint
    if path:
        written = tf.train.load_checkpoint(path).get_tensor(_FINGERPRINT_KEY)
        model_dir.check_partition(
            written.decode(), f"checkpoint {path}", fingerprint, config.shards
        )
        checkpoint.restore(path).assert_consumed()
    return manager


def _export(
    config: TrainConfig,
    shards: input_pipeline.Shards,
    model: keras.Model,
    target: str,
) -> None:
    """Writes the SavedModel from a copy outside the strategy."""
    plain = build_model(config, shards.partition.num_classes)
    plain.set_weights(model.get_weights())
    partition_file = os.path.join(config.model_dir, model_dir.PARTITION)
    module = export.PhotoGeolocator(
        plain, shards.partition, partition_file, config.image_size
    )
    export.save(module, target)
