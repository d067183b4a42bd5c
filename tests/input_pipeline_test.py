import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf import images, input_pipeline, records
from planet_tf.config import TrainConfig

FILES = [("a", 7), ("b", 1), ("c", 12), ("d", 3)]


def make_config(shards, **options):
    options = SMALL_MODEL | {"lanes": 4} | options
    return TrainConfig(shards=str(shards), model_dir="unused", **options)


def context(workers=1, worker=0, replicas=1):
    return tf.distribute.InputContext(workers, worker, workers * replicas)


@pytest.mark.parametrize("lanes", [1, 2, 5, 23])
def test_an_epoch_deals_every_record_once_in_even_lanes(lanes):
    dealt = input_pipeline.deal_epoch(FILES, lanes=lanes, seed=1, epoch=2)
    seen = [
        (path, first + i)
        for lane in dealt
        for path, first, count in lane
        for i in range(count)
    ]
    assert sorted(seen) == [(path, i) for path, n in FILES for i in range(n)]
    sizes = [sum(count for _, _, count in lane) for lane in dealt]
    assert max(sizes) - min(sizes) <= 1


def test_an_epoch_is_dealt_by_seed_and_epoch():
    def deal(seed, epoch):
        return input_pipeline.deal_epoch(FILES, lanes=2, seed=seed, epoch=epoch)

    assert deal(1, 1) == deal(1, 1)
    assert len({str(deal(1, epoch)) for epoch in range(6)}) > 1
    assert len({str(deal(seed, 1)) for seed in range(6)}) > 1


def batches_of(shards, config, epoch=0, first_step=0, **where):
    return list(
        input_pipeline.training_batches(
            input_pipeline.open_shards(str(shards)),
            config,
            epoch=epoch,
            first_step=first_step,
            context=context(**where),
        ).as_numpy_iterator()
    )


def same(left, right):
    return all(
        np.array_equal(a, b)
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_batches_are_a_function_of_the_step(small_shards):
    config = make_config(small_shards)
    whole = batches_of(small_shards, config, epoch=3)
    assert len(whole) == 320 // 16
    assert whole[0][0].shape == (16, 75, 75, 3)
    assert same(whole[7:], batches_of(small_shards, config, 3, 7))
    assert not same(whole, batches_of(small_shards, config, epoch=4))
    other = make_config(small_shards, seed=1)
    assert not same(whole, batches_of(small_shards, other, epoch=3))


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_together_see_the_batches_of_one(small_shards, workers):
    config = make_config(small_shards)
    one = batches_of(small_shards, config)
    parts = [
        batches_of(small_shards, config, workers=workers, worker=worker)
        for worker in range(workers)
    ]
    together = [
        tuple(np.concatenate(columns) for columns in zip(*step, strict=True))
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


def test_an_epoch_shows_no_photo_twice(tmp_path):
    # Colours of images would not tell photos apart; labels of 16 cells do.
    places = [(-60 + 8 * i, 20.0 * i - 150) for i in range(16)]
    write_small_shards(tmp_path / "s", photos=64, files=3, places=places)
    config = make_config(tmp_path / "s", batch_size=4, lanes=2)
    shards = input_pipeline.open_shards(str(tmp_path / "s"))
    seen = np.concatenate([y for _, y in batches_of(tmp_path / "s", config)])
    raw = tf.data.TFRecordDataset([p for p, _ in shards.split("train")])
    truth = [int(input_pipeline.parse(r, ["label"])["label"]) for r in raw]
    assert len(seen) == len(truth) // 4 * 4
    # One short batch may be left out, nothing may come twice.
    counts = np.bincount(truth, minlength=16) - np.bincount(seen, minlength=16)
    assert (counts >= 0).all()
    assert counts.sum() == len(truth) % 4


@pytest.mark.parametrize(("workers", "replicas"), [(1, 1), (3, 1), (2, 2)])
def test_evaluation_shows_every_photo_once_in_equal_batches(
    small_shards, workers, replicas
):
    shards = input_pipeline.open_shards(str(small_shards))
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


def test_evaluation_takes_the_middle_square(make_jpeg):
    jpeg = make_jpeg(width=200, height=100)
    image = input_pipeline.evaluation_image(tf.constant(jpeg), 100)
    whole = tf.io.decode_jpeg(jpeg).numpy()
    wanted = whole[:, 50:150] / 127.5 - 1
    # The decoder smooths colours across the window's edges, or not.
    np.testing.assert_allclose(image[:, 1:-1], wanted[:, 1:-1], atol=1e-6)
    np.testing.assert_allclose(image, wanted, atol=0.1)


@pytest.mark.parametrize("rotate", [False, True])
def test_augmentation_is_a_function_of_its_seed(make_jpeg, rotate):
    config = make_config("unused", rotate=rotate)
    jpeg = tf.constant(make_jpeg(width=120, height=100))

    def view(*seed):
        return input_pipeline.training_image(
            jpeg, config, tf.constant(seed, tf.int64)
        ).numpy()

    assert np.array_equal(view(1, 2), view(1, 2))
    assert not np.array_equal(view(1, 2), view(1, 3))
    assert not np.array_equal(view(1, 2), view(2, 2))
    assert np.abs(view(1, 2)).max() <= 1


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch, make_jpeg):
    limits = images.Limits(max_pixels=80 * 60 - 1)
    monkeypatch.setattr(images, "Limits", lambda: limits)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pix"):
        input_pipeline.evaluation_image(tf.constant(make_jpeg(80, 60)), 75)


def test_shards_without_a_split_or_a_batch_are_refused(small_shards):
    shards = input_pipeline.open_shards(str(small_shards))
    with pytest.raises(input_pipeline.ShardsError, match="no photos in split"):
        shards.split("validate")
    config = make_config(small_shards, batch_size=400)
    with pytest.raises(input_pipeline.ShardsError, match="320 training"):
        input_pipeline.steps_per_epoch(shards, config)


def test_unfinished_shards_are_refused(tmp_path):
    with pytest.raises(input_pipeline.ShardsError, match="write_shards"):
        input_pipeline.open_shards(str(tmp_path))


def test_shards_of_another_version_are_refused(tmp_path):
    write_small_shards(tmp_path / "s", photos=40, files=1)
    path = tmp_path / "s" / records.SHARDS_FILE
    facts = json.loads(path.read_text()) | {"version": 99}
    path.write_text(json.dumps(facts))
    with pytest.raises(input_pipeline.ShardsError, match="version 99; needed"):
        input_pipeline.open_shards(str(tmp_path / "s"))


def test_shards_of_another_partition_are_refused_with_both_named(tmp_path):
    partition = write_small_shards(tmp_path / "s", photos=40, files=1)
    path = tmp_path / "s" / records.SHARDS_FILE
    facts = json.loads(path.read_text()) | {"partition_fingerprint": "sha256:b"}
    path.write_text(json.dumps(facts))
    with pytest.raises(input_pipeline.ShardsError) as caught:
        input_pipeline.open_shards(str(tmp_path / "s"))
    assert "sha256:b" in str(caught.value)
    assert partition.fingerprint in str(caught.value)
