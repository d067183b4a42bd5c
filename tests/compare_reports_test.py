import csv
import json

import numpy as np
import pytest

from planet_tf import compare_reports, evaluate

RADII = (1, 25, 200, 750, 2500)


def evaluated(where, name, seed, spread, photos=range(80), shift=0.0):
    """A report of answers about the truth, and its directory."""
    # Photos are in another order in each report.
    photos = np.random.default_rng(seed).permutation(list(photos))
    truth = np.random.default_rng(0).uniform(-60, 60, (100, 2)) + shift
    near = truth + np.random.default_rng(seed).normal(0, spread, (100, 2))
    for path, points in (("truth", truth), ("predictions", near)):
        with (where / f"{path}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "lat", "lng", "owner"])
            for i in photos:
                writer.writerow([f"photo {i}", *points[i], f"owner {i % 20}"])
    arguments = [
        f"--predictions={where / 'predictions.csv'}",
        f"--truth={where / 'truth.csv'}",
        f"--out={where / name}",
        "--resamples=100",
    ]
    assert evaluate.main(["evaluate", *arguments]) == 0
    return where / name


def compare(where, *reports, options=()):
    code = compare_reports.main(
        ["compare_reports", f"--out={where / 'both'}", *options]
        + [str(path) for path in reports]
    )
    path = where / "both" / "comparison.json"
    return code, json.loads(path.read_text()) if path.exists() else None


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    where = tmp_path_factory.mktemp("reports")
    return where, {
        "poor": evaluated(where, "poor", 1, 8.0),
        "good": evaluated(where, "good", 2, 2.0),
        "part": evaluated(where, "part", 3, 2.0, photos=range(40, 100)),
        "moved": evaluated(where, "moved", 3, 2.0, shift=0.5),
    }


def test_systems_are_compared_photo_by_photo(reports):
    where, paths = reports
    code, found = compare(where, paths["poor"], paths["good"])
    assert code == 0
    assert found["photos"] == 80
    assert found["groups"] == 20
    whole = {
        name: json.loads((paths[name] / "report.json").read_text())
        for name in ("poor", "good")
    }
    for name, report in whole.items():
        own = report["systems"]["system"]
        for figure in own.keys() - {"intervals", "photos"}:
            assert found["systems"][name][figure] == pytest.approx(own[figure])
    differences = found["differences"]["good"]
    for figure, apart in differences.items():
        own = [whole[n]["systems"]["system"][figure] for n in ("poor", "good")]
        assert apart["difference"] == pytest.approx(own[1] - own[0])
    assert differences["top1_within_200km"]["p_value"] < 0.02
    low, high = differences["top1_within_200km"]["interval"]
    assert 0 < low < differences["top1_within_200km"]["difference"] < high
    assert differences["mean_km"]["interval"][1] < 0
    text = (where / "both" / "comparison.md").read_text()
    row = next(x for x in text.splitlines() if x.startswith("| 200 km  "))
    assert row.endswith("| better |")
    row = next(x for x in text.splitlines() if x.startswith("| mean km "))
    assert row.endswith("| better |")
    assert "<table>" in (where / "both" / "comparison.html").read_text()


def test_a_report_against_itself_differs_in_nothing(reports):
    where, paths = reports
    code, found = compare(
        where, paths["poor"], paths["poor"], options=["--names=one,two"]
    )
    assert code == 0
    for apart in found["differences"]["two"].values():
        assert apart["difference"] == 0
        assert apart["interval"] == [0, 0]
        assert apart.get("p_value", 1) == 1


def test_other_photos_are_refused_or_left_out(reports, capfd):
    where, paths = reports
    code, _ = compare(where, paths["poor"], paths["part"])
    assert code == 1
    told = capfd.readouterr().err
    assert "has 40 of 80 alone" in told
    assert "has 20 of 60 alone" in told
    assert "--common" in told
    code, found = compare(
        where, paths["poor"], paths["part"], options=["--common"]
    )
    assert code == 0
    assert found["photos"] == 40
    assert found["left_out"] == {"poor": 40, "part": 20}
    assert "40 photos of poor alone" in capfd.readouterr().out


def test_another_truth_is_refused(reports, capfd):
    where, paths = reports
    code, _ = compare(where, paths["poor"], paths["moved"])
    assert code == 1
    assert "different ground truths" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "message", "code"),
    [
        (["poor"], "two reports or more", 2),
        (["poor", "good", "--names=a"], "--names has 1 names for 2", 2),
        (["poor", "nothing"], "is no report", 1),
        (["poor", "poor"], "given twice", 1),
    ],
)
def test_what_cannot_be_compared_is_refused(
    reports, given, message, code, capfd
):
    where, paths = reports
    arguments = [
        x if x.startswith("--") else str(paths.get(x, where / x)) for x in given
    ]
    try:
        found = compare_reports.main(["c", f"--out={where}/x", *arguments])
    except SystemExit as exit:
        found = exit.code
    assert found == code
    assert message in capfd.readouterr().err


def test_systems_are_called_by_as_much_as_tells_them_apart(tmp_path):
    names = compare_reports._names(["a/report", "b/report/", "b/other"])
    assert names == ("a/report", "b/report", "b/other")
    assert compare_reports._names(["x/a", "y/b"]) == ("a", "b")
