import collections
import os
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL

from planet_tf.data import data_dirs, file_cache, input_pipeline
from planet_tf.options.train_config import TrainConfig

Disk = collections.namedtuple("Disk", "total used free")


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "slow").mkdir()
    found = [tmp_path / "slow" / f"file-{i}" for i in range(4)]
    for i, path in enumerate(found):
        path.write_bytes(bytes([i]) * 1000)
    return list(map(str, found))


@pytest.fixture
def cache(tmp_path):
    # A directory with what would be a pattern, in its name.
    return file_cache.FileCache(str(tmp_path / "fast [1]*"), "sha256:ab")


def opened(cache, paths):
    path = cache.opener(paths)
    numbers = tf.data.Dataset.range(len(paths))
    return [x.decode() for x in numbers.map(path).as_numpy_iterator()]


def test_copies_are_opened_once_they_are_there(cache, paths):
    assert opened(cache, paths) == paths
    cache.fill(paths[:2]).join()
    copies = [cache.copy_of(path) for path in paths]
    assert opened(cache, paths) == copies[:2] + paths[2:]
    assert sorted(os.listdir(cache.directory)) == ["file-0", "file-1"]
    with open(copies[1], "rb") as file:
        assert file.read() == b"\1" * 1000


def test_other_shards_have_other_copies(cache, paths, tmp_path):
    cache.fill(paths).join()
    other = file_cache.FileCache(str(tmp_path / "fast [1]*"), "sha256:ac")
    assert opened(other, paths) == paths


def test_copying_ends_when_the_disk_is_nearly_full(
    cache, paths, monkeypatch, capfd
):
    free = iter([3200, 2200, 1200])
    monkeypatch.setattr(
        file_cache.shutil, "disk_usage", lambda _: Disk(10_000, 0, next(free))
    )
    cache.fill(paths).join()
    copies = [cache.copy_of(path) for path in paths]
    assert opened(cache, paths) == copies[:2] + paths[2:]
    assert "full" in capfd.readouterr().err


@pytest.mark.parametrize("what", ["source", "directory"])
def test_a_copy_that_fails_is_a_warning_and_leaves_nothing(
    cache, paths, what, capfd, tmp_path
):
    if what == "directory":
        (tmp_path / "fast [1]*").write_text("a file")
    else:
        os.remove(paths[1])
    cache.fill(paths).join()
    assert "warning" in capfd.readouterr().err
    if what == "source":
        assert os.listdir(cache.directory) == ["file-0"]
        paths[0] = cache.copy_of(paths[0])
    assert opened(cache, paths) == paths


def test_a_copy_that_stops_in_the_middle_is_not_taken(
    cache, paths, monkeypatch, capfd
):
    monkeypatch.setattr(file_cache, "_CHUNK", 300)
    read, reads = tf.io.gfile.GFile.read, iter(range(99))

    def failing(file, n):
        if next(reads) == 2:
            raise OSError("the disk is gone")
        return read(file, n)

    monkeypatch.setattr(tf.io.gfile.GFile, "read", failing)
    cache.fill(paths).join()
    assert os.listdir(cache.directory) == []
    assert "the disk is gone" in capfd.readouterr().err
    assert opened(cache, paths) == paths


def test_what_another_worker_copies_is_left_to_it_unless_it_died(cache, paths):
    os.makedirs(cache.directory)
    for i in (0, 1):
        with open(cache.copy_of(paths[i]) + ".incomplete", "w") as file:
            file.write("half")
    long_ago = time.time() - 3600
    os.utime(cache.copy_of(paths[0]) + ".incomplete", (long_ago, long_ago))
    cache.fill(paths[:3]).join()
    copies = [cache.copy_of(path) for path in paths]
    assert opened(cache, paths) == [copies[0], paths[1], copies[2], paths[3]]


@pytest.mark.slow
def test_training_sees_the_same_with_and_without_copies(
    small_shards, tmp_path, monkeypatch
):
    shards = data_dirs.open_shards(str(small_shards))
    files = [path for path, _ in shards.split("train")]
    threads = []
    fill = file_cache.FileCache.fill

    def patient(cache, paths):
        threads.append(fill(cache, paths))
        threads[-1].join()

    def batches(cache_dir):
        options = SMALL_MODEL | {"lanes": 2, "cache_dir": str(cache_dir)}
        config = TrainConfig(
            shards=str(small_shards), model_dir="unused", **options
        )
        found = input_pipeline.training_batches(
            shards,
            config,
            first_step=15,
            context=tf.distribute.InputContext(1, 0, 1),
        )
        return list(found.as_numpy_iterator())

    plain = batches("")
    monkeypatch.setattr(file_cache.FileCache, "fill", patient)
    first = batches(tmp_path)
    assert len(threads) == 1
    (directory,) = tmp_path.iterdir()
    copied = sorted(os.listdir(directory))
    assert copied == sorted(map(os.path.basename, files))
    # What is read now are the copies.
    opened = []
    opener = file_cache.FileCache.opener

    def noting(cache, paths):
        found = opener(cache, paths)
        opened.extend(found(i).numpy().decode() for i in range(len(paths)))
        return found

    monkeypatch.setattr(file_cache.FileCache, "opener", noting)
    second = batches(tmp_path)
    assert opened == [str(directory / os.path.basename(p)) for p in files]
    for batch, others in zip(
        plain, zip(first, second, strict=True), strict=True
    ):
        for other in others:
            for name in batch:
                assert np.array_equal(batch[name], other[name])
