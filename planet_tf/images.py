"""JPEG files by Pillow: positions and times in EXIF, and images to train on."""

import contextlib
import datetime
import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from PIL import (
    ExifTags,
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from planet_tf import records
from planet_tf.rejects import PhotoError, Reason

# Pillow's own limit for a warning; a decoded pixel takes three bytes.
MAX_PIXELS = 89_478_485
MIN_SIDE = 16  # smaller images show nothing
QUALITY = 90  # of images that have to be encoded again
# Whatever the file's name is. Importing the plugin registers it.
_FORMATS = ("JPEG", "PNG", WebPImagePlugin.WebPImageFile.format)
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def fit(data: bytes, image_size: int) -> bytes:
    """The image as an upright JPEG, its short side at most `image_size`.

    What is one already is kept byte for byte. Every image is decoded, which
    shows whether it is whole.

    Raises:
      PhotoError: if it is not, or is too small or too large.
    """
    with _photo_errors(data):
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_size(*image.size)
        transpose = _TO_UPRIGHT.get(_orientation(image))
        is_jpeg = image.format == "JPEG" and image.mode in ("RGB", "L")
        scale = image_size / min(image.size)
        if scale >= 1:
            image.load()
            if is_jpeg and transpose is None:
                return data
            image = _in_color(image)
        else:
            size = tuple(round(side * scale) for side in image.size)
            image.draft(None, size)  # decodes at 1/2, 1/4 or 1/8
            image = _in_color(image).resize(size, Image.Resampling.BICUBIC)
        if transpose is not None:
            image = image.transpose(transpose)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()


def read_exif(file: BinaryIO) -> tuple[float, float, int]:
    """(lat, lng, Unix seconds) by a photo's EXIF; see `parse_exif`."""
    with _photo_errors():
        # Pillow reads the head of the file here, not the pixels.
        exif = Image.open(file, formats=_FORMATS).getexif()
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        return parse_exif(exif.get_ifd(ExifTags.IFD.Exif), gps)


def parse_exif(
    tags: Mapping[int, Any], gps: Mapping[int, Any]
) -> tuple[float, float, int]:
    """(lat, lng, Unix seconds) of EXIF and GPS tags; lat, lng are finite.

    A clock without an offset is taken for UTC.

    Raises:
      PhotoError: if there is no position.
    """
    if not (
        ExifTags.GPS.GPSLatitude in gps or ExifTags.GPS.GPSLongitude in gps
    ):
        raise PhotoError(Reason.NO_GPS, "no position in the EXIF")
    lat = _degrees(gps, "GPSLatitude", {"N": 1, "S": -1})
    lng = _degrees(gps, "GPSLongitude", {"E": 1, "W": -1})
    clock, offset = (
        str(tags.get(tag, "")).strip("\0 ")
        for tag in (
            ExifTags.Base.DateTimeOriginal,
            ExifTags.Base.OffsetTimeOriginal,
        )
    )
    time = parse_time(clock + offset)
    return lat, lng, parse_time(clock) if time == records.UNKNOWN_TIME else time


def parse_time(text: str) -> int:
    """Unix seconds of an ISO or EXIF date; records.UNKNOWN_TIME if it is none.

    Without an offset it is taken for UTC.
    """
    if re.match(r"\d{4}:\d\d:\d\d", text):
        text = text.replace(":", "-", 2)
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return records.UNKNOWN_TIME
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return math.floor(time.timestamp())


def _degrees(
    gps: Mapping[int, Any], name: str, signs: Mapping[str, int]
) -> float:
    """A coordinate of EXIF: three rationals, which may be anything."""
    value = gps.get(ExifTags.GPS[name])
    ref = gps.get(ExifTags.GPS[name + "Ref"])
    try:
        degrees, minutes, seconds = (float(x) for x in value)
        letter = ref.decode("ascii") if isinstance(ref, bytes) else ref
        sign = signs[letter.strip("\0 ").upper()]
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ):
        degrees = minutes = seconds = sign = math.nan
    coordinate = sign * (degrees + minutes / 60 + seconds / 3600)
    if not math.isfinite(coordinate):
        raise PhotoError(Reason.BAD_GPS, f"{name} is {value!r} {ref!r}")
    return coordinate


@contextlib.contextmanager
def _photo_errors(data: bytes | None = None) -> Iterator[None]:
    """Turns whatever Pillow raises on odd files into PhotoError."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        # Pillow's own message holds an address, another one in each run.
        head = "" if data is None else f"; it starts with {data[:16]!r}"
        raise PhotoError(
            Reason.NOT_AN_IMAGE, f"neither JPEG nor PNG nor WebP{head}"
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        text = re.sub(r" at 0x[0-9a-f]+", "", str(error))
        truncated = "truncated" in text.lower()
        raise PhotoError(
            Reason.TRUNCATED_IMAGE if truncated else Reason.CORRUPT_IMAGE, text
        ) from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PhotoError(
            Reason.TOO_MANY_PIXELS,
            f"{width} x {height}; the limit is {MAX_PIXELS} pixels",
        )
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            Reason.TOO_SMALL,
            f"{width} x {height}; a side has at least {MIN_SIDE} pixels",
        )


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF does not make a photo unusable
        return None


def _in_color(image: Image.Image) -> Image.Image:
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
