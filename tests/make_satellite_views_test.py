"""The pool of processes and the real packages are used by the last tests."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from satellite_runs import PLACES, contents, need_packages, run, stand_in

from beam_pipelines import make_satellite_views as program
from beam_pipelines import satellite, view_files, write_shards
from planet_tf import config_flags
from planet_tf.geo import geometry
from planet_tf.photos import manifests


@pytest.fixture
def data(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, PLACES + PLACES[:2])


@pytest.fixture
def packages():
    need_packages()


@pytest.mark.usefixtures("data")
def test_the_manifest_names_every_view_its_true_place_and_its_block(
    tmp_path, monkeypatch
):
    rows = run(tmp_path / "out", monkeypatch, count=7)
    assert tuple(rows[0]) == program.COLUMNS
    assert {(float(r["lat"]), float(r["lng"])) for r in rows} == set(PLACES)
    assert [r["photo_id"] for r in rows] == [f"view-{i:06d}" for i in range(7)]
    for row in rows:
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert image.size == (20, 20)
            assert image.format == "JPEG"
        leaf = geometry.leaf_ids(float(row["lat"]), float(row["lng"]))
        block = geometry.to_tokens([geometry.parents(leaf, 8)])[0]
        assert row["owner_id"] == f"block-{block}"
        assert row["album_id"] == row["taken_at"] == ""
    assert len({r["owner_id"] for r in rows}) == 6  # the two in Paris share


@pytest.mark.usefixtures("data")
def test_places_come_again_only_when_all_were_used(tmp_path, monkeypatch):
    rows = run(tmp_path / "out", monkeypatch, count=16)
    places = [(r["lat"], r["lng"]) for r in rows]
    assert len(set(places[:7])) == 7
    assert places[:7] == places[7:14]
    files = contents(tmp_path / "out")
    assert files["images/000/000000.jpg"] != files["images/000/000007.jpg"]


@pytest.mark.usefixtures("data")
def test_a_view_depends_on_seed_and_index_only(tmp_path, monkeypatch):
    run(tmp_path / "few", monkeypatch, count=3)
    run(tmp_path / "many", monkeypatch, count=9)
    run(tmp_path / "other", monkeypatch, count=3, seed=1)
    few, many, other = (
        contents(tmp_path / name) for name in ("few", "many", "other")
    )
    for path in (f"images/000/00000{i}.jpg" for i in range(3)):
        assert few[path] == many[path] != other[path]
    # The seed changes a place's jitter too, not only the choice of places.
    job = view_files.Job(tmp_path / "few", tmp_path / "picture.png", 20)
    chosen = program.choose(np.array(sorted(PLACES)), 3, 0)
    view_files.write_view(job, program.views_of_places(chosen, 1)[0])
    again = contents(tmp_path / "few")["images/000/000000.jpg"]
    assert again != few["images/000/000000.jpg"]


@pytest.mark.usefixtures("data")
def test_what_an_interrupted_run_left_is_kept_and_completed(
    tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(out, monkeypatch, count=5)
    whole = contents(out)
    kept = out / "images/000/000001.jpg"
    os.utime(kept, (1, 1))
    (out / "images/000/000002.jpg").rename(out / "images/000/000002.tmp")
    (out / "manifest.csv").unlink()
    run(out, monkeypatch, count=5)
    assert contents(out) == whole
    assert kept.stat().st_mtime == 1


@pytest.mark.usefixtures("data")
def test_the_manifest_comes_last(tmp_path, monkeypatch):
    def fail(job, views):
        raise KeyboardInterrupt

    monkeypatch.setattr(view_files, "write_in_pool", fail)
    config = program.Config(out=str(tmp_path / "out"), count=3, size=20)
    with pytest.raises(KeyboardInterrupt):
        program.run(config)
    assert not (tmp_path / "out/manifest.csv").exists()


@pytest.mark.usefixtures("data")
def test_a_directory_of_other_views_is_refused(tmp_path, monkeypatch):
    run(tmp_path / "out", monkeypatch, count=3)
    with pytest.raises(config_flags.UsageError, match="another --out") as error:
        run(tmp_path / "out", monkeypatch, count=3, seed=1)
    assert "'seed': 0" in str(error.value)
    assert "'seed': 1" in str(error.value)
    assert json.loads((tmp_path / "out/views.json").read_text())["seed"] == 0


def test_a_missing_package_is_named_with_how_to_install_it():
    with pytest.raises(
        program.DataMissingError, match="pip install no-such-views==1"
    ) as error:
        program.package_file(
            "no-such-views", "x.jpg", "pip install no-such-views==1"
        )
    assert "x.jpg of the package no-such-views" in str(error.value)


@pytest.mark.usefixtures("packages")
def test_two_processes_write_the_same_views_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(view_files, "_CHUNK", 50)
    config = program.Config(
        out=str(tmp_path / "two"), count=51, size=16, workers=2
    )
    program.run(config)
    files = contents(tmp_path / "two")
    assert len(files) == 53  # more than one task, the manifest, views.json
    picture = program.package_file(*program.PICTURE)
    one = view_files.Job(tmp_path / "one", picture, 16)
    places = program.load_places(program.package_file(*program.PLACES))
    views = program.views_of_places(program.choose(places, 51, 0), 0)
    for view in (views[50], views[49], views[0]):
        (one.out / view.path).parent.mkdir(parents=True, exist_ok=True)
        view_files.write_view(one, view)
        assert (one.out / view.path).read_bytes() == files[view.path]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("lat", "lng", "brightest"),
    [
        (23.0, 10.0, 0),  # the Sahara is red
        (-6.0, -64.0, 1),  # the Amazon is green
        (0.0, -140.0, 2),  # the Pacific is blue
        (-30.0, 179.9, 2),
        (-25.0, 134.0, 0),  # the outback is red
    ],
)
def test_the_picture_lies_as_the_coordinates_say(lat, lng, brightest):
    picture = view_files.load_picture(program.package_file(*program.PICTURE))
    view = satellite.cut(picture, lat, lng, size=20, km=450)
    assert view.mean((0, 1)).argmax() == brightest


def test_the_rule_of_splits_is_by_default_that_of_write_shards():
    views = program.Config(out="o", count=1)
    shards = write_shards.Config(photos="p", partition="p", out="o")
    assert views.fractions() == shards.fractions()
    assert list(views.fractions()) == list(shards.fractions())
    assert views.split_seed == shards.split_seed


def test_the_columns_are_those_that_readers_know():
    assert tuple(manifests.COLUMNS) == program.COLUMNS
