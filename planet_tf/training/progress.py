"""What a training run says of itself: lines for people.

What TensorBoard shows of it is in events.py.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from planet_tf.answering import metrics
from planet_tf.data.data_dirs import RecordFiles
from planet_tf.options.train_config import RunConfig
from planet_tf.training import events


class TrainingError(RuntimeError):
    """A run that cannot go on."""


class Log:
    """A run's progress: lines for people, and events for TensorBoard.

    The loop calls `before_steps` before each call of the device, `training`
    every `log_every` steps, and does all that is not training (validation,
    checkpoints) within `aside`, whose time does not count as training's.
    """

    # From `start` on.
    first_step: int
    begun: float
    begun_step: int
    last: float
    last_step: int
    paused: float

    def __init__(
        self,
        config: RunConfig,
        data: RecordFiles,
        *,
        write: bool,
    ):
        self.config = config
        self.data = data
        self.epoch_steps = data.steps_per_epoch(config.batch_size)
        self.events = events.Events(config, self.say) if write else None
        self.median = ""  # of the last validation, in words

    def start(
        self,
        step: int,
        replicas: int,
        model: keras.Model,
        notes: Sequence[str] = (),
    ) -> None:
        """Says what is about to run."""
        data = self.data
        self.say(
            f"{data.count('train'):,} {data.what}, {self.epoch_steps:,} steps"
            f" an epoch; {data.partition.num_classes:,} classes;"
            f" {model.count_params():,} parameters; {replicas} replica(s) of"
            f" {self.config.batch_size // replicas} {data.what} a step"
        )
        for note in notes:
            self.say(note)
        if step:
            self.say(f"going on from step {step:,}")
        if self.events:
            self.events.start(step)
        self.first_step = step
        self._begin(step)

    def before_steps(self, step: int) -> None:
        """Notes that the device is about to be called after `step` steps."""
        if step > self.first_step == self.begun_step:
            # The first call compiles, which says nothing of the others.
            self._begin(step)
        if self.events:
            with self.aside():  # a profile takes a while to be written
                self.events.before_steps(step)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What takes place here is not training: its time is left out."""
        begun = time.monotonic()
        yield
        self.paused += time.monotonic() - begun

    def training(
        self,
        step: int,
        losses: np.ndarray,
        accuracies: np.ndarray,
        rate: float,
    ) -> None:
        """A line and scalars for the steps since the last one.

        Args:
          step: steps done.
          losses: (n,) of the steps since the last call.
          accuracies: (n,), alike.
          rate: the learning rate of the last step.

        Raises:
          TrainingError: the loss is not a finite number.
        """
        self._check_finite(step, losses)
        now = time.monotonic()
        steps, seconds = step - self.last_step, now - self.last - self.paused
        speed = steps * self.config.batch_size / max(seconds, 1e-9)
        pace = (now - self.begun) / max(1, step - self.begun_step)
        self.last, self.last_step, self.paused = now, step, 0.0
        found = {
            "loss": float(np.mean(losses)),
            "accuracy": float(np.mean(accuracies)),
            "learning_rate": rate,
            f"{self.data.what}_per_second": speed,
        }
        self.say(
            f"step {step:,}/{self.config.steps:,}"
            f"  epoch {step / self.epoch_steps:.2f}"
            f"  {_figure(speed)} {self.data.what}/s"
            f"  {_clock((self.config.steps - step) * pace)} left"
            f"  loss {found['loss']:.3f}"
            f"  accuracy {found['accuracy']:.3f}{self.median}"
        )
        if self.events:
            self.events.training(step, found)

    def validation(
        self,
        step: int,
        figures: Mapping[str, float],
        errors_km: np.ndarray,
        pictures: Callable[[], Sequence[np.ndarray]],
    ) -> None:
        """A line, scalars and pictures for a validation.

        Args:
          step: steps done.
          figures: of metrics.summary, and `loss` and `accuracy`.
          errors_km: (n, k) of the k likeliest cells of n photos.
          pictures: makes pictures of examples.
        """
        within = " ".join(
            f"{km}km {figures[f'top1_within_{km}km']:.1%}"
            for km in metrics.RADII_KM
        )
        median = f"{figures['median_km']:,.0f} km"
        self.say(
            f"validation  loss {figures['loss']:.3f}"
            f"  accuracy {figures['accuracy']:.3f}"
            f"  median {median}  within {within}"
        )
        self.median = f"  validation at {step:,}: median {median}"
        if self.events:
            self.events.validation(step, figures, errors_km, pictures())

    def say(self, text: str) -> None:
        """One line to the log of this process."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the event files."""
        if self.events:
            self.events.close()

    def _begin(self, step: int) -> None:
        """Counts time and steps from here."""
        self.begun = self.last = time.monotonic()
        self.begun_step = self.last_step = step
        self.paused = 0.0

    def _check_finite(self, step: int, losses: np.ndarray) -> None:
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            first = step - len(losses) + int(wrong[0]) + 1
            raise TrainingError(
                f"the loss is {losses[wrong[0]]} at step {first}: lower"
                " --learning_rate, or add --warmup_steps or --clip_norm; the"
                " last checkpoint is from before"
            )


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
