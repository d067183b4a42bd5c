import importlib.util

import pytest

from benchmarks import input_pipeline as benchmark


def test_shares_are_by_cpu_time_in_the_same_round():
    def seconds(*values):
        return [
            {"images": 64, "seconds": 1.0, "cpu_seconds": value}
            for value in values
        ]

    results = {
        "training_batches": seconds(2.0, 10.0, 2.0),
        "simplejpeg, OpenCV": seconds(1.0, 8.5, 9.0),
        "decoding alone": seconds(1.0, 5.0, 1.0),
    }
    rows = list(benchmark.table_rows("640x480", results))
    assert rows[0] == ["640x480", "training_batches", 64, 32, 0.85, 0.5]
    assert rows[1][4] == rows[2][5] == 1
    assert list(benchmark.table_verdicts("640x480", results)) == [
        "640x480: training_batches at 0.85 of simplejpeg, OpenCV; goal 0.8:"
        " met",
        "640x480: training_batches at 0.50 of decoding alone; goal 0.6: missed",
    ]


def test_our_turn_makes_the_batches_it_counts(tmp_path):
    directory = tmp_path / "160x120"
    benchmark.write_shards(directory, "160x120", photos=64)
    shards = benchmark.read_shards(str(directory))
    assert shards.count("train") == 64
    assert shards.image_size == 120
    config = benchmark.Config(case="ours", work=str(directory), batches=2)
    (turn,) = benchmark.our_works(config).values()
    found = turn()
    assert found["images"] == 2 * 32
    assert found["seconds"] > 0 and found["cpu_seconds"] > 0


def test_without_the_libraries_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert benchmark.main(["input_pipeline"]) == 1
    assert "pip install 'planet-tf[bench]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("simplejpeg"), reason="of the extra `bench`"
)
def test_it_measures_all(capsys):
    options = ["--sizes=160x120", "--photos=32", "--batches=1", "--rounds=1"]
    assert benchmark.main(["input_pipeline", *options]) == 0
    told = capsys.readouterr().out
    assert told.count("| 160x120 |") == 6
