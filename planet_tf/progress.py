"""What a training run says of itself: to people and to TensorBoard."""

import os
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from planet_tf import input_pipeline, metrics, model_dir
from planet_tf.config import TrainConfig


class TrainingError(RuntimeError):
    """A run that cannot go on."""


class Log:
    """A run's progress: lines for people, scalars for TensorBoard."""

    def __init__(self, config: TrainConfig, *, write: bool, epoch_steps: int):
        self.config = config
        self.epoch_steps = epoch_steps
        self.pending: list[Any] = []
        self.writers = {}
        for name in ("train", "validation") if write else ():
            path = os.path.join(config.model_dir, model_dir.EVENTS, name)
            self.writers[name] = tf.summary.create_file_writer(path)

    def start(
        self,
        step: int,
        shards: input_pipeline.Shards,
        replicas: int,
        model: keras.Model,
    ) -> None:
        """Says what is about to run."""
        self.say(
            f"{shards.count('train'):,} photos, {self.epoch_steps:,} steps an"
            f" epoch; {shards.partition.num_classes:,} classes;"
            f" {model.count_params():,} parameters; {replicas} replica(s) of"
            f" {self.config.batch_size // replicas} photos a step"
        )
        if step:
            self.say(f"going on from step {step:,}")
        self.begun = time.monotonic()
        self.begun_step = step
        self.last, self.last_step = self.begun, step

    def add(self, figures: list[tf.Tensor]) -> None:
        """Notes a step's loss and accuracy."""
        self.pending.append(figures)

    def training(
        self, step: int, optimizer: keras.optimizers.Optimizer
    ) -> None:
        """A line and scalars for the steps since the last one."""
        values = np.array([[x.numpy() for x in row] for row in self.pending])
        self.pending = []
        loss, accuracy = values.mean(axis=0).tolist()
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step}: lower --learning_rate or"
                " add --warmup_steps"
            )
        now = time.monotonic()
        speed = (step - self.last_step) / (now - self.last)
        overall = (step - self.begun_step) / (now - self.begun)
        self.last, self.last_step = now, step
        left = (self.config.steps - step) / overall
        images = speed * self.config.batch_size
        self.say(
            f"step {step:,}/{self.config.steps:,}"
            f"  epoch {step / self.epoch_steps:.2f}"
            f"  loss {loss:.3f}  accuracy {accuracy:.3f}"
            f"  {images:.0f} images/s  {_clock(left)} left"
        )
        rate = float(optimizer.learning_rate.numpy())
        self._write(
            "train",
            step,
            {
                "loss": loss,
                "accuracy": accuracy,
                "learning_rate": rate,
                "images_per_second": images,
            },
        )

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """A line and scalars for a validation."""
        within = " ".join(
            f"{km}km {figures[f'top1_within_{km}km']:.1%}"
            for km in metrics.RADII_KM
        )
        self.say(
            f"validation  loss {figures['loss']:.3f}"
            f"  accuracy {figures['accuracy']:.3f}"
            f"  median {figures['median_km']:.0f} km  within {within}"
        )
        # TensorBoard groups curves by what stands before a slash.
        tags = {k.replace("_within", "/within"): v for k, v in figures.items()}
        self._write("validation", step, tags)
        self.last = time.monotonic()  # validation does not slow training
        for writer in self.writers.values():
            writer.flush()

    def say(self, text: str) -> None:
        """One line to the log of this process."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the event files."""
        for writer in self.writers.values():
            writer.close()

    def _write(self, name: str, step: int, figures: dict[str, float]) -> None:
        if name in self.writers:
            with self.writers[name].as_default(step):
                for key, value in figures.items():
                    tf.summary.scalar(key, value)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
