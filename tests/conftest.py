"""Small photos, manifests, shards and a small model for the tests."""

import csv
import io
import json
import pathlib
import signal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from planet_tf import partition as partition_lib
from planet_tf import records

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
def small_shards(tmp_path_factory) -> pathlib.Path:
    """Shards of 400 images in four places; each place has its own colour."""
    directory = tmp_path_factory.mktemp("small") / "shards"
    write_small_shards(directory, photos=400, files=3)
    return directory


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
def small_model(small_shards) -> pathlib.Path:
    """Model directory of a model trained on `small_shards`."""
    from planet_tf import config, training

    directory = small_shards.parent / "model"
    training.train(
        config.TrainConfig(
            shards=str(small_shards), model_dir=str(directory), **SMALL_MODEL
        )
    )
    return directory
