"""The pool of processes and the real packages are used by the last tests."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from satellite_runs import PLACES, contents, need_packages, run, stand_in, table

from beam_pipelines import make_satellite_views as program
from beam_pipelines import satellite, splits, view_files, write_shards
from planet_tf import config_flags
from planet_tf.geo import geometry


@pytest.fixture
def data(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, PLACES + PLACES[:2])


@pytest.fixture
def land(tmp_path, monkeypatch):
    """Places enough for trips, none of them in sight of the sea."""
    rng = np.random.default_rng(1)
    places = rng.uniform([-40, -20], [40, 160], (1500, 2)).round(5)
    stand_in(tmp_path, monkeypatch, places.tolist())


@pytest.fixture
def packages():
    need_packages()


FRACTIONS = {
    "validation_fraction": 0.2,
    "test_fraction": 0.1,
    "albums_fraction": 0.3,
}


@pytest.mark.usefixtures("land")
def test_a_trip_is_in_the_split_of_all_its_blocks_and_that_is_not_train(
    tmp_path, monkeypatch
):
    run(
        tmp_path / "out",
        monkeypatch,
        count=1500,
        trips=12,
        split_seed=4,
        **FRACTIONS,
    )
    shards = write_shards.Config(
        photos="p", partition="p", out="o", split_seed=4, **FRACTIONS
    )
    rows = table(tmp_path / "out/trips.csv")
    places = np.array([(row["lat"], row["lng"]) for row in rows], float)
    leaves = geometry.leaf_ids(*places.T)
    blocks = geometry.to_tokens(geometry.parents(leaves, 8))
    of_trips, of_blocks = (
        splits.of_keys(
            [f"owner {owner}" for owner in owners],
            shards.fractions(),
            shards.split_seed,
        )
        for owners in (
            [row["owner_id"] for row in rows],
            [f"block-{token}" for token in blocks],
        )
    )
    assert of_trips.tolist() == of_blocks.tolist()
    assert set(of_trips) == {"validation", "test", "albums"}
    # The views of the places themselves say the same of their blocks.
    owners = {
        (row["lat"], row["lng"]): row["owner_id"]
        for row in table(tmp_path / "out/manifest.csv")
    }
    for row, token in zip(rows, blocks, strict=True):
        assert owners[row["lat"], row["lng"]] == f"block-{token}"


@pytest.mark.usefixtures("land")
def test_the_table_of_trips_names_every_view_its_album_time_and_kind(
    tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(out, monkeypatch, count=1, trips=8, **FRACTIONS)
    rows = table(out / "trips.csv")
    assert tuple(rows[0]) == (*program.COLUMNS, "kind")
    albums = itertools.groupby(rows, lambda row: row["album_id"])
    albums = {name: list(group) for name, group in albums}
    assert len(albums) == 8
    for name, views in albums.items():
        assert name.startswith("trip-") and 5 <= len(views) <= 60
        assert {view["owner_id"] for view in views} == {name}
        names = [f"{name}-{i:02d}" for i in range(len(views))]
        assert [view["photo_id"] for view in views] == names
        times = [int(view["taken_at"]) for view in views]
        assert times == sorted(set(times))
        for view in views:
            with Image.open(out / view["path"]) as image:
                assert (image.size, image.format) == ((20, 20), "JPEG")
    assert len({row["path"] for row in rows}) == len(rows)
    assert {row["kind"] for row in rows} == {"clear", "sea", "cloud", "zoom"}


@pytest.mark.usefixtures("land")
def test_views_of_the_sea_show_it_and_keep_the_place_of_their_stop(
    tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(out, monkeypatch, count=1, trips=12, **FRACTIONS)
    rows = table(out / "trips.csv")
    shown = {"sea": 0, "clear": 0, "zoom": 0, "cloud": 0}
    for row in rows:
        with Image.open(out / row["path"]) as image:
            red, _, blue = np.asarray(image, float).mean((0, 1))
        shown[row["kind"]] += blue > 2.5 * red
        assert -20 <= float(row["lng"]) <= 160  # the sea is west of it
    assert shown["sea"] == sum(row["kind"] == "sea" for row in rows) > 15
    assert shown["clear"] == 0


@pytest.mark.usefixtures("land")
def test_fewer_trips_are_the_beginning_of_more(tmp_path, monkeypatch):
    run(tmp_path / "few", monkeypatch, count=1, trips=3, **FRACTIONS)
    run(tmp_path / "many", monkeypatch, count=2, trips=6, **FRACTIONS)
    few, many = (contents(tmp_path / name) for name in ("few", "many"))
    assert many["trips.csv"].startswith(few["trips.csv"])
    images = [path for path in few if path.startswith("trips/")]
    assert len(images) >= 15
    assert all(many[path] == few[path] for path in images)
    # No view has the jitter of another: none is there twice.
    assert len({many[p] for p in many if p.endswith(".jpg")}) == (
        sum(p.endswith(".jpg") for p in many)
    )
    # More may be asked for where there are some already.
    run(tmp_path / "few", monkeypatch, count=2, trips=6, **FRACTIONS)
    assert contents(tmp_path / "few") == many


@pytest.mark.usefixtures("land")
def test_interrupted_trips_are_completed_and_their_table_comes_last(
    tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(out, monkeypatch, count=2, trips=4, **FRACTIONS)
    whole = contents(out)
    images = [path for path in whole if path.startswith("trips/")]
    os.utime(out / images[0], (1, 1))
    (out / images[1]).rename((out / images[1]).with_suffix(".tmp"))
    (out / images[-1]).unlink()
    (out / "trips.csv").unlink()

    def fail(job, views):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(view_files, "write_in_pool", fail)
        config = program.Config(
            out=str(out), size=20, count=2, trips=4, **FRACTIONS
        )
        with pytest.raises(KeyboardInterrupt):
            program.run(config)
    assert not (out / "trips.csv").exists()
    run(out, monkeypatch, count=2, trips=4, **FRACTIONS)
    assert contents(out) == whole
    assert (out / images[0]).stat().st_mtime == 1


@pytest.mark.usefixtures("land")
def test_trips_may_be_added_to_views_but_not_by_another_rule(
    tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(out, monkeypatch, count=2)
    assert "trips" not in json.loads((out / "views.json").read_text())
    run(out, monkeypatch, count=2, trips=3, **FRACTIONS)
    record = json.loads((out / "views.json").read_text())
    assert record["trips"]["fractions"]["albums"] == 0.3
    run(out, monkeypatch, count=3)  # without trips: what is said of them stays
    assert json.loads((out / "views.json").read_text()) == record
    other = FRACTIONS | {"test_fraction": 0.15}
    for options in (other, FRACTIONS | {"split_seed": 1}):
        with pytest.raises(config_flags.UsageError, match="another --out"):
            run(out, monkeypatch, count=2, trips=3, **options)
    with pytest.raises(config_flags.UsageError) as error:
        run(out, monkeypatch, count=2, trips=3, **other)
    assert "{'trips': {'fractions': {'test': 0.1}}}" in str(error.value)
    assert "{'trips': {'fractions': {'test': 0.15}}}" in str(error.value)
    with monkeypatch.context() as patch:
        patch.setattr(satellite, "ZOOM_KM", 9.0)
        with pytest.raises(config_flags.UsageError, match="zoom_km"):
            run(out, monkeypatch, count=2, trips=3, **FRACTIONS)


@pytest.mark.usefixtures("data")
def test_trips_through_too_few_places_end_with_what_to_do(
    tmp_path, monkeypatch, capsys
):
    argv = ["make_satellite_views", f"--out={tmp_path / 'out'}", "--count=3"]
    argv += ["--trips=5", "--albums_fraction=0.2"]
    assert program.main(argv) == 1
    error = capsys.readouterr().err
    assert "of 7 places are in blocks of the split validation" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_picture_without_sea_is_an_error(tmp_path):
    Image.new("RGB", (60, 30)).save(tmp_path / "black.png")
    with pytest.raises(view_files.NoSeaError, match=r"black\.png"):
        view_files.load_sea(tmp_path / "black.png")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give --albums_fraction=0.2"),
        ({"albums_fraction": 0.9}, "add up to 1"),
    ],
)
def test_trips_with_impossible_fractions_are_refused(options, said):
    with pytest.raises(config_flags.UsageError, match=said):
        program.Config(out="o", count=1, trips=1, **options)
    program.Config(out="o", count=1, **options)  # without trips no matter


def test_without_trips_beam_is_not_imported():
    code = (
        f"import sys, {program.__name__}; print('apache_beam' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.slow
@pytest.mark.usefixtures("packages")
def test_trips_are_the_same_for_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(view_files, "_CHUNK", 50)
    files = []
    for workers in (1, 2):
        config = program.Config(
            out=str(tmp_path / str(workers)),
            count=1,
            trips=6,
            size=8,
            workers=workers,
            **FRACTIONS,
        )
        program.run(config)
        files.append(contents(tmp_path / str(workers)))
    assert len(files[0]) > 104  # more than one task
    assert files[0] == files[1]


@pytest.mark.usefixtures("packages")
def test_the_open_sea_of_the_real_picture_is_far_from_all_places():
    sea = view_files.load_sea(program.package_file(*program.PICTURE))
    places = program.load_places(program.package_file(*program.PLACES))
    assert len(sea) > 1000
    vectors = geometry.to_vectors(*places.T)
    cosines = geometry.to_vectors(*sea[::20].T) @ vectors.T
    km = geometry.EARTH_RADIUS_KM * np.arccos(cosines.clip(-1, 1)).min(1)
    assert np.median(km) > 700
    shelf = satellite.reach_km(view_files.VIEW_KM, satellite.Jitter())
    assert (km > shelf).mean() > 0.9  # but for photos taken on board
