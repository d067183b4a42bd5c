import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest

from beam_pipelines import build_partition, splits
from planet_tf.geo import partition


def build(photos, out, *options):
    """The exit code of the program."""
    return build_partition.main(
        ["build_partition", f"--photos={photos}", f"--out={out}", *options]
        + ["--runner=FnApiRunner"]
    )


def geoclip_coordinates():
    """The package's file of 100,000 photo coordinates; it is not imported."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        pytest.skip("the package geoclip is not installed")
    folder = pathlib.Path(spec.submodule_search_locations[0])
    return folder / "model" / "gps_gallery" / "coordinates_100K.csv"


@pytest.mark.parametrize(
    "max_photos, cells, kept", [(10000, 34, 99965), (2000, 151, 99555)]
)
def test_real_coordinates_give_the_known_partitions(
    tmp_path, max_photos, cells, kept
):
    out = tmp_path / "partition.json"
    photos = geoclip_coordinates()
    assert build(photos, out, f"--max_photos={max_photos}") == 0
    with out.open() as file:
        found = partition.load(file)
    assert (len(found.tokens), sum(found.photos)) == (cells, kept)
    assert found.dropped == 100000 - kept
    lat, lng = np.loadtxt(photos, delimiter=",", skiprows=1).T
    expected = partition.build(lat, lng, max_photos=max_photos, min_photos=50)
    assert (found.tokens, found.points) == (expected.tokens, expected.points)


def rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal([40, -74], 5, (n, 2)).tolist()


def test_the_bytes_depend_on_the_photos_and_options_only(
    tmp_path, make_manifest
):
    points = rows()
    one = make_manifest(points, "lat,lng", name="one.csv")
    two = make_manifest(points[::-1], "LAT,LON", name="two.csv")
    options = ["--max_photos=50", "--min_photos=5"]
    assert build(one, tmp_path / "a/partition.json", *options) == 0
    assert build(two, tmp_path / "b.json", *options, "--coarse_level=7") == 0
    first = (tmp_path / "a/partition.json").read_bytes()
    assert first == (tmp_path / "b.json").read_bytes()
    assert b"tmp" not in first


def test_of_the_training_split_alone_the_others_make_no_cells(
    tmp_path, make_manifest, capsys
):
    places = np.array(rows(600))
    owners = [f"owner-{i % 37}" for i in range(600)]
    photos = make_manifest(
        [(f"p{i}", f"p{i}.jpg", *places[i], owners[i]) for i in range(600)],
        "photo_id,path,lat,lng,owner_id",
    )
    fractions = {"validation": 0.2, "test": 0.25, "albums": 0.1}
    options = [f"--{name}_fraction={f}" for name, f in fractions.items()]
    out = tmp_path / "partition.json"
    options += ["--max_photos=50", "--min_photos=5", "--split_seed=3"]
    assert build(photos, out, *options, "--train_only") == 0
    with out.open() as file:
        found = partition.load(file)
    keys = [f"owner {owner}" for owner in owners]
    train = splits.of_keys(keys, fractions, 3) == "train"
    assert 150 < train.sum() < 450
    wanted = partition.build(*places[train].T, max_photos=50, min_photos=5)
    assert (found.tokens, found.points) == (wanted.tokens, wanted.points)
    assert found.photos == wanted.photos
    rule = {"seed": 3, "fractions": fractions}
    assert found.made_by["train_split"] == rule
    told = capsys.readouterr().out
    assert f"{train.sum()} photos read in the training split" in told
    assert build(photos, out, *options) == 0
    with out.open() as file:
        assert "train_split" not in partition.load(file).made_by


def test_bad_rows_are_rejected_counted_and_told(
    tmp_path, make_manifest, capsys
):
    bad = [[95, 0], ["nan", 0], [1, ""], [1, 200]]
    photos = make_manifest(rows() + bad, "lat,lng")
    out = tmp_path / "cells.json"
    assert build(photos, out, "--max_photos=50", "--min_photos=5") == 0
    lines = (tmp_path / "rejects-cells-00000-of-00001.jsonl").read_text()
    rejects = {r["id"]: r for r in map(json.loads, lines.splitlines())}
    assert {k: r["reason"] for k, r in rejects.items()} == {
        "photos.csv:row 302": "lat_out_of_range",
        "photos.csv:row 303": "coordinates_not_a_number",
        "photos.csv:row 304": "missing_coordinates",
        "photos.csv:row 305": "lng_out_of_range",
    }
    assert {r["stage"] for r in rejects.values()} == {"read"}
    assert json.loads(out.read_text())["made_by"]["rejects"] == {
        r["reason"]: 1 for r in rejects.values()
    }
    told = capsys.readouterr().out
    assert "304 photos read" in told
    assert "4 rejected" in told and "1 lat_out_of_range" in told


def test_too_many_bad_rows_fail_and_leave_no_partition(
    tmp_path, make_manifest, capsys
):
    photos = make_manifest(rows(90) + [[95, 0]] * 10, "lat,lng")
    out = tmp_path / "partition.json"
    options = ["--max_photos=50", "--min_photos=5"]
    assert build(photos, out, *options) == 1
    assert "10 of 100" in capsys.readouterr().err
    assert not out.exists()
    assert build(photos, out, *options, "--max_reject_fraction=0.1") == 0


@pytest.mark.parametrize(
    "header, options, message",
    [
        ("y,lng", [], "no column for lat"),
        ("lat,lng", ["--min_photos=1000"], "lower min_photos"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    tmp_path, make_manifest, capsys, header, options, message
):
    photos = make_manifest(rows(), header)
    assert build(photos, tmp_path / "partition.json", *options) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_cells_that_the_level_cap_kept_together_are_told(
    tmp_path, make_manifest, capsys
):
    photos = make_manifest([[40, -74]] * 60, "lat,lng")
    options = ["--max_photos=50", "--min_photos=5", "--other_class"]
    assert build(photos, tmp_path / "p.json", *options) == 0
    told = capsys.readouterr().out
    assert "1 cells have more than 50 photos" in told
    with (tmp_path / "p.json").open() as file:
        assert partition.load(file).num_classes == 2


def test_the_hottest_places_are_told_where_cells_were_kept_together(
    tmp_path, make_manifest, capsys
):
    points = [[40, -74]] * 60 + [[-22.9, -43.2]] * 30 + [[48.9, 2.35]] * 10
    photos = make_manifest(points, "lat,lng")
    options = ["--max_photos=20", "--min_photos=5"]
    assert build(photos, tmp_path / "p.json", *options) == 0
    told = capsys.readouterr().out
    assert "2 cells have more than 20 photos" in told
    hot = [line.split() for line in told.splitlines() if "%) at" in line]
    hot = [" ".join(line).replace("(", "").replace(")", "") for line in hot]
    assert len(hot) == 2
    assert re.match("60 60.00% at lat (39.9999|40.0000)., lng -74.0000", hot[0])
    assert re.match("30 30.00% at lat -22.(8999|9000)., lng -43.2000", hot[1])
    assert build(photos, tmp_path / "p.json", "--min_photos=5") == 0
    told = capsys.readouterr().out
    assert "more than" not in told and "%) at" not in told


def test_the_size_of_the_models_head_is_told(tmp_path, make_manifest, capsys):
    photos = make_manifest([[40, -74]] * 60, "lat,lng")
    assert build(photos, tmp_path / "p.json", "--other_class") == 0
    assert "2 classes has 4,098 parameters" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--min_photos=40", "--max_level=9"]])
def test_a_wanted_number_of_cells_is_met_within_5_percent(
    tmp_path, capsys, options
):
    out, photos = tmp_path / "partition.json", geoclip_coordinates()
    assert build(photos, out, "--target_cells=354", *options) == 0
    with out.open() as file:
        found = partition.load(file)
    assert len(found.tokens) == pytest.approx(354, rel=0.05)
    assert found.made_by["target_cells"] == 354
    told = capsys.readouterr().out
    assert f"nearest to 354 cells are {len(found.tokens)} (" in told
    assert f"--max_photos={found.max_photos}" in told
    # With the thresholds it found, it is the same partition.
    lat, lng = np.loadtxt(photos, delimiter=",", skiprows=1).T
    same = partition.build(
        lat,
        lng,
        max_photos=found.max_photos,
        min_photos=found.min_photos,
        max_level=found.max_level,
    )
    assert (same.tokens, same.photos, same.points, same.dropped) == (
        found.tokens,
        found.photos,
        found.points,
        found.dropped,
    )


def test_more_cells_than_there_can_be_are_refused(
    tmp_path, make_manifest, capsys
):
    photos = make_manifest(rows(), "lat,lng")
    out = tmp_path / "partition.json"
    options = ["--target_cells=100", "--min_photos=10"]
    assert build(photos, out, *options) == 1
    error = capsys.readouterr().err
    assert "there can be at most" in error and "lower --min_photos" in error
    assert not list(tmp_path.glob("*partition.json*"))


def test_a_number_of_cells_and_a_threshold_are_too_much(
    tmp_path, make_manifest, capsys
):
    photos = make_manifest(rows(), "lat,lng")
    with pytest.raises(SystemExit) as end:
        build(photos, "p.json", "--target_cells=9", "--max_photos=10000")
    assert end.value.code == 2
    assert "give only one of them" in capsys.readouterr().err


def test_help_and_a_wrong_option_end_as_they_should(capsys):
    for args, code in ((["--help"], 0), (["--max_photos=0"], 2), ([], 2)):
        with pytest.raises(SystemExit) as end:
            build_partition.main(["build_partition", *args])
        assert end.value.code == code
    assert "--photos, --out" in capsys.readouterr().err
