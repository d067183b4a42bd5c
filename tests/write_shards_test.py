import collections
import dataclasses
import io

import engines
import numpy as np
import pytest
import written
from PIL import Image

from beam_pipelines import splits
from planet_tf.photos import records


@pytest.fixture
def world(tmp_path):
    return written.ShardsWorld(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the program wrote; not to be changed."""
    world = written.ShardsWorld(tmp_path_factory.mktemp("whole"))
    assert world.write() == 0
    return world


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The same without a split test; p0 is large."""
    world = written.ShardsWorld(tmp_path_factory.mktemp("originals"))
    large = engines.jpeg(77, 900, 700)
    (world.path / "img/0.jpg").write_bytes(large)
    assert world.write("--image_size=0", "--test_fraction=0") == 0
    return world


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    """The same, scaled, with a test split that gets no photos."""
    world = written.ShardsWorld(tmp_path_factory.mktemp("scaled"))
    assert world.write("--image_size=30", "--test_fraction=0.0001") == 0
    return world


def photos_of(world, out=None):
    """All photos as {feature: value}."""
    files = world.record_files(out).values()
    return [photo for data in files for photo in written.read_photos(data)]


def test_every_photo_is_in_one_shard_with_its_label(whole):
    photos = photos_of(whole)
    found = {photo["photo_id"].decode(): photo for photo in photos}
    assert sorted(found) == sorted(row[0] for row in whole.rows)
    assert len(photos) == len(whole.rows)
    for photo_id, path, lat, lng, owner, album, taken_at in whole.rows:
        record = found[photo_id]
        [label] = whole.cells.labels(np.array([lat]), np.array([lng]))
        assert record["label"] == label
        assert record["token"].decode() == whole.cells.tokens[label]
        assert record["image"] == (whole.path / path).read_bytes()
        assert record["lat"] == np.float32(lat)
        assert record["lng"] == np.float32(lng)
        assert record["owner_id"].decode() == owner
        assert record["album_id"].decode() == album
        assert record["taken_at"] == taken_at


def test_an_owner_is_in_one_split_only(whole):
    splits = {}
    for name, data in whole.record_files().items():
        for record in written.read_photos(data):
            split = records.split_of(name)
            splits.setdefault(record["owner_id"], set()).add(split)
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) > 1


def test_shards_json_describes_the_files(whole):
    info, files = whole.info(), whole.record_files()
    assert info["format"] == "planet_tf.shards" and info["version"] == 1
    assert info["partition_fingerprint"] == whole.cells.fingerprint
    assert (
        whole.files()["partition.json"]
        == (whole.path / "partition.json").read_bytes()
    )
    assert set(info["files"]) == set(files) and len(files) == 9
    for name, facts in info["files"].items():
        assert facts["photos"] == len(list(written.read_photos(files[name])))
    for split, facts in info["splits"].items():
        own = [n for n in files if records.split_of(n) == split]
        assert facts["shards"] == len(own) == 3
        assert facts["bytes"] == sum(len(files[n]) for n in own)
        assert facts["photos"] == sum(info["files"][n]["photos"] for n in own)
    assert info["config"]["validation_fraction"] == 0.2
    assert not [n for n in whole.files() if n.endswith(".incomplete")]


def test_another_training_split_than_the_partitions_is_refused(world, capfd):
    rule = {
        "seed": 0,
        "fractions": {"validation": 0.2, "test": 0.2, "albums": 0.0},
    }
    cells = dataclasses.replace(world.cells, made_by={"train_split": rule})
    world.describe(cells)
    for other in ("--split_seed=1", "--test_fraction=0.1"):
        assert world.write(other) == 1
        told = capfd.readouterr().err
        assert "would have made cells" in told
        assert "'test': 0.2" in told
    assert world.write() == 0


def test_the_bytes_are_those_of_the_run_before_and_of_shuffled_rows(world):
    bad = [["p1", "img/5.jpg", 40, -74, "", "", ""]]
    bad += [[f"x{i}", "x.jpg", 95, 0, "", "", ""] for i in range(3)]
    rows, lenient = world.rows + bad, ["--max_reject_fraction=0.1"]
    assert world.write(*lenient, rows=rows) == 0
    assert len(world.rejects()) == 4
    assert world.write(*lenient, rows=rows, out="again", name="photos.csv") == 0
    assert world.files("again") == world.files()
    shuffled = rows[::-2] + rows[-2::-2]
    assert (
        world.write(*lenient, rows=shuffled, out="shuffled", name="other.csv")
        == 0
    )
    differing = {
        name
        for name, data in world.files("shuffled").items()
        if data != world.files()[name]
    }
    assert differing == {"shards.json"}  # it names the manifest
    assert world.info("shuffled")["fingerprint"] == world.info()["fingerprint"]


def images_in_splits(world, out=None):
    """{image bytes: the splits of its records}, a list each."""
    found = collections.defaultdict(list)
    for name, data in world.record_files(out).items():
        for record in written.read_photos(data):
            found[record["image"]].append(records.split_of(name))
    return found


def test_an_image_is_in_one_split_only_under_whatever_id_and_owner(world):
    rows = world.with_copies()
    assert world.write("--duplicates=keep", rows=rows, out="kept") == 0
    assert (
        sum(s["photos"] for s in world.info("kept")["splits"].values()) == 150
    )
    leaking = [
        set(splits) for splits in images_in_splits(world, "kept").values()
    ]
    assert max(map(len, leaking)) > 1
    assert world.write(rows=rows) == 0
    found = images_in_splits(world)
    assert len(found) == 60
    assert all(len(splits) == 1 for splits in found.values())
    # Copies are no fault of the data: 60 % of it are no reason to fail.
    assert world.info()["rejects"] == {"duplicate_content": 90}
    files = world.record_files()
    shuffled = rows[::-2] + rows[-2::-2]
    assert world.write(rows=shuffled, out="again") == 0
    assert world.record_files("again") == files
    assert world.rejects("again") == world.rejects()


def test_bad_rows_end_in_the_rejects_and_the_rest_is_written(
    world, make_jpeg, capsys
):
    jpeg = make_jpeg(seed=99)
    (world.path / "img/half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (world.path / "img/text.jpg").write_text("not a photo")
    (world.path / "img/zzz.jpg").write_bytes(make_jpeg(seed=98))
    (world.path / "img/copy.jpg").write_bytes(make_jpeg(seed=8))
    where = [40.7, -74.0, "owner1", "", ""]
    bad = [
        ["missing", "img/none.jpg", *where],
        ["half", "img/half.jpg", *where],
        ["text", "img/text.jpg", *where],
        ["north", "img/1.jpg", 95, 0, "", "", ""],
        ["nan", "img/1.jpg", "NaN", 0, "", "", ""],
        ["empty", "img/1.jpg", 40, "", "", "", ""],
        ["pathless", "", *where],
        ["far", "img/1.jpg", -40, 100, "", "", ""],
        # Another place, so that alone it could be in another split.
        ["p7", "img/zzz.jpg", 41.0, -73.0, "owner2", "", ""],
        # The same bytes as p8, and as p9 once more.
        ["copy", "img/copy.jpg", *where],
        ["p9", "img/9.jpg", 40.8, -74.0, "owner2", "", ""],
    ]
    assert world.write("--max_reject_fraction=0.2", rows=bad + world.rows) == 0
    copy = max("copy", "p8", key=splits.hash64)
    assert world.rejects() == sorted(
        [
            ("missing", "write", "missing_file"),
            ("half", "write", "truncated_image"),
            ("text", "write", "not_an_image"),
            ("north", "read", "lat_out_of_range"),
            ("nan", "read", "coordinates_not_a_number"),
            ("empty", "read", "missing_coordinates"),
            ("pathless", "read", "missing_path"),
            ("far", "assign", "outside_partition"),
            ("p7", "write", "duplicate_id"),
            ("p9", "write", "duplicate_id"),
            (copy, "write", "duplicate_content"),
        ]
    )
    info = world.info()
    reasons = [reason for _, _, reason in world.rejects()]
    assert info["rejects"] == collections.Counter(reasons)
    assert sum(s["photos"] for s in info["splits"].values()) == 60
    told = capsys.readouterr().out
    assert "71 photos read" in told and "60 written" in told
    for reason, n in info["rejects"].items():
        assert f"{n} {reason}" in told


def test_photos_outside_the_partition_are_no_failure(world):
    far = [[f"far{i}", "img/1.jpg", -40, 100, "", "", ""] for i in range(60)]
    assert world.write(rows=world.rows + far) == 0
    assert world.info()["rejects"] == {"outside_partition": 60}


def test_larger_photos_are_scaled_to_the_image_size(scaled):
    images = [photo["image"] for photo in photos_of(scaled)]
    sizes = {Image.open(io.BytesIO(image)).size for image in images}
    assert sizes == {(40, 30)} and len(images) == 60


def test_originals_are_kept_byte_for_byte(originals):
    images = sorted(photo["image"] for photo in photos_of(originals))
    paths = [originals.path / row[1] for row in originals.rows]
    assert images == sorted(path.read_bytes() for path in paths)
    assert max(map(len, images)) > 20_000


def test_photos_beyond_the_limits_are_left_out(world, make_jpeg):
    (world.path / "img/0.jpg").write_bytes(make_jpeg(width=50, height=40))
    (world.path / "img/1.jpg").write_bytes(make_jpeg(width=100, height=90))
    assert world.write("--min_side=50", "--max_pixels=8000") == 0
    assert world.rejects() == [
        ("p0", "write", "too_small"),
        ("p1", "write", "too_many_pixels"),
    ]


def test_the_quality_of_scaled_photos_is_an_option(scaled, world):
    assert world.write("--image_size=30", "--jpeg_quality=40") == 0
    assert world.info()["config"]["jpeg_quality"] == 40
    sizes = []
    for info in (scaled.info(), world.info()):
        assert info["image_size"] == info["config"]["image_size"] == 30
        sizes.append(sum(s["bytes"] for s in info["splits"].values()))
    assert scaled.info()["config"]["jpeg_quality"] == 90
    assert sizes[0] > 1.3 * sizes[1]


def test_tfds_reads_the_photos(originals):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")
    builder = tfds.builder_from_directory(str(originals.path / "shards"))
    assert set(builder.info.splits) == {"train", "validation"}
    found = []
    for split in builder.info.splits:
        photos = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert len(photos) == builder.info.splits[split].num_examples
        found += photos
    assert len(found) == 60
    by_id = {row[0]: row for row in originals.rows}
    for photo in found:
        row = by_id[photo["photo_id"].decode()]
        size = (700, 900, 3) if row[0] == "p0" else (60, 80, 3)
        assert photo["image"].shape == size
        assert photo["lat"] == np.float32(row[2])
        assert photo["owner_id"].decode() == row[4]


def test_a_split_that_got_no_photos_is_read_as_empty(scaled):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")
    builder = tfds.builder_from_directory(str(scaled.path / "shards"))
    assert builder.info.splits["test"].num_examples == 0
    assert builder.info.splits["train"].num_examples > 0
