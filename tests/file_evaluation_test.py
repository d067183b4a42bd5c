import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from planet_tf import evaluate
from planet_tf.geo import partition

KM_PER_DEGREE = np.pi * 6371.0088 / 180
RADII = (1, 25, 200, 750, 2500)


def write(path, rows, **options):
    with path.open("w", newline="") as file:
        csv.writer(file, **options).writerows(rows)
    return path


def run(tmp_path, *options):
    arguments = [
        f"--predictions={tmp_path / 'predictions.csv'}",
        f"--truth={tmp_path / 'truth.csv'}",
        f"--out={tmp_path / 'report'}",
        "--resamples=100",
    ]
    code = evaluate.main(["evaluate", *arguments, *options])
    path = tmp_path / "report" / "report.json"
    return code, json.loads(path.read_text()) if path.exists() else None


def test_a_table_of_known_distances_is_exact(tmp_path):
    """Photos just inside and just outside of each radius, north and south."""
    truth, answers = [("id", "lat", "lng")], [("id", "lat", "lng")]
    inside = dict.fromkeys(RADII, 0)
    for km in RADII:
        for step, side in ((1 - 1e-9, 1), (1 + 1e-9, 1), (1 - 1e-9, -1)):
            name = f"{km} {step} {side}"
            truth.append((name, 0, 178))
            degrees = side * km * step / KM_PER_DEGREE
            answers.append((name, repr(degrees), 178))
            for radius in RADII:
                inside[radius] += km * step <= radius
    write(tmp_path / "truth.csv", truth)
    write(tmp_path / "predictions.csv", answers)
    code, report = run(tmp_path)
    assert code == 0
    system = report["systems"]["system"]
    assert system["photos"] == 15
    for radius in RADII:
        share = inside[radius] / 15
        assert system[f"top1_within_{radius}km"] == pytest.approx(share)
    assert system["median_km"] == pytest.approx(200, rel=1e-6)


def test_the_radius_itself_is_within(tmp_path, monkeypatch):
    write(tmp_path / "truth.csv", [("id", "lat", "lng"), ("a", 0, 0)])
    write(tmp_path / "predictions.csv", [("id", "lat", "lng"), ("a", 0.1, 0)])
    from planet_tf.answering import metrics
    from planet_tf.geo import geometry

    km = float(geometry.great_circle_km(0, 0, 0.1, 0))
    for radius, within in ((km, 1), (np.nextafter(km, 0), 0)):
        monkeypatch.setattr(metrics, "RADII_KM", (radius,))
        answers = np.array([[[0.1, 0.0]]])
        found = metrics.summary(metrics.errors_km(answers, np.zeros((1, 2))))
        assert found[f"top1_within_{radius}km"] == within


def rows(photos=30, extra=()):
    rng = np.random.default_rng(1)
    truth = rng.uniform(-60, 60, (photos, 2))
    near = truth + rng.normal(0, 3, (photos, 2))
    names = [f"{i}.jpg" for i in range(photos)]
    return (
        [
            ("id", "lat", "lng"),
            *((n, *p) for n, p in zip(names, truth, strict=True)),
        ],
        [
            ("id", "lat", "lng"),
            *((n, *p) for n, p in zip(names, near, strict=True)),
            *extra,
        ],
    )


def test_any_spreadsheets_file_gives_the_same_report(tmp_path):
    truth, answers = rows()
    write(tmp_path / "truth.csv", truth)
    write(tmp_path / "predictions.csv", answers)
    _, plain = run(tmp_path)
    text = io.StringIO(newline="")
    odd = [("Foto", "Breite", "Laenge"), *answers[1:]]
    odd = [
        tuple(str(x).replace(".", ",") if k else x for k, x in enumerate(row))
        for row in odd
    ]
    csv.writer(text, delimiter=";").writerows(odd)  # with CRLF
    data = b"\xef\xbb\xbf" + text.getvalue().encode()
    (tmp_path / "predictions.csv").write_bytes(data)
    code, _ = run(tmp_path)
    assert code == 1  # columns of other names are not guessed
    code, found = run(
        tmp_path,
        "--id_column=Foto",
        "--lat_column=Breite",
        "--lng_column=Laenge",
    )
    assert code == 0
    assert found["systems"] == plain["systems"]
    assert found["columns"]["predictions"]["lat"] == "Breite"


def test_a_missing_and_a_duplicate_id_are_refused_or_counted(tmp_path, capfd):
    truth, answers = rows()
    write(tmp_path / "truth.csv", truth)
    write(
        tmp_path / "predictions.csv",
        [*answers[:5], *answers[6:], answers[9], ("other.jpg", 1, 1)],
    )
    code, report = run(tmp_path)
    assert code == 1
    assert report is None
    told = capfd.readouterr().err
    for word in ("4.jpg", "8.jpg", "other.jpg"):
        assert word in told
    for word in ("--missing", "--duplicates", "--extra"):
        assert word in told
    code, report = run(
        tmp_path, "--missing=wrong", "--duplicates=first", "--extra=ignore"
    )
    assert code == 0
    counts = report["counts"]
    assert counts["photos"] == 30
    assert (counts["missing"], counts["duplicates"], counts["extra"]) == (
        1,
    ) * 3
    assert report["without_answer"] == {"system": 1}
    system = report["systems"]["system"]
    assert system["top1_within_2500km"] == pytest.approx(29 / 30)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "1 not in the predictions" in text
    assert "1 only in the predictions" in text
    assert "1 again in the predictions" in text


def test_no_answer_counts_as_wrong(tmp_path):
    truth, answers = rows()
    answers[3] = (answers[3][0], "NaN", "NaN")
    write(tmp_path / "truth.csv", truth)
    write(tmp_path / "predictions.csv", answers)
    code, report = run(tmp_path)
    assert code == 0
    assert report["counts"]["without_answer"] == 1
    system = report["systems"]["system"]
    assert system["top1_within_2500km"] == pytest.approx(29 / 30)
    assert system["geoscore"] < 5000 * 29 / 30


def test_photos_of_an_owner_are_drawn_together_and_others_alone(tmp_path):
    truth, answers = rows()
    owners = ["owner", *["ann"] * 10, *["bob"] * 10, *[""] * 10]
    write(
        tmp_path / "truth.csv",
        [(*row, owner) for row, owner in zip(truth, owners, strict=True)],
    )
    write(tmp_path / "predictions.csv", answers)
    assert run(tmp_path)[1]["groups"] == 12
    assert run(tmp_path, "--resample_by=photo")[1]["groups"] == 30


def test_cells_countries_and_the_ceiling_are_evaluated(tmp_path):
    rng = np.random.default_rng(2)
    places = np.stack([rng.normal(49, 1, 400), rng.normal(9, 3, 400)], 1)
    cells = partition.build(*places.T, max_photos=60, min_photos=5)
    with (tmp_path / "partition.json").open("w") as file:
        partition.dump(cells, file)
    own = cells.labels(*places.T)
    kept = np.flatnonzero(own >= 0)[:100]
    truth = [("id", "lat", "lng", "owner")]
    truth += [(i, *places[i], f"owner {i % 9}") for i in kept]
    write(tmp_path / "truth.csv", truth)
    with (tmp_path / "predictions.csv").open("w") as file:
        for number, i in enumerate(kept):
            first = own[i] if number < 70 else (own[i] + 1) % len(cells.tokens)
            ranked = [first, own[i] if number < 90 else (own[i] + 2) % 5]
            ranked = list(dict.fromkeys(int(c) for c in ranked))
            found = [
                {
                    "token": cells.tokens[c],
                    "probability": 0.7 - 0.5 * k,
                    "lat": cells.points[c][0],
                    "lng": cells.points[c][1],
                }
                for k, c in enumerate(ranked)
            ]
            line = {"photo_id": str(i), "cells": found}
            file.write(json.dumps(line) + "\n")
    code, report = run(tmp_path, f"--partition={tmp_path / 'partition.json'}")
    assert code == 0
    system = report["systems"]["system"]
    assert system["top1_cell"] == pytest.approx(0.7)
    assert system["top5_cell"] >= 0.9
    assert report["groups"] == 9
    ece = report["confidence"]["reliability"]["expected_calibration_error"]
    assert ece == pytest.approx(0, abs=1e-6)
    assert 0.5 < system["country"] < 1
    assert system["continent"] == 1
    assert report["ceiling"]["top1_cell"] == 1
    assert set(report["parts"]) == {
        "continent",
        "level of the cell",
        "photos of the cell",
    }
    assert report["parts"]["continent"].keys() == {"Europe"}
    assert report["ceiling_reached"]["top1_within_200km"]["share"] <= 1.001


def test_all_files_are_there_whole_and_the_page_needs_no_other(tmp_path):
    truth, answers = rows()
    answers = [
        (*row, 0.5 if i else "probability") for i, row in enumerate(answers)
    ]
    write(tmp_path / "truth.csv", truth)
    write(tmp_path / "predictions.csv", answers)
    run(tmp_path, "--name=<b>us</b>")
    out = tmp_path / "report"
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {
        "error_curves.png",
        "error_histogram.png",
        "error_map.png",
        "risk_coverage.png",
    }
    for name in pictures:
        Image.open(out / name).load()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert 'src="error' not in page
    assert "<table>" in page
    assert "<b>us</b>" not in page
    assert "&lt;b&gt;us&lt;/b&gt;" in page
    assert not list(out.glob("**/*.incomplete"))


def test_predictions_are_evaluated_without_tensorflow(tmp_path):
    truth, answers = rows()
    write(tmp_path / "truth.csv", truth)
    write(tmp_path / "predictions.csv", answers)
    program = (
        "import sys\nfrom planet_tf import evaluate\n"
        f"evaluate.main(['e', '--predictions={tmp_path}/predictions.csv',"
        f"'--truth={tmp_path}/truth.csv', '--out={tmp_path}/out'])\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model_dir=m"],
        ["--shards=s"],
        ["--predictions=p"],
        ["--model_dir=m", "--shards=s", "--truth=t"],
        ["--model_dir=m", "--shards=s", "--predictions=p", "--truth=t"],
    ],
)
def test_it_is_a_model_or_a_file(options, capfd):
    with pytest.raises(SystemExit) as exit:
        evaluate.main(["evaluate", "--out=o", *options])
    assert exit.value.code == 2
    assert "--model_dir with --shards" in capfd.readouterr().err
