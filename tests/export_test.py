import json
import pathlib

import numpy as np
import pytest
import replicas
import tensorflow as tf
from conftest import SMALL_MODEL

from planet_tf.data import decoding
from planet_tf.geo import geometry, nesting
from planet_tf.geo import partition as partition_lib
from planet_tf.model import export, model_dir, models
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import photo_task


@pytest.fixture(scope="module")
def locator(small_model):
    return export.Geolocator(str(small_model))


def test_answers_are_the_cells_of_the_probabilities(
    locator, small_model, make_jpeg
):
    jpegs = [make_jpeg(seed=i) for i in range(3)]
    module = tf.saved_model.load(str(small_model / "export"))
    serve = module.signatures["serving_default"]
    found = {k: v.numpy() for k, v in serve(tf.constant(jpegs)).items()}
    shares = locator.probabilities(jpegs)
    assert shares.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    cells = locator.answers(shares, 5)
    assert found["valid"].all()
    np.testing.assert_allclose(
        found["probability"], np.take_along_axis(shares, cells, 1), rtol=1e-5
    )
    tokens = np.array(locator.partition.tokens)[cells]
    assert (found["token"].astype(str) == tokens).all()
    np.testing.assert_allclose(
        found["latlng"], locator.partition.latlng[cells], rtol=1e-6
    )


def test_photos_are_answered_alone_as_in_a_batch(locator, make_jpeg):
    jpegs = [make_jpeg(60 + 40 * i, 90, seed=i) for i in range(4)]
    alone = np.concatenate([locator.probabilities([j]) for j in jpegs])
    together = locator.probabilities(jpegs)
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_head_of_embeddings_answers_as_the_whole_model(
    locator, small_model, make_jpeg
):
    jpegs = [make_jpeg(seed=i) for i in range(3)]
    module = tf.saved_model.load(str(small_model / "export"))
    found = module.signatures["embeddings"](tf.constant([*jpegs, b"no"]))
    assert found["valid"].numpy().tolist() == [True] * 3 + [False]
    embedding = found["embedding"]
    assert embedding.dtype == tf.float32
    classify = module.signatures["classify"]
    np.testing.assert_allclose(
        classify(embedding)["probabilities"][:3],
        locator.probabilities(jpegs),
        atol=1e-6,
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        classify(embedding[:, 1:])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_an_export_of_several_heads_answers_as_its_model(
    small_shards, tmp_path, make_jpeg, dropout
):
    path = small_shards / "partition.json"
    with path.open() as file:
        partition = partition_lib.load(file)
    nested = nesting.nest(partition, (3,))
    config = TrainConfig(
        shards="", model_dir="", **(SMALL_MODEL | {"dropout": dropout})
    )
    model = replicas.tiny_model(config, partition.num_classes, nested)
    head = model.get_layer(models.HEAD)
    rng = np.random.default_rng(0)
    head.bias.assign(rng.normal(size=head.bias.shape))
    module = export.PhotoGeolocator(model, partition, str(path), 75)
    export.save(module, str(tmp_path / "export"))
    served = tf.saved_model.load(str(tmp_path / "export")).signatures
    assert sorted(served) == [
        "classify",
        "distribution",
        "embeddings",
        "images",
        "serving_default",
    ]
    jpegs = [make_jpeg(width=140, height=90, seed=i) for i in range(3)]
    images = [decoding.evaluation_image(tf.constant(x), 75) for x in jpegs]
    wanted = tf.nn.softmax(model(tf.stack(images), training=False))
    embedding = served["embeddings"](tf.constant(jpegs))["embedding"]
    for found in (
        served["distribution"](tf.constant(jpegs)),
        served["classify"](embedding),
    ):
        assert found["probabilities"].shape == (3, 4)
        np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-4)


@pytest.mark.usefixtures("short_models")
def test_the_export_is_the_last_checkpoint_with_validations_preprocessing(
    locator, small_model, small_shards, make_jpeg
):
    config = TrainConfig(
        shards=str(small_shards), model_dir="unused", **SMALL_MODEL
    )
    model = photo_task.build_model(config, locator.partition.num_classes)
    checkpoint = tf.train.Checkpoint(model=model)
    checkpoint.restore(
        str(small_model / "checkpoints" / "ckpt-30")
    ).expect_partial()
    weights = locator.module.weights.numpy().decode()
    assert weights == models.weights_digest(model)
    jpeg = make_jpeg(width=140, height=90)
    image = decoding.evaluation_image(tf.constant(jpeg), 75)
    logits = model(image[None], training=False)
    np.testing.assert_allclose(
        tf.nn.softmax(logits), locator.probabilities([jpeg]), atol=1e-5
    )


def test_what_cannot_be_decoded_is_marked_and_does_not_fail_the_others(
    locator, make_jpeg
):
    jpeg = make_jpeg()
    mixed = [jpeg, b"", b"GIF89a", jpeg[:-200], make_jpeg(format="PNG")]
    found = locator.module.top_cells(tf.constant(mixed))
    valid = found["valid"].numpy()
    assert valid.tolist() == [True, False, False, False, True]
    alone = locator.module.top_cells(tf.constant([jpeg]))
    np.testing.assert_allclose(
        found["probability"][0], alone["probability"][0], atol=1e-5
    )
    none = locator.module.top_cells(tf.constant([b"", b"x"]))
    assert not none["valid"].numpy().any()
    assert none["token"].shape == (2, 4)


def test_images_are_answered_as_the_bytes_they_were(
    locator, small_model, make_jpeg
):
    jpegs = [make_jpeg(width=140, height=90, seed=i) for i in range(3)]
    images = [decoding.evaluation_image(tf.constant(x), 75) for x in jpegs]
    served = tf.saved_model.load(str(small_model / "export")).signatures
    found = served["images"](image=tf.stack(images))
    wanted = served["serving_default"](tf.constant(jpegs))
    assert (found["token"] == wanted["token"]).numpy().all()
    for name in ("probability", "latlng"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4)
    np.testing.assert_allclose(
        found["probabilities"], locator.probabilities(jpegs), rtol=1e-4
    )


def test_a_limit_puts_cells_together(locator, small_model, make_jpeg):
    coarse = export.Geolocator(str(small_model), min_cell_km=1000)
    widths = [geometry.cell_area_km2(t) ** 0.5 for t in coarse.partition.tokens]
    assert min(widths) >= 1000
    jpegs = [make_jpeg(seed=i) for i in range(3)]
    shares = coarse.probabilities(jpegs)
    assert shares.shape == (3, len(widths))
    owner = coarse.partition.labels(*locator.partition.latlng.T)
    fine = locator.probabilities(jpegs)
    wanted = [np.bincount(owner, row, len(widths)) for row in fine]
    np.testing.assert_allclose(shares, wanted, atol=1e-6)
    embedding, valid = coarse.embed([*jpegs, b"none"])
    assert valid.tolist() == [True] * 3 + [False]
    np.testing.assert_allclose(
        coarse.classify(embedding[:3]), shares, atol=1e-6
    )


@pytest.mark.slow
def test_the_export_is_hardly_larger_than_its_weights(tmp_path, small_model):
    with (small_model / "partition.json").open() as file:
        partition = partition_lib.load(file)
    # Standardising needs to know the shape of what was decoded.
    config = TrainConfig(shards="", model_dir="", standardize=True)
    model = photo_task.build_model(config, partition.num_classes)
    module = export.PhotoGeolocator(
        model, partition, str(small_model / "partition.json"), config.image_size
    )
    export.save(module, str(tmp_path / "export"))
    files = (tmp_path / "export").rglob("*")
    stored = sum(path.stat().st_size for path in files if path.is_file())
    weights = 4 * model.count_params()
    assert weights <= stored < 1.1 * weights


def test_the_partition_goes_with_the_export_as_an_asset(locator, small_model):
    path = small_model / "export" / "assets" / "partition.json"
    with path.open() as file:
        assert partition_lib.load(file) == locator.partition


@pytest.mark.usefixtures("short_models")
def test_other_is_never_an_answer(small_model, tmp_path):
    with (small_model / "partition.json").open() as file:
        plain = partition_lib.load(file)
    partition = partition_lib.Partition(
        **{
            **{
                name: getattr(plain, name)
                for name in plain.__dataclass_fields__
            },
            "other_class": True,
        }
    )
    path = tmp_path / "partition.json"
    with path.open("w") as file:
        partition_lib.dump(partition, file)

    config = TrainConfig(shards="", model_dir="", **SMALL_MODEL)
    model = photo_task.build_model(config, partition.num_classes)
    head = model.get_layer(models.HEAD)
    always_other = np.array([9.0, 1.0, 3.0, 2.0, 0.0])
    head.set_weights([np.zeros(head.kernel.shape), always_other])
    module = export.PhotoGeolocator(model, partition, str(path), 75)
    found = module.top_cells(tf.constant([b"none"]))
    order = [1, 2, 0, 3]
    wanted = [partition.tokens[i] for i in order]
    assert found["token"].numpy()[0].astype(str).tolist() == wanted


def test_an_unfinished_model_is_refused_with_what_to_do(small_model, tmp_path):
    for name in ("config.json", "partition.json"):
        (tmp_path / name).write_bytes((small_model / name).read_bytes())
    with pytest.raises(model_dir.ModelDirError, match="training has not ended"):
        export.Geolocator(str(tmp_path))
    with pytest.raises(model_dir.ModelDirError, match="not a model directory"):
        export.Geolocator(str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_an_export_of_another_partition_is_refused(
    small_model, tmp_path, locator
):
    partition = partition_lib.build(
        np.array([1.0, 50.0]),
        np.array([2.0, -70.0]),
        max_photos=1,
        min_photos=1,
    )
    with (tmp_path / "partition.json").open("w") as file:
        partition_lib.dump(partition, file)
    facts = json.loads((small_model / "config.json").read_text())
    facts["partition_fingerprint"] = partition.fingerprint
    (tmp_path / "config.json").write_text(json.dumps(facts))
    pathlib.Path(tmp_path / "export").symlink_to(small_model / "export")
    with pytest.raises(model_dir.ModelDirError) as caught:
        export.Geolocator(str(tmp_path))
    assert partition.fingerprint in str(caught.value)
    assert locator.partition.fingerprint in str(caught.value)


def test_a_changed_partition_file_is_refused(small_model, tmp_path):
    text = (small_model / "config.json").read_text()
    facts = json.loads(text) | {"partition_fingerprint": "sha256:old"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    partition_file = tmp_path / "partition.json"
    partition_file.write_bytes((small_model / "partition.json").read_bytes())
    with pytest.raises(model_dir.ModelDirError, match="sha256:old"):
        model_dir.read_partition(str(tmp_path))
