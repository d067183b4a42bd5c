"""Tests of benchmarks.scaling, on a program that only says it trains."""

import sys

import pytest

from benchmarks import measure, scaling
from planet_tf.sizing import model_size, traffic

TALK = """
import sys, time
for step in (1, 2, 14, 16, 18, 20, 1_000):
    time.sleep(0.05)
    print(f"[w0] step {step:,}/1,000,000  loss 1", file=sys.stderr, flush=True)
time.sleep({rest})
"""


def test_steps_between_lines_are_timed_and_the_program_is_ended():
    command = [sys.executable, "-c", TALK.replace("{rest}", "600")]
    sample = scaling.follow(command, batch=10, steps=4)
    assert 0 < sample.photos_per_second < 4 * 10 / 0.1  # 14 to 18: two pauses
    assert sample.cpu_seconds >= 0


def test_a_program_that_ends_early_is_shown():
    command = [sys.executable, "-c", TALK.replace("{rest}", "0/0")]
    with pytest.raises(measure.BenchmarkError, match="1,000/1,000,000"):
        scaling.follow(command, batch=10, steps=5_000)


@pytest.mark.parametrize(
    ("workers", "gigabits", "seconds"),
    [(8, 10, 0.142), (200, 1, 4.8), (200, 100, 0.05)],
)
def test_the_plan_is_the_arithmetic_of_a_ring(workers, gigabits, seconds):
    config = scaling.Config(latency=0, worker_speeds=(32 / seconds,))
    rows = {tuple(row[:2]): row[2:] for row in scaling.planned(config)}
    megabytes, found, share = rows[workers, gigabits]
    assert found == pytest.approx(seconds, rel=0.05)
    assert megabytes == pytest.approx(125 * gigabits * found)
    assert 48 < float(share.rstrip("%")) < 52  # a step takes as long again


def test_the_traffic_expected_is_that_of_the_models_plan():
    trunk = model_size.trunk(
        image_size=299,
        width=1.0,
        standardize=False,
        dropout=0.0,
        precision="float32",
    )
    assert scaling.expected(354, 32, 2) == traffic.of_step(
        parameters=trunk.parameters + (trunk.features + 1) * 354,
        features=trunk.features,
        classes=354,
        photos=32,
        replicas=2,
    )
