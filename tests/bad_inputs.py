"""A collection of bad files and rows, and where each of them must end.

All photos but those that say otherwise are of New York in 2020.
"""

import csv
import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from beam_pipelines import splits
from beam_pipelines.photo_statistics import Note
from planet_tf.photos.rejects import Reason

LAT, LNG, TIME = 40.7, -74.0, 1_600_000_000
LATEST_TIME = 1_700_000_000
HEADER = "photo_id,path,lat,lng,owner_id,album_id,taken_at"


def picture(
    seed: int, mode: str = "RGB", width: int = 80, height: int = 60
) -> Image.Image:
    """Smooth noise, other one for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height))
    if mode == "I;16":
        return Image.fromarray(np.array(image)[..., 0].astype(np.uint16) * 256)
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **save: Any) -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **save)
    return file.getvalue()


def resized_header(data: bytes, width: int, height: int) -> bytes:
    """A JPEG that claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def png_bomb(side: int) -> bytes:
    """A PNG of many pixels in few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def images() -> dict[str, tuple[bytes, Reason | Note | None]]:
    """{id: (the file's bytes, why it is left out, what is noted, or None)}."""
    jpeg = encode(picture(1))
    png = encode(picture(2), "PNG")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return {
        # Left out.
        "empty": (b"", Reason.NOT_AN_IMAGE),
        "one_byte": (b"\xff", Reason.NOT_AN_IMAGE),
        "start_only": (b"\xff\xd8", Reason.NOT_AN_IMAGE),
        "start_and_end": (b"\xff\xd8\xff\xd9", Reason.NOT_AN_IMAGE),
        "html": (b"<!DOCTYPE html><h1>404</h1>", Reason.NOT_AN_IMAGE),
        "text": (b"not a picture at all", Reason.NOT_AN_IMAGE),
        "svg": (
            b'<svg xmlns="http://www.w3.org"/>',
            Reason.UNSUPPORTED_FORMAT,
        ),
        "zeros": (bytes(5000), Reason.NOT_AN_IMAGE),
        "zip": (b"PK\x03\x04" + bytes(100), Reason.NOT_AN_IMAGE),
        "head_cut_off": (jpeg[:100], Reason.TRUNCATED_IMAGE),
        "half": (jpeg[: len(jpeg) // 2], Reason.TRUNCATED_IMAGE),
        "png_half": (png[: len(png) // 2], Reason.TRUNCATED_IMAGE),
        "png_rotten": (
            png[:41] + b"\xff\xff" + png[43:],
            Reason.CORRUPT_IMAGE,
        ),
        "jpeg_rotten": (
            jpeg[:800] + b"\xff\xc9" * 4 + jpeg[808:],
            Reason.CORRUPT_IMAGE,
        ),
        "jpeg_bomb": (
            resized_header(jpeg, 20000, 20000),
            Reason.TOO_MANY_PIXELS,
        ),
        "jpeg_large": (
            resized_header(jpeg, 12000, 12000),
            Reason.TOO_MANY_PIXELS,
        ),
        "png_bomb": (png_bomb(20000), Reason.TOO_MANY_PIXELS),
        "one_pixel": (encode(picture(3, "RGB", 1, 1)), Reason.TOO_SMALL),
        "thin": (encode(picture(3, "RGB", 500, 2)), Reason.TOO_SMALL),
        "gif": (encode(picture(4), "GIF"), Reason.UNSUPPORTED_FORMAT),
        "bmp": (encode(picture(4), "BMP"), Reason.UNSUPPORTED_FORMAT),
        "tiff": (encode(picture(4), "TIFF"), Reason.UNSUPPORTED_FORMAT),
        "avif": (
            b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100),
            Reason.UNSUPPORTED_FORMAT,
        ),
        "video": (b"\0\0\0\x18ftypisom" + bytes(99), Reason.UNSUPPORTED_FORMAT),
        "pdf": (b"%PDF-1.7" + bytes(99), Reason.UNSUPPORTED_FORMAT),
        # Taken.
        "good": (jpeg, None),
        "png": (png, None),
        "webp": (encode(picture(5), "WEBP"), None),
        "progressive": (encode(picture(6), progressive=True), None),
        "trailing_junk": (encode(picture(7)) + b"junk" * 99, None),
        "bad_exif": (
            encode(picture(8), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
            None,
        ),
        "rotated": (encode(picture(9), exif=exif), Note.ROTATED),
        "gray": (encode(picture(10, "L")), Note.GRAY),
        "cmyk": (encode(picture(11, "CMYK")), Note.CMYK),
        "sixteen_bit": (encode(picture(12, "I;16"), "PNG"), Note.SIXTEEN_BIT),
        "transparent": (encode(picture(13, "RGBA"), "PNG"), Note.TRANSPARENT),
        "palette": (encode(picture(14, "P"), "PNG"), Note.PALETTE),
        "animated": (
            encode(
                picture(15),
                "WEBP",
                save_all=True,
                append_images=[picture(16)],
            ),
            Note.ANIMATED,
        ),
    }


# {id: (columns that differ, why it is left out or what is noted)}.
ROWS: dict[str, tuple[dict[str, Any], Reason | Note | None]] = {
    "lat_nan": ({"lat": "nan"}, Reason.NOT_A_NUMBER),
    "lat_word": ({"lat": "north"}, Reason.NOT_A_NUMBER),
    "lat_comma": ({"lat": "48,85"}, Reason.NOT_A_NUMBER),
    "lat_degrees": ({"lat": "48°51'N"}, Reason.NOT_A_NUMBER),
    "lng_nan": ({"lng": "NaN"}, Reason.NOT_A_NUMBER),
    "lat_95": ({"lat": 95}, Reason.LAT_OUT_OF_RANGE),
    "lat_minus_91": ({"lat": -91}, Reason.LAT_OUT_OF_RANGE),
    "lat_infinite": ({"lat": "inf"}, Reason.LAT_OUT_OF_RANGE),
    "lng_190": ({"lng": 190}, Reason.LNG_OUT_OF_RANGE),
    "lng_huge": ({"lng": "-7.4e8"}, Reason.LNG_OUT_OF_RANGE),
    "lat_empty": ({"lat": ""}, Reason.MISSING_COORDINATES),
    "both_empty": ({"lat": "", "lng": " "}, Reason.MISSING_COORDINATES),
    "zero_zero": ({"lat": 0, "lng": "-0.0"}, Reason.NULL_ISLAND),
    "no_path": ({"path": ""}, Reason.MISSING_PATH),
    "no_file": ({"path": "images/none.jpg"}, Reason.MISSING_FILE),
    "a_directory": ({"path": "images"}, Reason.UNREADABLE_FILE),
    "odd_scheme": ({"path": "xyz://b/x.jpg"}, Reason.UNREADABLE_FILE),
    "blanks_around": ({"lat": f" {LAT} "}, None),
    "lng_180": ({"lng": 180}, Note.AT_SEA),
    "bad_utf8_owner": ({"owner_id": "J\udcffrg"}, None),
    "time_of_2099": ({"taken_at": 4_070_908_800}, Note.TIME_IN_FUTURE),
    "time_zero": ({"taken_at": 0}, Note.TIME_BEFORE_1990),
    "time_word": ({"taken_at": "yesterday"}, Note.TIME_UNKNOWN),
    "time_empty": ({"taken_at": ""}, Note.TIME_UNKNOWN),
    "no_owner": ({"owner_id": ""}, Note.OWNER_UNKNOWN),
    "no_album": ({"album_id": ""}, Note.ALBUM_UNKNOWN),
}
Truth = list[tuple[str, Reason | Note]]


def make_manifest(directory: pathlib.Path) -> tuple[pathlib.Path, Truth]:
    """Writes images and their manifest; gives it and the truth about it."""
    (directory / "images").mkdir(parents=True)
    rows, truth = [], []

    def add(photo_id: str, data: bytes, verdict: Any, **other: Any) -> None:
        path = f"images/{photo_id}.jpg"
        (directory / path).write_bytes(data)
        row = [photo_id, path, LAT, LNG, f"owner {photo_id}", "album", TIME]
        columns = dict(zip(HEADER.split(","), row, strict=True)) | other
        rows.append(list(columns.values()))
        if verdict is not None:
            truth.append((photo_id, verdict))

    for photo_id, (data, verdict) in images().items():
        add(photo_id, data, verdict)
    for i, (photo_id, (columns, verdict)) in enumerate(ROWS.items()):
        add(photo_id, encode(picture(100 + i)), verdict, **columns)
    add("twice", encode(picture(200)), None)
    rows.append([*rows[-1][:2], LAT + 0.1, *rows[-1][3:]])
    add("other", encode(picture(201)), None)
    rows[-1][0] = "twice"
    truth += [("twice", Reason.DUPLICATE_ID)] * 2
    # All copies of a content but one.
    copies = [f"copy_{i}" for i in range(4)]
    for photo_id in copies:
        # As photo services hand them out: one picture, other metadata.
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = photo_id
        add(photo_id, encode(picture(202), exif=exif), None)
    kept = min(copies, key=splits.hash64)
    truth += [(c, Reason.DUPLICATE_CONTENT) for c in copies if c != kept]
    path = directory / "bad.csv"
    with path.open("w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER.split(","))
        writer.writerows(rows)
        writer.writerow(["too", "many", *[1] * 6])
        writer.writerow(["too", "few"])
    first = 2 + len(rows)
    for number in (first, first + 1):
        truth.append((f"bad.csv:row {number}", Reason.MALFORMED_ROW))
    return path, truth


_G = ExifTags.GPS
_GPS = {
    _G.GPSLatitudeRef: "N",
    _G.GPSLatitude: (40.0, 42.0, 0.0),
    _G.GPSLongitudeRef: "W",
    _G.GPSLongitude: (74.0, 0.0, 0.0),
}
# {file: (GPS tags that differ, None to leave one out; the verdict)}.
EXIF: dict[str, tuple[dict[int, Any], Reason | None]] = {
    "fine.jpg": ({}, None),
    "south.jpg": ({_G.GPSLatitudeRef: "S"}, None),
    "no_gps.jpg": (dict.fromkeys(_GPS), Reason.NO_GPS),
    "no_ref.jpg": ({_G.GPSLatitudeRef: None}, Reason.BAD_GPS),
    "odd_ref.jpg": ({_G.GPSLongitudeRef: "Q"}, Reason.BAD_GPS),
    "no_lng.jpg": ({_G.GPSLongitude: None}, Reason.BAD_GPS),
    "lat_91.jpg": (
        {_G.GPSLatitude: (91.0, 0.0, 0.0)},
        Reason.LAT_OUT_OF_RANGE,
    ),
    "lng_200.jpg": (
        {_G.GPSLongitude: (200.0, 0.0, 0.0)},
        Reason.LNG_OUT_OF_RANGE,
    ),
    "null_island.jpg": (
        {_G.GPSLatitude: (0.0,) * 3, _G.GPSLongitude: (0.0,) * 3},
        Reason.NULL_ISLAND,
    ),
}


def make_exif_files(directory: pathlib.Path) -> tuple[pathlib.Path, Truth]:
    """Writes files with GPS tags; gives their directory and the truth."""
    directory.mkdir(parents=True)
    truth = []
    for seed, (name, (tags, verdict)) in enumerate(EXIF.items()):
        exif = Image.Exif()
        gps = {k: v for k, v in (_GPS | tags).items() if v is not None}
        if gps:
            exif[ExifTags.IFD.GPSInfo] = gps
        data = encode(picture(300 + seed), exif=exif)
        (directory / name).write_bytes(data)
        if verdict:
            truth.append((name, verdict))
    zero_divisor = encode(picture(400), exif=_zero_rational())
    (directory / "zero_by_zero.jpg").write_bytes(zero_divisor)
    truth.append(("zero_by_zero.jpg", Reason.BAD_GPS))
    (directory / "page.jpg").write_bytes(b"<html>")
    truth.append(("page.jpg", Reason.NOT_AN_IMAGE))
    return directory, truth


def _zero_rational() -> bytes:
    """EXIF whose degrees are 0/0."""
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = _GPS
    data = exif.tobytes()
    forty, by = struct.pack("<II", 40, 1), struct.pack("<II", 0, 0)
    swapped = data.replace(forty, by)
    if swapped == data:
        swapped = data.replace(struct.pack(">II", 40, 1), by)
    return swapped
