import io
import json
import pathlib
import re
import tarfile

import apache_beam as beam
import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from apache_beam.io import filesystem, filesystems
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image

from beam_pipelines import files, sources
from beam_pipelines.photos import Photos, Places, Source
from planet_tf.photos import images, manifests, records
from planet_tf.photos.rejects import Reason

# Exact in float32, which records store.
LAT = [40.75, -33.5, 90.0, -17.75, 0.5]
LNG = [-74.0, -70.625, 12.0, -180.0, 0.25]
IDS = [f"p{i}" for i in range(5)]


@pytest.fixture
def collection(tmp_path, make_jpeg):
    """Five photos in all forms that a source can have, in tmp_path."""
    jpegs = []
    for i, (lat, lng) in enumerate(zip(LAT, LNG, strict=True)):
        exif = Image.Exif()
        exif.get_ifd(0x8825).update(
            {
                1: "S" if lat < 0 else "N",
                2: (abs(lat), 0.0, 0.0),
                3: "W" if lng < 0 else "E",
                4: (abs(lng), 0.0, 0.0),
            }
        )
        jpegs.append(make_jpeg(seed=i, exif=exif))
    (tmp_path / "img").mkdir()
    for name, data in zip(IDS, jpegs, strict=True):
        (tmp_path / "img" / f"{name}.jpg").write_bytes(data)
    write_tables(tmp_path)
    write_archives(tmp_path, jpegs)
    return tmp_path


def write_tables(path):
    columns = {
        "id": IDS,
        "file": [f"img/{name}.jpg" for name in IDS],
        "lat": LAT,
        "lon": LNG,
    }
    pa.parquet.write_table(pa.table(columns), path / "photos.parquet")
    rows = list(zip(*columns.values(), strict=True))
    for name, mark in (("c.csv", ","), ("s.csv", ";"), ("t.tsv", "\t")):
        lines = [mark.join(map(str, row)) for row in [tuple(columns), *rows]]
        (path / name).write_text("\n".join(lines))
    lines = [f"{i},{a},{b}" for i, a, b in zip(IDS, LAT, LNG, strict=True)]
    (path / "places.csv").write_text("\n".join(["IMG_ID,LAT,LON", *lines]))
    bare = [f"{i},img/{i}.jpg" for i in IDS]
    (path / "bare.csv").write_text("\n".join(["id,path", *bare]))


def write_archives(path, jpegs):
    with tarfile.open(path / "photos.tar", "w") as tar:
        for i, name in enumerate(IDS):
            facts = json.dumps({"lat": LAT[i], "lng": LNG[i]}).encode()
            for end, data in ((".jpg", jpegs[i]), (".json", facts)):
                info = tarfile.TarInfo(name + end)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    for name, known in (("all.msg", True), ("bare.msg", False)):
        with (path / name).open("wb") as file:
            for i, data in enumerate(jpegs):
                place = {"latitude": LAT[i], "longitude": LNG[i]}
                record = {
                    "id": IDS[i],
                    "image": data,
                    **(place if known else {}),
                }
                file.write(msgpack.packb(record))
    directory = path / "tfds"
    directory.mkdir()
    data = b"".join(
        records.frame(
            records.encode_photo(
                records.Photo(jpegs[i], IDS[i], LAT[i], LNG[i], "1", 0)
            )
        )
        for i in range(5)
    )
    name = records.file_name("train", 0, 1)
    (directory / name).write_bytes(data)
    records.write_metadata(str(directory), {"train": [5]}, {"train": len(data)})


SOURCES = [
    ("img", {}),
    ("img/*.jpg", {}),
    ("photos.parquet", {}),
    ("c.csv", {}),
    ("s.csv", {}),
    ("t.tsv", {}),
    ("photos.tar", {}),
    ("all.msg", {}),
    ("bare.msg", {}),  # by the images' EXIF
    ("bare.msg", {"table": "places.csv"}),
    ("bare.csv", {"table": "places.csv"}),
    ("tfds:{}/tfds/train", {}),
]


def source_of(path, name, options):
    if not name.startswith("tfds:"):
        name = f"{path}/{name}"
    name = name.format(path)
    return Source(name, **{k: f"{path}/{v}" for k, v in options.items()})


def photo_facts(found):
    """(id, lat, lng, hash of the image) of a batch's photos."""
    return [
        (
            row[0].removesuffix(".jpg"),
            *row[4:6],
            hash(files.read_photo(*row[1:4])),
        )
        for row in found.rows()
    ]


@pytest.mark.parametrize(("name", "options"), SOURCES)
def test_all_sources_give_the_same_photos(collection, name, options):
    source = source_of(collection, name, options)
    sources.check_source(source)
    expected = [
        (IDS[i], LAT[i], LNG[i], hash(data))
        for i, data in enumerate(
            (collection / "img" / f"{name}.jpg").read_bytes() for name in IDS
        )
    ]
    with TestPipeline("FnApiRunner") as p:
        found = p | sources.ReadPhotos(source)
        assert_that(
            found.photos | beam.FlatMap(photo_facts), equal_to(expected)
        )
        assert_that(found.rejects, equal_to([]), label="rejects")


@pytest.mark.parametrize(("name", "options"), SOURCES)
def test_all_sources_give_the_same_places(collection, name, options):
    source = source_of(collection, name, options)

    def pairs(places):
        assert isinstance(places, Places)
        return list(zip(places.lat, places.lng, strict=True))

    expected = list(zip(LAT, LNG, strict=True))
    if not source.table:  # no pipeline is needed
        found = [
            pair
            for paths in sources.list_files(source.photos)
            for batch, _ in sources.read_files(paths, source, False)
            for pair in pairs(batch)
        ]
        assert found == expected
        return
    with TestPipeline("FnApiRunner") as p:
        found = p | sources.ReadPhotos(source, with_images=False)
        assert_that(found.photos | beam.FlatMap(pairs), equal_to(expected))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("empty", ["no photos at", "1 .txt", "accepted are a manifest"]),
        ("notes.md", ["of no kind that is known", "tfds:NAME/SPLIT"]),
        ("nowhere", ["no files of that name", "tfds:NAME/SPLIT"]),
        ("nowhere/*.csv", ["no files of that name"]),
        ("photos.tar.gz", ["packed tar", "gunzip"]),
        ("tfds:{}/tfds/test", ["no split 'test'", "train"]),
        ("tfds:no_such_data_set/train", ["no prepared data set"]),
        ("bad.csv", ["no column for lat, lng, path", "x, y"]),
        ("empty.csv", ["no line of names"]),
        ("empty.tar/..", ["no photos"]),
    ],
)
def test_what_is_no_source_is_told_with_what_is_accepted(
    collection, name, parts
):
    (collection / "empty").mkdir()
    (collection / "empty" / "notes.txt").write_text("")
    (collection / "bad.csv").write_text("x,y\n1,2")
    (collection / "notes.md").write_text("x")
    (collection / "empty.csv").write_text("")
    source = source_of(collection, name, {})
    with pytest.raises(manifests.SourceError) as error:
        sources.check_source(source)
    for part in parts:
        assert part in str(error.value)


def test_a_table_has_to_have_ids_and_places(collection):
    for table, message in (
        ("bare.csv", "no column for lat, lng"),
        ("photos.tar", "must be a CSV or Parquet file"),
        ("none.csv", "no files of that name"),
    ):
        source = source_of(collection, "bare.msg", {"table": table})
        with pytest.raises(manifests.SourceError, match=message):
            sources.check_source(source)


def test_a_fault_that_a_worker_finds_is_told_without_a_traceback(
    tmp_path, make_manifest, caplog
):
    make_manifest([[1, 2]], "lat,lng", name="a.csv")
    make_manifest([[1, 2]], "x,y", name="b.csv")
    source = Source(f"{tmp_path}/*.csv")
    sources.check_source(source, False)  # looks at the first only
    p = beam.Pipeline("FnApiRunner")
    _ = p | sources.ReadPhotos(source, False)
    with pytest.raises(manifests.SourceError, match="b.csv has no column"):
        p.run()
    assert not caplog.records


def test_columns_may_be_named(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Breite;laenge;lat;bild\n1;2;50;a.jpg\n")
    names = {"lat": "breite", "lng": "Laenge", "path": "bild"}
    source = Source(str(path), columns=names)
    [(found, _)] = sources.read_files([str(path)], source, True)
    assert found.rows()[0][:6] == (
        "a.jpg",
        f"{tmp_path}/a.jpg",
        0,
        -1,
        1.0,
        2.0,
    )
    source = Source(str(path), columns={**names, "owner_id": "besitzer"})
    with pytest.raises(manifests.SourceError, match="besitzer.*bild"):
        next(sources.read_files([str(path)], source, True))


def test_null_island_is_a_missing_value_unless_asked_for(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("lat,lng\n0,0\n0,5\n-0.0,0.0\n")
    for keep, count in ((False, 1), (True, 3)):
        source = Source(str(path), keep_null_island=keep)
        [(found, rejects)] = sources.read_files([str(path)], source, False)
        assert len(found) == count
        assert [r.reason for r in rejects] == [Reason.NULL_ISLAND] * (3 - count)


class _Remote(filesystem.FileSystem):
    """A file system in memory, as remote as gs:// to the local one."""

    data: dict[str, bytes] = {}

    @classmethod
    def scheme(cls):
        return "remote"

    def join(self, base, *paths):
        return "/".join([base.rstrip("/"), *paths])

    def split(self, path):
        return path.rsplit("/", 1)

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, data in self.data.items():
            if path.startswith(dir_or_prefix):
                yield filesystem.FileMetadata(path, len(data), 1.0)

    def open(self, path, mime_type="", compression_type="auto"):
        if path not in self.data:
            raise OSError(f"no {path}")
        return io.BytesIO(self.data[path])

    def exists(self, path):
        return path in self.data

    def metadata(self, path):
        return filesystem.FileMetadata(path, len(self.data[path]), 1.0)

    create = copy = rename = size = last_updated = None
    checksum = delete = None


@pytest.mark.parametrize(
    "name", [n for n, o in SOURCES if not o and not n.startswith("tfds")]
)
def test_sources_need_not_be_local(collection, name, monkeypatch):
    monkeypatch.setattr(_Remote, "__abstractmethods__", frozenset())
    _Remote.data = {
        f"remote://b/{path.relative_to(collection)}": path.read_bytes()
        for path in collection.rglob("*")
        if path.is_file()
    }
    assert filesystems.FileSystems.get_filesystem("remote://b/c.csv")
    source = Source(f"remote://b/{name}")
    sources.check_source(source)
    found = [
        fact
        for paths in sources.list_files(source.photos)
        for batch, rejects in sources.read_files(paths, source, True)
        for fact in photo_facts(batch)
    ]
    assert [fact[:3] for fact in found] == list(zip(IDS, LAT, LNG, strict=True))


def test_bad_images_of_a_directory_have_their_reasons(tmp_path, make_jpeg):
    (tmp_path / "plain.png").write_bytes(make_jpeg(format="PNG"))
    (tmp_path / "text.webp").write_bytes(b"hello")
    (tmp_path / "notes.txt").write_bytes(b"no photo")
    source = Source(str(tmp_path))
    [paths] = sources.list_files(source.photos)
    found, rejects = sources.read_images(paths, source)
    assert found.rows() == []
    assert [(r.id, r.reason) for r in rejects] == [
        ("plain.png", Reason.NO_GPS),
        ("text.webp", Reason.NOT_AN_IMAGE),
    ]
    with_table = Source(str(tmp_path), table="t.csv")
    found, rejects = sources.read_images(paths, with_table)
    assert found.photo_id.tolist() == ["plain.png", "text.webp"]
    assert np.isnan(found.lat).all() and not rejects
    assert isinstance(found, Photos)


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("/data/photos.csv", "/data"),
        ("gs://b/parts/*.parquet", "gs://b/parts"),
        ("photos.csv", ""),
        ("/data/photos", "/data/photos"),
        ("/data/2016/*/*.jpg", "/data/2016"),
        ("/data/one.jpg", "/data"),
        ("/data/1.tar", "/data"),
        ("/data/*.tar", "/data"),
        ("tfds:im2gps/test", ""),
    ],
)
def test_a_source_has_a_directory_that_it_is_below(name, root):
    assert sources.root(name) == root


def test_the_documentation_names_all_columns_reasons_and_images():
    path = pathlib.Path(__file__).parent.parent / "docs" / "sources.md"
    names = set(re.findall(r"`([^`\n]+)`", path.read_text()))
    for aliases in manifests.COLUMNS.values():
        assert set(aliases) <= names
    assert set(Reason) <= names
    assert set(images.SUFFIXES) <= names
