import io
import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_small_shards
from PIL import Image

from planet_tf import evaluate
from planet_tf.data import data_dirs, decoding
from planet_tf.evaluation import asking, model_evaluation
from planet_tf.geo import coarsening, countries, geometry
from planet_tf.model import export, model_dir
from planet_tf.reports import bootstrap, scores


@pytest.fixture(scope="module")
def report_dir(small_model, small_shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    arguments = [f"--model_dir={small_model}", f"--shards={small_shards}"]
    options = ["--batch_size=7", "--resamples=100", "--coarse_cells=2"]
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
    for name in (
        *("examples.png", "learning_curves.png", "examples/1.jpg"),
        *("reliability.png", "error_map.png", "risk_coverage.png"),
    ):
        image = Image.open(io.BytesIO((report_dir / name).read_bytes()))
        image.load()
    text = (report_dir / "report.md").read_text()
    assert "the network" in text
    assert "prior" in text
    assert "--train_only" in text  # the shards' partition is of all photos
    page = (report_dir / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 7
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


def test_confidence_is_that_of_the_cells(report_dir, small_model, small_shards):
    locator = export.Geolocator(str(small_model))
    shards = data_dirs.open_shards(str(small_shards))
    found = {}
    for split in ("validation", "test"):
        shares, labels = [], []
        for record in tf.data.TFRecordDataset(
            [p for p, _ in shards.split(split)]
        ):
            photo = decoding.parse(record, ("image", "label"))
            shares.append(locator.probabilities([photo["image"].numpy()])[0])
            labels.append(int(photo["label"]))
        found[split] = np.array(shares), np.array(labels)

    def loss(shares, labels, temperature):
        powers = shares.astype(np.float64) ** (1 / temperature)
        powers /= powers.sum(1, keepdims=True)
        return -np.log(powers[np.arange(len(labels)), labels]).mean(), powers

    report = json.loads((report_dir / "report.json").read_text())
    fit = report["temperature"]
    assert fit["photos"] == 40
    best = loss(*found["validation"], fit["temperature"])[0]
    for factor in (0.9, 1.1):
        tried = min(4.0, max(0.25, fit["temperature"] * factor))
        assert loss(*found["validation"], tried)[0] >= best - 1e-6
    shares, labels = found["test"]
    right = shares.argmax(1) == labels
    assert report["systems"]["network"]["top1_cell"] == right.mean()
    for confidence, written in (
        (shares.max(1), report["confidence"]["reliability"]),
        (loss(shares, labels, fit["temperature"])[1].max(1), fit),
    ):
        bins = np.minimum((confidence * 15).astype(int), 14)
        error = sum(
            abs((right[bins == b] - confidence[bins == b]).sum())
            for b in range(15)
        )
        assert written["expected_calibration_error"] == pytest.approx(
            error / 40, abs=1e-5
        )


def test_other_ways_to_answer_equal_a_computation(
    report_dir, small_model, small_shards
):
    locator = export.Geolocator(str(small_model))
    cells = locator.partition
    shards = data_dirs.open_shards(str(small_shards))
    coarse = coarsening.to_cells(cells, 2)
    world = countries.countries()
    centre, coarsely, land = [], [], []
    for record in tf.data.TFRecordDataset([p for p, _ in shards.split("test")]):
        photo = decoding.parse(record, ("image", "lat", "lng"))
        shares = locator.probabilities([photo["image"].numpy()])[0]
        truth = np.array([float(photo["lat"]), float(photo["lng"])])
        best = geometry.from_vectors(
            geometry.cell_vectors(cells.ids[[shares.argmax()]])
        )[0]
        centre.append(geometry.great_circle_km(*best, *truth))
        sums = coarse.probabilities(shares[None])[0]
        best = coarse.partition.latlng[sums.argmax()]
        coarsely.append(geometry.great_circle_km(*best, *truth))
        answer = cells.latlng[shares.argmax()]
        true, own = world.find(*np.stack([truth, answer], 1))
        if true >= 0:
            land.append(true == own)
    report = json.loads((report_dir / "report.json").read_text())
    ours = report["systems"]["network"]
    assert ours["country"] == pytest.approx(np.mean(land))
    assert 0 <= ours["country_by_sum"] <= 1
    assert ours["within_radius_90"] >= ours["within_radius_50"]
    for name, errors in (
        ("network, centre", centre),
        (f"network, {len(coarse.starts)} cells", coarsely),
    ):
        found = report["systems"][name]
        assert found["mean_km"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert {"network, mass@25", "network, middle@300"} <= set(report["systems"])
    assert report["ways"]["against"] == "network, centre"
    text = (report_dir / "report.md").read_text()
    assert "points above network, centre" in text


def test_examples_are_of_the_best_the_middle_and_the_worst():
    # North of the answer by 1 to 50 steps, in no order.
    steps = np.random.default_rng(0).permutation(50) + 1
    truth = np.stack([steps * 0.1, np.zeros(50)], 1)

    def chosen_of(photos):
        answers = {asking.OURS: scores.Answers(np.zeros((photos, 2, 2)))}
        none = np.zeros(photos)
        return model_evaluation._choose_examples(
            asking.Asked(none, truth[:photos], none, answers, none, none, None)
        )

    chosen = chosen_of(50)
    kinds = {
        kind: sorted(steps[i] for i, own in chosen.items() if own == kind)
        for kind in ("best", "typical", "worst")
    }
    assert kinds == {
        "best": [1, 2, 3, 4],
        "typical": [24, 25, 26, 27],
        "worst": [47, 48, 49, 50],
    }
    assert sorted(chosen_of(5)) == [0, 1, 2, 3, 4]


def test_photos_of_an_owner_are_one_group_and_others_their_album_or_alone():
    photos = {
        "owner_id": np.array([b"ann", b"ann", b"", b"", b"", b""]),
        "album_id": np.array([b"x", b"y", b"ann", b"ann", b"", b""]),
    }
    groups = asking._groups(photos)
    owner, album = "owner ann", "album ann"
    assert groups.tolist() == [owner, owner, album, album, "", ""]
    drawn = bootstrap.of_groups(groups).group
    assert [list(drawn).index(g) for g in drawn] == [0, 0, 2, 2, 4, 5]


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
