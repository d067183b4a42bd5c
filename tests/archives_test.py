import io
import json
import struct
import tarfile
import tracemalloc

import msgpack
import pytest
from PIL import Image

from beam_pipelines import archives, files, photos
from beam_pipelines.photos import Source
from planet_tf.photos import records
from planet_tf.photos.rejects import PhotoError, Reason

UNKNOWN = records.UNKNOWN_TIME
PLACES = {"one": (40.7, -74.0), "two": (-33.4, -70.6), "three": (90.0, 179.0)}


def read(path, **options):
    """Rows, the images they refer to, and {id: reason} of the rejects."""
    source = Source(str(path), **options)
    found = list(archives.read_archive(str(path), source))
    rows = [row for batch, _ in found for row in batch.rows()]
    data = [files.read_photo(*row[1:4]) for row in rows]
    return rows, data, {r.id: r.reason for _, bad in found for r in bad}


def with_position(make_jpeg, lat, lng):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(
        {
            1: "N" if lat >= 0 else "S",
            2: (abs(lat), 0.0, 0.0),
            3: "E" if lng >= 0 else "W",
            4: (abs(lng), 0.0, 0.0),
        }
    )
    exif.get_ifd(0x8769)[0x9003] = "2016:02:17 00:00:00"
    return make_jpeg(exif=exif)


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_a_tar_gives_images_with_the_facts_beside_them(tmp_path, make_jpeg):
    images = {name: make_jpeg(seed=i) for i, name in enumerate(PLACES)}
    members = {}
    for name, (lat, lng) in PLACES.items():
        members[f"a/{name}.JPG"] = images[name]
        facts = {"Latitude": lat, "LON": lng, "user": "ann", "time": 5}
        members[f"a/{name}.json"] = json.dumps(facts).encode()
        members[f"a/{name}.seg.png"] = b"no photo"
    write_tar(tmp_path / "p.tar", members)
    rows, data, rejects = read(tmp_path / "p.tar")
    uri = str(tmp_path / "p.tar")
    assert [(r[0], r[1], *r[4:]) for r in rows] == [
        (f"a/{name}", uri, *place, "ann", "", 5)
        for name, place in PLACES.items()
    ]
    assert data == list(images.values())
    assert not rejects


def test_a_tar_without_facts_has_positions_in_the_images(tmp_path, make_jpeg):
    image = with_position(make_jpeg, -33.5, -70.25)
    members = {"x/y.z/1.jpg": image, "2.jpg": make_jpeg(), "3.jpg": b"hello"}
    write_tar(tmp_path / "p.tar", members)
    rows, data, rejects = read(tmp_path / "p.tar")
    time = 1455667200
    assert [(r[0], *r[4:]) for r in rows] == [
        ("x/y.z/1", -33.5, -70.25, "", "", time)
    ]
    assert data == [image]
    assert rejects == {"2": Reason.NO_GPS, "3": Reason.NOT_AN_IMAGE}


def test_bad_samples_of_a_tar_are_rejected_and_the_rest_is_read(
    tmp_path, make_jpeg
):
    good = json.dumps({"id": 7, "lat": 1, "lng": 2, "album": "trip"}).encode()
    members = {
        "a.json": good,
        "b.jpg": make_jpeg(),
        "b.json": b"{",
        "c.jpg": make_jpeg(),
        "c.json": b"[1]",
        "d.jpg": make_jpeg(),
        "d.json": json.dumps({"lat": 95, "lng": 2}).encode(),
        "e.jpg": make_jpeg(),
        "e.json": json.dumps({"lat": None, "lng": 2}).encode(),
        "f.jpg": make_jpeg(),
        "f.json": good,
    }
    write_tar(tmp_path / "p.tar", members)
    rows, _, rejects = read(tmp_path / "p.tar")
    assert [(r[0], *r[4:]) for r in rows] == [
        ("7", 1.0, 2.0, "", "trip", UNKNOWN)
    ]
    assert rejects == {
        "p.tar/a": Reason.MISSING_PATH,
        "p.tar/b": Reason.MALFORMED_ROW,
        "p.tar/c": Reason.MALFORMED_ROW,
        "d": Reason.LAT_OUT_OF_RANGE,
        "e": Reason.MISSING_COORDINATES,
    }


@pytest.mark.parametrize("spoil", ["cut in data", "cut in head", "garbage"])
def test_a_tar_is_read_up_to_what_is_wrong_with_it(tmp_path, make_jpeg, spoil):
    facts = json.dumps({"lat": 1, "lng": 2}).encode()
    members = {}
    for i in range(4):
        members[f"{i}.json"], members[f"{i}.jpg"] = facts, make_jpeg()
    path = tmp_path / "p.tar"
    write_tar(path, members)
    with tarfile.open(path) as tar:
        third, image = tar.getmember("2.json"), tar.getmember("2.jpg")
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut in data": data[: image.offset_data + 5],
            "cut in head": data[: third.offset + 100],
            "garbage": data[: third.offset] + b"?" * 2048,
        }[spoil]
    )
    rows, _, rejects = read(path)
    assert [row[0] for row in rows] == ["0", "1"]
    garbage = spoil == "garbage"
    assert rejects == {
        "p.tar": Reason.MALFORMED_ARCHIVE
        if garbage
        else Reason.TRUNCATED_ARCHIVE
    }


def test_no_archive_is_read_whole_into_memory(tmp_path, make_jpeg, monkeypatch):
    path = tmp_path / "p.tar"
    image = with_position(make_jpeg, 1.0, 2.0) + bytes(1 << 20)
    write_tar(path, {f"{i}.jpg": image for i in range(40)})
    for archive, kind in (("s.msg", "msg"), ("s.tfrecord", "tfrecord")):
        with (tmp_path / archive).open("wb") as file:
            for i in range(40):
                if kind == "msg":
                    file.write(msgpack.packb({"id": str(i), "image": image}))
                    continue
                record = records.encode_photo(photo(i % 3, image))
                file.write(records.frame(record))
    for archive in ("p.tar", "s.msg", "s.tfrecord"):
        tracemalloc.start()
        source = Source(str(tmp_path / archive))
        [(found, _)] = archives.read_archive(source.photos, source)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found) == 40
        assert peak < 12 << 20


def test_a_name_that_is_no_utf8_and_odd_json_do_not_end_a_job(
    tmp_path, make_jpeg
):
    path = tmp_path / "p.tar"
    half = json.dumps({"id": "\ud83d", "lat": 1, "lng": 2}).encode()
    name = b"caf\xe9".decode(errors="surrogateescape")
    image = with_position(make_jpeg, 1.0, 2.0)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for member, data in (
            (f"{name}.jpg", image),
            ("b.jpg", image),
            ("b.json", half),
            ("c.jpg", image),
            ("c.json", b"[" * 100_000),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    rows, _, rejects = read(path)
    assert [row[0] for row in rows] == ["caf\ufffd", "?"]
    assert rejects == {"p.tar/c": Reason.MALFORMED_ROW}


def test_columns_may_have_other_names_in_archives_too(tmp_path, make_jpeg):
    facts = json.dumps({"breite": 1, "laenge": 2, "lat": 50}).encode()
    write_tar(tmp_path / "p.tar", {"a.jpg": make_jpeg(), "a.json": facts})
    names = {"lat": "Breite", "lng": "laenge"}
    rows, _, _ = read(tmp_path / "p.tar", columns=names)
    assert rows[0][4:6] == (1.0, 2.0)


@pytest.mark.parametrize("old", [False, True])
def test_msgpack_maps_are_read_by_reference(tmp_path, make_jpeg, old):
    images = [make_jpeg(seed=i, width=80 + 12000 * (i == 1)) for i in range(3)]
    assert len(images[1]) > 1 << 16 > len(images[0])  # other length fields
    path = tmp_path / "shard_0.msg"
    with path.open("wb") as file:
        for i, (name, place) in enumerate(PLACES.items()):
            lat, lng = place
            record = {"id": f"aa/{name}.jpg", "image": images[i]}
            record |= {"latitude": lat, "longitude": lng}
            file.write(msgpack.packb(record, use_bin_type=not old))
    rows, data, rejects = read(path)
    assert [(r[0], r[4], r[5]) for r in rows] == [
        (f"aa/{name}.jpg", *place) for name, place in PLACES.items()
    ]
    assert data == images
    assert not rejects


def test_nils_between_the_maps_of_msgpack_are_no_photos(tmp_path, make_jpeg):
    good = msgpack.packb({"image": make_jpeg(), "lat": 1.0, "lng": 2.0})
    nil = msgpack.packb(None)
    path = tmp_path / "s.msg"
    path.write_bytes(nil + good + nil + nil + good + nil)
    rows, data, rejects = read(path)
    assert data == [make_jpeg()] * 2
    assert len({row[0] for row in rows}) == 2 and not rejects


def test_bad_records_of_msgpack_are_rejected(tmp_path, make_jpeg):
    good = msgpack.packb({"image": make_jpeg(), "lat": 1.0, "lng": 2.0})
    path = tmp_path / "s.msgpack"
    cases = {
        good[:-30]: Reason.TRUNCATED_ARCHIVE,
        b"\x93\x01\x02\x03": Reason.MALFORMED_ARCHIVE,
        b"\xc1": Reason.MALFORMED_ARCHIVE,
    }
    for tail, reason in cases.items():
        path.write_bytes(good + msgpack.packb({"id": "x"}) + good + tail)
        rows, _, rejects = read(path)
        assert [row[0] for row in rows] == [
            "s.msgpack:record 1",
            "s.msgpack:record 3",
        ]
        assert rejects == {
            "s.msgpack:record 2": Reason.MISSING_PATH,
            "s.msgpack:record 4": reason,
        }


def test_with_a_table_no_position_is_needed(tmp_path, make_jpeg):
    path = tmp_path / "s.msg"
    path.write_bytes(msgpack.packb({"id": "a", "image": make_jpeg()}))
    rows, _, rejects = read(path, table="t.csv")
    assert [row[0] for row in rows] == ["a"] and not rejects
    rows, _, rejects = read(path)
    assert not rows and rejects == {"a": Reason.NO_GPS}


def photo(i, image):
    return records.Photo(
        image=image,
        photo_id=f"photo {i}",
        lat=[40.75, -33.5, 90.0][i],
        lng=[-74.0, -70.5, 179.0][i],
        token="1",
        label=0,
        owner_id="ann",
        taken_at=i,
    )


def test_records_are_read_as_they_were_written(tmp_path, make_jpeg):
    images = [make_jpeg(seed=i) for i in range(3)]
    path = tmp_path / "planet-train.tfrecord-00000-of-00001"
    path.write_bytes(
        b"".join(
            records.frame(records.encode_photo(photo(i, image)))
            for i, image in enumerate(images)
        )
    )
    rows, data, rejects = read(path)
    assert [(r[0], *r[4:]) for r in rows] == [
        ("photo 0", 40.75, -74.0, "ann", "", 0),
        ("photo 1", -33.5, -70.5, "ann", "", 1),
        ("photo 2", 90.0, 179.0, "ann", "", 2),
    ]
    assert data == images
    assert not rejects


def test_frames_end_at_what_is_wrong_with_them(tmp_path, make_jpeg):
    frame = records.frame(b"hello")
    wrong_data = bytearray(frame)
    wrong_data[13] ^= 1
    wrong_length = bytearray(frame)
    wrong_length[9] ^= 1
    huge = struct.pack("<Q", 1 << 40)
    cases = {
        frame[:5]: Reason.TRUNCATED_ARCHIVE,
        frame[:-1]: Reason.TRUNCATED_ARCHIVE,
        bytes(wrong_data): Reason.MALFORMED_ARCHIVE,
        bytes(wrong_length): Reason.MALFORMED_ARCHIVE,
        huge + records.masked_crc(huge): Reason.MALFORMED_ARCHIVE,
    }
    whole = [(12, b"hello"), (len(frame) + 12, b"hello")]
    assert list(archives.read_frames(io.BytesIO(frame * 2))) == whole
    for tail, reason in cases.items():
        frames = archives.read_frames(io.BytesIO(frame * 2 + tail))
        assert [next(frames), next(frames)] == whole
        with pytest.raises(PhotoError) as error:
            next(frames)
        assert error.value.reason == reason
    path = tmp_path / "x.tfrecord"
    good = records.frame(records.encode_photo(photo(0, make_jpeg())))
    path.write_bytes(good + records.frame(b"\xff\xff") + good + frame[:-1])
    rows, _, rejects = read(path)
    assert len(rows) == 2
    assert rejects == {
        "x.tfrecord:record 2": Reason.MALFORMED_ROW,
        "x.tfrecord:record 4": Reason.TRUNCATED_ARCHIVE,
    }


def test_a_reference_beyond_the_end_of_its_file_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"0123456789")
    assert files.read_photo(str(path), 4, 3) == b"456"
    assert files.read_photo(str(path), 4, photos.TO_THE_END) == b"456789"
    with pytest.raises(PhotoError) as error:
        files.read_photo(str(path), 8, 3)
    assert error.value.reason == Reason.TRUNCATED_ARCHIVE
