import hashlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from beam_pipelines import check_splits, record_files, shards, write_shards
from planet_tf.geo import partition
from planet_tf.photos import records


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Shards of 90 photos, of known and unknown owners and albums."""
    path = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(0)
    points = rng.normal([40.7, -74.0], 1.5, (90, 2))
    rows = ["photo_id,path,lat,lng,owner_id,album_id,taken_at"]
    for i, (lat, lng) in enumerate(points.tolist()):
        image = rng.integers(0, 256, (20, 20, 3), np.uint8)
        (path / f"{i}.jpg").write_bytes(encode(image))
        owner = f"owner{i % 13}" if i < 60 else ""
        album = f"album{i % 19}" if i < 75 else ""
        rows.append(f"p{i},{i}.jpg,{lat},{lng},{owner},{album},{i}")
    (path / "photos.csv").write_text("\n".join(rows) + "\n")
    cells = partition.build(*points.T, max_photos=20, min_photos=1)
    with (path / "partition.json").open("w") as file:
        partition.dump(cells, file)
    args = {
        "photos": path / "photos.csv",
        "partition": path / "partition.json",
        "out": path / "shards",
        "shards": 2,
        "validation_fraction": 0.3,
        "test_fraction": 0.3,
        "runner": "FnApiRunner",
    }
    flags = [f"--{name}={value}" for name, value in args.items()]
    assert write_shards.main(["write_shards", *flags]) == 0
    return path / "shards"


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


class Shards:
    """Shards that can be changed, and described as they are then."""

    def __init__(self, path, source):
        self.path = path
        path.mkdir()
        for file in source.iterdir():
            (path / file.name).write_bytes(file.read_bytes())

    def photos(self, split):
        """All photos of a split, and the files they are in."""
        return [
            (path, row.photo)
            for path in sorted(self.path.glob(f"planet-{split}.*"))
            for row in self.rows(path)
        ]

    def rows(self, path):
        found = []
        for _, data in record_files.archives.read_frames(path.open("rb")):
            photo = record_files.decode_photo(data)
            found.append(record_files.Row(0, b"", photo))
        return found

    def add(self, split, photo):
        path = sorted(self.path.glob(f"planet-{split}.*"))[0]
        with path.open("ab") as file:
            file.write(records.frame(records.encode_photo(photo)))

    def describe(self):
        """Makes shards.json say what is there."""
        info = json.loads((self.path / "shards.json").read_text())
        written = []
        for name in info["files"]:
            path = self.path / name
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            photos = len(self.rows(path))
            split = records.split_of(name)
            written.append(
                shards.RecordFile(name, split, 0, photos, len(data), digest)
            )
        info.update(shards.summary(written, info["rejects"]))
        (self.path / "shards.json").write_text(json.dumps(info))

    def check(self, *options):
        return check_splits.main(
            [
                "check_splits",
                f"--shards={self.path}",
                "--runner=FnApiRunner",
                *options,
            ]
        )


@pytest.fixture
def copy(written, tmp_path):
    return Shards(tmp_path / "copy", written)


def test_what_write_shards_has_written_has_no_leak(copy, capsys):
    before = {path.name for path in copy.path.iterdir()}
    assert copy.check() == 0
    out, err = capsys.readouterr()
    assert "error" not in err
    assert "90 photos in 6 files" in out
    table = {line[:32].strip(): line[32:].split() for line in out.splitlines()}
    assert table["photo ids"] == ["90", "0"]
    assert table["owners"] == ["13", "0"]
    assert table["images (their bytes)"] == ["90", "0"]
    pairs = {(p.owner_id, p.album_id) for p in everything(copy) if p.album_id}
    assert table["albums"] == [str(len(pairs)), "0"]
    free = [p for p in everything(copy) if not p.owner_id and not p.album_id]
    assert 5 < int(table["places without owner or album"][0]) <= len(free)
    assert "note: " in out and "album ids are in several splits" in out
    assert out.splitlines()[-1] == "no leak, and all as described"
    assert {path.name for path in copy.path.iterdir()} == before


def everything(copy):
    return [
        p for s in ("train", "validation", "test") for _, p in copy.photos(s)
    ]


def changed(photo, **fields):
    """A photo that shares nothing with another but what is said."""
    fresh = {
        "image": photo.image + b"another",
        "photo_id": "leak",
        "owner_id": "",
        "album_id": "",
    }
    if not fields.keys() & {"lat", "owner_id", "album_id"}:
        fresh["owner_id"] = "nobody else"
    return records.Photo(**{**vars(photo), **fresh, **fields})


def first(copy, split, known):
    return next(p for _, p in copy.photos(split) if known(p))


LEAKS = {
    "owners": lambda p: {"owner_id": p.owner_id},
    "albums": lambda p: {"album_id": p.album_id},
    "images": lambda p: {"image": p.image},
    "places": lambda p: {"lat": p.lat, "lng": p.lng},
    "photo ids": lambda p: {"photo_id": p.photo_id},
}
WITH = {
    "owners": lambda p: p.owner_id,
    "albums": lambda p: p.album_id and not p.owner_id,
    "images": lambda p: True,
    "places": lambda p: not p.owner_id and not p.album_id,
    "photo ids": lambda p: True,
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_leak_is_found_and_shown_with_its_photos(copy, capsys, what):
    photo = first(copy, "train", WITH[what])
    copy.add("test", changed(photo, **LEAKS[what](photo)))
    copy.describe()
    assert copy.check() == 1
    out, err = capsys.readouterr()
    errors = err.splitlines()
    assert len([line for line in errors if line.startswith("error")]) == 2
    [head] = [n for n, line in enumerate(errors) if f": 1 {what}" in line]
    assert f"photo {photo.photo_id} in train" in errors[head + 1]
    name = "leak" if what != "photo ids" else photo.photo_id
    assert f"photo {name} in test (planet-test" in errors[head + 1]
    assert "NOT as it must be" in out


def test_an_album_of_an_owner_is_found_beside_the_owner(copy, capsys):
    photo = first(copy, "train", lambda p: p.owner_id and p.album_id)
    both = {"owner_id": photo.owner_id, "album_id": photo.album_id}
    copy.add("test", changed(photo, **both))
    copy.describe()
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert "1 owners are in several splits" in err
    assert "1 albums are in several splits" in err


def test_an_album_id_of_another_owner_is_no_leak(copy, capsys):
    photo = first(copy, "train", lambda p: p.album_id)
    other = {"owner_id": "nobody else", "album_id": photo.album_id}
    copy.add("test", changed(photo, **other))
    copy.describe()
    assert copy.check() == 0
    assert "album ids are in several splits" in capsys.readouterr().out


def test_a_photo_that_is_twice_in_its_split_is_found(copy, capsys):
    photo = first(copy, "train", lambda p: True)
    copy.add("train", photo)
    copy.describe()
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert "1 photo ids are there twice" in err
    assert "several splits" not in err


def test_a_leak_into_two_splits_shows_three_photos(copy, capsys):
    photo = first(copy, "train", lambda p: p.owner_id)
    for split in ("test", "validation"):
        leak = changed(
            photo, photo_id=split, image=photo.image + split.encode()
        )
        copy.add(
            split,
            changed(
                leak, photo_id=split, image=leak.image, owner_id=photo.owner_id
            ),
        )
    copy.describe()
    assert copy.check() == 1
    [line] = [t for t in capsys.readouterr().err.splitlines() if "  owner" in t]
    assert " in train (" in line
    assert "photo test in test (" in line
    assert "photo validation in validation (" in line


def test_only_as_many_leaks_are_listed_as_wanted(copy, capsys):
    for n, (_, photo) in enumerate(copy.photos("train")[:8]):
        copy.add("test", changed(photo, photo_id=f"leak{n}", image=photo.image))
    copy.describe()
    assert copy.check("--examples=3") == 1
    err = capsys.readouterr().err
    assert ": 8 images (their bytes) are in several splits" in err
    assert err.count("the same image") == 3


def test_a_wrong_label_is_found_with_its_file(copy, capsys):
    photo = first(copy, "train", lambda p: p.label > 0)
    copy.add("train", changed(photo, label=0))
    copy.describe()
    assert copy.check() == 1
    err = capsys.readouterr().err
    [line] = [text for text in err.splitlines() if "photo leak" in text]
    assert "the label's token is" in line and "planet-train" in line


def test_a_corrupt_record_is_found_with_its_file(copy, capsys):
    path, _ = copy.photos("train")[0]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert f"error: {path.name}: malformed_archive" in err
    assert f"error: {path.name}: sha256 is" in err


def test_a_record_that_is_no_photo_is_found(copy, capsys):
    path, _ = copy.photos("train")[0]
    with path.open("ab") as file:
        file.write(records.frame(b"\xff\xff no example"))
        file.write(records.frame(b""))
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert "no tf.Example" in err
    assert "image has 0 values" in err


def test_a_file_cut_short_is_found(copy, capsys):
    path, _ = copy.photos("test")[0]
    path.write_bytes(path.read_bytes()[:-20])
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert f"error: {path.name}: truncated_archive" in err
    assert f"error: {path.name}: photos is " in err


def test_a_missing_file_and_one_too_many_are_found(copy, capsys):
    path, _ = copy.photos("test")[0]
    path.rename(path.with_name("planet-test.tfrecord-00002-of-00003"))
    assert copy.check() == 1
    err = capsys.readouterr().err
    assert f"error: {path.name}: missing_file" in err
    assert "planet-test.tfrecord-00002-of-00003: not in shards.json" in err


@pytest.mark.parametrize("fact", ["sha256", "photos"])
def test_what_shards_json_says_otherwise_of_a_file_is_found(copy, capsys, fact):
    info = json.loads((copy.path / "shards.json").read_text())
    name = sorted(info["files"])[0]
    info["files"][name][fact] = "0"
    (copy.path / "shards.json").write_text(json.dumps(info).replace('"0"', "0"))
    assert copy.check() == 1
    assert f"error: {name}: {fact} is" in capsys.readouterr().err


@pytest.mark.parametrize("fact", ["fingerprint", "splits"])
def test_what_shards_json_says_otherwise_of_all_is_found(copy, capsys, fact):
    info = json.loads((copy.path / "shards.json").read_text())
    info[fact] = {"train": {}} if fact == "splits" else "sha256:0"
    (copy.path / "shards.json").write_text(json.dumps(info))
    assert copy.check() == 1
    assert f"error: {fact} of the files" in capsys.readouterr().err


def test_what_holds_no_shards_is_refused(tmp_path, copy, capsys):
    assert Shards.check(type("Empty", (), {"path": tmp_path})) == 1
    assert "holds no finished shards" in capsys.readouterr().err
    (copy.path / "shards.json").write_text("{}")
    assert copy.check() == 1
    assert "not as write_shards writes it" in capsys.readouterr().err


def test_another_partition_is_refused(copy, capsys):
    cells = partition.build([10.0], [20.0], max_photos=5, min_photos=1)
    with (copy.path / "partition.json").open("w") as file:
        partition.dump(cells, file)
    assert copy.check() == 1
    assert "were made for sha256:" in capsys.readouterr().err


def test_all_that_was_found_is_written_if_wanted(copy, tmp_path):
    assert copy.check(f"--out={tmp_path}/found.json") == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert sum(file["photos"] for file in found["files"]) == 90


def test_the_program_imports_no_beam_and_no_tensorflow_for_its_help():
    code = (
        "import sys, beam_pipelines.check_splits;"
        "assert not {'apache_beam', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
