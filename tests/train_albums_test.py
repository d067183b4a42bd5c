"""The program that trains album models, and what its runs leave."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_small_albums

from planet_tf import train_albums
from planet_tf.data import data_dirs
from planet_tf.model import model_dir
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.training import album_task

OPTIONS = {
    "batch_size": 16,
    "steps": 60,
    "units": 16,
    "learning_rate": 0.2,
    "validate_every": 30,
    "checkpoint_every": 20,
    "log_every": 20,
}


@pytest.fixture(scope="module")
def albums(tmp_path_factory):
    directory = tmp_path_factory.mktemp("train_albums") / "albums"
    write_small_albums(directory, albums=400, files=3)
    return directory


def run(albums, directory, **options):
    config = TrainAlbumsConfig(
        albums=str(albums), model_dir=str(directory), **(OPTIONS | options)
    )
    flags = [
        f"--{name}={value}"
        for name, value in dataclasses.asdict(config).items()
        if value != ""
    ]
    return train_albums.main(["train_albums", *flags])


@pytest.fixture(scope="module")
def trained(albums, tmp_path_factory):
    directory = tmp_path_factory.mktemp("train_albums") / "model"
    assert run(albums, directory) == 0
    return directory


def test_training_learns_and_leaves_a_whole_model_directory(trained, albums):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"checkpoints", "config.json", "events", "export"}
    curves = model_dir.read_scalars(str(trained))
    steps, losses = curves["train/loss"]
    assert steps == [20, 40, 60]
    assert losses[-1] < 0.7 * losses[0]
    steps, accuracies = curves["validation/accuracy"]
    assert steps == [30, 60]
    assert accuracies[-1] > 0.6  # by chance a quarter
    facts = model_dir.read_config(str(trained))
    copied = trained / "photo_model" / "export" / "weights"
    assert copied.read_text() == "w"
    data = data_dirs.open_albums(str(albums))
    assert facts["albums_fingerprint"] == data.fingerprint
    assert facts["model_fingerprint"] == data.model_fingerprint


def test_the_export_answers_as_the_last_checkpoint(trained, albums):
    config = TrainAlbumsConfig(
        albums=str(albums), model_dir=str(trained), **OPTIONS
    )
    task = album_task.AlbumTask(config)
    model = task.build_model()
    checkpoint = tf.train.Checkpoint(model=model)
    checkpoint.restore(str(trained / "checkpoints/ckpt-60")).expect_partial()
    embedding = np.random.default_rng(0).normal(size=(2, 5, 6))
    batch = {
        "embedding": tf.constant(embedding, tf.float32),
        "photos": tf.constant([5, 2]),
        "gap_hours": tf.fill((2, 5), -1.0),
    }
    module = tf.saved_model.load(str(trained / "export"))
    shares = module.signatures["distribution"](**batch)["probabilities"]
    direct = tf.nn.softmax(model(batch))
    for album, count in ((0, 5), (1, 2)):
        np.testing.assert_allclose(
            shares[album, :count], direct[album, :count], atol=1e-6
        )
    best = module.signatures["serving_default"](**batch)
    np.testing.assert_allclose(
        best["probability"][0, :, 0], tf.reduce_max(direct[0], -1), atol=1e-6
    )
    assert best["latlng"].shape == (2, 5, 4, 2)
    assert module.photo_model.numpy().decode() == "sha256:photos"


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(
    trained, albums, tmp_path, capfd
):
    assert run(albums, tmp_path / "m", steps=40) == 0
    assert run(albums, tmp_path / "m") == 0
    assert "going on from step 40" in capfd.readouterr().err
    readers = [
        tf.train.load_checkpoint(f"{directory}/checkpoints/ckpt-60")
        for directory in (trained, tmp_path / "m")
    ]
    names = [n for n in readers[0].get_variable_to_shape_map() if "model" in n]
    assert len(names) > 4
    for name in names:
        left, right = (reader.get_tensor(name) for reader in readers)
        np.testing.assert_array_equal(left, right)


def test_another_variant_is_no_way_to_go_on(trained, albums, capfd):
    assert run(albums, trained, variant="offset1") == 1
    assert "--variant=lstm, this run has offset1" in capfd.readouterr().err


def test_shards_are_no_albums(small_shards, tmp_path, capfd):
    assert run(small_shards, tmp_path / "m") == 1
    message = capfd.readouterr().err
    assert "holds no finished albums" in message
    assert "beam_pipelines.write_albums" in message


def test_a_dry_run_says_what_it_takes(albums, tmp_path, capsys):
    assert run(albums, tmp_path / "m", dry_run=True) == 0
    text = capsys.readouterr().out
    assert "training albums" in text
    assert "LSTM" in text
    assert not (tmp_path / "m").exists()


def test_albums_of_other_embeddings_are_refused(
    trained, albums, tmp_path, capfd
):
    copy = tmp_path / "albums"
    shutil.copytree(albums, copy)
    facts = json.loads((copy / "albums.json").read_text())
    facts["fingerprint"] = "sha256:other"
    (copy / "albums.json").write_text(json.dumps(facts))
    assert run(copy, trained) == 1
    assert "sha256:other" in capfd.readouterr().err
