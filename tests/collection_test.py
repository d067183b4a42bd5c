import csv
import io
import json
import tarfile

import pytest
from PIL import Image

from benchmarks import collection, shards


def make(path, *options):
    args = ["collection", f"--out={path}", "--sizes=64x48=2,48x64=1"]
    assert collection.main([*args, *options]) == 0
    with (path / "photos.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_collection_has_as_many_bytes_as_wanted_no_two_files_alike(tmp_path):
    rows = make(tmp_path / "all", "--megabytes=0.05")
    files = [(tmp_path / "all" / row["path"]).read_bytes() for row in rows]
    assert 0.05e6 <= sum(map(len, files)) < 0.06e6
    assert len(set(files)) == len(files) > 10
    sizes = [Image.open(io.BytesIO(data)).size for data in files]
    assert sizes == ([(64, 48), (64, 48), (48, 64)] * len(files))[: len(files)]
    pixels = {Image.open(io.BytesIO(data)).tobytes() for data in files}
    assert len(pixels) == len(files)


def test_tars_hold_the_same_photos_with_their_facts(tmp_path):
    rows = make(tmp_path / "files", "--megabytes=0.6")
    assert make(tmp_path / "tars", "--megabytes=0.6", "--tar") == rows
    found = {}
    tars = sorted((tmp_path / "tars").glob("*.tar"))
    assert len(tars) == -(-len(rows) // 200) > 1
    for path in tars:
        with tarfile.open(path) as tar:
            for entry in tar:
                found[entry.name] = tar.extractfile(entry).read()
    assert len(found) == 2 * len(rows)
    for row in rows:
        photo = tmp_path / "files" / row["path"]
        assert found[f"{row['photo_id']}.jpg"] == photo.read_bytes()
        facts = json.loads(found[f"{row['photo_id']}.json"])
        assert {k: str(v) for k, v in facts.items()} == row


@pytest.mark.parametrize("size", ["64", "64x", "64x48=many"])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(SystemExit) as end:
        make(tmp_path / "all", "--megabytes=1", f"--sizes={size}")
    assert end.value.code == 2


@pytest.mark.slow
def test_the_benchmark_measures_every_source(tmp_path):
    config = shards.Config(dir=str(tmp_path / "photos"), image_size=32)
    rows = shards.measure_case(config, ["64x48=1"], 0.5)
    assert [row[1] for row in rows] == list(shards._RUNS)
    for row in rows:
        assert len(row) == len(shards._HEADER)
        assert row[2] > 100 and row[3] > 0 and min(row[-2:]) > 0.05
