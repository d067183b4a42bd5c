import asyncio
import dataclasses
import re

import bad_inputs
import pytest
from PIL import ExifTags, Image

from planet_tf.options.asking_config import ServeConfig
from planet_tf.photos import images, records
from planet_tf.photos.rejects import Reason
from planet_tf.serving import intake
from planet_tf.serving.budget import Budget
from planet_tf.serving.intake import Refused, Upload

CONFIG = ServeConfig(
    model_dir="", max_bytes=1000, max_photos=3, max_request_bytes=2500
)
BOUNDARY = "xyz"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*parts, end=True):
    """A form of (name of the field, name of the file or None, data)."""
    body = b""
    for field, name, data in parts:
        file = "" if name is None else f'; filename="{name}"'
        body += (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data;"
            f' name="{field}"{file}\r\n\r\n'
        ).encode()
        body += data + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def read(content_type, body, config=CONFIG, chunk=7):
    sent = 0

    async def stream():
        nonlocal sent
        for at in range(0, len(body), chunk):
            sent = at + chunk
            yield body[at : at + chunk]

    found = asyncio.run(
        intake.read_uploads(content_type, stream(), config, share())
    )
    assert sent >= len(body)
    return found


def share(most=10_000):
    return Budget(most).open()


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_files_of_a_form_come_with_their_names(chunk):
    parts = [
        ("photo", "a.jpg", b"one\r\n--xy"),
        ("comment", None, b"not a file"),
        ("other", "c.jpg", b"another field"),
        ("photo", "dé/b.jpg", b""),
    ]
    found = read(FORM, form(*parts), chunk=chunk)
    assert found == [Upload("a.jpg", b"one\r\n--xy"), Upload("dé/b.jpg", b"")]


@pytest.mark.parametrize("kind", ["", "image/jpeg", "application/x-any"])
def test_any_other_body_is_one_file(kind):
    assert read(kind, b"x" * 1000) == [Upload("", b"x" * 1000)]


def refusal(*args, **options):
    with pytest.raises(Refused) as caught:
        read(*args, **options)
    return caught.value


def test_a_body_is_refused_as_soon_as_it_is_too_large():
    def endless():
        async def stream():
            while True:
                yield b"x" * 100

        return stream()

    with pytest.raises(Refused) as caught:
        asyncio.run(intake.read_uploads("", endless(), CONFIG, share()))
    assert caught.value.status == 413
    with pytest.raises(Refused) as caught:
        asyncio.run(intake.read_uploads(FORM, endless(), CONFIG, share()))
    assert caught.value.status in (400, 413)


@pytest.mark.parametrize("kind", ["", FORM])
def test_who_sends_piece_by_piece_in_time_is_not_too_slow(monkeypatch, kind):
    monkeypatch.setattr(intake, "_PIECE", 20)
    config = dataclasses.replace(CONFIG, upload_seconds=1.0)
    body = form(("photo", "a", b"some bytes"))
    assert len(body) > 80

    async def stream(pauses):
        for at, pause in zip(range(0, len(body), 20), pauses, strict=False):
            await asyncio.sleep(pause)
            yield body[at : at + 20]

    def upload(*pauses):
        return asyncio.run(
            intake.read_uploads(kind, stream(pauses), config, share())
        )

    assert len(upload(*[0.3] * 10)) == 1  # longer than a second in all
    with pytest.raises(Refused) as caught:
        upload(0, 0, 30)
    assert (caught.value.status, caught.value.code) == (408, "slow_upload")


def test_a_form_is_refused_for_all_its_bytes_and_for_too_many_photos():
    large = form(*[("photo", f"{i}", b"x" * 900) for i in range(3)])
    found = refusal(FORM, large)
    assert (found.status, found.code) == (413, "too_many_bytes")
    many = form(*[("photo", f"{i}", b"x") for i in range(4)])
    found = refusal(FORM, many)
    assert (found.status, found.code) == (413, "too_many_photos")
    assert "3 photos" in found.message


def test_a_form_of_endless_parts_is_refused_early():
    sent = 0

    async def stream():
        nonlocal sent
        while True:
            sent += 1
            yield form(("comment", None, b"x"), end=False)

    config = dataclasses.replace(
        CONFIG, max_request_bytes=10_000_000, max_waiting_bytes=10_000_000
    )
    share = Budget(config.max_waiting_bytes).open()
    with pytest.raises(Refused, match="more than 103 parts") as caught:
        asyncio.run(intake.read_uploads(FORM, stream(), config, share))
    assert (caught.value.status, caught.value.code) == (400, "bad_form")
    assert sent < 110


def test_a_part_that_is_too_large_is_kept_no_further_than_that():
    photos = form(("photo", "large", b"x" * 1500), ("photo", "b", b"y"))
    large, small = read(FORM, photos)
    assert len(large.data) == 1001 and small.data == b"y"
    with pytest.raises(Refused) as caught:
        intake.prepare(large, 75, CONFIG)
    assert caught.value.code == "too_many_bytes"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", form(("photo", "a", b"x"))),
        (FORM, b""),
        (FORM, b"no form at all"),
        (FORM, form(("photo", "a", b"x"), end=False)),
        (FORM, form(("photo", "a", b"x"))[:40]),
        (FORM, form(("photo", None, b"no file name"))),
        (FORM, form()),
    ],
)
def test_a_form_that_is_none_is_refused_with_what_to_send(kind, body):
    found = refusal(kind, body)
    assert (found.status, found.code) == (400, "bad_form")
    assert "'photo'" in found.message


CASES = bad_inputs.images()


@pytest.mark.parametrize("name", CASES)
def test_odd_photos_are_refused_by_their_reason_or_taken(name):
    data, reason = CASES[name]
    config = dataclasses.replace(CONFIG, max_bytes=10_000_000)
    upload = Upload(name, data)
    if not isinstance(reason, Reason):
        found = intake.prepare(upload, 75, config)
        assert found.jpeg.startswith(b"\xff\xd8")
        assert found.taken.json() is None
        return
    with pytest.raises(Refused) as caught:
        intake.prepare(upload, 75, config)
    assert caught.value.code == str(reason)
    kinds = (Reason.NOT_AN_IMAGE, Reason.UNSUPPORTED_FORMAT)
    assert caught.value.status == (415 if reason in kinds else 422)
    # People are not told of Python's objects, or of bytes.
    assert not re.search(r"[<>]|\bb['\"]|\\x", caught.value.message)


def test_the_limit_of_pixels_is_the_servers_own(make_jpeg):
    config = dataclasses.replace(CONFIG, max_pixels=80 * 60 - 1, max_bytes=9999)
    with pytest.raises(Refused, match="of at most 4,799 pixels"):
        intake.prepare(Upload("", make_jpeg(80, 60)), 75, config)
    # Pillow has a limit of its own, and other words.
    with pytest.raises(Refused, match=r"of at most 4,799 pixels\.$"):
        intake.prepare(Upload("", bad_inputs.png_bomb(30_000)), 75, config)


def with_exif(make_jpeg, kind, latitude):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = (
        "2024:05:01 10:00:00"
    )
    tags.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "S", 2: latitude, 3: "W", 4: (70.0, 15.0, 0.0)}
    )
    return make_jpeg(200, 150, format=kind, exif=tags)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("latitude", "place"),
    [((33.0, 30.0, 0.0), (-33.5, -70.25)), ((133.0, 0.0, 0.0), None)],
)
def test_a_photo_and_its_exif_are_opened_once(
    monkeypatch, make_jpeg, kind, latitude, place
):
    opened = []
    own = Image.open
    monkeypatch.setattr(
        Image, "open", lambda *a, **k: opened.append(1) or own(*a, **k)
    )
    config = dataclasses.replace(CONFIG, max_bytes=10_000_000)
    data = with_exif(make_jpeg, kind, latitude)
    found = intake.prepare(Upload("", data), 75, config)
    assert len(opened) == 1
    assert found.taken.place == place
    assert found.taken.json()["time"] == "2024-05-01 10:00:00"
    assert found.jpeg == images.fit(data, 75)


def test_what_the_exif_says_is_told_where_it_is_a_place(tmp_path):
    config = dataclasses.replace(CONFIG, max_bytes=10_000_000)
    directory, truth = bad_inputs.make_exif_files(tmp_path / "photos")
    verdicts = dict(truth)
    places = {
        path.name: intake.prepare(
            Upload("", path.read_bytes()), 75, config
        ).taken.place
        for path in directory.iterdir()
        if path.name != "page.jpg"
    }
    assert len(places) > 5
    for name, place in places.items():
        if isinstance(verdicts.get(name), Reason):
            assert place is None, name
        else:
            lat, lng = place
            assert abs(lat) <= 90 and abs(lng) <= 180
    assert intake.Taken(None, records.UNKNOWN_TIME).json() is None
    assert intake.Taken(None, 0).json() == {
        "lat": None,
        "lng": None,
        "time": "1970-01-01 00:00:00",
    }
