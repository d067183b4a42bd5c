import pytest
from PIL.TiffImagePlugin import IFDRational

from planet_tf.photos import exif
from planet_tf.photos.records import UNKNOWN_TIME
from planet_tf.photos.rejects import PhotoError, Reason

GOOD_GPS = {1: "S", 2: (33.0, 30.0, 36.0), 3: "w", 4: (70.0, 0.0, 0.0)}


def test_a_time_is_read_with_its_offset_if_there_is_one():
    tags = {0x9003: "2016:02:17 01:00:00\0", 0x9011: "+01:00"}
    assert exif.taken_at(tags) == 1455667200
    del tags[0x9011]
    assert exif.taken_at(tags) == 1455667200 + 3600
    assert exif.taken_at({}) == UNKNOWN_TIME


@pytest.mark.parametrize(
    "gps, reason",
    [
        ({}, Reason.NO_GPS),
        ({1: "N", 3: "E"}, Reason.NO_GPS),
        ({**GOOD_GPS, 2: (-33.0, 30.0, 0.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: (33.0, 75.0, 0.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: (33.0, -5.0, 0.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: ()}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: None}, Reason.BAD_GPS),
        ({**GOOD_GPS, 2: (0.0, float("nan"), 0.0)}, Reason.BAD_GPS),
        ({**GOOD_GPS, 1: "W"}, Reason.BAD_GPS),
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
        exif.position(gps)
    assert error.value.reason == reason


def test_a_reference_in_bytes_is_understood():
    lat, lng = exif.position({**GOOD_GPS, 1: b"N\0", 3: "E\0"})
    assert lat > 0 and lng > 0


@pytest.mark.parametrize(
    "value, expected",
    [
        ((33.0, 30.0, 36.0), 33.51),
        ((33.51, 0.0, 0.0), 33.51),  # degrees with a fraction
        ((33.0, 30.6, 0.0), 33.51),  # minutes with a fraction
        ((33.0, 30.6), 33.51),
        (33.51, 33.51),
        ((IFDRational(33), IFDRational(306, 10), IFDRational(0)), 33.51),
        ((33.0, 59.0, 60.0), 34.0),  # seconds that were rounded up
        ((0.0, 0.0, 0.0), 0.0),
    ],
)
@pytest.mark.parametrize(
    "ref, sign", [("N", 1), ("s", -1), (b"S\0", -1), (" n ", 1)]
)
def test_all_forms_of_a_coordinate_are_read(value, expected, ref, sign):
    lat, lng = exif.position({**GOOD_GPS, 1: ref, 2: value})
    assert (lat, lng) == (pytest.approx(sign * expected), -70.0)
