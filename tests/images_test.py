import io
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from beam_pipelines import files
from planet_tf import images
from planet_tf.records import UNKNOWN_TIME
from planet_tf.rejects import PhotoError, Reason


def decode(data):
    return Image.open(io.BytesIO(data))


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_small_upright_jpeg_is_kept_byte_for_byte(make_jpeg, mode):
    file = io.BytesIO()
    decode(make_jpeg()).convert(mode).save(file, "JPEG", exif=oriented(1))
    assert images.fit(file.getvalue(), 60) == file.getvalue()


@pytest.mark.parametrize(
    "width, height, size, expected",
    [
        (400, 200, 50, (100, 50)),
        (200, 400, 50, (50, 100)),
        (61, 61, 60, (60, 60)),
        (1000, 333, 299, (898, 299)),
    ],
)
def test_a_larger_one_is_scaled_to_its_short_side(
    make_jpeg, width, height, size, expected
):
    data = make_jpeg(width, height)
    small = decode(images.fit(data, size))
    assert small.size == expected
    whole = decode(data).resize(expected, Image.Resampling.BICUBIC)
    difference = np.asarray(small, float) - np.asarray(whole, float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("side", [60, 100])
@pytest.mark.parametrize("value", range(2, 9))
def test_the_pixels_are_turned_upright(make_jpeg, value, side):
    """Against Pillow's own function on the whole image."""
    from PIL import ImageOps

    data = make_jpeg(120, 100, exif=oriented(value), quality=95)
    found = decode(images.fit(data, side))
    upright = ImageOps.exif_transpose(decode(data))
    assert found.getexif().get(0x0112) is None
    assert found.size == tuple(n * side // 100 for n in upright.size)
    difference = np.asarray(found, float) - upright.resize(found.size)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize(
    "mode, kind",
    [("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "WEBP")],
)
def test_other_images_become_colour_jpegs(make_jpeg, mode, kind):
    file = io.BytesIO()
    decode(make_jpeg()).convert(mode).save(file, kind)
    found = decode(images.fit(file.getvalue(), 299))
    assert (found.format, found.mode, found.size) == ("JPEG", "RGB", (80, 60))


def bomb():
    """A JPEG whose header says 20000 x 20000."""
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (20000).to_bytes(2, "big") * 2
    return bytes(data)


def png_bomb():
    file = io.BytesIO()
    Image.new("1", (9000, 9999)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda jpeg: b"", Reason.NOT_AN_IMAGE),
        (lambda jpeg: b"<html>404</html>", Reason.NOT_AN_IMAGE),
        (lambda jpeg: b"GIF89a" + bytes(50), Reason.NOT_AN_IMAGE),
        (lambda jpeg: jpeg[: len(jpeg) // 2], Reason.TRUNCATED_IMAGE),
        (lambda jpeg: bomb(), Reason.TOO_MANY_PIXELS),
        (lambda jpeg: png_bomb(), Reason.TOO_MANY_PIXELS),
    ],
)
@pytest.mark.parametrize("size", [299, 40])
def test_what_is_no_good_photo_has_a_reason(make_jpeg, spoil, reason, size):
    data = spoil(make_jpeg())
    with pytest.raises(PhotoError) as error, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large images
        images.fit(data, size)
    assert error.value.reason == reason
    assert "0x" not in error.value.detail


def test_a_tiny_image_is_too_small(make_jpeg):
    with pytest.raises(PhotoError) as error:
        images.fit(make_jpeg(100, 15), 299)
    assert error.value.reason == Reason.TOO_SMALL
    assert decode(images.fit(make_jpeg(100, 16), 299)).size == (100, 16)


def test_every_spoilt_jpeg_is_a_photo_or_a_photo_error(make_jpeg):
    data = make_jpeg(exif=oriented(6))
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        spoilt = bytearray(data)
        for at in rng.integers(0, min(len(data), 700), 4):
            spoilt[at] = rng.integers(256)
        try:
            images.fit(bytes(spoilt), 50)
            outcomes.add("photo")
        except PhotoError as error:
            outcomes.add(error.reason)
    assert len(outcomes) > 2


@pytest.mark.parametrize(
    "uri, reason",
    [
        ("{}/none.jpg", Reason.MISSING_FILE),
        ("{}", Reason.UNREADABLE_FILE),
        ("{}/a\0b.jpg", Reason.MISSING_FILE),
        ("no-such-scheme://a/b.jpg", Reason.UNREADABLE_FILE),
    ],
)
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path, uri, reason):
    with pytest.raises(PhotoError) as error:
        files.read_photo(uri.format(tmp_path))
    assert error.value.reason == reason


GOOD_GPS = {1: "S", 2: (33.0, 30.0, 36.0), 3: "w", 4: (70.0, 0.0, 0.0)}


def test_a_position_and_a_time_are_read_from_the_exif():
    tags = {0x9003: "2016:02:17 01:00:00\0", 0x9011: "+01:00"}
    lat, lng, time = images.parse_exif(tags, GOOD_GPS)
    assert (lat, lng, time) == (pytest.approx(-33.51), -70.0, 1455667200)
    del tags[0x9011]
    assert images.parse_exif(tags, GOOD_GPS)[2] == 1455667200 + 3600
    assert images.parse_exif({}, GOOD_GPS)[2] == UNKNOWN_TIME


@pytest.mark.parametrize(
    "gps, reason",
    [
        ({}, Reason.NO_GPS),
        ({1: "N", 3: "E"}, Reason.NO_GPS),
        ({**GOOD_GPS, 2: (33.0, 30.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: 33.0}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: (IFDRational(1, 0), 0.0, 0.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 4: ("a", "b", "c")}, Reason.BAD_GPS),
        ({**GOOD_GPS, 3: "X"}, Reason.BAD_GPS),
        ({**GOOD_GPS, 3: 5}, Reason.BAD_GPS),
        ({**GOOD_GPS, 3: b"\xff"}, Reason.BAD_GPS),
        ({k: v for k, v in GOOD_GPS.items() if k != 1}, Reason.BAD_GPS),
        ({k: v for k, v in GOOD_GPS.items() if k != 4}, Reason.BAD_GPS),
    ],
)
def test_a_bad_position_has_a_reason(gps, reason):
    with pytest.raises(PhotoError) as error:
        images.parse_exif({}, gps)
    assert error.value.reason == reason


def test_a_reference_in_bytes_is_understood():
    lat, lng, _ = images.parse_exif({}, {**GOOD_GPS, 1: b"N\0", 3: "E\0"})
    assert lat > 0 and lng > 0
