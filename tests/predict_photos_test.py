"""The Beam pipeline that answers photos, beside predict on one machine."""

import csv
import io
import json
import os
import tarfile

import pytest

from beam_pipelines import answers, predict_photos
from planet_tf import evaluate, predict
from planet_tf.prediction import pieces


@pytest.fixture(scope="module")
def photos(tmp_path_factory, module_jpeg):
    """A tar of ten photos and a broken one, a table and a directory."""
    directory = tmp_path_factory.mktemp("photos")
    with tarfile.open(directory / "photos.tar", "w") as tar:
        for i in range(11):
            data = module_jpeg(90, 80, seed=i) if i != 4 else b"no photo"
            entry = tarfile.TarInfo(f"{i:02}.jpg")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    (directory / "files").mkdir()
    for i in range(5):
        path = directory / "files" / f"{i}.jpg"
        path.write_bytes(module_jpeg(80, 90, seed=20 + i))
    (directory / "table.csv").write_text(
        "photo_id,path\n007,files/0.jpg\n008,files/none.jpg\n"
    )
    names = ("photos.tar", "table.csv", "files")
    return [str(directory / name) for name in names]


@pytest.fixture(scope="module")
def module_jpeg():
    import numpy as np
    from PIL import Image

    def make(width, height, seed):
        rng = np.random.default_rng(seed)
        small = rng.integers(0, 256, (8, 8, 3), np.uint8)
        file = io.BytesIO()
        image = Image.fromarray(small).resize((width, height))
        image.save(file, "JPEG")
        return file.getvalue()

    return make


def run(small_model, photos, out, *options):
    arguments = {
        "--photos": ",".join(photos),
        "--model_dir": small_model,
        "--out": out,
        "--piece_photos": 4,
        "--batch_size": 4,
        "--max_reject_fraction": 0.2,
    }
    flags = [f"{name}={value}" for name, value in arguments.items()]
    return predict_photos.main(["predict_photos", *flags, *options])


def files_in(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def made(small_model, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "out"
    assert run(small_model, photos, out) == 0
    return out


def lines(made, pattern):
    paths = sorted(made.glob(pattern))
    return [
        json.loads(line)
        for path in paths
        for line in path.read_text().splitlines()
    ]


def test_its_answers_are_those_of_predict(made, small_model, photos, tmp_path):
    code = predict.main(
        [
            "predict",
            f"--model_dir={small_model}",
            f"--out={tmp_path}",
            "--format=jsonl",
            "--piece_photos=4",
            "--batch_size=4",
            "--max_reject_fraction=0.2",
            *photos,
        ]
    )
    assert code == 0
    alone = (tmp_path / "predictions.jsonl").read_text().splitlines()
    wanted = {row["photo_id"]: row for row in map(json.loads, alone)}
    found = lines(made, "predictions-*.jsonl")
    assert [row["photo_id"] for row in found] == list(wanted)
    assert len(found) == 10 + 1 + 5
    for row in found:
        own = wanted[row["photo_id"]]
        # Batches are cut elsewhere, which changes the last bits.
        shares = [
            [c.pop("probability") for c in x["cells"]] for x in (row, own)
        ]
        assert shares[0] == pytest.approx(shares[1], rel=1e-4)
        assert row["cells"] == own["cells"]
    names = sorted(path.name for path in made.glob("predictions-*"))
    assert names == [
        "predictions-00000-00000.jsonl",
        "predictions-00000-00001.jsonl",
        "predictions-00000-00002.jsonl",
        "predictions-00001-00000.jsonl",
        "predictions-00002-00000.jsonl",
        "predictions-00002-00001.jsonl",
    ]


def test_what_cannot_be_answered_has_a_reason(made):
    found = lines(made, "rejects-*.jsonl")
    reasons = {os.path.basename(r["id"]): r["reason"] for r in found}
    assert reasons == {"04.jpg": "not_an_image", "008": "missing_file"}


@pytest.mark.slow
def test_other_engines_write_the_same_bytes(
    made, small_model, photos, tmp_path
):
    for name, options in {
        "threads": ["--direct_running_mode=multi_threading"],
        "processes": ["--direct_running_mode=multi_processing"],
    }.items():
        out = tmp_path / name
        options = [*options, "--direct_num_workers=2"]
        assert run(small_model, photos, out, *options) == 0
        assert files_in(out) == files_in(made)


def test_a_run_that_broke_off_goes_on_with_what_is_missing(
    made, small_model, photos, tmp_path, monkeypatch, capfd
):
    original = pieces.Asker.write
    asked = []

    def breaks(asker, items, paths, whole):
        asked.append(paths.answers)
        if len(asked) == 3:
            raise OSError("the disk is full")
        return original(asker, items, paths, whole)

    monkeypatch.setattr(pieces.Asker, "write", breaks)
    assert run(small_model, photos, tmp_path / "out") == 1
    assert "the disk is full" in capfd.readouterr().err
    assert run(small_model, photos, tmp_path / "out") == 0
    # Two pieces were written before, one was begun.
    assert len(asked) == 6 + 1 and len(set(asked)) == 6
    assert files_in(tmp_path / "out") == files_in(made)


def test_another_run_into_the_same_directory_is_refused(
    made, small_model, photos, capfd
):
    before = files_in(made)
    assert run(small_model, photos, made, "--top=2") == 1
    assert "Give another --out" in capfd.readouterr().err
    assert run(small_model, photos[:1], made) == 1
    assert "holds predictions with photos" in capfd.readouterr().err
    assert files_in(made) == before


def test_too_many_rejects_are_an_error(made, small_model, photos, capfd):
    code = run(small_model, photos, made, "--max_reject_fraction=0.1")
    assert code == 1
    assert "2 of 18 photos are bad" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [("none.tar", "cannot read"), ("empty", "no image files in")],
)
def test_photos_that_are_not_there_are_an_error(
    small_model, tmp_path, capfd, name, says
):
    (tmp_path / "empty").mkdir()
    assert run(small_model, [str(tmp_path / name)], tmp_path / "out") == 1
    assert says in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_was_changed_is_refused(small_model):
    form = pieces.Form("jsonl", 5, 4)
    model = answers.Model(str(small_model), "sha256:other", 0.0, form)
    with pytest.raises(ValueError, match="changed meanwhile"):
        model.load()


def test_each_file_of_a_table_stands_for_itself(
    small_model, photos, tmp_path, made
):
    assert run(small_model, photos, tmp_path, "--format=csv") == 0
    paths = sorted(tmp_path.glob("predictions-*.csv"))
    rows = []
    for path in paths:
        with path.open() as file:
            rows += list(csv.DictReader(file))
    wanted = lines(made, "predictions-*.jsonl")
    assert [row["photo_id"] for row in rows] == [r["photo_id"] for r in wanted]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_evaluation_reads_all_files_by_a_glob(
    small_model, photos, tmp_path, form
):
    out = tmp_path / "out"
    assert run(small_model, photos, out, f"--format={form}") == 0
    ids = [f"{photos[0]}/{i:02}.jpg" for i in range(11) if i != 4]
    ids += ["007", *(f"{photos[2]}/{i}.jpg" for i in range(5))]
    rows = [f"{name},48.85,2.35\n" for name in ids]
    truth = tmp_path / "truth.csv"
    truth.write_text("id,lat,lng\n" + "".join(rows))
    report = tmp_path / "report"
    arguments = [
        f"--predictions={out}/predictions-*.{form}",
        f"--truth={truth}",
        f"--out={report}",
    ]
    assert evaluate.main(["evaluate", *arguments]) == 0
    found = json.loads((report / "report.json").read_text())
    assert found["photos"] == 16
