import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from planet_tf import evaluate, predict
from planet_tf.answering import photo_answers
from planet_tf.geo import geometry
from planet_tf.model import export
from planet_tf.options.asking_config import PredictConfig
from planet_tf.photos import images, photo_files
from planet_tf.prediction import batch_prediction, pieces

FORMATS = ("jsonl", "csv", "geojson")


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Models and what is known of their cells, which take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (export, "Geolocator"),
            (photo_answers, "Answerer"),
        ):
            patch.setattr(module, name, once(getattr(module, name)))
        yield


def once(make):
    made = {}

    def get(first, *more):
        key = (getattr(first, "fingerprint", first), *more)
        if key not in made:
            made[key] = make(first, *more)
        return made[key]

    return get


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty photos, two files that are none, and a third that is missing."""
    from PIL import Image

    directory = tmp_path_factory.mktemp("photos")
    for i in range(20):
        small = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(small).resize((90 + i, 80))
        image.save(directory / f"{i:02}.jpg")
    (directory / "07x.jpg").write_bytes(b"no photo")
    (directory / "11x.jpg").write_bytes(
        (directory / "00.jpg").read_bytes()[:900]
    )
    return directory


def config(small_model, out, **options):
    options = {
        "format": "jsonl",
        "batch_size": 4,
        "piece_photos": 8,
        "max_reject_fraction": 0.5,
    } | options
    return PredictConfig(model_dir=str(small_model), out=str(out), **options)


def paths(folder):
    return sorted([*map(str, folder.iterdir()), f"{folder}/19x.jpg"])


def run(small_model, folder, out, **options):
    own = config(small_model, out, **options)
    return batch_prediction.predict(own, photo_files.find(paths(folder)))


def test_photos_get_the_models_answers_and_others_a_reason(
    small_model, folder, tmp_path
):
    target = run(small_model, folder, tmp_path)
    with open(target) as file:
        found = [json.loads(line) for line in file]
    good = [f"{folder}/{i:02}.jpg" for i in range(20)]
    assert [row["photo_id"] for row in found] == good
    locator = export.Geolocator(str(small_model))
    jpegs = []
    for path in good:
        with open(path, "rb") as file:
            jpegs.append(images.fit(file.read(), locator.photo_size))
    wanted = np.sort(locator.probabilities(jpegs), axis=1)[:, ::-1]
    answers = [[c["probability"] for c in row["cells"]] for row in found]
    np.testing.assert_allclose(answers, wanted, atol=1e-5)
    rejects = (tmp_path / "rejects.jsonl").read_text().splitlines()
    reasons = {r["id"][-7:]: r["reason"] for r in map(json.loads, rejects)}
    assert reasons == {
        "07x.jpg": "not_an_image",
        "11x.jpg": "truncated_image",
        "19x.jpg": "missing_file",
    }
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"predictions.jsonl", "rejects.jsonl", "run.json"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_that_broke_off_goes_on_to_the_same_bytes(
    small_model, folder, tmp_path, form, monkeypatch
):
    whole = run(small_model, folder, tmp_path / "whole", format=form)
    embedded = pieces.Asker._embedded
    asked = []

    def breaks(asker, batch):
        asked.append(len(batch))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return embedded(asker, batch)

    monkeypatch.setattr(pieces.Asker, "_embedded", breaks)
    with pytest.raises(KeyboardInterrupt):
        run(small_model, folder, tmp_path / "cut", format=form)
    target = tmp_path / "cut" / f"predictions.{form}"
    assert not target.exists()
    run(small_model, folder, tmp_path / "cut", format=form)
    with open(whole, "rb") as file:
        assert target.read_bytes() == file.read()
    # The first piece, of two batches, was not answered again.
    assert sum(asked) == 16 + len(paths(folder)) - 8


def test_a_finished_run_is_not_done_again(
    small_model, folder, tmp_path, capfd, monkeypatch
):
    target = run(small_model, folder, tmp_path)
    monkeypatch.setattr(pieces.Asker, "_embedded", None)
    assert run(small_model, folder, tmp_path) == target
    assert "is there already" in capfd.readouterr().err


@pytest.mark.parametrize(
    "other", [{"top": 2}, {"min_cell_km": 6000.0}, {"format": "csv"}]
)
def test_another_run_in_the_same_directory_is_refused(
    small_model, folder, tmp_path, other
):
    run(small_model, folder, tmp_path)
    with pytest.raises(
        batch_prediction.PredictionError, match="this run has .* another --out"
    ):
        run(small_model, folder, tmp_path, **other)


@pytest.mark.parametrize("form", FORMATS)
def test_no_answer_is_finer_than_asked_for(small_model, folder, tmp_path, form):
    target = run(
        small_model, folder, tmp_path, format=form, min_cell_km=6000.0, top=100
    )
    coarse = export.Geolocator(str(small_model), 6000).partition
    with open(target) as file:
        if form == "csv":
            rows = list(csv.DictReader(file))
            cells = [
                (row[f"token_{k}"], row[f"lat_{k}"], row[f"lng_{k}"])
                for row in rows
                for k in range(1, 101)
                if row[f"token_{k}"]
            ]
        elif form == "jsonl":
            found = [json.loads(line) for line in file]
            cells = [list(c.values()) for row in found for c in row["cells"]]
            cells = [(c[0], c[2], c[3]) for c in cells]
        else:
            features = json.load(file)["features"]
            cells = [
                (c["token"], c["lat"], c["lng"])
                for feature in features
                for c in feature["properties"]["cells"]
            ]
            points = [f["geometry"]["coordinates"] for f in features]
            allowed = {(lng, lat) for lat, lng in coarse.points}
            assert {tuple(point) for point in points} <= allowed
    assert len(cells) == 20 * len(coarse.tokens)
    allowed = dict(zip(coarse.tokens, coarse.points, strict=True))
    for token, lat, lng in cells:
        token = token.removeprefix("s2:")
        assert geometry.cell_area_km2(token) ** 0.5 >= 6000
        assert (float(lat), float(lng)) == allowed[token]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_evaluation_reads_it(small_model, folder, tmp_path, form):
    target = run(small_model, folder, tmp_path, format=form)
    truth = tmp_path / "truth.csv"
    lines = [f"{folder}/{i:02}.jpg,48.85,2.35\n" for i in range(20)]
    truth.write_text("id,lat,lng\n" + "".join(lines))
    out = tmp_path / "report"
    arguments = [f"--predictions={target}", f"--truth={truth}", f"--out={out}"]
    assert evaluate.main(["evaluate", *arguments]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["photos"] == 20


def test_too_many_bad_photos_are_an_error_that_names_them(
    small_model, folder, tmp_path, capfd
):
    code = predict.main(
        [
            "predict",
            f"--model_dir={small_model}",
            f"--out={tmp_path}",
            "--format=csv",
            str(folder / "0*.jpg"),
        ]
    )
    assert code == 1
    said = capfd.readouterr().err
    assert "1 of 11 photos are bad" in said and "rejects.jsonl" in said
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 11


def test_a_directory_without_photos_is_an_error(small_model, tmp_path, capfd):
    code = predict.main(
        ["predict", f"--model_dir={small_model}", str(tmp_path)]
    )
    assert code == 1
    assert f"no image files in {tmp_path}" in capfd.readouterr().err


@pytest.mark.slow
def test_a_killed_program_goes_on_to_the_same_bytes(
    small_model, folder, tmp_path
):
    whole = run(small_model, folder, tmp_path / "whole", piece_photos=4)
    command = [
        sys.executable,
        "-m",
        "planet_tf.predict",
        f"--model_dir={small_model}",
        f"--out={tmp_path / 'cut'}",
        "--format=jsonl",
        "--batch_size=4",
        "--piece_photos=4",
        "--max_reject_fraction=0.5",
        *paths(folder),
    ]
    killed = subprocess.Popen(command)
    while not (tmp_path / "cut/pieces/000000000000.rejects.jsonl").exists():
        time.sleep(0.01)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run(command, check=True)
    with open(whole, "rb") as file:
        wanted = file.read()
    assert (tmp_path / "cut" / "predictions.jsonl").read_bytes() == wanted
