import sys

import numpy as np
import pytest

from benchmarks import evaluate as evaluate_benchmark
from benchmarks import measure
from benchmarks import partition as partition_benchmark
from benchmarks import serve as serve_benchmark


def test_a_process_is_measured_with_those_it_starts(tmp_path):
    (tmp_path / "child.py").write_text(
        "import sys\nkept = b'x' * int(sys.argv[1])\nprint(len(kept))\n"
        "sum(range(5_000_000))\n"
    )
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'child', '150000000'])\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        used = measure.run(["parent"])
        small = measure.run(["child", "1"])
    finally:
        sys.path.remove(str(tmp_path))
    assert used.output.strip() == "150000000" and small.output.strip() == "1"
    assert used.peak_bytes > 150e6 > 2 * small.peak_bytes
    assert 0 < small.cpu_seconds < small.wall_seconds + 1
    assert used.cpu_seconds > 0.7 * small.cpu_seconds


def test_a_process_that_fails_says_why():
    with pytest.raises(measure.BenchmarkError, match="No module named nothing"):
        measure.run(["nothing"])


def test_a_table_has_a_line_a_row():
    table = measure.markdown_table(["what", "n"], [["a", 1234567], ["b", 0.5]])
    assert table.splitlines() == [
        "| what | n |",
        "| --- | --- |",
        "| a | 1,234,567 |",
        "| b | 0.5 |",
    ]


@pytest.mark.slow
def test_files_of_predictions_are_made_and_evaluated(tmp_path, capsys):
    csv = tmp_path / "places.csv"
    csv.write_text("LAT,LON\n48.1,11.5\n-33.4,-70.6\n35.6,139.7\n")
    code = evaluate_benchmark.main(
        [
            "evaluate",
            f"--dir={tmp_path / 'work'}",
            f"--coordinates={csv}",
            "--photos=400",
            "--cells=60",
        ]
    )
    assert code == 0
    told = capsys.readouterr().out
    assert "| predictions.jsonl |" in told
    assert "| predictions.csv |" in told
    assert told.count("| 400 |") == 2
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_the_partition_is_measured_by_all_ways(tmp_path, capsys):
    rng = np.random.default_rng(0)
    places = np.stack(
        [rng.uniform(-60, 70, 90), rng.uniform(-180, 180, 90)], -1
    )
    csv = tmp_path / "places.csv"
    np.savetxt(csv, places, delimiter=",", header="LAT,LON", comments="")
    options = ["--points=20000", "--slow_points=20000", f"--coordinates={csv}"]
    assert partition_benchmark.main(["partition", *options]) == 0
    told = capsys.readouterr().out
    assert told.count("| 20,000 |") == 3
    assert "leaf ids are bit-exact: yes" in told
    assert "all ways give one partition: yes" in told


def test_partitions_that_differ_are_noticed(tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    csv = tmp_path / "places.csv"
    csv.write_text("LAT,LON\n40,-74\n-22.9,-43.2\n")
    for folder, points in zip(folders, (400, 401), strict=True):
        partition_benchmark.draw(points, str(csv), folder)
        lat, lng = map(
            np.concatenate,
            zip(*partition_benchmark.read(folder), strict=True),
        )
        assert len(lat) == points and (np.abs(lat) <= 90).all()
        partition_benchmark.run_case(
            partition_benchmark.Config(case="direct", work=str(folder))
        )
    one, other = (folder / "direct.json" for folder in folders)
    assert partition_benchmark._same(one, one)
    assert not partition_benchmark._same(one, other)


@pytest.mark.slow
def test_a_server_is_measured_beside_the_bare_model(capsys):
    options = [
        "--image_size=75",
        "--width=0.25",
        "--cells=100",
        "--clients=3",
        "--requests=12",
        "--rounds=1",
        "--seconds=0.1",
    ]
    assert serve_benchmark.main(["serve", *options]) == 0
    text = capsys.readouterr().out
    assert "| planet_tf.serve |" in text and "| with images.fit |" in text
    assert "12 requests" in text
