import collections
import json
import os

import apache_beam as beam
import numpy as np
import pytest

from beam_pipelines import files, rejects, report_partition, splits
from beam_pipelines.photos import Places
from planet_tf.geo import partition
from planet_tf.reports import partition_report


def points(n=900, seed=0):
    """Points (n, 2) in the Americas, Europe and about the antimeridian."""
    rng = np.random.default_rng(seed)
    centres = np.array([(40.7, -74), (-33.4, -70.6), (48.8, 2.3), (0, 179.99)])
    spread = 10 ** rng.uniform(-3, 0.7, (n, 1))
    found = centres[np.arange(n) % 4] + rng.normal(size=(n, 2)) * spread
    found[:, 1] = (found[:, 1] + 180) % 360 - 180
    return found


@pytest.fixture
def partition_file(tmp_path):
    cells = partition.build(*points().T, max_photos=60, min_photos=10)
    path = tmp_path / "partition.json"
    with path.open("w") as file:
        partition.dump(cells, file)
    return path


def report(partition_file, out, *options):
    """The exit code of the program."""
    return report_partition.main(
        ["report_partition", f"--partition={partition_file}", f"--out={out}"]
        + [*options, "--runner=FnApiRunner"]
    )


def test_the_report_has_what_the_photos_tell(
    tmp_path, partition_file, make_manifest, capsys
):
    held_out = points(seed=1)
    photos = make_manifest(points().tolist(), "lat,lng")
    others = make_manifest(
        [*held_out.tolist(), (95, 0)], "LAT,LON", name="others.csv"
    )
    out = tmp_path / "report"
    sources = [f"--photos={photos}", f"--held_out={others}"]
    assert report(partition_file, out, *sources) == 0
    with partition_file.open() as file:
        cells = partition.load(file)
    found = json.loads((out / "report.json").read_text())
    direct = partition_report.figures(
        cells,
        partition_report.cells_of(cells),
        partition_report.count_regions(*points().T, cells),
        partition_report.count_within(*held_out.T, cells),
    )
    assert found == json.loads(json.dumps(direct))
    assert found["source"]["kept"] == sum(cells.photos)
    assert found["source"]["dropped"] == cells.dropped > 0
    told = capsys.readouterr().out
    assert "ceiling on 900 held-out photos" in told
    markdown = (out / "report.md").read_text()
    assert "## Ceiling" in markdown and "other photos, or" not in markdown
    lines = (out / "rejects-held_out-00000-of-00001.jsonl").read_text()
    assert json.loads(lines)["reason"] == "lat_out_of_range"
    assert not [name for name in os.listdir(out) if "incomplete" in name]


def test_without_photos_no_pipeline_is_run(
    tmp_path, partition_file, monkeypatch
):
    monkeypatch.setattr(report_partition, "pipeline", None)
    assert report(partition_file, tmp_path / "report") == 0
    names = sorted(os.listdir(tmp_path / "report"))
    assert names == ["map.html", "report.json", "report.md"]
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["source"] is found["ceiling"] is None


@pytest.mark.parametrize("counter", ["count_regions", "count_within"])
@pytest.mark.parametrize("chunks", [1, 6, 50])
def test_any_chunks_give_the_counts_of_the_whole(
    tmp_path, partition_file, counter, chunks
):
    counter = getattr(partition_report, counter)
    with partition_file.open() as file:
        cells = partition.load(file)
    photos = points(seed=3)
    found = files.join(str(tmp_path), "found.json")
    file = splits.PartitionFile(str(partition_file), cells.fingerprint)
    with beam.Pipeline("FnApiRunner") as p:
        _ = (
            p
            | beam.Create(
                [Places(*c.T) for c in np.array_split(photos, chunks)]
            )
            | beam.Map(report_partition.count_batch, counter, file)
            | beam.CombineGlobally(rejects.add_counts)
            | beam.Map(files.write_json, found)
        )
    expected = collections.Counter(counter(*photos.T, cells))
    assert len(expected) > 5
    assert collections.Counter(json.loads(files.read(found))) == expected


@pytest.mark.parametrize(
    "rows, message",
    [([], "no photo"), ([(95, 0)] * 9 + [(1, 1)], "9 of 10 photos are bad")],
)
def test_photos_that_tell_nothing_are_an_error(
    tmp_path, partition_file, make_manifest, capsys, rows, message
):
    photos = make_manifest(rows, "lat,lng")
    out = tmp_path / "report"
    assert report(partition_file, out, f"--held_out={photos}") == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (out / "report.json").exists()


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_what_is_no_partition_is_told_in_a_line(tmp_path, capsys, content):
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    assert report(path, tmp_path / "report") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error


def test_a_wrong_command_line_is_a_usage_error(capsys):
    for args in ([], ["--partition=p", "--out=o", "--table=t.csv"]):
        with pytest.raises(SystemExit) as end:
            report_partition.main(["report_partition", *args])
        assert end.value.code == 2
    assert "neither is given" in capsys.readouterr().err
