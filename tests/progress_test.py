import dataclasses

import numpy as np
import pytest

from planet_tf.answering import metrics
from planet_tf.data import data_dirs
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import progress


class Clock:
    """A time that goes on when it is told to."""

    now = 100.0

    def monotonic(self):
        return self.now


class Model:
    def count_params(self):
        return 1_234_567


@dataclasses.dataclass
class Run:
    """A run that takes two seconds a step, but for the first, which compiles.

    It validates at step 20 for 100 seconds.
    """

    log: progress.Log
    clock: Clock

    def steps(self, first, last):
        for step in range(first, last):
            self.log.before_steps(step)
            self.clock.now += 50 if step == 0 else 2

    def line(self, step, loss=3.0):
        losses = np.full(10, loss)
        losses[0] += 1
        self.log.training(step, losses, np.full(10, 0.25), 0.1)

    def validate(self, step):
        errors = np.array([[512.0, 3.0], [600.0, 600.0], [10.0, 10.0]])
        figures = metrics.summary(errors) | {"loss": 2.5, "accuracy": 0.5}
        with self.log.aside():
            self.clock.now += 100
            self.log.validation(step, figures, errors, list)


@pytest.fixture
def run(small_shards, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    config = TrainConfig(
        shards=str(small_shards), model_dir="", batch_size=16, steps=100
    )
    shards = data_dirs.open_shards(config.shards)
    log = progress.Log(config, shards, write=False)
    return Run(log, clock)


def said(capfd):
    return capfd.readouterr().err.splitlines()


def test_the_start_says_what_is_about_to_run(run, capfd):
    run.log.start(step=40, replicas=2, model=Model(), notes=["of two workers"])
    assert said(capfd) == [
        "320 photos, 20 steps an epoch; 4 classes; 1,234,567 parameters;"
        " 2 replica(s) of 8 photos a step",
        "of two workers",
        "going on from step 40",
    ]


def test_speed_leaves_out_compiling_validations_and_checkpoints(run, capfd):
    run.log.start(0, 1, Model())
    run.steps(0, 10)
    run.line(10)
    run.steps(10, 20)
    run.line(20)
    run.validate(20)
    run.steps(20, 30)
    run.line(30)
    lines = [line for line in said(capfd) if line.startswith("step")]
    assert [line.split("  ")[2] for line in lines] == ["8 photos/s"] * 3


def test_time_left_follows_from_all_that_takes_time(run, capfd):
    run.log.start(0, 1, Model())
    run.steps(0, 20)
    run.validate(20)
    run.steps(20, 30)
    run.line(30)
    line = said(capfd)[-1]
    # Since the first step, 29 took 58 s and a validation 100 s; 70 are left:
    # 158 / 29 * 70 = 381.4 s.
    assert "  0:06:21 left  " in line


def test_a_line_has_the_figures_since_the_one_before(run, capfd):
    run.log.start(0, 1, Model())
    run.steps(0, 10)
    run.line(10, loss=3.0)
    assert said(capfd)[-1] == (
        "step 10/100  epoch 0.50  8 photos/s  0:03:00 left  loss 3.100"
        "  accuracy 0.250"
    )
    run.validate(10)
    run.steps(10, 20)
    run.line(20, loss=2.0)
    validation, line = said(capfd)
    assert validation.startswith(
        "validation  loss 2.500  accuracy 0.500  median 512 km  within 1km 0.0%"
    )
    assert "  loss 2.100  " in line
    assert line.endswith("  validation at 10: median 512 km")


def test_a_run_that_goes_on_counts_from_where_it_did(run, capfd):
    run.log.start(90, 1, Model())
    run.log.before_steps(90)
    run.clock.now += 30
    run.steps(91, 95)
    run.log.training(95, np.full(5, 1.0), np.full(5, 1.0), 0.1)
    assert "  8 photos/s  0:00:10 left  " in said(capfd)[-1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run_naming_the_step(run, value):
    run.log.start(0, 1, Model())
    losses = np.array([3.0, 3.0, value, np.nan])
    with pytest.raises(progress.TrainingError) as caught:
        run.log.training(50, losses, np.zeros(4), 0.1)
    assert f"the loss is {value} at step 49" in str(caught.value)
    assert "--learning_rate" in str(caught.value)
