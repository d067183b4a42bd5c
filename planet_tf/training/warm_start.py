"""Warm start: first weights from another model instead of random ones.

From a model directory, also of another partition: the trunk as it is, and a
row of the head for each new cell from the old cells it has to do with. From
a file of Keras' InceptionV3 weights, e.g. those trained on ImageNet: the
trunk.
"""

import os
import tempfile
import zipfile
from typing import Any

import h5py
import keras
import tensorflow as tf

from planet_tf.geo.nesting import Nesting, nest
from planet_tf.geo.partition import Partition
from planet_tf.model import heads, model_dir, models
from planet_tf.training import checkpoints

_OPTIONS = ("image_size", "width", "standardize", "dropout", "precision")
_FINGERPRINTS = ("partition_fingerprint", "fingerprint")
_CONVOLUTIONS = 94  # of InceptionV3; each with a batch norm


class WarmStartError(ValueError):
    """Weights that are missing, broken or of another kind of model."""


def load(
    source: str,
    model: keras.Model,
    partition: Partition,
    nested: Nesting | None = None,
) -> str:
    """Gives a new photo model its first weights, on all replicas.

    Args:
      source: a model directory, or a file of Keras InceptionV3 weights.
      model: a photo model; under a strategy, call this between replicas.
      partition: the model's classes.
      nested: coarser partitions that it has heads for.

    Returns:
      What was done, for the log.

    Raises:
      WarmStartError: what is in `source` does not fit the model.
    """
    if tf.io.gfile.isdir(source):
        return _load_model_dir(source, model, _classes_of(partition, nested))
    if tf.io.gfile.exists(source):
        return _load_keras_file(source, model)
    raise WarmStartError(
        f"{source} is missing; needed is a model directory of python -m"
        " planet_tf.train or a file of Keras InceptionV3 weights"
    )


# --- from a model directory


def _load_model_dir(
    source: str, model: keras.Model, new: list[Partition]
) -> str:
    try:
        options = model_dir.read_config(source)["options"]
        old = model_dir.read_partition(source)
        nested = nest(old, options.get("coarse_cells", ()))
    except (ValueError, KeyError, tf.errors.OpError) as error:
        raise WarmStartError(
            f"{source} is no model directory to start from: {error}"
        ) from error
    donor = _donor(source, options, model, old.num_classes, nested)
    path, notes = _restore(source, donor, old)
    _assign(model.get_layer(models.TRUNK), donor.get_layer(models.TRUNK))
    head = model.get_layer(models.HEAD)
    kernel, bias = donor.get_layer(models.HEAD).get_weights()
    kernel, bias, kinds = heads.map_heads(
        kernel, bias, _classes_of(old, nested), new
    )
    head.kernel.assign(kernel)
    head.bias.assign(bias)
    said = "; of the next: ".join(map(_kinds_text, kinds))
    return "\n".join(
        [*notes, f"weights from {path}; cells of the head: {said}"]
    )


def _classes_of(fine: Partition, nested: Nesting | None) -> list[Partition]:
    """The classes of each head."""
    return [fine, *(nested.partitions if nested else ())]


def _kinds_text(kinds: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)


def _donor(
    source: str,
    options: dict[str, Any],
    model: keras.Model,
    num_classes: int,
    nested: Nesting | None,
) -> keras.Model:
    """A model of a model directory's options whose trunk fits ours."""
    before, now = options.get("standardize", False), _standardizes(model)
    if before != now:
        raise WarmStartError(
            f"the model in {source} was trained with --standardize={before},"
            f" this run has {now}: its convolutions expect other images; use"
            " the same"
        )
    donor = models.photo_classifier(
        num_classes,
        nested=nested,
        **{k: options[k] for k in _OPTIONS if k in options},
    )
    trunks = [m.get_layer(models.TRUNK) for m in (model, donor)]
    mine, theirs = ([w.shape for w in trunk.weights] for trunk in trunks)
    if mine != theirs:
        raise WarmStartError(
            f"the model in {source} has --width={options['width']}, this"
            f" run's is about {_width(model):.2g}: their filters do not fit;"
            " use the same --width"
        )
    return donor


def _standardizes(model: keras.Model) -> bool:
    return any(layer.name == "standardize" for layer in model.layers)


def _width(model: keras.Model) -> float:
    """The width of a model, nearly, as layers' filters are rounded."""
    return model.get_layer(models.EMBEDDING).output.shape[-1] / 2048


def _restore(
    source: str, donor: keras.Model, partition: Partition
) -> tuple[str, list[str]]:
    """Reads the newest weights that can be read; says which it passed by."""
    notes: list[str] = []
    for path in _weight_files(source):
        try:
            _check_fingerprint(path, partition)
            status = tf.train.Checkpoint(model=donor).read(path)
            status.assert_existing_objects_matched().expect_partial()
            return path, notes
        except Exception as error:  # TensorFlow's kinds and Python's own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            notes.append(f"warning: {path} cannot be used: {reason}")
    raise WarmStartError(
        "\n".join([*notes, f"no weights in {source} to start from"])
    )


def _weight_files(source: str) -> list[str]:
    """Checkpoints, the newest first, and at last the SavedModel's weights."""
    directory = os.path.join(source, model_dir.CHECKPOINTS)
    newest = reversed(checkpoints.saved_steps(directory))
    found = [os.path.join(directory, f"ckpt-{step}") for step in newest]
    exported = os.path.join(source, model_dir.EXPORT, "variables", "variables")
    return found + [exported] * tf.io.gfile.exists(exported + ".index")


def _check_fingerprint(path: str, partition: Partition) -> None:
    reader = tf.train.load_checkpoint(path)
    for name in _FINGERPRINTS:
        key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
        if reader.has_tensor(key):
            found = reader.get_tensor(key).decode()
            model_dir.check_partition(
                found, path, partition.fingerprint, model_dir.PARTITION
            )


def _assign(target: keras.Model, donor: keras.Model) -> None:
    """Copies weights in order; what comes after the target's is left out."""
    for mine, theirs in zip(target.weights, donor.weights, strict=False):
        mine.assign(theirs.numpy())


# --- from a file of Keras' weights


def _load_keras_file(source: str, model: keras.Model) -> str:
    if _width(model) != 1:
        raise WarmStartError(
            f"{source} has the weights of a whole InceptionV3 and this run has"
            f" a --width of about {_width(model):.2g}: filters cannot be left"
            " out of a trained network; use --width=1"
        )
    if _standardizes(model):
        raise WarmStartError(
            f"{source} was trained on images as they are and this run has"
            " --standardize: its convolutions expect other images; run"
            " without it"
        )
    with tempfile.TemporaryDirectory() as directory:
        try:
            path, classes = _local_copy(source, directory)
            donor = keras.applications.InceptionV3(
                include_top=classes > 0,
                weights=None,
                classes=classes or 1000,
                input_shape=(75, 75, 3),
            )
            donor.load_weights(path)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            reason = str(error).strip().splitlines()[0]
            raise WarmStartError(
                f"{source} does not have the weights of Keras' InceptionV3:"
                f" {reason}. Needed is a whole file written by save_weights or"
                " save of keras.applications.InceptionV3, or the ImageNet"
                " weights that Keras publishes"
            ) from error
    _assign(model.get_layer(models.TRUNK), donor)
    top = f"; its head of {classes} classes is left out" if classes else ""
    return f"trunk from {source}{top}; the head is random"


def _local_copy(source: str, directory: str) -> tuple[str, int]:
    """A copy with the ending that Keras expects of what is in the file.

    Returns:
      Its path, and the classes of the file's head, 0 if it has none.
    """
    path = os.path.join(directory, "copy")
    tf.io.gfile.copy(source, path)
    if zipfile.is_zipfile(path):
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("model.weights.h5") as file,
        ):
            ending, classes = ".keras", _classes(file)[1]
    else:
        ending, classes = _classes(path)
    os.rename(path, path + ending)
    return path + ending, classes


def _classes(file: Any) -> tuple[str, int]:
    """The ending of an H5 file by its layout, and the classes of its head."""
    with h5py.File(file) as h5:
        root = h5.get("model_weights", h5)  # of whole models
        legacy = "layer_names" in root.attrs
        shapes: list[tuple[int, ...]] = []
        (root if legacy else root["layers"]).visititems(
            lambda _, x: shapes.append(getattr(x, "shape", ()))
        )
        found = sum(len(shape) == 4 for shape in shapes)
        if found != _CONVOLUTIONS:
            raise ValueError(
                f"it has {found} convolutions instead of {_CONVOLUTIONS}"
            )
        heads = [shape[1] for shape in shapes if len(shape) == 2]
    return ".h5" if legacy else ".weights.h5", sum(heads[:1])
