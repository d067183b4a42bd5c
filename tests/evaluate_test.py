import io
import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_small_shards
from PIL import Image

from planet_tf import (
    data_dirs,
    decoding,
    evaluate,
    export,
    geometry,
    model_dir,
)


@pytest.fixture(scope="module")
def report_dir(small_model, small_shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    arguments = [f"--model_dir={small_model}", f"--shards={small_shards}"]
    options = ["--batch_size=7", "--resamples=100"]
    assert (
        evaluate.main(["evaluate", *arguments, f"--out={out}", *options]) == 0
    )
    return out


def test_the_report_equals_a_computation_photo_by_photo(
    report_dir, small_model, small_shards
):
    locator = export.Geolocator(str(small_model))
    shards = data_dirs.open_shards(str(small_shards))
    first, best, own = [], [], []
    for record in tf.data.TFRecordDataset([p for p, _ in shards.split("test")]):
        names = ("image", "lat", "lng", "label")
        photo = decoding.parse(record, names)
        shares = locator.probabilities([photo["image"].numpy()])[0]
        truth = float(photo["lat"]), float(photo["lng"])
        ranked = np.argsort(-shares)[:5]
        km = [
            float(
                geometry.great_circle_km(*locator.partition.points[c], *truth)
            )
            for c in ranked
        ]
        first.append(km[0])
        best.append(min(km))
        point = locator.partition.points[int(photo["label"])]
        own.append(float(geometry.great_circle_km(*point, *truth)))
    report = json.loads((report_dir / "report.json").read_text())
    ours = report["systems"]["network"]
    assert report["photos"] == len(first) == 40
    assert ours["median_km"] == pytest.approx(np.median(first), rel=1e-5)
    for km in (1, 25, 200, 750, 2500):
        assert ours[f"top1_within_{km}km"] == np.mean(np.array(first) <= km)
        assert ours[f"top5_within_{km}km"] == np.mean(np.array(best) <= km)
        ceiling = report["ceiling"][f"top1_within_{km}km"]
        assert ceiling == np.mean(np.array(own) <= km)


def test_all_files_of_the_report_are_there_and_whole(report_dir):
    for name in ("examples.png", "learning_curves.png", "examples/1.jpg"):
        image = Image.open(io.BytesIO((report_dir / name).read_bytes()))
        image.load()
    text = (report_dir / "report.md").read_text()
    assert "the network" in text
    assert "prior" in text
    assert not list(report_dir.glob("**/*.incomplete"))


def test_predictions_are_ranked_cells_a_line_a_photo(report_dir, small_model):
    partition = model_dir.read_partition(str(small_model))
    lines = (report_dir / "predictions.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len({row["photo_id"] for row in found}) == 40
    for row in found:
        shares = [cell["probability"] for cell in row["cells"]]
        assert shares == sorted(shares, reverse=True)
        for cell in row["cells"]:
            index = partition.tokens.index(cell["token"])
            assert partition.points[index] == (cell["lat"], cell["lng"])


def test_shards_of_another_partition_are_refused(small_model, tmp_path, capfd):
    partition = write_small_shards(
        tmp_path / "s", photos=40, files=1, places=[(10, 10), (-10, -60)]
    )
    code = evaluate.main(
        [
            "evaluate",
            f"--model_dir={small_model}",
            f"--shards={tmp_path / 's'}",
            f"--out={tmp_path / 'out'}",
        ]
    )
    assert code == 1
    message = capfd.readouterr().err
    assert partition.fingerprint in message
    assert model_dir.read_partition(str(small_model)).fingerprint in message
