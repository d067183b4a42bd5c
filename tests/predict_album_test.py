"""The program that answers for albums: folders of photos, and records."""

import csv
import datetime
import io
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import PLACES
from PIL import Image

from planet_tf import predict_album
from planet_tf.geo import geometry
from planet_tf.model import export
from planet_tf.photos import album_order

# EXIF's numbers of tags.
TIME, LAT_REF, LAT, LNG_REF, LNG = 0x9003, 1, 2, 3, 4
EXIF, GPS = 0x8769, 0x8825


def photo(place, seed, time=None, latlng=None):
    """A photo as those `small_model` was trained on, with what EXIF says."""
    rng = np.random.default_rng(seed)
    pixels = np.full((80, 90, 3), 60.0)
    pixels[..., place % 3] += 40 * (1 + place // 3)
    pixels += rng.normal(0, 15, pixels.shape)
    exif = Image.Exif()
    if time is not None:
        clock = datetime.datetime(2016, 5, 1) + datetime.timedelta(hours=time)
        exif.get_ifd(EXIF)[TIME] = f"{clock:%Y:%m:%d %H:%M:%S}"
    if latlng is not None:
        lat, lng = latlng
        exif.get_ifd(GPS).update(
            {
                LAT_REF: "N" if lat >= 0 else "S",
                LAT: (abs(lat), 0.0, 0.0),
                LNG_REF: "E" if lng >= 0 else "W",
                LNG: (abs(lng), 0.0, 0.0),
            }
        )
    file = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def predict(model, out, *paths, options=()):
    return predict_album.main(
        [
            "predict_album",
            f"--model_dir={model}",
            f"--out={out}",
            *options,
            *map(str, paths),
        ]
    )


def answers(out):
    with (out / "answers.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    """Five photos of one place; by name they are in another order."""
    folder = tmp_path / "Lisbon 2016"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(("z", "more/b", "y", "a")):
        data = photo(0, i, time=i, latlng=PLACES[0] if i < 3 else None)
        (folder / f"{name}.jpg").write_bytes(data)
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.mark.slow
def test_a_folder_is_one_album_in_the_order_of_time(
    album_models, folder, tmp_path, capfd
):
    assert predict(album_models[0], tmp_path / "out", folder) == 0
    said = capfd.readouterr()
    assert "Lisbon 2016: 4 photos" in said.out
    assert "not all times" not in said.err
    found = answers(tmp_path / "out")
    names = [row["photo"].removeprefix(f"{folder}/") for row in found]
    assert names == ["z.jpg", "more/b.jpg", "y.jpg", "a.jpg"]
    assert [row["number"] for row in found] == ["1", "2", "3", "4"]
    assert found[1]["taken_at"] == "2016-05-01 01:00:00"
    for row in found[:3]:
        lat, lng = (float(row[f"album_{x}"]) for x in ("lat", "lng"))
        km = geometry.great_circle_km(lat, lng, *PLACES[0])
        assert float(row["album_error_km"]) == pytest.approx(km, abs=0.01)
    assert found[3]["lat"] == found[3]["album_error_km"] == ""
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "answers.csv",
        "Lisbon-2016-track.png",
        "Lisbon-2016-track.html",
    }


@pytest.mark.slow
def test_the_answers_are_those_of_the_saved_models(
    album_models, folder, tmp_path
):
    options = ["--nomaps"]
    assert predict(album_models[0], tmp_path, folder, options=options) == 0
    found = answers(tmp_path)
    locator = export.Geolocator(str(album_models[0] / "photo_model"))
    files = [folder / n for n in ("z.jpg", "more/b.jpg", "y.jpg", "a.jpg")]
    jpegs = tf.constant([path.read_bytes() for path in files])
    single = locator.module.distribution(jpegs)["probabilities"].numpy()
    module = export.load(str(album_models[0]), locator.partition)
    found_in_album = module.distribution(
        locator.module.embed(jpegs)["embedding"][None],
        tf.constant([4]),
        tf.constant([[-1.0, 1.0, 1.0, 1.0]]),
    )
    album = found_in_album["probabilities"][0].numpy()
    for shares, what in ((single, "single"), (album, "album")):
        best = [locator.partition.tokens[k] for k in shares.argmax(-1)]
        assert [row[f"{what}_cell"] for row in found] == best
        given = [float(row[f"{what}_probability"]) for row in found]
        np.testing.assert_allclose(given, shares.max(-1), atol=1e-5)


@pytest.mark.slow
def test_without_all_times_the_order_is_by_name_and_that_is_said(
    album_models, tmp_path, capfd
):
    paths = [tmp_path / f"img{n}.jpg" for n in (10, 2, 1)]
    for i, path in enumerate(paths):
        path.write_bytes(photo(1, i, time=None if i == 1 else i))
    options = ["--nomaps"]
    assert predict(album_models[0], tmp_path, *paths, options=options) == 0
    names = [row["photo"] for row in answers(tmp_path)]
    assert names == [str(path) for path in paths[::-1]]
    warning = capfd.readouterr().err
    assert "warning: not all times" in warning
    assert "the order of their names" in warning


@pytest.mark.slow
def test_a_photo_that_is_sure_of_another_place_is_an_outlier(
    album_models, small_model, tmp_path, capfd
):
    # What the album's photos are together is not asked here: any photo that
    # is sure and far from the album's answer is one, and no other.
    folder = tmp_path / "trip"
    folder.mkdir()
    for i in range(9):
        place = 1 if i == 4 else 0
        (folder / f"{i}.jpg").write_bytes(photo(place, i, time=i))
    options = ["--nomaps", "--outlier_km=500", "--outlier_probability=0.4"]
    assert predict(album_models[0], tmp_path, folder, options=options) == 0
    locator = export.Geolocator(str(small_model))
    said = capfd.readouterr().out
    found = answers(tmp_path)
    for row in found:
        with open(row["photo"], "rb") as file:
            [shares] = locator.probabilities([file.read()])
        points = locator.partition.latlng
        alone = points[shares.argmax()]
        near = geometry.great_circle_km(*alone, *points.T) <= 500
        album = float(row["album_lat"]), float(row["album_lng"])
        far = geometry.great_circle_km(*alone, *album) > 500
        outlier = bool(far and shares[near].sum() >= 0.4)
        assert row["outlier"] == str(int(outlier))
        wanted = f"{row['photo']} seems not to belong here"
        assert (wanted in said) == outlier
    options[1:] = ["--outlier_km=30000"]
    assert predict(album_models[0], tmp_path, folder, options=options) == 0
    assert {row["outlier"] for row in answers(tmp_path)} == {"0"}


@pytest.mark.slow
def test_photos_that_cannot_be_read_are_named_and_the_others_answered(
    album_models, folder, tmp_path, capfd
):
    (folder / "text.jpg").write_text("no photo")
    (folder / "cut.jpg").write_bytes(photo(0, 9, time=9)[:900])
    missing = tmp_path / "none.jpg"
    options = ["--nomaps"]
    code = predict(album_models[0], tmp_path, folder, missing, options=options)
    assert code == 1
    assert len(answers(tmp_path)) == 4
    errors = capfd.readouterr().err
    for path in (folder / "text.jpg", folder / "cut.jpg", missing):
        assert f"error: {path}: " in errors


@pytest.mark.slow
def test_albums_of_more_photos_than_the_model_knows_are_cut(
    album_models, tmp_path
):
    longest = json.loads((album_models[0] / "config.json").read_text())
    count = 2 * longest["max_photos"] + 1
    folder = tmp_path / "long"
    folder.mkdir()
    for i in range(count):
        (folder / f"{i}.jpg").write_bytes(photo(i % 4, i, time=i))
    options = ["--nomaps"]
    assert predict(album_models[0], tmp_path, folder, options=options) == 0
    whole = answers(tmp_path)
    assert len(whole) == count
    # The last run's answers are those of an album of its own.
    *_, run = album_order.even_cuts(count, longest["max_photos"])
    last = [folder / f"{i}.jpg" for i in range(run.start, count)]
    assert predict(album_models[0], tmp_path, *last, options=options) == 0
    for row, alone in zip(whole[run], answers(tmp_path), strict=True):
        assert row["album_cell"] == alone["album_cell"]
        shares = [float(x["album_probability"]) for x in (row, alone)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-4)


@pytest.mark.slow
def test_albums_of_records_are_answered_for(
    album_models, model_albums, tmp_path, capfd
):
    options = [f"--albums={model_albums}", "--split=test", "--nomaps"]
    assert predict(album_models[0], tmp_path, options=options) == 0
    found = answers(tmp_path)
    assert len({row["album"] for row in found}) == 40
    assert "error alone" in capfd.readouterr().out
    errors = [float(row["album_error_km"]) for row in found]
    assert np.mean(np.array(errors) <= 750) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("both", [True, False])
def test_it_is_photos_or_albums(album_models, folder, tmp_path, both, capfd):
    options = [f"--albums={tmp_path}"] if both else []
    paths = [folder] if both else []
    with pytest.raises(SystemExit) as stop:
        predict(album_models[0], tmp_path, *paths, options=options)
    assert stop.value.code == 2
    assert "one of the two" in capfd.readouterr().err


@pytest.mark.slow
def test_what_is_no_album_model_is_refused(
    small_model, album_models, folder, tmp_path, capfd
):
    assert predict(small_model, tmp_path, folder) == 1
    assert "planet_tf.predict asks it" in capfd.readouterr().err
    assert predict(album_models[0], tmp_path, tmp_path / "out") == 1
    other = tmp_path / "model"
    shutil.copytree(album_models[0], other)
    facts = json.loads((other / "config.json").read_text())
    facts["model_fingerprint"] = "sha256:another"
    (other / "config.json").write_text(json.dumps(facts))
    assert predict(other, tmp_path, folder) == 1
    assert "put back the photo model" in capfd.readouterr().err


@pytest.mark.slow
def test_a_folder_without_photos_is_refused(album_models, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    assert predict(album_models[0], tmp_path, tmp_path / "empty") == 1
    assert f"no photos in {tmp_path / 'empty'}" in capfd.readouterr().err


@pytest.mark.slow
def test_no_answer_is_finer_than_asked_for(album_models, folder, tmp_path):
    options = ["--nomaps", "--min_cell_km=6000"]
    assert predict(album_models[0], tmp_path, folder, options=options) == 0
    for row in answers(tmp_path):
        for what in ("single", "album"):
            area = geometry.cell_area_km2(row[f"{what}_cell"])
            assert area**0.5 >= 6000
