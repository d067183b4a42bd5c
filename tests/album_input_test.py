import numpy as np
import pytest
import tensorflow as tf
from conftest import write_small_albums

from planet_tf.data import album_input, data_dirs
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.photos import records

FEATURES = 6


def make_album(count, timed=True, seed=0):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(60, 90_000, count)).tolist()
    photos = [
        records.PhotoOfAlbum(
            photo_id=f"p{i}",
            label=i % 3 - 1,
            token="",
            lat=float(i),
            lng=-float(i),
            taken_at=times[i] if timed else records.UNKNOWN_TIME,
        )
        for i in range(count)
    ]
    embedding = rng.normal(size=(count, FEATURES)).astype("float32")
    return records.Album(f"a{seed}", timed, photos, embedding)


def parse(album):
    record = tf.constant(records.encode_album(album))
    found = album_input.parse(record, FEATURES)
    return {name: x.numpy() for name, x in found.items()}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_an_album_is_read_as_it_was_written(count):
    album = make_album(count)
    found = parse(album)
    np.testing.assert_array_equal(found["embedding"], album.embedding)
    assert found["photos"] == count
    labels = [photo.label for photo in album.photos]
    assert found["label"].tolist() == labels
    assert found["weight"].tolist() == [float(x >= 0) for x in labels]
    places = [[photo.lat, photo.lng] for photo in album.photos]
    assert found["latlng"].tolist() == places
    times = [photo.taken_at for photo in album.photos]
    hours = np.diff(times) / 3600
    np.testing.assert_allclose(found["gap_hours"], [-1, *hours], rtol=1e-6)


def test_albums_without_times_have_no_gaps():
    found = parse(make_album(4, timed=False))
    assert found["gap_hours"].tolist() == [-1] * 4


def test_of_some_photos_the_time_is_that_since_the_one_kept_before():
    album = make_album(6)
    record = tf.constant(records.encode_album(album))
    kept = tf.constant([1, 2, 5])
    found = album_input.parse(record, FEATURES, lambda photos: kept)
    np.testing.assert_array_equal(
        found["embedding"], album.embedding[kept.numpy()]
    )
    assert found["photos"] == 3
    assert found["label"].numpy().tolist() == [0, 1, 1]
    assert found["latlng"][:, 0].numpy().tolist() == [1, 2, 5]
    times = [album.photos[i].taken_at for i in (1, 2, 5)]
    hours = np.diff(times) / 3600
    np.testing.assert_allclose(found["gap_hours"], [-1, *hours], rtol=1e-6)


def some_of(photos, share, seed):
    return album_input.some_of(tf.constant(photos), share, (7, seed)).numpy()


def test_photos_are_left_out_by_their_share_and_never_all():
    assert some_of(5, 0.0, 1).tolist() == [0, 1, 2, 3, 4]
    kept = [some_of(10, 0.3, seed) for seed in range(200)]
    assert all((np.diff(found) > 0).all() for found in kept)
    assert abs(sum(map(len, kept)) / 2000 - 0.7) < 0.05
    each = np.bincount(np.concatenate(kept), minlength=10) / 200
    assert (abs(each - 0.7) < 0.12).all()
    assert min(len(some_of(2, 0.9, seed)) for seed in range(100)) == 1


@pytest.fixture(scope="module")
def albums(tmp_path_factory):
    directory = tmp_path_factory.mktemp("albums") / "albums"
    write_small_albums(directory, albums=50, files=3)
    return data_dirs.open_albums(str(directory))


def context(workers=1, worker=0):
    return tf.distribute.InputContext(
        num_input_pipelines=workers,
        input_pipeline_id=worker,
        num_replicas_in_sync=workers,
    )


def make_config(albums, **options):
    known = {"batch_size": 4, "steps": 6, "seed": 3}
    return TrainAlbumsConfig(
        albums=albums.directory, model_dir="", **(known | options)
    )


def of_worker(albums, first_step=0, workers=1, worker=0, **options):
    batches = album_input.training_batches(
        albums,
        make_config(albums, **options),
        first_step=first_step,
        context=context(workers, worker),
    )
    return list(batches.as_numpy_iterator())


def contents(batches):
    """The photos of each album of batches, padding left out."""
    return [
        embedding[:count].tobytes()
        for batch in batches
        for embedding, count in zip(
            batch["embedding"], batch["photos"], strict=True
        )
    ]


def test_batches_are_padded_to_their_longest_album(albums):
    batches = of_worker(albums)
    assert len(batches) == 6
    lengths = {batch["embedding"].shape[1] for batch in batches}
    assert len(lengths) > 1
    for batch in batches:
        longest = batch["photos"].max()
        assert batch["embedding"].shape == (4, longest, albums.features)
        assert batch["latlng"].shape == (4, longest, 2)
        beyond = np.arange(longest) >= batch["photos"][:, None]
        assert (batch["weight"][beyond] == 0).all()
        assert (batch["embedding"][beyond] == 0).all()


@pytest.mark.slow
def test_two_workers_share_what_one_reads_and_any_step_can_be_the_first(albums):
    alone = of_worker(albums)
    shared = [of_worker(albums, workers=2, worker=n) for n in range(2)]
    for batch, *parts in zip(alone, *shared, strict=True):
        assert sorted(contents([batch])) == sorted(contents(parts))
    assert contents(of_worker(albums, first_step=4)) == contents(alone[4:])


def test_photos_left_out_are_the_same_again_and_others_in_each_epoch(albums):
    options = {"drop_photos": 0.5, "steps": 40}
    some = contents(of_worker(albums, **options))
    assert contents(of_worker(albums, first_step=4, **options)) == some[16:]
    whole = contents(of_worker(albums, steps=40))
    size = 4 * albums.features
    photos = [
        [album[i : i + size] for i in range(0, len(album), size)]
        for album in whole
    ]
    assert all(
        0 < len(kept) <= len(album)
        for kept, album in zip(some, whole, strict=True)
    )
    assert all(
        kept[i : i + size] in album
        for kept, album in zip(some, photos, strict=True)
        for i in range(0, len(kept), size)
    )
    first = {}
    again = 0
    for kept, album in zip(some, whole, strict=True):
        again += first.setdefault(album, kept) != kept
    assert again  # an album seen once more, with other photos


@pytest.mark.parametrize("workers", [1, 2])
def test_every_album_of_a_split_is_evaluated_once(albums, workers):
    found = []
    for worker in range(workers):
        batches = album_input.evaluation_batches(
            albums, "test", batch_size=2, context=context(workers, worker)
        )
        found.append(list(batches.as_numpy_iterator()))
    assert len({len(batches) for batches in found}) == 1
    together = [batch for batches in found for batch in batches]
    for batch in together:
        assert batch["embedding"].shape[1] == albums.max_photos
    real = [x for x in contents(together) if any(x)]
    paths = [path for path, _ in albums.split("test")]
    there = [
        album_input.parse(record, albums.features)["embedding"].numpy()
        for record in tf.data.TFRecordDataset(paths)
    ]
    assert sorted(real) == sorted(x.tobytes() for x in there)
