"""The SavedModel: JPEG bytes in, cells out, with its partition as an asset."""

import os

import keras
import numpy as np
import tensorflow as tf

from planet_tf import decoding, metrics, model_dir
from planet_tf import partition as partition_lib

_JPEG_MAGIC = b"\xff\xd8\xff"


class PhotoGeolocator(tf.Module):
    """A trained photo model with what it takes to read its answers.

    Signatures, both taking `image_bytes` (n,) string:
      serving_default: `token`, `probability` (n, 5), `latlng` (n, 5, 2) of
        the likeliest cells, best first, and `valid` (n,).
      distribution: `probabilities` (n, classes) in label order, `valid`.

    An image that does not begin like a JPEG is answered for a grey image and
    marked invalid; one that begins so and is broken fails its request.
    """

    def __init__(
        self,
        model: keras.Model,
        partition: partition_lib.Partition,
        partition_file: str,
        image_size: int,
    ):
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.asset = tf.saved_model.Asset(partition_file)
        self.fingerprint = tf.Variable(partition.fingerprint, trainable=False)
        self.tokens = tf.Variable(list(partition.tokens), trainable=False)
        points = partition.latlng.astype("float32")
        self.points = tf.Variable(points, trainable=False)
        self.first_cell = int(partition.other_class)  # "other" is no answer
        grey = tf.fill((image_size, image_size, 3), tf.constant(127, tf.uint8))
        self.grey = tf.io.encode_jpeg(grey).numpy()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def distribution(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of all classes."""
        valid = tf.strings.substr(image_bytes, 0, 3) == _JPEG_MAGIC
        jpegs = tf.where(valid, image_bytes, self.grey)
        images = tf.map_fn(
            lambda jpeg: decoding.evaluation_image(jpeg, self.image_size),
            jpegs,
            fn_output_signature=tf.float32,
        )
        logits = self.model(images, training=False)
        return {"probabilities": tf.nn.softmax(logits), "valid": valid}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def top_cells(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The likeliest cells."""
        found = self.distribution(image_bytes)
        k = min(metrics.TOP, self.tokens.shape[0])
        of_cells = found["probabilities"][:, self.first_cell :]
        probability, cells = tf.math.top_k(of_cells, k)
        return {
            "token": tf.gather(self.tokens, cells),
            "probability": probability,
            "latlng": tf.gather(self.points, cells),
            "valid": found["valid"],
        }


def save(module: PhotoGeolocator, directory: str) -> None:
    """Writes the SavedModel, replacing an older one in one move."""
    # tf.saved_model.save, because Keras' own export stores weights twice.
    temporary = directory.rstrip("/") + ".incomplete"
    if tf.io.gfile.exists(temporary):
        tf.io.gfile.rmtree(temporary)
    tf.saved_model.save(
        module,
        temporary,
        signatures={
            "serving_default": module.top_cells,
            "distribution": module.distribution,
        },
    )
    if tf.io.gfile.exists(directory):
        tf.io.gfile.rmtree(directory)
    tf.io.gfile.rename(temporary, directory)


class Geolocator:
    """A SavedModel to ask from Python, checked against its directory."""

    def __init__(self, directory: str):
        self.partition = model_dir.read_partition(directory)
        self.config = model_dir.read_config(directory)
        self.module = _load(directory, self.partition)

    def probabilities(self, jpegs: list[bytes]) -> np.ndarray:
        """Probabilities (n, classes) float32 for JPEG bytes, by label."""
        found = self.module.distribution(tf.constant(jpegs))
        return found["probabilities"].numpy()

    def answers(self, probabilities: np.ndarray, k: int) -> np.ndarray:
        """The k likeliest cells (n, k), as positions in the partition."""
        of_cells = probabilities[:, int(self.partition.other_class) :]
        return metrics.ranked(of_cells, k)


def _load(directory: str, partition: partition_lib.Partition) -> tf.Module:
    """The SavedModel in a directory, checked against its partition."""
    path = os.path.join(directory, model_dir.EXPORT)
    if not tf.io.gfile.exists(path):
        raise model_dir.ModelDirError(
            f"{path} is missing: the training has not ended; run it again"
            " with the same options, it goes on where it stopped"
        )
    module = tf.saved_model.load(path)
    model_dir.check_partition(
        module.fingerprint.numpy().decode(),
        path,
        partition.fingerprint,
        f"{directory}/{model_dir.PARTITION}",
    )
    return module
