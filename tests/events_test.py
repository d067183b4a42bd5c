import dataclasses
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from planet_tf.answering import metrics
from planet_tf.data import data_dirs
from planet_tf.model import model_dir
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import events


@pytest.fixture
def shards(small_shards):
    return data_dirs.open_shards(str(small_shards))


@pytest.fixture
def make_events(shards, tmp_path):
    def make(say=print, **options):
        config = TrainConfig(
            shards=shards.directory,
            model_dir=str(tmp_path / "model"),
            image_size=75,
            **options,
        )
        model_dir.claim(config, shards, write=True)
        return events.Events(config, say)

    return make


def validate(written, step, pictures=()):
    errors = np.array([[0.0, 1.0], [10.0, 1.0], [1000.0, 5.0], [1000.0, 5.0]])
    figures = metrics.summary(errors) | {"loss": 2.0, "accuracy": 0.5}
    written.validation(step, figures, errors, pictures)


def read(written, run="validation"):
    """The summaries of a run by tag: what is known, and (step, value)s."""
    directory = pathlib.Path(written.directory, run)
    found = event_accumulator.EventAccumulator(str(directory)).Reload()
    return {
        tag: (
            found.SummaryMetadata(tag),
            [(e.step, tf.make_ndarray(e.tensor_proto)) for e in events_],
        )
        for tag in found.Tags()["tensors"]
        for events_ in [found.Tensors(tag)]
    }


def test_scalars_are_grouped_by_what_stands_before_a_slash(make_events):
    written = make_events()
    written.training(5, {"loss": 3.0, "photos_per_second": 80.0})
    validate(written, 10)
    written.close()
    train, validation = read(written, "train"), read(written)
    assert train["loss"][1] == [(5, 3.0)]
    assert train["photos_per_second"][1] == [(5, 80.0)]
    assert validation["median_km"][1] == [(10, 505.0)]
    assert validation["top1/within_25km"][1] == [(10, 0.5)]


def test_the_histogram_is_of_all_errors_in_powers_of_ten(make_events):
    written = make_events()
    validate(written, 10)
    written.close()
    metadata, [(_, bins)] = read(written)["error_log10_km"]
    assert "log10" in metadata.summary_description
    low, high = bins[0, 0], bins[-1, 1]
    assert (low, high) == (-1, 3)  # 0.1 km and less, 1,000 km
    assert bins[:, 2].sum() == 4
    assert bins[-1, 2] == 2


def test_pictures_are_shown_under_their_numbers(make_events):
    written = make_events()
    pictures = [np.full((4, 5, 3), value, np.uint8) for value in (7, 200)]
    validate(written, 10, pictures)
    validate(written, 20, pictures)
    written.close()
    found = read(written)
    for number, picture in enumerate(pictures, 1):
        _, points = found[f"examples/{number}"]
        assert [step for step, _ in points] == [10, 20]
        shown = tf.io.decode_png(points[0][1][2]).numpy()
        np.testing.assert_array_equal(shown, picture)


def test_options_that_shape_the_result_are_a_row_for_hparams(make_events):
    written = make_events(
        learning_rate=0.5, standardize=True, log_every=7, coarse_cells=(9, 3)
    )
    written.start(0)
    written.close()
    metadata, _ = read(written)["_hparams_/session_start_info"]
    data = plugin_data_pb2.HParamsPluginData.FromString(
        metadata.plugin_data.content
    )
    row = data.session_start_info.hparams
    assert row["learning_rate"].number_value == 0.5
    assert row["standardize"].bool_value is True
    assert row["precision"].string_value == "float32"
    assert row["coarse_cells"].string_value == "9,3"
    assert not {"log_every", "model_dir", "cache_dir"} & set(row)


def test_the_configuration_is_a_table(make_events, shards):
    written = make_events(learning_rate=0.5)
    written.start(0)
    written.close()
    _, [(_, text)] = read(written)["configuration"]
    lines = text.item().decode().splitlines()
    assert lines[:2] == ["| | |", "|---|---|"]
    for line in (
        "| --learning_rate | `0.5` |",
        "| --init_from |  |",
        "| --coarse_cells |  |",
        f"| shards fingerprint | `{shards.fingerprint}` |",
        f"| version of tensorflow | `{tf.__version__}` |",
    ):
        assert line in lines
    options = dataclasses.fields(TrainConfig)
    assert sum(line.startswith("| --") for line in lines) == len(options)


@pytest.fixture
def profiler(monkeypatch):
    """Notes what is asked of TensorFlow's profiler."""
    calls = []
    fake = types.SimpleNamespace(
        start=lambda directory: calls.append(("start", directory)),
        stop=lambda: calls.append(("stop",)),
    )
    monkeypatch.setattr(tf.profiler, "experimental", fake)
    return calls


def test_ten_steps_are_profiled(make_events, profiler):
    written = make_events(profile_step=3, say=lambda text: None)
    asked = []
    for step in range(20):
        written.before_steps(step)
        asked.append(len(profiler))
    assert asked == [0] * 3 + [1] * 10 + [2] * 7
    assert profiler[0] == ("start", f"{written.directory}/train")
    written.close()
    assert len(profiler) == 2


def test_a_run_that_ends_while_it_is_profiled_ends_the_profile(
    make_events, profiler
):
    written = make_events(profile_step=3, say=lambda text: None)
    written.before_steps(3)
    written.close()
    assert profiler[-1] == ("stop",)


def test_without_the_option_nothing_is_profiled(make_events, profiler):
    written = make_events()
    written.before_steps(0)
    written.close()
    assert not profiler


@pytest.mark.slow
def test_a_profile_is_where_tensorboard_looks_for_it(make_events):
    written = make_events(profile_step=1, say=lambda text: None)
    for step in range(12):
        written.before_steps(step)
        tf.linalg.matmul(tf.ones((50, 50)), tf.ones((50, 50)))
    written.close()
    directory = pathlib.Path(written.directory, "train/plugins/profile")
    [profile] = directory.glob("*/*.xplane.pb")
    assert profile.stat().st_size > 1_000
