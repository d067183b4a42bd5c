import dataclasses
import shutil
import signal
import subprocess
import sys
import types
import unittest.mock

import keras
import numpy as np
import pytest
import replicas
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf import config_flags, train
from planet_tf.data import data_dirs, decoding
from planet_tf.geo import geometry
from planet_tf.model import export, model_dir
from planet_tf.options.train_config import TrainConfig
from planet_tf.sizing import planning
from planet_tf.training import distribution, loop, photo_task, validation

# Those of programs that a test starts are not.
pytestmark = pytest.mark.usefixtures("short_models")


def make_config(shards, directory="unused", **options):
    return TrainConfig(
        shards=str(shards),
        model_dir=str(directory),
        **(SMALL_MODEL | options),
    )


def flags(config):
    return [
        f"--{name}={config_flags.text(value)}"
        for name, value in dataclasses.asdict(config).items()
        if value not in ("", ())
    ]


def checkpoint(directory, step):
    reader = tf.train.load_checkpoint(f"{directory}/checkpoints/ckpt-{step}")
    names = reader.get_variable_to_shape_map()
    values = {name: np.asarray(reader.get_tensor(name)) for name in names}
    return {n: v for n, v in values.items() if v.dtype.kind in "fiu" and v.size}


def largest_difference(left, right):
    """Of all variables, each in units of its own largest value."""
    assert left.keys() == right.keys()
    return max(
        np.abs(left[n] - right[n]).max() / max(np.abs(left[n]).max(), 1e-9)
        for n in left
    )


def curves(directory):
    return model_dir.read_scalars(str(directory))


def test_training_learns_and_leaves_a_whole_model_directory(small_model):
    assert sorted(p.name for p in small_model.iterdir()) == [
        "checkpoints",
        "config.json",
        "events",
        "export",
        "partition.json",
    ]
    steps, losses = curves(small_model)["train/loss"]
    assert steps == [5, 10, 15, 20, 25, 30]
    assert min(losses) < 0.7 * losses[0]  # a batch more or less may be odd
    facts = model_dir.read_config(str(small_model))
    assert facts["options"]["steps"] == 30
    assert facts["photo_size"] == 80


@pytest.mark.slow
@pytest.mark.usefixtures("unplanned")
def test_several_heads_learn_go_on_and_are_exported(
    small_shards, tmp_path, capfd
):
    def run(name, **options):
        config = make_config(small_shards, tmp_path / name, **options)
        return train.main(["train", *flags(config)])

    def exported(name):
        path = tmp_path / name / "export" / "variables" / "variables"
        reader = tf.train.load_checkpoint(str(path))
        return reader.get_tensor("weights/.ATTRIBUTES/VARIABLE_VALUE")

    assert run("one", coarse_cells=(3,)) == 0
    _, losses = curves(tmp_path / "one")["train/loss"]
    assert min(losses) < 0.7 * losses[0]
    for steps in (10, 30):
        assert run("two", coarse_cells=(3,), steps=steps) == 0
    assert exported("one") == exported("two")
    model = export.Geolocator(str(tmp_path / "one"))
    shares = model.probabilities([b"no photo"])
    assert shares.shape == (1, 4)
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    capfd.readouterr()
    assert run("two", coarse_cells=(2,)) == 1
    assert "--coarse_cells=3, this run has 2" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("three", coarse_cells=(4,))
    assert "is one of 4; needed are" in capfd.readouterr().err


def test_validation_scalars_have_all_radii(small_model):
    found = curves(small_model)
    for km in (1, 25, 200, 750, 2500):
        steps, shares = found[f"validation/top1/within_{km}km"]
        assert steps == [10, 20, 30]
        assert all(0 <= share <= 1 for share in shares)
    for name in ("loss", "accuracy", "median_km"):
        assert f"validation/{name}" in found


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("limit", [0, 20])
def test_validation_equals_a_direct_computation(small_shards, count, limit):
    config = make_config(small_shards, validation_photos=limit)
    shards = data_dirs.open_shards(config.shards)
    strategy = replicas.strategy(count)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = replicas.tiny_model(config, shards.partition.num_classes)
    task = photo_task.PhotoTask(config)
    validate = validation.Validation(strategy, model, task)
    figures, errors = validate(types.SimpleNamespace(requested=False))

    photos = []
    paths = [path for path, _ in shards.split("validation")]
    for record in tf.data.TFRecordDataset(paths):
        photo = decoding.parse(record, ("image", "label", "lat", "lng"))
        photos.append(photo)
    photos = photos[: limit or None]
    # In batches of 16: the last one is filled up, and does not count.
    assert len(errors) == len(photos) == (limit or 40)
    images = [decoding.evaluation_image(x["image"], 75) for x in photos]
    labels = np.array([x["label"] for x in photos])
    shares = tf.nn.softmax(model(tf.stack(images), training=False)).numpy()
    losses = -np.log(shares[np.arange(len(labels)), labels])
    assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert figures["accuracy"] == np.mean(shares.argmax(axis=1) == labels)
    lat, lng = shards.partition.latlng[shares.argmax(axis=1)].T
    km = geometry.great_circle_km(
        lat, lng, *np.transpose([(x["lat"], x["lng"]) for x in photos])
    )
    assert sorted(errors[:, 0]) == pytest.approx(sorted(km), abs=0.1)
    assert figures["median_km"] == pytest.approx(np.median(km), abs=0.1)


@pytest.fixture
def unplanned(monkeypatch):
    """No plan is made, since that takes seconds."""
    monkeypatch.setattr(
        planning, "photos", lambda *_: unittest.mock.Mock(hints=())
    )


def run_again(small_model, small_shards, tmp_path, **options):
    directory = tmp_path / "model"
    shutil.copytree(small_model, directory)  # keeps times
    return train.main(
        ["train", *flags(make_config(small_shards, directory, **options))]
    )


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(
    small_model, small_shards, tmp_path, capfd
):
    exported = (small_model / "export" / "saved_model.pb").stat().st_mtime_ns
    assert run_again(small_model, small_shards, tmp_path) == 0
    assert "going on from step 30" in capfd.readouterr().err
    copy = tmp_path / "model"
    left, right = (checkpoint(d, 30) for d in (small_model, copy))
    assert largest_difference(left, right) == 0
    assert (copy / "export" / "saved_model.pb").stat().st_mtime_ns == exported


@pytest.mark.slow
def test_a_run_given_more_steps_is_exported_again(
    small_model, small_shards, tmp_path
):
    assert run_again(small_model, small_shards, tmp_path, steps=33) == 0
    module = tf.saved_model.load(str(tmp_path / "model" / "export"))
    assert int(module.step) == 33
    newest = checkpoint(tmp_path / "model", 33)
    kernels = {v.tobytes() for v in newest.values() if v.ndim == 4}
    exported = tf.train.load_checkpoint(
        str(tmp_path / "model" / "export" / "variables" / "variables")
    )
    shapes = exported.get_variable_to_shape_map()
    found = [exported.get_tensor(n) for n, s in shapes.items() if len(s) == 4]
    assert len(found) == 7  # convolutions
    assert {v.tobytes() for v in found} <= kernels


@pytest.mark.usefixtures("unplanned")
def test_going_on_with_other_options_is_refused(
    small_model, small_shards, tmp_path, capfd
):
    code = run_again(small_model, small_shards, tmp_path, learning_rate=0.5)
    assert code == 1
    assert "--learning_rate=0.045, this run has 0.5" in capfd.readouterr().err


@pytest.mark.usefixtures("unplanned")
def test_other_shards_are_refused_with_both_fingerprints(
    small_model, tmp_path, capfd
):
    write_small_shards(tmp_path / "s", photos=400, files=2)
    assert run_again(small_model, tmp_path / "s", tmp_path) == 1
    message = capfd.readouterr().err
    assert "sha256:400-2" in message
    assert "sha256:400-3" in message


@pytest.mark.usefixtures("unplanned")
def test_another_partition_is_refused_with_both_fingerprints(
    small_model, tmp_path, capfd
):
    partition = write_small_shards(
        tmp_path / "s", photos=400, files=3, places=[(10, 10), (-10, -60)]
    )
    assert run_again(small_model, tmp_path / "s", tmp_path) == 1
    message = capfd.readouterr().err
    assert partition.fingerprint in message
    facts = model_dir.read_config(str(small_model))
    assert facts["partition_fingerprint"] in message


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_refused(
    small_model, small_shards, tmp_path, capfd
):
    partition = write_small_shards(
        tmp_path / "s", photos=400, files=3, places=[(10, 10), (-10, -60)]
    )
    directory = tmp_path / "model"
    model_dir.claim(
        make_config(tmp_path / "s", directory),
        data_dirs.open_shards(str(tmp_path / "s")),
        write=True,
    )
    shutil.copytree(small_model / "checkpoints", directory / "checkpoints")
    options = flags(make_config(tmp_path / "s", directory))
    assert train.main(["train", *options]) == 1
    message = capfd.readouterr().err
    assert partition.fingerprint in message
    facts = model_dir.read_config(str(small_model))
    assert facts["partition_fingerprint"] in message


@pytest.mark.slow
def test_a_diverging_run_says_what_to_do(small_shards, tmp_path, capfd):
    config = make_config(small_shards, tmp_path / "m", learning_rate=1e30)
    assert train.main(["train", *flags(config)]) == 1
    assert "lower --learning_rate" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"batch_size": 15}, "multiple of the lanes"),
        ({"warmup_steps": 30}, "shorter than the run"),
        ({"image_size": 64}, "at least 75"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, wanted):
    with pytest.raises(config_flags.UsageError, match=wanted):
        make_config("unused", **options)


def start(config):
    return subprocess.Popen(
        [sys.executable, "-m", "planet_tf.train", *flags(config)],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(small_shards, tmp_path):
    options = {"steps": 30, "checkpoint_every": 10, "validate_every": 100}
    config = make_config(small_shards, tmp_path / "killed", **options)
    run = start(config)
    for line in run.stderr:  # between the checkpoints at 10 and 20
        if line.startswith("step 15/"):
            run.send_signal(signal.SIGKILL)
            break
    run.wait()
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "export").exists()
    again = start(config)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert "going on from step 10" in said

    # A process of its own too: layers' names, which count on within one,
    # change the order in which TensorFlow sums.
    calm = start(make_config(small_shards, tmp_path / "calm", **options))
    _, said = calm.communicate()
    assert calm.returncode == 0, said
    left, right = (checkpoint(tmp_path / d, 30) for d in ("killed", "calm"))
    assert largest_difference(left, right) == 0


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(
    small_shards, tmp_path, capsys
):
    config = make_config(small_shards, tmp_path / "m", dry_run=True)
    loop.train(config, photo_task.PhotoTask)
    assert "parameters" in capsys.readouterr().out
    assert not (tmp_path / "m").exists()


def test_a_run_that_cannot_be_is_refused_before_it_starts(
    small_shards, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        distribution,
        "make_strategy",
        lambda config, stop: replicas.strategy(2),
    )
    config = make_config(small_shards, tmp_path / "m", lanes=1)
    with pytest.raises(planning.PlanError, match="--lanes=2"):
        loop.train(config, photo_task.PhotoTask)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("step", "options", "many"),
    [
        (0, {}, 1),
        (0, {"steps_per_loop": 100}, 5),  # log_every
        (5, {"steps_per_loop": 100, "log_every": 100}, 5),  # validate_every
        (3, {"steps_per_loop": 4, "log_every": 100}, 1),
        (2, {"steps_per_loop": 100, "checkpoint_every": 4}, 2),
        (1, {"steps_per_loop": 100, "profile_step": 3}, 2),
        (13, {"steps_per_loop": 100, "profile_step": 4, "log_every": 100}, 1),
        (14, {"steps_per_loop": 100, "profile_step": 4, "log_every": 100}, 6),
        (29, {"steps_per_loop": 100, "log_every": 100}, 1),  # steps
    ],
)
def test_a_call_of_the_device_ends_where_something_is_due(step, options, many):
    assert loop.steps_to_pause(step, make_config("unused", **options)) == many
