"""What is in a collection of photos, as sums that workers add up.

Nothing here is of one photo: a batch becomes counts, and counts are added up
in any order. What crosses a shuffle:

- counts by name with a few example ids, some 5 kB a bundle;
- counts of a file's points at sea, 3 kB a batch at most.
"""

import dataclasses
import enum
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_pipelines.photos import TO_THE_END, Photos
from planet_tf.geo.land import LandMask
from planet_tf.photos import records
from planet_tf.photos.images import Facts
from planet_tf.photos.rejects import Reason, Reject

EXAMPLES = 5  # ids of each finding
OLDEST_TIME = 631_152_000  # 1990-01-01: digital cameras are younger
_REGION = 10  # degrees; how spread out a file's points are

# {name: (count, the smallest ids)}. Names have a "/" after their group.
Tally: TypeAlias = dict[str, tuple[int, tuple[str, ...]]]


class Note(enum.StrEnum):
    """What is odd about a photo that is taken all the same."""

    CMYK = "cmyk"
    GRAY = "gray"
    SIXTEEN_BIT = "16_bit"
    PALETTE = "palette"
    TRANSPARENT = "transparent"
    ANIMATED = "animated"
    ROTATED = "rotated_by_exif"
    TIME_UNKNOWN = "time_unknown"
    TIME_BEFORE_1990 = "time_before_1990"
    TIME_IN_FUTURE = "time_in_future"
    OWNER_UNKNOWN = "owner_unknown"
    ALBUM_UNKNOWN = "album_unknown"
    AT_SEA = "at_sea"


_ANIMATED = ("PNG", "WEBP")  # of others, further images are views and depths
_MODES = {
    "CMYK": Note.CMYK,
    "1": Note.GRAY,
    "L": Note.GRAY,
    "P": Note.PALETTE,
    "LA": Note.TRANSPARENT,
    "La": Note.TRANSPARENT,
    "PA": Note.TRANSPARENT,
    "RGBA": Note.TRANSPARENT,
    "RGBa": Note.TRANSPARENT,
}


def tally(name: str, ids: Iterable[str]) -> Tally:
    """The tally of photos that have something in common."""
    ids = list(ids)
    smallest = tuple(sorted(set(ids))[:EXAMPLES])
    return {name: (len(ids), smallest)} if ids else {}


def add_tallies(parts: Iterable[Tally]) -> Tally:
    """Their sum, sorted by name."""
    total: Tally = {}
    for part in parts:
        for name, (n, ids) in part.items():
            m, others = total.get(name, (0, ()))
            smallest = sorted({*others, *ids})[:EXAMPLES]
            total[name] = (m + n, tuple(smallest))
    return dict(sorted(total.items()))


def tally_photos(
    photos: Photos, latest_time: int, mask: LandMask | None
) -> Tally:
    """What a batch's rows show."""
    time = photos.taken_at
    known = time != records.UNKNOWN_TIME
    noted = {
        Note.TIME_UNKNOWN: ~known,
        Note.TIME_BEFORE_1990: known & (time < OLDEST_TIME),
        Note.TIME_IN_FUTURE: known & (time > latest_time),
        Note.OWNER_UNKNOWN: photos.owner_id == "",
        Note.ALBUM_UNKNOWN: photos.album_id == "",
    }
    if mask is not None:
        noted[Note.AT_SEA] = mask.at_sea(photos.lat, photos.lng)
    return add_tallies(
        tally(f"note/{note}", photos.photo_id[rows])
        for note, rows in noted.items()
    )


def tally_reject(reject: Reject) -> Tally:
    """One photo that is left out."""
    return tally(f"reject/{reject.reason}", [reject.id])


def tally_image(photo_id: str, facts: Facts) -> Tally:
    """What an image's header shows."""
    names = [
        f"format/{facts.format}",
        f"mode/{facts.mode}",
        # Powers of two, in digits so that they sort.
        f"short_side/{1 << min(facts.width, facts.height).bit_length():06}",
        *(f"note/{note}" for note in image_notes(facts)),
    ]
    return add_tallies(tally(name, [photo_id]) for name in names)


def image_notes(facts: Facts) -> list[Note]:
    """What is odd about an image."""
    mode, _, bits = facts.mode.partition(";")  # as in "RGB;16B"
    notes = [_MODES[mode]] if mode in _MODES else []
    if bits.startswith("16") or mode == "I":
        notes.append(Note.SIXTEEN_BIT)
    if facts.frames > 1 and facts.format in _ANIMATED:
        notes.append(Note.ANIMATED)
    if (facts.orientation or 1) > 1:
        notes.append(Note.ROTATED)
    return notes


def count_notes(found: Tally) -> Tally:
    """Counts what is odd as Beam's metrics too."""
    for name, (n, _) in found.items():
        group, _, note = name.partition("/")
        if group == "note":
            Metrics.counter("planet_tf", f"noted_{note}").inc(n)
    return found


@dataclasses.dataclass(frozen=True)
class Points:
    """Where the points of one file are, and where they were misread.

    Attributes:
      counts: numbers by name. `points`; `sea`, those at sea; `swappable`,
        those whose lng may be a lat; `swappable_sea` and `swapped_sea`, those
        of them that are at sea, and that would be if swapped; `sea_lng`,
        `sea_lat`, `sea_any`: those at sea that are on land if the sign of
        lng, of lat or of either or both is changed; `lng_below`, `lng_above`,
        `lat_below`, `lat_above`: those below and above 0; `lat_out`: lats out
        of range; `lat_out_swappable`: those that are in range if swapped.
      regions: sorted numbers of pieces of the Earth with points.
    """

    counts: Mapping[str, int]
    regions: tuple[int, ...]


def points_of(photos: Photos, mask: LandMask | None) -> Points:
    """The points of a batch, all of one file."""
    lat, lng = photos.lat, photos.lng
    sums = {
        "points": np.full(len(lat), True),
        "lng_below": lng < 0,
        "lng_above": lng > 0,
        "lat_below": lat < 0,
        "lat_above": lat > 0,
    }
    if mask is not None:
        sums |= _at_sea(lat, lng, mask)
    regions = np.unique((lat // _REGION) * 360 + lng // _REGION).astype(int)
    counts = {name: int(rows.sum()) for name, rows in sums.items()}
    return Points(counts, tuple(regions.tolist()))


def _at_sea(
    lat: np.ndarray, lng: np.ndarray, mask: LandMask
) -> dict[str, np.ndarray]:
    """Which points (n,) are at sea, as they are and otherwise."""
    sea = mask.at_sea(lat, lng)
    swappable = np.abs(lng) <= 90
    swapped_sea = swappable.copy()
    swapped_sea[swappable] = mask.at_sea(lng[swappable], lat[swappable])
    on_land = {
        "lng": ~mask.at_sea(lat, -lng),
        "lat": ~mask.at_sea(-lat, lng),
        "both": ~mask.at_sea(-lat, -lng),
    }
    return {
        "sea": sea,
        "swappable": swappable,
        "swappable_sea": swappable & sea,
        "swapped_sea": swapped_sea,
        "sea_lng": sea & on_land["lng"],
        "sea_lat": sea & on_land["lat"],
        "sea_any": sea & np.any(list(on_land.values()), axis=0),
    }


def points_of_reject(reject: Reject) -> Points:
    """A lat out of range, and whether it may be a lng."""
    found = re.findall(r"'([^']*)'", reject.detail)
    try:
        lat, lng = map(float, found[:2])
    except ValueError:
        lat = lng = np.nan
    swappable = abs(lat) <= 180 and abs(lng) <= 90
    return Points({"lat_out": 1, "lat_out_swappable": int(swappable)}, ())


def add_points(parts: Iterable[Points]) -> Points:
    """The points of several batches of one file."""
    counts: dict[str, int] = {}
    regions: set[int] = set()
    for part in parts:
        regions.update(part.regions)
        for name, n in part.counts.items():
            counts[name] = counts.get(name, 0) + n
    return Points(dict(sorted(counts.items())), tuple(sorted(regions)))


def by_file(photos: Photos, name: str) -> Iterator[tuple[str, Photos]]:
    """A batch by the archives that it is of, or all of it by a name."""
    if (photos.length == TO_THE_END).all():
        yield name, photos
        return
    uris = pa.array(photos.uri, pa.string()).dictionary_encode()
    indices = uris.indices.to_numpy()
    for i, uri in enumerate(uris.dictionary.to_pylist()):
        yield posixpath.basename(uri), photos.take(indices == i)


def is_misplaced(reject: Reject) -> bool:
    """Whether a reject tells something about swapped columns."""
    return reject.reason == Reason.LAT_OUT_OF_RANGE
