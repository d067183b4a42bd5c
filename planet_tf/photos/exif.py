"""Positions and times in the EXIF of photos."""

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags

from planet_tf.photos import records
from planet_tf.photos.rejects import PhotoError, Reason


def position(gps: Mapping[int, Any]) -> tuple[float, float]:
    """(lat, lng) of GPS tags, finite; PhotoError if there is none."""
    if not (
        ExifTags.GPS.GPSLatitude in gps or ExifTags.GPS.GPSLongitude in gps
    ):
        raise PhotoError(Reason.NO_GPS, "no position in the EXIF")
    lat = _degrees(gps, "GPSLatitude", {"N": 1, "S": -1})
    lng = _degrees(gps, "GPSLongitude", {"E": 1, "W": -1})
    return lat, lng


def taken_at(tags: Mapping[int, Any]) -> int:
    """Unix seconds of EXIF tags; records.UNKNOWN_TIME if they do not say.

    A clock without an offset is taken for UTC.
    """
    clock, offset = (
        str(tags.get(tag, "")).strip("\0 ")
        for tag in (
            ExifTags.Base.DateTimeOriginal,
            ExifTags.Base.OffsetTimeOriginal,
        )
    )
    time = parse_time(clock + offset)
    return parse_time(clock) if time == records.UNKNOWN_TIME else time


def time_text(time: int) -> str:
    """A time as people read it; "" if it is unknown."""
    if time == records.UNKNOWN_TIME:
        return ""
    start = datetime.datetime(1970, 1, 1)
    try:
        return f"{start + datetime.timedelta(seconds=time):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{time} s"  # of a manifest with another clock


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
    gps: Mapping[int, Any], name: str, signs: Mapping[str, float]
) -> float:
    """A coordinate of EXIF: up to three rationals, which may be anything."""
    value = gps.get(ExifTags.GPS[name])
    ref: Any = gps.get(ExifTags.GPS[name + "Ref"])
    try:
        parts = value if isinstance(value, tuple) else (value,)
        degrees, *rest = map(float, parts)
        minutes, seconds = (*rest, 0.0, 0.0)[:2]
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
    # The letter is the sign: with another one before the number, which of
    # the two is meant? Pillow makes nan of x/0.
    if not (degrees >= 0 and 0 <= minutes <= 60 and 0 <= seconds <= 60):
        raise PhotoError(Reason.BAD_GPS, f"{name} is {value!r} {ref!r}")
    return sign * (degrees + minutes / 60 + seconds / 3600)
