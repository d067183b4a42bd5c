import shutil

import numpy as np
import pytest
import replicas
import short_network
import tensorflow as tf
from conftest import SMALL_MODEL

from planet_tf.data import data_dirs
from planet_tf.geo import nesting
from planet_tf.geo import partition as partition_lib
from planet_tf.model import heads, model_dir, models
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import checkpoints, loop, photo_task, warm_start
from planet_tf.training.warm_start import WarmStartError

pytestmark = pytest.mark.usefixtures("short_models")


SIZES = {"image_size": 75, "width": SMALL_MODEL["width"]}


def images(count=2):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, 75, 75, 3)).astype(np.float32)


def other_partition(directory):
    """The model's own cells, split once more; two of the children are gone."""
    old = model_dir.read_partition(str(directory))
    rng = np.random.default_rng(0)
    lat, lng = (old.latlng.repeat(500, 0) + rng.normal(0, 2, (2000, 2))).T
    new = partition_lib.build(lat, lng, max_photos=60, min_photos=1)
    return old, new


def untrained(directory, shards, cells):
    """A model directory, and its model, as a run leaves them at step 1."""
    config = TrainConfig(
        shards=str(shards),
        model_dir=str(directory),
        coarse_cells=cells,
        **SMALL_MODEL,
    )
    task = photo_task.PhotoTask(config)
    model_dir.claim(config, task.data, write=True)
    model = task.build_model()
    head = model.get_layer(models.HEAD)
    head.bias.assign(np.random.default_rng(1).normal(size=head.bias.shape))
    path = directory / "checkpoints" / "ckpt-1"
    tf.train.Checkpoint(model=model).write(str(path))
    return model


def parts(head, sizes):
    """The kernel and the bias of each of heads that lie side by side."""
    ends = np.cumsum(sizes)[:-1]
    weights = (np.split(w, ends, axis=-1) for w in head.get_weights())
    return list(zip(*weights, strict=True))


@pytest.fixture(scope="module")
def small():
    """A small untrained model of four classes."""
    with short_network.instead_of_inception():
        return models.photo_classifier(4, **SIZES)


@pytest.fixture
def model(small):
    """The same, with other weights in each test."""
    rng = np.random.default_rng(0)
    for weights in small.weights:
        weights.assign(rng.normal(0, 0.1, weights.shape))
    return small


def load(source, model, partition=None):
    partition = partition or model_dir.read_partition(str(source))
    return warm_start.load(str(source), model, partition)


def weights_in(checkpoint, but="nothing"):
    """Bytes of a model's weights; a SavedModel has its head by itself."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        reader.get_tensor(name).tobytes()
        for name in reader.get_variable_to_shape_map()
        if name.startswith(("model/", "head/")) and but not in name
    }


def weights_of(model):
    return {weights.tobytes() for weights in model.get_weights()}


def test_a_model_of_the_same_partition_is_taken_as_it_is(small_model, model):
    said = load(small_model, model)
    assert said.endswith("ckpt-30; cells of the head: 4 as before")
    wanted = weights_in(small_model / "checkpoints" / "ckpt-30")
    assert weights_of(model) == wanted


@pytest.mark.slow
def test_damaged_checkpoints_are_passed_by_down_to_the_saved_model(
    small_model, model, tmp_path
):
    directory = tmp_path / "model"
    shutil.copytree(small_model, directory)
    for path in (directory / "checkpoints").glob("ckpt-*"):
        if path.name == "ckpt-30.index":
            path.write_bytes(path.read_bytes()[:99])
        elif ".data" in path.name:
            path.write_bytes(path.read_bytes()[:-9999])
    steps = checkpoints.saved_steps(str(directory / "checkpoints"))
    *notes, last = load(directory, model).splitlines()
    assert len(notes) == len(steps) > 1
    assert all(note.startswith("warning: ") for note in notes)
    assert "ckpt-30 cannot be used" in notes[0]
    assert "export/variables/variables" in last
    exported = small_model / "export" / "variables" / "variables"
    assert weights_of(model) == weights_in(exported)

    shutil.rmtree(directory / "export")
    with pytest.raises(WarmStartError, match="no weights in .* to start from"):
        load(directory, model)


@pytest.mark.slow
def test_cells_of_another_partition_share_the_old_cells_probability(
    small_model, model
):
    old, new = other_partition(small_model)
    load(small_model, model)
    before = tf.nn.softmax(model(images(), training=False)).numpy()
    finer = models.photo_classifier(new.num_classes, **SIZES)
    said = load(small_model, finer, new)
    within = int(said.split("cells of the head: ")[1].split(" within")[0])
    assert within > 4
    after = tf.nn.softmax(finer(images(), training=False)).numpy()
    parent = old.labels(*new.latlng.T)
    shares = np.stack(
        [after[:, parent == n].sum(1) for n in range(old.num_classes)], 1
    )
    shares /= shares.sum(1, keepdims=True)  # less the cells from elsewhere
    np.testing.assert_allclose(shares, before, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), (3,)])
@pytest.mark.parametrize("after", [(), (3,)])
def test_models_of_one_and_of_several_heads_start_from_one_another(
    small_shards, tmp_path, before, after
):
    old = untrained(tmp_path / "old", small_shards, before)
    partition = data_dirs.open_shards(str(small_shards)).partition
    nested = nesting.nest(partition, after)
    sizes = [4, *(nested.num_classes if nested else ())]
    model = models.photo_classifier(4, nested=nested, **SIZES)
    said = warm_start.load(str(tmp_path / "old"), model, partition, nested)
    for mine, wanted in zip(
        model.get_layer(models.TRUNK).weights,
        old.get_layer(models.TRUNK).weights,
        strict=True,
    ):
        np.testing.assert_array_equal(mine, wanted)
    theirs = parts(old.get_layer(models.HEAD), [4, *before])
    mine = parts(model.get_layer(models.HEAD), sizes)
    for found, wanted in zip(mine, theirs, strict=False):
        for x, y in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(x, y)
    if after and not before:
        wanted = heads.map_head(*theirs[0], partition, nested.partitions[0])
        for x, y in zip(mine[1], wanted[:2], strict=True):
            np.testing.assert_array_equal(x, y)
    assert said.count("; of the next: ") == len(after)
    if after:
        kept = "3 as before" if before else "2 as before, 1 over old ones"
        assert said.endswith(f"head: 4 as before; of the next: {kept}")


@pytest.mark.slow
def test_a_run_starts_from_another_models_weights_and_says_so(
    small_model, small_shards, tmp_path, capfd
):
    options = SMALL_MODEL | {"steps": 1, "learning_rate": 0.0, "dropout": 0.2}
    config = TrainConfig(
        shards=str(small_shards),
        model_dir=str(tmp_path / "warm"),
        init_from=str(small_model),
        **options,
    )
    loop.train(config, photo_task.PhotoTask)
    said = capfd.readouterr().err
    assert "ckpt-30; cells of the head: 4 as before" in said
    # At a rate of 0 only batch norm's moving statistics change.
    assert weights_in(
        tmp_path / "warm" / "checkpoints" / "ckpt-1", but="moving"
    ) == weights_in(small_model / "checkpoints" / "ckpt-30", but="moving")


@pytest.mark.slow
@pytest.mark.parametrize("in_scope", [False, True])
def test_all_replicas_get_the_weights(small_model, model, in_scope):
    load(small_model, model)
    strategy = replicas.strategy(2)
    with strategy.scope():
        mirrored = models.photo_classifier(4, **SIZES)
        if in_scope:
            load(small_model, mirrored)
    if not in_scope:
        load(small_model, mirrored)
    for mine, wanted in zip(mirrored.weights, model.weights, strict=True):
        for value in replicas.values(strategy, mine.value):
            np.testing.assert_array_equal(value, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"standardize": True}, "standardize=False, this run has True"),
        ({"width": 0.2}, "--width=0.1, this run's is about 0.2"),
    ],
)
def test_a_trunk_that_does_not_fit_is_refused_with_both_values(
    small_model, options, wanted
):
    model = models.photo_classifier(4, **(SIZES | options))
    with pytest.raises(WarmStartError, match=wanted):
        load(small_model, model)


@pytest.mark.slow
def test_image_size_precision_and_dropout_may_differ(small_model, model):
    load(small_model, model)
    other = models.photo_classifier(
        4, image_size=90, width=0.1, precision="bfloat16", dropout=0.5
    )
    load(small_model, other)
    for mine, wanted in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), wanted.numpy())


def test_a_checkpoint_of_other_cells_is_passed_by(small_model, model, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(small_model, directory)
    facts = model_dir.read_config(str(directory))
    other = partition_lib.build(
        *np.repeat([[10, -10, 60, -70], [0, 90, -90, 170]], 9, axis=1),
        max_photos=9,
        min_photos=1,
    )
    assert other.num_classes == 4  # so weights would fit
    with (directory / "partition.json").open("w") as file:
        partition_lib.dump(other, file)
    text = (directory / "config.json").read_text()
    (directory / "config.json").write_text(
        text.replace(facts["partition_fingerprint"], other.fingerprint)
    )
    with pytest.raises(WarmStartError, match="no weights in") as caught:
        load(directory, model, other)
    notes = str(caught.value).splitlines()[:-1]
    assert len(notes) > 1
    for note in notes:
        assert facts["partition_fingerprint"] in note
        assert other.fingerprint in note


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_source_without_a_model_is_refused(name, model, tmp_path):
    (tmp_path / "empty").mkdir()
    partition = partition_lib.build(
        np.zeros(9), np.zeros(9), max_photos=9, min_photos=1
    )
    with pytest.raises(WarmStartError, match=f"{name}.* is missing"):
        load(tmp_path / name, model, partition)


def test_a_narrow_model_does_not_take_keras_weights(model, tmp_path):
    (tmp_path / "x.h5").write_text("")
    with pytest.raises(WarmStartError, match=r"about 0\.1: .* use --width=1"):
        load(tmp_path / "x.h5", model, partition="unused")
