"""The program that compares album models, on a real photo model's albums."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from planet_tf import evaluate_albums
from planet_tf.data import album_input, data_dirs
from planet_tf.geo import geometry
from planet_tf.model import export

pytestmark = pytest.mark.slow


def evaluate(albums, directories, out):
    return evaluate_albums.main(
        [
            "evaluate_albums",
            f"--albums={albums}",
            f"--model_dirs={','.join(map(str, directories))}",
            f"--out={out}",
            *("--resamples=100", "--batch_size=7"),
        ]
    )


def test_the_report_equals_a_direct_computation(
    model_albums, album_models, tmp_path
):
    assert evaluate(model_albums, album_models, tmp_path) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    names = ["single photo", "album average", "lstm", "alone"]
    assert list(report["systems"]) == names
    assert "| album average |" in (tmp_path / "report.md").read_text()

    data = data_dirs.open_albums(str(model_albums))
    photo_model = export.load(str(model_albums / "photo_model"), data.partition)
    lstm = export.load(str(album_models[0]), data.partition)
    errors = {name: [] for name in names}
    for path, _ in data.split("test"):
        for record in tf.data.TFRecordDataset(path):
            album = album_input.parse(record, data.features)
            single = photo_model.classify(album["embedding"])
            single = single["probabilities"].numpy()
            count = len(single)
            alone = {k: album[k][None] for k in ("embedding", "gap_hours")}
            read = lstm.distribution(**alone, photos=tf.constant([count]))
            for name, shares in {
                "single photo": single,
                "album average": np.tile(single.mean(axis=0), (count, 1)),
                "lstm": read["probabilities"][0].numpy(),
            }.items():
                answers = data.partition.latlng[shares.argmax(axis=-1)]
                km = geometry.great_circle_km(
                    *answers.T, *album["latlng"].numpy().T
                )
                errors[name] += km.tolist()
    assert report["photos"] == len(errors["lstm"])
    assert report["albums"] == data.count("test")
    for name in names[:3]:
        within = np.mean(np.array(errors[name]) <= 750)
        assert report["systems"][name]["top1_within_750km"] == within
    assert report["systems"]["lstm"]["top1_within_750km"] > 0.5


def test_a_model_of_other_embeddings_is_refused(
    model_albums, album_models, tmp_path, capfd
):
    other = tmp_path / "albums"
    shutil.copytree(model_albums, other)
    facts = json.loads((other / "albums.json").read_text())
    facts["model_fingerprint"] = "sha256:another"
    (other / "albums.json").write_text(json.dumps(facts))
    assert evaluate(other, album_models, tmp_path / "report") == 1
    message = capfd.readouterr().err
    assert "embeddings of the photo model sha256:" in message
    assert "sha256:another" in message
