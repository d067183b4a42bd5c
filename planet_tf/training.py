"""The training loop of the photo model, from top to bottom (PlaNet 3.2).

A Keras model under a tf.distribute strategy, in a loop of our own: Keras'
`fit` does not run under MultiWorkerMirroredStrategy. A step is a function of
the step's number and the state before it, so that a run stopped anywhere goes
on from its last checkpoint to the very same weights.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from planet_tf import (
    checkpoints,
    distribution,
    events,
    export,
    input_pipeline,
    model_dir,
    models,
    planning,
    preemption,
    progress,
    soft_labels,
    steps,
    warm_start,
)
from planet_tf.config import TrainConfig
from planet_tf.validation import Validation

_EXPORT_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run works with."""

    config: TrainConfig
    shards: input_pipeline.Shards
    strategy: tf.distribute.Strategy
    stop: preemption.StopSignals
    model: keras.Model
    optimizer: steps.Adagrad
    checkpoints: checkpoints.Checkpoints
    log: progress.Log


def train(config: TrainConfig) -> None:
    """Trains until `config.steps`, from the last checkpoint if there is one.

    Raises:
      preemption.Preempted: a signal stopped it; a checkpoint is left.
    """
    with preemption.StopSignals() as stop:
        _train(config, stop)


def _train(config: TrainConfig, stop: preemption.StopSignals) -> None:
    # First of all: a worker cannot join a cluster after other operations.
    strategy = distribution.make_strategy(config, stop)
    shards = input_pipeline.open_shards(config.shards)
    plan = planning.plan(config, shards, strategy)
    if config.dry_run:
        print(planning.text(plan), flush=True)
    plan.refuse()
    if config.dry_run:
        return
    distribution.agree(strategy, model_dir.facts(config, shards))
    chief = distribution.is_chief(strategy)
    model_dir.claim(config, shards, write=chief)
    keras.utils.set_random_seed(config.seed)

    # --- state
    with strategy.scope():
        model = build_model(config, shards.partition.num_classes)
        optimizer = steps.Adagrad(model.trainable_variables)
    saved = checkpoints.Checkpoints(
        config, shards, model, optimizer, write=chief
    )
    step = saved.restore()
    distribution.agree(strategy, {"step": str(step)})
    notes = saved.notes
    if config.init_from and not step:
        notes += [warm_start.load(config.init_from, model, shards.partition)]
        first = {"first weights": weights_digest(model)}
        distribution.agree(strategy, first)  # each has read them for itself
    notes += plan.hints

    # --- loop
    per_epoch = input_pipeline.steps_per_epoch(shards, config)
    log = progress.Log(config, shards, write=chief, epoch_steps=per_epoch)
    log.start(step, strategy.num_replicas_in_sync, model, notes)
    run = Run(config, shards, strategy, stop, model, optimizer, saved, log)
    if step < config.steps:
        _loop(run, step)

    # --- export
    log.say(f"weights {weights_digest(model)}")
    if chief:
        _export(run)
    log.close()
    distribution.barrier(strategy)


def _loop(run: Run, step: int) -> None:
    """Trains from a step on; logs, saves and validates on the way."""
    config, strategy, log = run.config, run.strategy, run.log
    train_loop = steps.make_train_loop(
        strategy, run.model, run.optimizer, config, _targets(run)
    )
    rate = steps.RateSchedule(config)
    validation = Validation(strategy, run.model, run.shards, config)
    batches = _training_batches(run, step)
    figures = []
    while step < config.steps:
        log.before_steps(step)
        many = steps_to_pause(step, config)
        losses, hits, stops = train_loop(batches, many, run.stop.requested)
        figures.append((losses, hits))
        step += many
        last = step == config.steps
        if last or step % config.log_every == 0:
            losses, hits = np.hstack(figures)
            log.training(step, losses, hits, float(rate(step - 1)))
            figures = []
        validate = last or step % config.validate_every == 0
        if stops or validate or step % config.checkpoint_every == 0:
            with log.aside():
                # First of all, as a validation may take long.
                run.checkpoints.save(step)
                if validate and not stops:
                    found = validation(run.stop)
                    stops = found is None
                    if found:
                        log.validation(step, *found, run.model)
        if stops:
            log.close()
            distribution.barrier(strategy)  # until the chief has saved
            raise preemption.Preempted(
                f"stopped after step {step:,}", run.stop.number
            )


def steps_to_pause(step: int, config: TrainConfig) -> int:
    """How many steps to make in one call, so that no rhythm is missed."""
    rhythms = (
        config.steps_per_loop,
        config.log_every,
        config.validate_every,
        config.checkpoint_every,
    )
    pauses = [(step // every + 1) * every for every in rhythms]
    if config.profile_step:
        end = config.profile_step + events.PROFILED_STEPS
        pauses += [config.profile_step, end]
    return min(p for p in (*pauses, config.steps) if p > step) - step


def build_model(config: TrainConfig, num_classes: int) -> keras.Model:
    """The photo model that a run's options ask for."""
    return models.photo_classifier(
        num_classes,
        image_size=config.image_size,
        width=config.width,
        batch_norm_momentum=config.batch_norm_momentum,
        synchronized_batch_norm=config.synchronized_batch_norm,
        standardize=config.standardize,
        dropout=config.dropout,
        precision=config.precision,
    )


def weights_digest(model: keras.Model) -> str:
    """Tells whether two processes or runs have the very same weights."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return "sha256:" + digest.hexdigest()


def _targets(run: Run) -> steps.Targets | None:
    if not run.config.soft_labels_km:
        return None
    return soft_labels.SoftLabels(
        run.shards.partition, run.config.soft_labels_km
    )


def _training_batches(run: Run, step: int) -> Iterator:
    """The global batches of all steps from one on."""

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = input_pipeline.training_batches(
            run.shards, run.config, first_step=step, context=context
        )
        # No step asks for more than there is. If a stream might end, workers
        # would ask one another before each batch whether it has.
        endless = tf.data.experimental.INFINITE_CARDINALITY
        return batches.apply(tf.data.experimental.assert_cardinality(endless))

    return iter(run.strategy.distribute_datasets_from_function(of_worker))


def _export(run: Run) -> None:
    """Writes the SavedModel of the last step, unless it is there."""
    config = run.config
    target = os.path.join(config.model_dir, model_dir.EXPORT)
    if _exported_step(target) == config.steps:
        return
    # From a copy outside the strategy.
    plain = build_model(config, run.shards.partition.num_classes)
    plain.set_weights(run.model.get_weights())
    partition_file = os.path.join(config.model_dir, model_dir.PARTITION)
    module = export.PhotoGeolocator(
        plain, run.shards.partition, partition_file, config.image_size
    )
    module.step = tf.Variable(config.steps, dtype=tf.int64, trainable=False)
    export.save(module, target)


def _exported_step(target: str) -> int:
    """The step of a SavedModel, -1 if there is none or it does not say."""
    if not tf.io.gfile.exists(target):
        return -1
    reader = tf.train.load_checkpoint(
        os.path.join(target, "variables", "variables")
    )
    if not reader.has_tensor(_EXPORT_STEP):
        return -1
    return int(reader.get_tensor(_EXPORT_STEP))
