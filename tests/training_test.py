import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf import config_flags, input_pipeline, model_dir, train, training
from planet_tf.config import TrainConfig


def make_config(shards, directory="unused", **options):
    return TrainConfig(
        shards=str(shards),
        model_dir=str(directory),
        **(SMALL_MODEL | options),
    )


def flags(config):
    return [
        f"--{name}={value}"
        for name, value in dataclasses.asdict(config).items()
        if value != ""
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
    assert losses[-1] < 0.5 * losses[0]
    facts = model_dir.read_config(str(small_model))
    assert facts["options"]["steps"] == 30
    assert facts["photo_size"] == 80


def test_validation_scalars_have_all_radii(small_model):
    found = curves(small_model)
    for km in (1, 25, 200, 750, 2500):
        steps, shares = found[f"validation/top1/within_{km}km"]
        assert steps == [10, 20, 30]
        assert all(0 <= share <= 1 for share in shares)
    for name in ("loss", "accuracy", "median_km"):
        assert f"validation/{name}" in found


@pytest.mark.slow
def test_validation_equals_a_direct_computation(small_shards):
    config = make_config(small_shards)
    shards = input_pipeline.open_shards(config.shards)
    keras.utils.set_random_seed(1)
    model = training.build_model(config, shards.partition.num_classes)
    strategy = tf.distribute.get_strategy()
    step = training.make_validation_step(strategy, model, first_cell=0)
    figures = training.validate(strategy, step, shards, config)

    images, labels = [], []
    paths = [path for path, _ in shards.split("validation")]
    for record in tf.data.TFRecordDataset(paths):
        photo = input_pipeline.parse(record, ("image", "label"))
        images.append(input_pipeline.evaluation_image(photo["image"], 75))
        labels.append(int(photo["label"]))
    shares = tf.nn.softmax(model(tf.stack(images), training=False)).numpy()
    losses = -np.log(shares[np.arange(len(labels)), labels])
    hits = shares.argmax(axis=1) == labels
    # 40 photos in batches of 16: the last batch is filled up.
    assert len(hits) == 40
    assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert figures["accuracy"] == np.mean(hits)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.25, 0.5, 1, 1, 1, 1]),
        ("linear", [0.25, 0.5, 1, 0.75, 0.5, 0]),
        ("cosine", [0.25, 0.5, 1, 0.5 + 0.5**1.5, 0.5, 0]),
    ],
)
def test_the_rate_warms_up_and_decays_as_asked(schedule, rates):
    config = make_config(
        "unused",
        learning_rate=2.0,
        warmup_steps=4,
        steps=12,
        schedule=schedule,
    )
    found = [
        float(training.RateSchedule(config)(tf.constant(step)))
        for step in (0, 1, 4, 6, 8, 12)
    ]
    assert found == pytest.approx([2 * rate for rate in rates], abs=1e-6)


@pytest.mark.slow
def test_moving_statistics_are_averaged_over_replicas(tmp_path):
    # In a process of its own: virtual CPUs are made before all else.
    code = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
import keras, numpy as np
from planet_tf import training
with strategy.scope():
    model = keras.Sequential([
        keras.Input((3,)), keras.layers.BatchNormalization(momentum=0.5)])
x = tf.data.Dataset.from_tensor_slices(
    np.arange(24, dtype="float32").reshape(8, 3)).batch(8)
for batch in strategy.experimental_distribute_dataset(x):
    strategy.run(lambda b: model(b, training=True), args=(batch,))
def values(weight):
    found = strategy.experimental_local_results(weight.value)
    return [v.numpy() for v in found]
before = [values(w) for w in model.non_trainable_variables]
assert not np.allclose(*before[0]), before
training.average_batch_norm(strategy, model)
for old, weight in zip(before, model.non_trainable_variables):
    new = values(weight)
    assert np.array_equal(*new)
    assert np.allclose(new[0], np.mean(old, axis=0))
print("averaged")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert "averaged" in done.stdout, done.stderr


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


def test_going_on_with_other_options_is_refused(
    small_model, small_shards, tmp_path, capfd
):
    code = run_again(small_model, small_shards, tmp_path, learning_rate=0.5)
    assert code == 1
    assert "--learning_rate=0.045, this run has 0.5" in capfd.readouterr().err


def test_other_shards_are_refused_with_both_fingerprints(
    small_model, tmp_path, capfd
):
    write_small_shards(tmp_path / "s", photos=400, files=2)
    assert run_again(small_model, tmp_path / "s", tmp_path) == 1
    message = capfd.readouterr().err
    assert "sha256:400-2" in message
    assert "sha256:400-3" in message


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
        input_pipeline.open_shards(str(tmp_path / "s")),
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


def test_lanes_that_replicas_cannot_share_are_refused(small_shards):
    class ThreeReplicas:
        num_replicas_in_sync = 3

    config = make_config(small_shards)
    with pytest.raises(config_flags.UsageError, match="--lanes=3"):
        training._check_lanes(config, ThreeReplicas())


def start(config, *command):
    command = command or (sys.executable, "-m", "planet_tf.train")
    return subprocess.Popen(
        [*command, *flags(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PLANET_VENV": sys.prefix},
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(small_shards, tmp_path):
    options = {"steps": 60, "validate_every": 20}
    config = make_config(small_shards, tmp_path / "killed", **options)
    run = start(config)
    for line in run.stderr:  # between the checkpoints at 20 and 40
        if line.startswith("step 30/"):
            run.send_signal(signal.SIGKILL)
            break
    run.wait()
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "export").exists()
    again = start(config)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert "going on from step 20" in said

    calm = make_config(small_shards, tmp_path / "calm", **options)
    training.train(calm)
    left, right = (checkpoint(tmp_path / d, 60) for d in ("killed", "calm"))
    assert largest_difference(left, right) == 0


@pytest.mark.slow
def test_two_launched_workers_equal_one_process(small_shards, tmp_path):
    # In float64, because each early step magnifies rounding some tenfold to
    # hundredfold: after two it is still below what float32 can tell.
    options = {
        "steps": 2,
        "validate_every": 1,
        "log_every": 1,
        "precision": "float64",
        "synchronized_batch_norm": True,
    }
    two = make_config(small_shards, tmp_path / "two", **options)
    run = start(two, "launch/train_multiworker.sh", "--workers=2")
    _, said = run.communicate()
    assert run.returncode == 0, said
    assert "2 replica(s) of 8 photos" in said
    logs = [
        (tmp_path / "two" / "logs" / f"worker-{i}.log").read_text()
        for i in range(2)
    ]
    digests = [
        [line for line in log.splitlines() if line.startswith("weights ")]
        for log in logs
    ]
    assert len(digests[0]) == 1
    assert digests[0] == digests[1]

    training.train(make_config(small_shards, tmp_path / "one", **options))
    first, last, pair = (
        checkpoint(tmp_path / "one", 1),
        checkpoint(tmp_path / "one", 2),
        checkpoint(tmp_path / "two", 2),
    )
    assert largest_difference(first, last) > 1e-3
    assert largest_difference(last, pair) < 1e-7


@pytest.mark.slow
def test_a_killed_worker_ends_the_gang_and_is_named(small_shards, tmp_path):
    config = make_config(
        small_shards, tmp_path / "m", steps=2000, validate_every=2000
    )
    run = start(config, "launch/train_multiworker.sh", "--workers=2")
    for line in run.stderr:
        if "step 5/" in line:
            break
    found = subprocess.run(
        ["pgrep", "-P", str(run.pid)], capture_output=True, text=True
    )
    workers = [int(pid) for pid in found.stdout.split()]
    assert len(workers) == 2
    os.kill(max(workers), signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 137, said
    assert "worker 1 failed first" in said
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
