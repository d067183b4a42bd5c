import datetime
import gzip

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image

from beam_pipelines import photos, sources
from planet_tf.photos import manifests, records
from planet_tf.photos.rejects import Reason

UNKNOWN = records.UNKNOWN_TIME


def read(path, with_images=True):
    """All photos of a manifest as rows, and {id: reason} of its rejects."""
    source = photos.Source(str(path))
    batches = list(sources.read_files([str(path)], source, with_images))
    rows = [
        row
        for batch, _ in batches
        for row in (
            batch.rows()
            if with_images
            else zip(batch.lat.tolist(), batch.lng.tolist(), strict=True)
        )
    ]
    rejects = {r.id: r.reason for _, bad in batches for r in bad}
    return rows, rejects


def test_a_manifest_gives_photos_with_paths_from_where_it_is(make_manifest):
    path = make_manifest(
        [
            ["a", "x/a.jpg", "40.7", "-74", "ann", "trip", "1500000000"],
            ["", "/y/b.jpg", "-90", "180", "", "", ""],
            ["c", "gs://bucket/c.jpg", " 1e1 ", "-180", "", "", "nonsense"],
        ]
    )
    rows, rejects = read(path)
    home = path.parent
    assert rows == [
        ("a", f"{home}/x/a.jpg", 0, -1, 40.7, -74.0, "ann", "trip", 1500000000),
        ("/y/b.jpg", "/y/b.jpg", 0, -1, -90.0, -180.0, "", "", UNKNOWN),
        ("c", "gs://bucket/c.jpg", 0, -1, 10.0, -180.0, "", "", UNKNOWN),
    ]
    assert not rejects


@pytest.mark.parametrize(
    "header",
    [
        "photo_id,path,lat,lng,owner_id,album_id,taken_at",
        "ID,Image,LAT,LON,User,Album,Time",
        " id ,file,Latitude,Longitude,author,ALBUM_ID,datetime",
        "img_id,uri,lat,long,owner,album,Timestamp",
    ],
)
def test_columns_are_found_by_their_usual_names(make_manifest, header):
    row = ["a", "a.jpg", "1", "2", "ann", "trip", "3"]
    [found], _ = read(make_manifest([row], header))
    assert (found[0], *found[4:]) == ("a", 1.0, 2.0, "ann", "trip", 3)


def test_a_missing_column_is_named_with_what_is_there(make_manifest):
    path = make_manifest([["1", "2", "3"]], "y,lng,path")
    with pytest.raises(manifests.SourceError) as error:
        read(path)
    for part in ("no column for lat", "y, lng, path", "latitude"):
        assert part in str(error.value)


def test_coordinates_are_enough_when_no_images_are_asked_for(make_manifest):
    path = make_manifest([["1", "2"], ["95", "2"]], "LAT,LON")
    rows, rejects = read(path, with_images=False)
    assert rows == [(1.0, 2.0)]
    assert rejects == {"photos.csv:row 3": Reason.LAT_OUT_OF_RANGE}
    with pytest.raises(manifests.SourceError, match="no column for path"):
        read(path)


@pytest.mark.parametrize(
    "lat, lng, reason",
    [
        ("", "2", Reason.MISSING_COORDINATES),
        ("1", "  ", Reason.MISSING_COORDINATES),
        ("nan", "2", Reason.NOT_A_NUMBER),
        ("1", "east", Reason.NOT_A_NUMBER),
        ("48,85", "2", Reason.NOT_A_NUMBER),
        ("95", "2", Reason.LAT_OUT_OF_RANGE),
        ("-90.0001", "2", Reason.LAT_OUT_OF_RANGE),
        ("inf", "2", Reason.LAT_OUT_OF_RANGE),
        ("1", "180.5", Reason.LNG_OUT_OF_RANGE),
        ("1", "-inf", Reason.LNG_OUT_OF_RANGE),
    ],
)
def test_a_bad_row_is_rejected_and_its_neighbours_stay(
    make_manifest, lat, lng, reason
):
    good = ["good", "g.jpg", "1", "2"]
    path = make_manifest(
        [good, ["bad", "b.jpg", lat, lng], good], "id,path,lat,lng"
    )
    rows, rejects = read(path)
    assert [row[0] for row in rows] == ["good", "good"]
    assert rejects == {"bad": reason}


def test_a_row_without_a_path_is_rejected(make_manifest):
    path = make_manifest(
        [["a", "", "1", "2"], ["", "", "1", "2"]], "id,path,lat,lng"
    )
    rows, rejects = read(path)
    assert not rows
    assert rejects == {
        "a": Reason.MISSING_PATH,
        "photos.csv:row 3": Reason.MISSING_PATH,
    }


def test_rows_are_numbered_as_in_an_editor_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(manifests, "_CSV_BLOCK_BYTES", 64)
    lines = ["lat,lng"]
    for row in range(2, 200):
        lines.append(
            "broken" if row % 7 == 0 else "95,1" if row % 5 == 0 else "1,2"
        )
    path = tmp_path / "p.csv"
    path.write_text("\n".join(lines))
    rows, rejects = read(path, with_images=False)
    malformed = {f"p.csv:row {r}" for r in range(2, 200) if r % 7 == 0}
    bad = {f"p.csv:row {r}" for r in range(2, 200) if r % 5 == 0 and r % 7}
    assert len(list(sources.read_places(str(path), photos.Source("")))) > 3
    assert rejects == {
        **dict.fromkeys(malformed, Reason.MALFORMED_ROW),
        **dict.fromkeys(bad, Reason.LAT_OUT_OF_RANGE),
    }
    assert len(rows) == 198 - len(malformed) - len(bad)


def test_marks_quotes_and_broken_text_in_a_csv_are_survived(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,path,lat,lng,owner\r\n"
        b'"a,\nb",a.jpg,1,2,\xff\xfe\r\n\r\nc,c.jpg,3,4,d\r\n'
    )
    rows, rejects = read(path)
    assert [(row[0], row[6]) for row in rows] == [
        ("a,\nb", "\ufffd\ufffd"),
        ("c", "d"),
    ]
    assert not rejects


def test_packed_csv_is_read(tmp_path):
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress(b"lat,lng\n1,2\n"))
    rows, _ = read(path, with_images=False)
    assert rows == [(1.0, 2.0)]


@pytest.mark.parametrize("content", [b"", b"\x00\x01"])
def test_a_file_that_is_no_manifest_is_a_clear_error(tmp_path, content):
    for name in ("p.csv", "p.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(manifests.SourceError, match=name):
            read(tmp_path / name)


def test_parquet_is_read_with_its_types(tmp_path):
    when = datetime.datetime(2016, 2, 17, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 4]),
            "file": pa.array(["a", "b", "c", "d"]).dictionary_encode(),
            "lat": pa.array([1.5, None, float("nan"), 4.0], pa.float32()),
            "lng": pa.array([-74, 2, 3, 4], pa.int16()),
            "time": pa.array(
                [when, None, None, None], pa.timestamp("us", "UTC")
            ),
        }
    )
    path = tmp_path / "p.parquet"
    pa.parquet.write_table(table, path)
    rows, rejects = read(path)
    stamp = int(when.timestamp())
    assert rows == [
        ("1", f"{tmp_path}/a", 0, -1, 1.5, -74.0, "", "", stamp),
        ("4", f"{tmp_path}/d", 0, -1, 4.0, 4.0, "", "", UNKNOWN),
    ]
    assert rejects == {
        "2": Reason.MISSING_COORDINATES,
        "3": Reason.NOT_A_NUMBER,
    }


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1455667200", 1455667200),
        ("-1.5", -2),
        ("2016-02-17", 1455667200),
        ("2016-02-17 00:00:01.0", 1455667201),
        ("2016-02-17T01:00:00+01:00", 1455667200),
        ("2016:02:17 00:00:00", 1455667200),
        ("1e300", UNKNOWN),
        ("nan", UNKNOWN),
        ("yesterday", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_times_are_read_or_unknown(make_manifest, text, seconds):
    rows, _ = read(
        make_manifest([["a.jpg", "1", "2", text]], "path,lat,lng,time")
    )
    assert rows[0][-1] == seconds


@pytest.mark.parametrize(
    "source, root",
    [
        ("photos", "photos"),
        ("photos/", "photos/"),
        ("photos/a.JPG", "photos"),
        ("a.jpeg", ""),
        ("*.jpg", ""),
        ("gs://b/photos/2*/x?.jpg", "gs://b/photos"),
    ],
)
def test_ids_of_jpeg_files_start_below_what_is_fixed(source, root):
    assert sources.image_root(source) == root


def jpeg_at(make_jpeg, lat, lng, **tags):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(
        {
            1: "N" if lat >= 0 else "S",
            2: (abs(lat), 0.0, 0.0),
            3: "E" if lng >= 0 else "W",
            4: (abs(lng), 0.0, 0.0),
        }
    )
    return make_jpeg(exif=exif)


def test_a_directory_is_searched_for_jpegs_with_a_position(tmp_path, make_jpeg):
    (tmp_path / "deep").mkdir()
    for name, data in {
        "deep/a.JPG": jpeg_at(make_jpeg, 40.5, -74.25),
        "b.jpeg": jpeg_at(make_jpeg, -33.5, 180.0),
        "far.jpg": jpeg_at(make_jpeg, 91.0, 0.0),
        "plain.jpg": make_jpeg(),
        "text.jpg": b"hello",
        "notes.txt": b"no photo",
    }.items():
        (tmp_path / name).write_bytes(data)
    with TestPipeline("FnApiRunner") as p:
        found = p | sources.ReadPhotos(photos.Source(str(tmp_path)))
        assert_that(
            found.photos | beam.FlatMap(photos.Photos.rows),
            equal_to(
                [
                    (
                        "b.jpeg",
                        f"{tmp_path}/b.jpeg",
                        0,
                        -1,
                        -33.5,
                        -180.0,
                        "",
                        "",
                        UNKNOWN,
                    ),
                    (
                        "deep/a.JPG",
                        f"{tmp_path}/deep/a.JPG",
                        0,
                        -1,
                        40.5,
                        -74.25,
                        "",
                        "",
                        UNKNOWN,
                    ),
                ]
            ),
        )
        assert_that(
            found.rejects | beam.Map(lambda r: (r.id, str(r.reason))),
            equal_to(
                [
                    ("far.jpg", "lat_out_of_range"),
                    ("plain.jpg", "no_gps"),
                    ("text.jpg", "not_an_image"),
                ]
            ),
            label="rejects",
        )


def test_several_manifests_are_read_by_a_glob(tmp_path, make_manifest):
    for i in range(3):
        make_manifest([[i, 7]], "lat,lng", name=f"part-{i}.csv")
    with TestPipeline("FnApiRunner") as p:
        found = p | sources.ReadPhotos(
            photos.Source(f"{tmp_path}/part-*.csv"), False
        )
        assert_that(
            found.photos | beam.FlatMap(lambda batch: batch.lat.tolist()),
            equal_to([0.0, 1.0, 2.0]),
        )


def test_photos_come_back_from_their_rows():
    rows = [
        ("a", "u", 7, 9, 1.0, 2.0, "o", "l", UNKNOWN),
        ("b", "", 0, -1, 3.0, 4.0, "", "", 5),
    ]
    batch = photos.Photos.from_rows(rows)
    assert batch.rows() == rows
    assert batch.take(np.array([False, True])).rows() == rows[1:]
    assert photos.Photos.from_rows([]).rows() == []
    assert batch.taken_at.dtype == np.int64
