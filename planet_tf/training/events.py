"""What TensorBoard shows of a training run.

tensorboard --logdir=MODEL_DIR, or a directory of several to compare them:

    Scalars     curves, of training and of validations
    Images      some validation photos, each with a map of the model's answer
    Histograms  errors of all validation photos
    HParams     options that shape the result, and what came of them
    Text        options, fingerprints and versions of the run
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from planet_tf import config_flags
from planet_tf.model import model_dir
from planet_tf.options.train_config import RunConfig

PROFILED_STEPS = 10
_LEAST_KM = 0.1  # smaller errors are shown as this one
_HISTOGRAM = (
    "Great-circle error of the likeliest cell of each validation photo, as"
    f" log10 of km: -1 is {_LEAST_KM} km or less, 0 is 1 km, 1 is 10 km, 2 is"
    " 100 km, 3 is 1,000 km; 4.3 is the other side of the Earth."
)


class Events:
    """Writes a run's event files; in the chief only."""

    def __init__(self, config: RunConfig, say: Callable[[str], None]):
        self.config = config
        self.say = say
        self.directory = os.path.join(config.model_dir, model_dir.EVENTS)
        self.writers = {
            name: tf.summary.create_file_writer(
                os.path.join(self.directory, name)
            )
            for name in ("train", "validation")
        }
        self.profiling = False

    def start(self, step: int) -> None:
        """Writes the options: what they are, and a row for HParams."""
        facts = model_dir.read_config(self.config.model_dir)
        with self.writers["validation"].as_default(step):
            tf.summary.text("configuration", options_table(facts))
            # Without hparams.hparams_config: TensorBoard then lists first the
            # options in which runs differ.
            hparams.hparams(
                shaping_options(self.config), trial_id=self.config.model_dir
            )

    def before_steps(self, step: int) -> None:
        """Begins and ends the profile."""
        first = self.config.profile_step
        if self.profiling and step >= first + PROFILED_STEPS:
            self._end_profile()
        elif first and step == first:
            tf.profiler.experimental.start(
                os.path.join(self.directory, "train")
            )
            self.profiling = True

    def training(self, step: int, figures: Mapping[str, float]) -> None:
        """Scalars of training."""
        self._scalars("train", step, figures)

    def validation(
        self,
        step: int,
        figures: Mapping[str, float],
        errors_km: np.ndarray,
        pictures: Sequence[np.ndarray],
    ) -> None:
        """Scalars, the histogram of errors (n, k), and pictures."""
        # TensorBoard groups curves by what stands before a slash.
        tags = {k.replace("_within", "/within"): v for k, v in figures.items()}
        self._scalars("validation", step, tags)
        with self.writers["validation"].as_default(step):
            tf.summary.histogram(
                "error_log10_km",
                np.log10(np.maximum(errors_km[:, 0], _LEAST_KM)),
                description=_HISTOGRAM,
            )
            for number, picture in enumerate(pictures, 1):
                tf.summary.image(f"examples/{number}", picture[None])
        for writer in self.writers.values():
            writer.flush()

    def close(self) -> None:
        """Ends the files."""
        if self.profiling:
            self._end_profile()
        for writer in self.writers.values():
            writer.close()

    def _end_profile(self) -> None:
        tf.profiler.experimental.stop()
        self.profiling = False
        self.say(
            f"profile written to {self.directory}/train/plugins/profile; to see"
            " it in TensorBoard: pip install tensorboard-plugin-profile"
        )

    def _scalars(
        self, name: str, step: int, figures: Mapping[str, float]
    ) -> None:
        with self.writers[name].as_default(step):
            for key, value in figures.items():
                tf.summary.scalar(key, value)


def shaping_options(config: RunConfig) -> dict[str, int | float | str]:
    """The options that a run's result depends on, by name."""
    return {
        name: config_flags.text(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in model_dir.FREE
    }


def options_table(facts: Mapping) -> str:
    """What config.json says, as a table in Markdown."""
    rows = [
        (f"--{k}", config_flags.text(v)) for k, v in facts["options"].items()
    ]
    rows += [(f"version of {k}", v) for k, v in facts["versions"].items()]
    rows += [
        (name.replace("_", " "), value)
        for name, value in facts.items()
        if name not in ("options", "versions")
    ]
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"`{value}`" if value != "" else ""
