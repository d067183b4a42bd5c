import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from planet_tf import convert_partition
from planet_tf.geo import partition

PUBLISHED = """class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean
0,47e63,320,49.12167643124997,2.5902593749999996
1,89c2f61,961,40.80032189490115,-73.95065060770033
2,00997fc,918,-22.94579722222224,-43.1918929760348
"""


def run(source, out, *options):
    return convert_partition.main(
        ["convert_partition", str(source), f"--out={out}", *options]
    )


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text(PUBLISHED)
    return path


@pytest.fixture
def ours(tmp_path):
    rng = np.random.default_rng(0)
    points = np.repeat([[41.0, -74], [-18, 180], [89, 0]], 50, 0)
    points += rng.normal(0, 0.9, points.shape)
    cells = partition.build(
        *points.clip(-90, None).T, max_photos=20, min_photos=2, other_class=True
    )
    with (tmp_path / "ours.json").open("w") as file:
        partition.dump(cells, file)
    return tmp_path / "ours.json"


def load(path):
    return partition.load(io.StringIO(path.read_text()))


def test_a_published_list_becomes_a_partition(published, tmp_path, capsys):
    assert run(published, tmp_path / "partition.json") == 0
    cells = load(tmp_path / "partition.json")
    assert cells.tokens == ("00997fc", "47e63", "89c2f61")
    assert cells.photos == (918, 320, 961)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "3 cells, of levels 8 to 12, 2,199 photos"
    assert out[1] == f"fingerprint {cells.fingerprint}"
    assert out[2].startswith("3 of 3 labels differ from ours")
    assert out[-1] == f"written to {tmp_path}/partition.json"


def test_labels_in_another_order_are_translated(published, tmp_path):
    assert run(published, tmp_path / "p.json") == 0
    assert (tmp_path / "p.labels.csv").read_text().splitlines() == [
        "published_label,label,cell",
        "0,1,s2:47e63",
        "1,2,s2:89c2f61",
        "2,0,s2:00997fc",
    ]


def test_other_is_translated_too(tmp_path, capsys):
    path = tmp_path / "map.csv"
    path.write_text(
        "id,S2CellId\n0,0094000000000000\n1,12a4000000000000\n2,other\n"
    )
    assert run(path, tmp_path / "p.json") == 0
    assert (tmp_path / "p.labels.csv").read_text().splitlines()[1:] == [
        "0,1,s2:0094",
        "1,2,s2:12a4",
        "2,0,other",
    ]
    assert 'a class "other"' in capsys.readouterr().out


def test_labels_in_our_order_need_no_translation(ours, tmp_path, capsys):
    assert run(ours, tmp_path / "p.csv") == 0
    (tmp_path / "again.labels.csv").write_text("of an earlier run")
    assert run(tmp_path / "p.csv", tmp_path / "again.json") == 0
    assert "differ" not in capsys.readouterr().out
    assert not list(tmp_path.glob("*.labels.csv"))


@pytest.mark.parametrize(
    "name, format", [("p.csv", "csv"), ("p.csv", "planet_v2")]
)
def test_ours_goes_out_and_comes_back(ours, tmp_path, name, format):
    assert run(ours, tmp_path / name, f"--format={format}") == 0
    assert run(tmp_path / name, tmp_path / "again.json") == 0
    found, cells = load(tmp_path / "again.json"), load(ours)
    assert found.fingerprint == cells.fingerprint
    if format == "csv":
        assert found.points == cells.points
        assert found.photos == cells.photos
    assert run(ours, tmp_path / "same.json") == 0
    assert (tmp_path / "same.json").read_bytes() == ours.read_bytes()


def test_the_centres_of_ours_can_be_taken(ours, tmp_path):
    assert run(ours, tmp_path / "p.json", "--points=centre") == 0
    found, cells = load(tmp_path / "p.json"), load(ours)
    assert found.fingerprint == cells.fingerprint
    assert found.photos == cells.photos
    assert found.points != cells.points


def test_geojson_is_written_by_its_name(ours, tmp_path):
    assert run(ours, tmp_path / "p.geojson") == 0
    data = json.loads((tmp_path / "p.geojson").read_text())
    assert len(data["features"]) == len(load(ours).tokens)


def test_points_outside_are_told_when_centres_are_taken(
    published, tmp_path, capsys
):
    published.write_text(PUBLISHED.replace("49.121", "59.121"))
    assert run(published, tmp_path / "p.json") == 1
    assert "--points=centre" in capsys.readouterr().err
    assert run(published, tmp_path / "p.json", "--points=centre") == 0
    assert "1 points of the input are outside" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, cause",
    [
        (
            PUBLISHED.replace("47e63", "4.7E+64"),
            r"row 2: '4.7E\+64': a program",
        ),
        ("{}", "no partition as build_partition writes it.*Accepted: a part"),
        ('{"type": "FeatureCollection"}', "Accepted: a partition.json"),
        ("nothing", "no column of cells"),
        (PUBLISHED.encode("utf-16"), "no text in UTF-8"),
        (b"PK\x03\x04\xff\xff", "no text in UTF-8.*xlsx"),
        (b"", "no column of cells"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, capsys, text, cause):
    path = tmp_path / "bad"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    out = tmp_path / "p.json"
    out.write_text("before")
    assert run(path, out) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ")
    assert re.search(cause, err)
    assert out.read_text() == "before"


def test_a_missing_file_is_an_error_in_a_line(tmp_path, capsys):
    assert run(tmp_path / "none.csv", tmp_path / "p.json") == 1
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, cause",
    [
        (["a.csv"], "--out"),
        (["--out=p.json"], "needed is one partition; got 0"),
        (["a.csv", "b.csv", "--out=p.json"], "got 2"),
        (["a.csv", "--out=p.txt"], "does not say its format"),
        (["a.csv", "--out=p.json", "--format=x"], "must be one of"),
    ],
)
def test_a_wrong_command_line_exits_with_2(args, cause, capsys):
    with pytest.raises(SystemExit) as exit:
        convert_partition.main(["convert_partition", *args])
    assert exit.value.code == 2
    assert cause in capsys.readouterr().err


def test_help_is_fast_and_names_the_formats(capsys):
    with pytest.raises(SystemExit) as exit:
        convert_partition.main(["convert_partition", "--help"])
    assert exit.value.code == 0
    assert "planet_v2" in capsys.readouterr().out
    code = (
        "import sys, planet_tf.convert_partition;"
        "assert not {'apache_beam', 'tensorflow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_formats_offered_are_those_written():
    from planet_tf.geo import partition_formats

    assert set(convert_partition._FORMATS) == set(partition_formats.FORMATS)
