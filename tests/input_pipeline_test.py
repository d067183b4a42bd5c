import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf.data import data_dirs, decoding, input_pipeline, windows
from planet_tf.options.train_config import TrainConfig
from planet_tf.photos import records


def make_config(shards, **options):
    # Four windows an epoch of small_shards, which has 20 steps.
    more = {"lanes": 4, "shuffle_buffer": 160}
    options = SMALL_MODEL | more | options
    return TrainConfig(shards=str(shards), model_dir="unused", **options)


def context(workers=1, worker=0, replicas=1):
    return tf.distribute.InputContext(workers, worker, workers * replicas)


@functools.cache  # as many tests ask for the same
def batches_of(shards, config, first_step=0, **where):
    return list(
        input_pipeline.training_batches(
            data_dirs.open_shards(str(shards)),
            config,
            first_step=first_step,
            context=context(**where),
        ).as_numpy_iterator()
    )


def same(left, right):
    return all(
        np.array_equal(x[name], y[name])
        for x, y in zip(left, right, strict=True)
        for name in ("image", "label", "latlng")
    )


def photos_of(batches):
    return [tuple(p) for batch in batches for p in batch["latlng"].tolist()]


@pytest.mark.slow
def test_batches_are_a_function_of_the_step(small_shards):
    config = make_config(small_shards, steps=45)
    assert windows.steps_per_window(config) == 5
    whole = batches_of(small_shards, config)
    assert len(whole) == 45
    assert whole[0]["image"].shape == (16, 75, 75, 3)
    for first_step in (7, 15, 39):
        rest = batches_of(small_shards, config, first_step)
        assert same(whole[first_step:], rest)
    assert not same(whole[:20], whole[20:40])
    other = make_config(small_shards, seed=1, steps=45)
    assert not same(whole, batches_of(small_shards, other))


@pytest.mark.parametrize(
    "workers", [2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_workers_together_see_the_batches_of_one(small_shards, workers):
    config = make_config(small_shards)
    one = batches_of(small_shards, config)
    parts = [
        batches_of(small_shards, config, workers=workers, worker=worker)
        for worker in range(workers)
    ]
    together = [
        {name: np.concatenate([x[name] for x in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert same(one, together)


def test_replicas_of_one_worker_get_the_batches_of_as_many_workers(
    small_shards,
):
    config = make_config(small_shards)
    two = batches_of(small_shards, config, replicas=2)
    first = batches_of(small_shards, config, workers=2, worker=0)
    second = batches_of(small_shards, config, workers=2, worker=1)
    assert same(two[0::2], first)
    assert same(two[1::2], second)


@pytest.mark.parametrize("before, after", [(2, 1), (1, 4)])
def test_other_workers_go_on_with_the_rest_of_the_epoch(
    small_shards, before, after
):
    config = make_config(small_shards)
    seen = []
    for workers, first, last in ((before, 0, 7), (after, 7, 20)):
        for worker in range(workers):
            found = batches_of(
                small_shards, config, first, workers=workers, worker=worker
            )
            seen += photos_of(found[: last - first])
    assert len(seen) == len(set(seen)) == 320


def test_an_epoch_shows_no_photo_twice_and_leaves_out_less_than_a_batch(
    small_shards,
):
    config = make_config(small_shards, batch_size=36, steps=24)
    batches = batches_of(small_shards, config)
    seen = [set(photos_of(batches[i : i + 8])) for i in (0, 8, 16)]
    assert [len(photos) for photos in seen] == [288] * 3  # of 320
    assert seen[0] != seen[1] != seen[2]


def test_neighbours_in_a_file_come_far_apart_and_epochs_differ(small_shards):
    config = make_config(small_shards, steps=45)
    batches = batches_of(small_shards, config)
    places = [
        {photo: i for i, photo in enumerate(photos_of(epoch))}
        for epoch in (batches[:20], batches[20:40])
    ]
    shards = data_dirs.open_shards(str(small_shards))
    apart = []
    for path, _ in shards.split("train"):
        photos = [
            decoding.parse(record, ("lat", "lng"))
            for record in tf.data.TFRecordDataset(path)
        ]
        photos = [(float(x["lat"]), float(x["lng"])) for x in photos]
        order = [[epoch[x] for x in photos] for epoch in places]
        apart += np.abs(np.diff(order)).ravel().tolist()
        order = np.array(order) // 16  # steps
        assert np.mean(order[0] == order[1]) < 0.2
    # 16 a step, and windows of 80; a third of that if it is random.
    assert np.median(apart) > 20
    assert np.mean(np.less(apart, 4)) < 0.25


def test_a_photo_looks_different_in_each_epoch(small_shards):
    config = make_config(small_shards, steps=45)
    batches = batches_of(small_shards, config)
    looks = [
        dict(
            zip(
                photos_of(epoch),
                np.concatenate([x["image"] for x in epoch]),
                strict=True,
            )
        )
        for epoch in (batches[:20], batches[20:40])
    ]
    assert not any(np.array_equal(looks[0][x], looks[1][x]) for x in looks[0])


def test_files_with_fewer_photos_than_they_should_have_are_noticed(tmp_path):
    write_small_shards(tmp_path / "s", photos=100, files=2)
    path = tmp_path / "s" / records.SHARDS_FILE
    facts = json.loads(path.read_text())
    name = records.file_name("train", 1, 2)
    facts["files"][name]["photos"] += 8
    path.write_text(json.dumps(facts))
    config = make_config(tmp_path / "s", batch_size=4)
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected"):
        batches_of(tmp_path / "s", config)


@pytest.mark.parametrize(("workers", "replicas"), [(1, 1), (3, 1), (2, 2)])
def test_evaluation_shows_every_photo_once_in_equal_batches(
    small_shards, workers, replicas
):
    shards = data_dirs.open_shards(str(small_shards))
    parts = [
        list(
            input_pipeline.evaluation_batches(
                shards,
                "test",
                image_size=75,
                batch_size=7,
                context=context(workers, worker, replicas),
            ).as_numpy_iterator()
        )
        for worker in range(workers)
    ]
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) % replicas == 0
    batches = [batch for part in parts for batch in part]
    assert {batch["image"].shape for batch in batches} == {(7, 75, 75, 3)}
    real = np.concatenate([b["weight"] for b in batches]) > 0
    places = np.concatenate([b["latlng"] for b in batches])[real]
    assert len(places) == len(np.unique(places, axis=0)) == 40


@pytest.mark.parametrize("workers", [1, 3])
def test_a_part_of_a_split_is_the_same_for_any_number_of_workers(
    small_shards, workers
):
    shards = data_dirs.open_shards(str(small_shards))
    files = shards.split("train")
    truth = set()
    for path, count in files:
        for record in tf.data.TFRecordDataset(path).take(count * 50 // 320 + 1):
            photo = decoding.parse(record, ("lat", "lng"))
            truth.add((float(photo["lat"]), float(photo["lng"])))
    found = []
    for worker in range(workers):
        batches = input_pipeline.evaluation_batches(
            shards,
            "train",
            image_size=75,
            batch_size=8,
            context=context(workers, worker),
            photos=50,
        )
        for batch in batches.as_numpy_iterator():
            found += photos_of(
                [{"latlng": batch["latlng"][batch["weight"] > 0]}]
            )
    assert len(found) == len(set(found)) == 50
    assert set(found) <= truth


def test_shards_without_a_split_or_a_batch_are_refused(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    with pytest.raises(data_dirs.DataError, match="no photos in split"):
        shards.split("validate")
    config = make_config(small_shards, batch_size=400)
    with pytest.raises(data_dirs.DataError, match="320 training"):
        shards.steps_per_epoch(config.batch_size)


def test_unfinished_shards_are_refused(tmp_path):
    with pytest.raises(data_dirs.DataError, match="write_shards"):
        data_dirs.open_shards(str(tmp_path))


def test_shards_of_another_version_are_refused(tmp_path):
    write_small_shards(tmp_path / "s", photos=40, files=1)
    path = tmp_path / "s" / records.SHARDS_FILE
    facts = json.loads(path.read_text()) | {"version": 99}
    path.write_text(json.dumps(facts))
    with pytest.raises(data_dirs.DataError, match="version 99; needed"):
        data_dirs.open_shards(str(tmp_path / "s"))


def test_shards_of_another_partition_are_refused_with_both_named(tmp_path):
    partition = write_small_shards(tmp_path / "s", photos=40, files=1)
    path = tmp_path / "s" / records.SHARDS_FILE
    facts = json.loads(path.read_text()) | {"partition_fingerprint": "sha256:b"}
    path.write_text(json.dumps(facts))
    with pytest.raises(data_dirs.DataError) as caught:
        data_dirs.open_shards(str(tmp_path / "s"))
    assert "sha256:b" in str(caught.value)
    assert partition.fingerprint in str(caught.value)
