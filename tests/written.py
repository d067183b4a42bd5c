"""Small collections, and what write_shards and write_albums make of them."""

import collections
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import engines
import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from beam_pipelines import splits, write_albums, write_shards
from beam_pipelines.photos import Photos
from planet_tf.geo import partition
from planet_tf.photos import records

PHOTO_SIZE = 48  # of the albums' model
FEATURES = 12
RULE = {
    "seed": 3,
    # In the order of shards.json, whose keys are sorted.
    "fractions": {"albums": 0.3, "test": 0.2, "validation": 0.2},
}
NONE_SEEN = [
    "--seen_photos=none",
    "--validation_fraction=0",
    "--test_fraction=0",
]
DATAFLOW_DRY_RUN = [
    "--runner=DataflowRunner",
    "--project=test-project",
    "--region=us-central1",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
    "--no_auth",
    "--dry_run=True",
]
_HEADER = "photo_id,path,lat,lng,owner_id,album_id,taken_at"
_HOUR = 3600
Row = Sequence[Any]
Flags = dict[str, Any]


class World:
    """Photos in a directory, and one program that is run on them.

    Attributes:
      path: the directory.
      rows: of the manifest; each photo is in its file.
      cells: the partition.
    """

    program: Callable[[list[str]], int]
    out: str  # also the name of the JSON file with the facts

    def __init__(self, path: pathlib.Path, points: np.ndarray, rows: list[Row]):
        self.path, self.rows = path, rows
        self.cells = partition.build(*points.T, max_photos=20, min_photos=1)

    def flags(self) -> Flags:
        """What the program is given beside the photos, --out and a runner."""
        raise NotImplementedError

    def manifest(
        self, rows: Sequence[Row], name: str = "photos.csv"
    ) -> pathlib.Path:
        """A file of rows, as old as any other of so many."""
        path = self.path / name
        lines = [_HEADER, *(",".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        os.utime(path, (1e9, 1e9 + len(rows)))
        return path

    def write(
        self,
        *options: str,
        rows: Sequence[Row] | None = None,
        out: str | None = None,
        name: str = "photos.csv",
    ) -> int:
        """The exit code of the program."""
        flags = {
            "photos": self.manifest(rows or self.rows, name),
            "out": self.path / (out or self.out),
            "runner": "FnApiRunner",
        } | self.flags()
        given = [f"--{name}={value}" for name, value in flags.items()]
        return self.program([self.out, *given, *options])

    def files(self, out: str | None = None) -> dict[str, bytes]:
        """{name: bytes} of the whole directory."""
        return engines.contents(self.path / (out or self.out))

    def record_files(self, out: str | None = None) -> dict[str, bytes]:
        files = self.files(out).items()
        return {name: data for name, data in files if ".tfrecord-" in name}

    def info(self, out: str | None = None) -> dict[str, Any]:
        path = self.path / (out or self.out) / f"{self.out}.json"
        return json.loads(path.read_text())

    def rejects(self, out: str | None = None) -> list[tuple[str, str, str]]:
        """Rejects as (id, stage, reason), sorted."""
        lines = [
            line
            for path in (self.path / (out or self.out)).glob("rejects-*.jsonl")
            for line in path.read_text().splitlines()
        ]
        found = [json.loads(line) for line in lines]
        assert all(set(r) == {"id", "stage", "reason", "detail"} for r in found)
        return sorted((r["id"], r["stage"], r["reason"]) for r in found)


class ShardsWorld(World):
    """60 photos of 10 owners around New York, and their partition."""

    program, out = staticmethod(write_shards.main), "shards"

    def __init__(self, path: pathlib.Path):
        points = np.random.default_rng(0).normal([40.7, -74.0], 1, (60, 2))
        (path / "img").mkdir()
        rows = []
        for i, (lat, lng) in enumerate(points.tolist()):
            name, owner = f"img/{i}.jpg", f"owner{i % 10}"
            (path / name).write_bytes(engines.jpeg(i, 80, 60))
            rows.append(
                [f"p{i}", name, lat, lng, owner, f"album{i % 20}", 1000 + i]
            )
        super().__init__(path, points, rows)
        self.describe(self.cells)

    def describe(self, cells: partition.Partition) -> None:
        """Writes partition.json."""
        with (self.path / "partition.json").open("w") as file:
            partition.dump(cells, file)

    def flags(self) -> Flags:
        return {
            "partition": self.path / "partition.json",
            "shards": 3,
            "validation_fraction": 0.2,
            "test_fraction": 0.2,
        }

    def with_copies(self) -> list[Row]:
        """Rows of the photos, and of copies of other owners and albums."""
        rows = list(self.rows)
        for i, (photo_id, path, lat, lng, owner, _, at) in enumerate(self.rows):
            data = (self.path / path).read_bytes()
            (self.path / f"img/copy{i}.jpg").write_bytes(data)
            copy = [f"{photo_id}-again", f"img/copy{i}.jpg", lat, lng]
            rows += [
                [*copy, f"{owner}-again", "", at],
                [f"{photo_id}-more", path, lat, lng, "", f"album{i}", at],
            ][: 1 + i % 2]
        return rows


class AlbumsWorld(World):
    """128 photos of albums, owners and directories, and a model for them."""

    program, out = staticmethod(write_albums.main), "albums"

    def __init__(self, path: pathlib.Path, export: pathlib.Path):
        points = np.random.default_rng(0).normal([40.7, -74.0], 1, (128, 2))
        rows = []
        for i, (lat, lng) in enumerate(points.tolist()):
            name = f"img/{i % 7}/{i}.jpg"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(engines.jpeg(i))
            owner = f"owner{i % 30}" if i % 4 else ""
            album = f"album{i % 20}" if i % 2 else ""
            # Names go another way than times.
            at = "" if i % 11 == 0 else 1_500_000_000 + (131 * i) % 128 * _HOUR
            rows.append([f"p{i}", name, lat, lng, owner, album, at])
        super().__init__(path, points, rows)
        self.model = path / "model"
        self.model.mkdir()
        with (self.model / "partition.json").open("w") as file:
            partition.dump(self.cells, file)
        self.describe(RULE)
        (self.model / "export").symlink_to(export)

    def describe(self, rule: dict[str, Any] | None) -> None:
        """Writes the model's config.json."""
        facts = {
            "partition_fingerprint": self.cells.fingerprint,
            "photo_size": PHOTO_SIZE,
            "split_rule": rule,
        }
        (self.model / "config.json").write_text(json.dumps(facts))

    def flags(self) -> Flags:
        return {"model_dir": self.model, "shards": 2, "batch_size": 8}

    def albums(self, out: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """{split: albums as {feature: values}}."""
        found = collections.defaultdict(list)
        for name, data in self.record_files(out).items():
            found[records.split_of(name)] += map(as_album, read_records(data))
        return found

    def runs(self) -> dict[str, list[str]]:
        """Photo ids of albums by album id."""
        some = [a for albums in self.albums().values() for a in albums]
        return {a["album_id"]: a["photos/photo_id"] for a in some}

    def split_of(self, row: Row) -> str:
        """The split of a photo, by the rule in the model's config."""
        lat, lng, owner, album = row[2:6]
        photos = Photos.from_rows(
            [(row[0], "", 0, -1, lat, lng, owner, album, 0)]
        )
        fractions = {"validation": 0.2, "test": 0.2, "albums": 0.3}
        return splits.split_names(photos, fractions, RULE["seed"])[0]

    def album_rows(self, count: int, copies: Sequence[int] = ()) -> list[Row]:
        """Rows of one album of noise images; some are copies of the first."""
        rows = []
        for i in range(count):
            name = f"img/one{i}.jpg"
            seed = 500 if i in copies else 500 + i
            (self.path / name).write_bytes(engines.jpeg(seed, 40, 30))
            rows.append([f"one{i}", name, 40.7, -74, "zoe", "one", 10**9 + i])
        return rows


def read_records(data: bytes) -> Iterator[dict[str, list[Any]]]:
    """The examples of a record file as {feature: values}."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        record = data[at + 12 : at + 12 + size]
        assert records.frame(record) == data[at : at + size + 16]
        at += size + 16
        features = tf_example_pb2.Example.FromString(record).features.feature
        yield {
            name: list(getattr(f, f.WhichOneof("kind")).value)
            for name, f in features.items()
        }


def read_photos(data: bytes) -> Iterator[dict[str, Any]]:
    """The examples of a file of shards as {feature: value}."""
    for example in read_records(data):
        yield {name: values[0] for name, values in example.items()}


def as_album(example: dict[str, list[Any]]) -> dict[str, Any]:
    """An example of a file of albums, its embeddings (photos, features)."""
    ids = [value.decode() for value in example["photos/photo_id"]]
    vectors = np.array(example["photos/embedding"], np.float32)
    return example | {
        "album_id": example["album_id"][0].decode(),
        "photos/photo_id": ids,
        "photos/embedding": vectors.reshape(len(ids), -1),
    }


def save_model(
    directory: pathlib.Path, weights: str = "sha256:1", gain: float = 1.0
) -> None:
    """A SavedModel whose embeddings are 12 weighted means of the pixels."""
    import tensorflow as tf

    from planet_tf.data import decoding

    class Small(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(weights, trainable=False)
            self.kernel = tf.Variable(
                gain * np.random.default_rng(0).normal(size=(192, FEATURES)),
                dtype=tf.float32,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def embed(self, image_bytes):
            images, valid = decoding.evaluation_images(image_bytes, 8)
            pixels = (images + 1) / 2
            flat = tf.reshape(pixels, (-1, 192))
            return {"embedding": flat @ self.kernel, "valid": valid}

    tf.saved_model.save(Small(), str(directory))
