"""The training loop, from top to bottom (PlaNet 3.2 and 3.3).

A Keras model under a tf.distribute strategy, in a loop of our own: Keras'
`fit` does not run under MultiWorkerMirroredStrategy. A step is a function of
the step's number and the state before it, so that a run stopped anywhere goes
on from its last checkpoint to the very same weights.

What is trained, and on what, is a task: photo_task.py or album_task.py.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import keras
import numpy as np
import tensorflow as tf

from planet_tf.data.data_dirs import RecordFiles
from planet_tf.model import export, model_dir, models
from planet_tf.options.train_config import RunConfig
from planet_tf.sizing import planning, resources
from planet_tf.training import (
    checkpoints,
    distribution,
    events,
    progress,
    steps,
    validation,
)
from planet_tf.workers import preemption

Options = TypeVar("Options", bound=RunConfig)

_EXPORT_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"


class Task(Protocol):
    """What is trained, and on what."""

    @property
    def config(self) -> RunConfig:
        """Options of the run."""

    @property
    def data(self) -> RecordFiles:
        """The records."""

    def plan(self, hardware: resources.Hardware) -> planning.Plan:
        """What the run takes on some hardware."""

    def build_model(self) -> keras.Model:
        """A model with random weights."""

    def start(self, model: keras.Model) -> list[str]:
        """Gives a new model its first weights, if not random ones.

        Called between replicas; returns what was done, for the log.
        """

    def batches(
        self, first_step: int, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches from a step to the last, one a replica."""

    def step(self, model: keras.Model, optimizer: steps.Adagrad) -> steps.Step:
        """The train step of a replica."""

    def validation_batches(
        self, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """One worker's batches of the validation split."""

    def answer(self, model: keras.Model) -> steps.Answer:
        """The model's answers for a replica's batch of validation."""

    def pictures(self, model: keras.Model) -> list[np.ndarray]:
        """Examples (height, width, 3) uint8 of answers, for TensorBoard."""

    def servable(self, model: keras.Model) -> tf.Module:
        """What to export, of a model outside any strategy."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run works with."""

    task: Task
    strategy: tf.distribute.Strategy
    stop: preemption.StopSignals
    model: keras.Model
    optimizer: steps.Adagrad
    checkpoints: checkpoints.Checkpoints
    log: progress.Log


def train(config: Options, make_task: Callable[[Options], Task]) -> None:
    """Trains until `config.steps`, from the last checkpoint if there is one.

    Args:
      config: options of the run.
      make_task: what they say is to be trained.

    Raises:
      preemption.Preempted: a signal stopped it; a checkpoint is left.
    """
    with preemption.StopSignals() as stop:
        # First of all: a worker cannot join a cluster after other operations.
        strategy = distribution.make_strategy(config, stop)
        _train(make_task(config), strategy, stop)


def _train(
    task: Task,
    strategy: tf.distribute.Strategy,
    stop: preemption.StopSignals,
) -> None:
    config, data = task.config, task.data
    plan = task.plan(resources.hardware(config.model_dir, strategy))
    if config.dry_run:
        print(planning.text(plan), flush=True)
    plan.refuse()
    if config.dry_run:
        return
    distribution.agree(strategy, model_dir.facts(config, data))
    chief = distribution.is_chief(strategy)
    model_dir.claim(config, data, write=chief)
    keras.utils.set_random_seed(config.seed)

    # --- state
    with strategy.scope():
        model = task.build_model()
        optimizer = steps.Adagrad(model.trainable_variables)
    saved = checkpoints.Checkpoints(config, data, model, optimizer, write=chief)
    step, notes = _first_step(task, strategy, model, saved)

    # --- loop
    log = progress.Log(config, data, write=chief)
    log.start(step, strategy.num_replicas_in_sync, model, [*notes, *plan.hints])
    run = Run(task, strategy, stop, model, optimizer, saved, log)
    if step < config.steps:
        _loop(run, step)

    # --- export
    log.say(f"weights {models.weights_digest(model)}")
    if chief:
        _export(run)
    log.close()
    distribution.barrier(strategy)


def _first_step(
    task: Task,
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    saved: checkpoints.Checkpoints,
) -> tuple[int, list[str]]:
    """The step that all workers start at, and notes on where from."""
    step = saved.restore()
    distribution.agree(strategy, {"step": str(step)})
    notes = list(saved.notes)
    if not step:
        notes += task.start(model)
        # What it read it has read for itself.
        digest = models.weights_digest(model)
        distribution.agree(strategy, {"first weights": digest})
    return step, notes


def _loop(run: Run, step: int) -> None:
    """Trains from a step on; logs, saves and validates on the way."""
    task, log, config = run.task, run.log, run.task.config
    train_loop = steps.make_train_loop(
        run.strategy, task.step(run.model, run.optimizer)
    )
    rate = steps.RateSchedule(config)
    validate = validation.Validation(run.strategy, run.model, task)
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
        due = last or step % config.validate_every == 0
        if stops or due or step % config.checkpoint_every == 0:
            with log.aside():
                # First of all, as a validation may take long.
                run.checkpoints.save(step)
                if due and not stops:
                    found = validate(run.stop)
                    stops = found is None
                    if found:
                        pictures = functools.partial(task.pictures, run.model)
                        log.validation(step, *found, pictures)
        if stops:
            log.close()
            distribution.barrier(run.strategy)  # until the chief has saved
            raise preemption.Preempted(
                f"stopped after step {step:,}", run.stop.number
            )


def steps_to_pause(step: int, config: RunConfig) -> int:
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


def _training_batches(run: Run, step: int) -> Iterator:
    """The global batches of all steps from one on."""

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = run.task.batches(step, context)
        # No step asks for more than there is. If a stream might end, workers
        # would ask one another before each batch whether it has.
        endless = tf.data.experimental.INFINITE_CARDINALITY
        return batches.apply(tf.data.experimental.assert_cardinality(endless))

    return iter(run.strategy.distribute_datasets_from_function(of_worker))


def _export(run: Run) -> None:
    """Writes the SavedModel of the last step, unless it is there."""
    config = run.task.config
    target = os.path.join(config.model_dir, model_dir.EXPORT)
    if _exported_step(target) == config.steps:
        return
    # From a copy outside the strategy.
    plain = run.task.build_model()
    plain.set_weights(run.model.get_weights())
    module = run.task.servable(plain)
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
