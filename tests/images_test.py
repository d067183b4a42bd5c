import io
import pathlib
import warnings

import numpy as np
import pytest
from PIL import Image

from beam_pipelines import files
from planet_tf.photos import images
from planet_tf.photos.records import UNKNOWN_TIME
from planet_tf.photos.rejects import PhotoError, Reason


def decode(data):
    return Image.open(io.BytesIO(data))


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_small_upright_jpeg_keeps_its_pixels_but_no_metadata(make_jpeg, mode):
    file = io.BytesIO()
    tags = oriented(1)
    tags.get_ifd(0x8825)[1] = "S"  # a position
    decode(make_jpeg()).convert(mode).save(
        file, "JPEG", exif=tags, comment=b"at home", icc_profile=b"colours"
    )
    data = file.getvalue()
    found = images.fit(data, 60)
    assert images.fit(found, 60) == found
    assert (np.asarray(decode(found)) == np.asarray(decode(data))).all()
    assert decode(data).getexif() and not decode(found).getexif()
    assert b"at home" in data and b"at home" not in found
    assert decode(found).info["icc_profile"] == b"colours"
    assert images.fit(data, 0) == data


def test_a_jpeg_whose_segments_are_not_in_order_has_no_plain_form(make_jpeg):
    data = make_jpeg()
    assert images.without_metadata(data[:2] + b"?" + data[2:]) is None
    assert images.without_metadata(data[:20]) is None
    # Filling bytes before a marker are allowed, and rare: encoded again.
    filled = data[:2] + b"\xff" + data[2:]
    assert decode(images.fit(filled, 60)).size == (80, 60)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", [0, 3])
def test_nothing_behind_a_jpeg_is_kept(make_jpeg, progressive, restart):
    plain = make_jpeg(
        progressive=progressive, restart_marker_blocks=restart, quality=99
    )
    video = b"\0\0\0\x18ftypmp42" + b"at home" * 99 + b"\xff\xd9"
    assert images.without_metadata(plain) == plain
    assert images.without_metadata(plain + video) == plain
    assert images.fit(plain + video, 60) == plain
    comment = b"\xff\xfe\0\x09at home"
    within = plain[:-2] + comment + plain[-2:]
    assert images.without_metadata(within + video) == plain
    assert images.without_metadata(plain[:-2]) is None


def test_images_may_keep_their_size(make_jpeg):
    file = io.BytesIO()
    decode(make_jpeg(400, 300)).save(file, "PNG")
    found = decode(images.fit(file.getvalue(), 0))
    assert (found.format, found.size) == ("JPEG", (400, 300))
    turned = make_jpeg(400, 300, exif=oriented(6))
    assert decode(images.fit(turned, 0)).size == (300, 400)


def test_quality_and_limits_are_options(make_jpeg):
    data = make_jpeg(400, 300)
    coarse, fine = (images.fit(data, 100, quality=q) for q in (40, 95))
    assert len(coarse) < len(fine)
    for limits in (images.Limits(min_side=301), images.Limits(max_pixels=9)):
        with pytest.raises(PhotoError):
            images.fit(data, 100, limits=limits)


def test_sixteen_bits_are_scaled_and_not_cut_off():
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    found = np.asarray(decode(images.fit(file.getvalue(), 299)), float)
    assert np.abs(found - deep / 257).max() < 4
    assert images.facts(file.getvalue()).mode == "I;16"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 40, 20))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    found = np.asarray(decode(images.fit(file.getvalue(), 299)), int)
    assert (found[2:12] > 250).all()
    assert (found[28:38, :, 1] < 100).all()


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (40, 40), c) for c in ("red", "lime", "blue")]
    for kind in ("PNG", "WEBP"):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        assert images.facts(file.getvalue()).frames == 3
        found = np.asarray(decode(images.fit(file.getvalue(), 299)), int)
        assert found[20, 20, 0] > 240 and found[20, 20, 1:].max() < 20


def test_of_several_photos_in_a_file_the_first_is_taken(make_jpeg):
    """The format of phones that store a second view, or one's depth."""
    first, second = (decode(make_jpeg(seed=seed)) for seed in (0, 1))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    found = images.facts(file.getvalue())
    assert (found.format, found.frames) == ("MPO", 2)
    fitted = decode(images.fit(file.getvalue(), 299))
    assert (fitted.format, fitted.size) == ("JPEG", (80, 60))
    difference = np.asarray(fitted, float) - np.asarray(first, float)
    assert np.abs(difference).mean() < 4


def test_facts_are_those_of_the_head(make_jpeg):
    data = make_jpeg(81, 60, exif=oriented(6))
    whole = images.Facts("JPEG", "RGB", 81, 60, 1, 6)
    assert images.facts(data) == whole
    assert images.facts(data[:1000]) == whole  # it is not decoded
    with pytest.raises(PhotoError):
        images.facts(b"")


@pytest.mark.parametrize(
    "head, name",
    [
        (b"GIF89a", "GIF"),
        (b"BM" + bytes(12), "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0 ftypavif", "AVIF"),
        (b"\0\0\0 ftypisom", "video"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "SVG"),
    ],
)
def test_a_format_that_is_not_read_is_named(head, name):
    with pytest.raises(PhotoError, match=name) as error:
        images.fit(head + bytes(99), 299)
    assert error.value.reason == Reason.UNSUPPORTED_FORMAT


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("side", [60, 100])
@pytest.mark.parametrize("value", range(2, 9))
def test_the_pixels_are_turned_upright(make_jpeg, value, side, kind):
    """Against Pillow's own function on the whole image."""
    from PIL import ImageOps

    data = make_jpeg(120, 100, exif=oriented(value), quality=95, format=kind)
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
        (lambda jpeg: b"GIF89a" + bytes(50), Reason.UNSUPPORTED_FORMAT),
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


@pytest.mark.parametrize("size", [299, 50, 0])
@pytest.mark.parametrize("at", [41, 500])
def test_broken_pixels_of_a_png_are_not_taken_for_black(make_jpeg, size, at):
    png = make_jpeg(400, 300, format="PNG")
    broken = png[:at] + b"\xff\xff\xff" + png[at + 3 :]
    with pytest.raises(PhotoError) as error:
        images.fit(broken, size)
    assert error.value.reason == Reason.CORRUPT_IMAGE
    assert images.facts(broken).width == 400
    with pytest.raises(PhotoError):
        images.read_exif(io.BytesIO(broken))


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
        files.read_photo(uri.format(tmp_path), 0, -1)
    assert error.value.reason == reason


def heic():
    """A red field over a blue one, 32 x 24, at lat -33.51, lng -70."""
    pytest.importorskip("pi_heif")
    path = pathlib.Path(__file__).parent / "data" / "two_colours.heic"
    return path.read_bytes()


def test_heic_is_read_with_its_position():
    data = heic()
    assert images.facts(data).format == "HEIF"
    position = images.read_exif(io.BytesIO(data))
    assert position == (pytest.approx(-33.51), -70.0, UNKNOWN_TIME)
    found = np.asarray(decode(images.fit(data, 299)), int)
    assert found.shape == (24, 32, 3)
    assert found[4, 4, 0] > 150 and found[20, 4, 2] > 150
    with pytest.raises(PhotoError) as error:
        images.fit(data[: len(data) // 2], 299)
    assert error.value.reason == Reason.CORRUPT_IMAGE


def test_without_its_package_heic_is_named_with_the_cure(monkeypatch):
    data = heic()
    formats = [name for name in images._FORMATS if name != "HEIF"]
    monkeypatch.setattr(images, "_FORMATS", formats)
    with pytest.raises(PhotoError, match=r"planet-tf\[heic\]") as error:
        images.fit(data, 299)
    assert error.value.reason == Reason.UNSUPPORTED_FORMAT
