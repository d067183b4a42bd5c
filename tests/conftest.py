"""Small photos, manifests, shards and a small model for the tests."""

import csv
import fcntl
import functools
import io
import json
import os
import pathlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import short_network
from PIL import Image

from planet_tf.geo import partition as partition_lib
from planet_tf.photos import records

# A shell that starts the tests in the background has them ignore Ctrl-C, and
# so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_jpeg() -> Callable[..., bytes]:
    """A function for JPEG bytes of smooth noise; `save` goes to Pillow."""

    def make(
        width: int = 80, height: int = 60, seed: int = 0, **save: Any
    ) -> bytes:
        rng = np.random.default_rng(seed)
        small = rng.integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(small).resize((width, height))
        file = io.BytesIO()
        image.save(file, **{"format": "JPEG", **save})
        return file.getvalue()

    return make


@pytest.fixture
def make_manifest(tmp_path) -> Callable[..., pathlib.Path]:
    """A function that writes rows as a CSV file in tmp_path."""

    def make(
        rows: Sequence[Sequence[Any]],
        header: str = "photo_id,path,lat,lng,owner_id,album_id,taken_at",
        name: str = "photos.csv",
    ) -> pathlib.Path:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(rows)
        return path

    return make


PLACES = ((48.8, 2.3), (40.7, -74.0), (-33.4, -70.6), (-18.1, 178.4))


@pytest.fixture(scope="session")
def make_once(tmp_path_factory) -> Callable[..., pathlib.Path]:
    """A function that makes a directory for all of pytest-xdist's processes.

    The first one makes it, the others wait. Tests may read it only.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def once(name: str, make: Callable[[pathlib.Path], object]) -> pathlib.Path:
        done = base / f"{name}.done"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                make(base / name)
                done.touch()
        return base / name

    return once


@pytest.fixture(scope="session")
def small_shards(make_once) -> pathlib.Path:
    """Shards of 400 images in four places; each place has its own colour."""
    return make_once(
        "small_shards", lambda path: write_small_shards(path, 400, files=3)
    )


def write_small_shards(
    directory: pathlib.Path,
    photos: int,
    files: int,
    places: Sequence[tuple[float, float]] = PLACES,
    max_photos: int | None = None,
) -> partition_lib.Partition:
    """Writes finished shards, as write_shards would; returns the partition."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    place = np.arange(photos) % len(places)
    latlng = np.array(places)[place] + rng.normal(0, 0.2, (photos, 2))
    partition = partition_lib.build(
        *latlng.T, max_photos=max_photos or photos // 3, min_photos=1
    )
    labels = partition.labels(*latlng.T)
    shards: dict[str, list[bytes]] = {}
    for i in range(photos):
        split = ("train",) * 8 + ("validation", "test")
        count = files if split[i // 4 % 10] == "train" else 1
        name = records.file_name(split[i // 4 % 10], i % count, count)
        pixels = np.full((80, 90, 3), 60.0)
        pixels[..., place[i] % 3] += 40 * (1 + place[i] // 3)
        pixels += rng.normal(0, 15, pixels.shape)
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG")
        photo = records.Photo(
            image=file.getvalue(),
            photo_id=f"photo-{i:04}",
            lat=latlng[i, 0],
            lng=latlng[i, 1],
            token=partition.token(int(labels[i])),
            label=int(labels[i]),
        )
        record = records.frame(records.encode_photo(photo))
        shards.setdefault(name, []).append(record)
    for name, found in shards.items():
        (directory / name).write_bytes(b"".join(found))
    with (directory / records.PARTITION_FILE).open("w") as file:
        partition_lib.dump(partition, file)
    facts = {
        "format": records.SHARDS_FORMAT,
        "version": records.SHARDS_VERSION,
        "partition_fingerprint": partition.fingerprint,
        "fingerprint": f"sha256:{photos}-{files}",
        "image_size": 80,
        "files": {n: {"photos": len(found)} for n, found in shards.items()},
    }
    (directory / records.SHARDS_FILE).write_text(json.dumps(facts))
    return partition


def write_small_albums(
    directory: pathlib.Path,
    albums: int,
    files: int,
    features: int = 6,
    photo_model: pathlib.Path | None = None,
) -> partition_lib.Partition:
    """Writes finished albums, as write_albums would; returns the partition.

    An album is of one of the four places. Of each photo its embedding says the
    place, but in noise that takes several photos to see through.

    Args:
      directory: where to.
      albums: how many.
      files: of the training split.
      features: of an embedding.
      photo_model: a model directory, whose partition is taken; else there is
        nothing that could be asked.
    """
    directory.mkdir()
    rng = np.random.default_rng(0)
    fingerprint = "sha256:photos"
    if photo_model:
        from planet_tf.model import export, model_dir

        partition = model_dir.read_partition(str(photo_model))
        fingerprint = (
            export.load(str(photo_model), partition).weights.numpy().decode()
        )
        model_dir.copy_photo_model(
            str(photo_model), str(directory / records.PHOTO_MODEL)
        )
    else:
        lat, lng = np.repeat(np.array(PLACES), 50, axis=0).T
        partition = partition_lib.build(lat, lng, max_photos=60, min_photos=1)
        (directory / records.PHOTO_MODEL / "export").mkdir(parents=True)
        (directory / records.PHOTO_MODEL / "export" / "weights").write_text("w")
    signs = rng.normal(size=(len(PLACES), features))
    longest, written = 0, {}
    for i in range(albums):
        place, count = i % len(PLACES), 1 + i % 9
        longest = max(longest, count)
        latlng = np.repeat([PLACES[place]], count, axis=0)
        labels = partition.labels(*latlng.T).tolist()
        photos = [
            records.PhotoOfAlbum(
                photo_id=f"{i}-{k}",
                label=labels[k],
                token=partition.token(labels[k]),
                lat=latlng[k, 0],
                lng=latlng[k, 1],
                taken_at=100_000 * i + 3_600 * k,
            )
            for k in range(count)
        ]
        noise = rng.normal(0, 2, (count, features))
        embedding = (signs[place] + noise).astype(np.float32)
        album = records.Album(f"album-{i}", True, photos, embedding)
        split = ("train",) * 8 + ("validation", "test")
        split = split[i // 4 % 10]
        shard = i % files if split == "train" else 0
        name = records.file_name(
            split, shard, files if split == "train" else 1, records.ALBUMS
        )
        written.setdefault(name, []).append(
            records.frame(records.encode_album(album))
        )
    for name, found in written.items():
        (directory / name).write_bytes(b"".join(found))
    with (directory / records.PARTITION_FILE).open("w") as file:
        partition_lib.dump(partition, file)
    facts = {
        "format": records.ALBUMS_FORMAT,
        "version": records.ALBUMS_VERSION,
        "partition_fingerprint": partition.fingerprint,
        "model_fingerprint": fingerprint,
        "fingerprint": f"sha256:{albums}-{files}",
        "features": features,
        "max_photos": longest,
        "files": {n: {"albums": len(found)} for n, found in written.items()},
    }
    (directory / records.ALBUMS_FILE).write_text(json.dumps(facts))
    return partition


SMALL_MODEL = {
    "image_size": 75,
    "width": 0.1,
    "batch_size": 16,
    "batch_norm_momentum": 0.9,
    "steps": 30,
    "validate_every": 10,
    "log_every": 5,
    "example_photos": 1,
}


@pytest.fixture(scope="session")
def small_model(small_shards, make_once) -> pathlib.Path:
    """Model directory of a short model trained on `small_shards`."""

    def make(directory: pathlib.Path) -> None:
        from planet_tf.options import train_config
        from planet_tf.training import loop, photo_task

        options = train_config.TrainConfig(
            shards=str(small_shards), model_dir=str(directory), **SMALL_MODEL
        )
        with short_network.instead_of_inception():
            loop.train(options, photo_task.PhotoTask)

    return make_once("small_model", make)


@pytest.fixture
def short_models() -> Iterator[None]:
    """A test's photo models are short, as `small_model` is."""
    with short_network.instead_of_inception():
        yield


@pytest.fixture(scope="session")
def model_albums(small_model, make_once) -> pathlib.Path:
    """Albums as of embeddings of `small_model`."""

    def make(directory: pathlib.Path) -> None:
        from planet_tf.model import models
        from planet_tf.options import train_config
        from planet_tf.training import photo_task

        options = train_config.TrainConfig(
            shards="", model_dir="", **SMALL_MODEL
        )
        with short_network.instead_of_inception():
            model = photo_task.build_model(options, len(PLACES))
        features = model.get_layer(models.EMBEDDING).output.shape[-1]
        write_small_albums(directory, 400, 2, features, small_model)

    return make_once("model_albums", make)


@pytest.fixture(scope="session")
def album_models(model_albums, make_once) -> list[pathlib.Path]:
    """Model directories trained on `model_albums`: an LSTM, and the control."""

    def make(directory: pathlib.Path, variant: str) -> None:
        from planet_tf.options import train_config
        from planet_tf.training import album_task, loop

        options = train_config.TrainAlbumsConfig(
            albums=str(model_albums),
            model_dir=str(directory),
            variant=variant,
            batch_size=16,
            steps=40,
            units=8,
            learning_rate=0.1,
            log_every=20,
        )
        loop.train(options, album_task.AlbumTask)

    return [
        make_once(f"album_{variant}", functools.partial(make, variant=variant))
        for variant in ("lstm", "alone")
    ]


@pytest.fixture(scope="session")
def embedder(make_once) -> pathlib.Path:
    """A SavedModel whose embeddings need no network."""

    def make(directory: pathlib.Path) -> None:
        import written

        written.save_model(directory)

    return make_once("embedder", make)
