"""The SavedModel: bytes of photos in, cells out, with its partition."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from planet_tf.answering import metrics
from planet_tf.data import decoding
from planet_tf.geo import coarsening
from planet_tf.geo import partition as partition_lib
from planet_tf.model import model_dir, models, nested_heads


class Servable(tf.Module):
    """What all SavedModels have: the partition, and answers from it.

    Attributes:
      weights: the fingerprint of the model's weights, a string.
      fingerprint: of the partition.
    """

    def __init__(
        self,
        model: keras.Model,
        partition: partition_lib.Partition,
        partition_file: str,
    ):
        super().__init__()
        self.model = model
        self.weights = tf.Variable(
            models.weights_digest(model), trainable=False
        )
        self.asset = tf.saved_model.Asset(partition_file)
        self.fingerprint = tf.Variable(partition.fingerprint, trainable=False)
        self.tokens = tf.Variable(list(partition.tokens), trainable=False)
        points = partition.latlng.astype("float32")
        self.points = tf.Variable(points, trainable=False)
        self.first_cell = int(partition.other_class)  # "other" is no answer

    def answers(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        """The likeliest cells of probabilities (..., classes)."""
        k = min(metrics.TOP, self.tokens.shape[0])
        of_cells = probabilities[..., self.first_cell :]
        probability, cells = tf.math.top_k(of_cells, k)
        return {
            "token": tf.gather(self.tokens, cells),
            "probability": probability,
            "latlng": tf.gather(self.points, cells),
        }

    def signatures(self) -> dict[str, Callable]:
        """The functions to serve, by name."""
        raise NotImplementedError


class PhotoGeolocator(Servable):
    """A trained photo model with what it takes to read its answers.

    Signatures, the first three taking `image_bytes` (n,) string, JPEG or PNG:
      serving_default: `token`, `probability` (n, 5), `latlng` (n, 5, 2) of
        the likeliest cells, best first, and `valid` (n,).
      distribution: `probabilities` (n, classes) in label order, `valid`.
      embeddings: `embedding` (n, features) float32, the penultimate layer,
        which albums are made of; `valid`.
      images: of `image` (n, size, size, 3) float32 in [-1, 1] what
        serving_default and distribution answer, but for `valid`.
      classify: of `embedding` (n, features) the `probabilities` (n, classes).

    What cannot be decoded is answered for a grey image and marked invalid.
    Images are taken as they are stored: the EXIF's orientation is not read
    (planet_tf.photos.images.fit makes upright JPEGs).
    """

    def __init__(
        self,
        model: keras.Model,
        partition: partition_lib.Partition,
        partition_file: str,
        image_size: int,
    ):
        super().__init__(model, partition, partition_file)
        embedding = model.get_layer(models.EMBEDDING).output
        self.trunk = keras.Model(model.inputs, embedding)
        self.head = model.get_layer(models.HEAD)
        self.nested = nested_heads.of_model(model)
        self.features = embedding.shape[-1]
        self.image_size = image_size
        spec = tf.TensorSpec([None, image_size, image_size, 3], name="image")
        self.of_images = tf.function(self._of_images, [spec])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The penultimate layer."""
        images, valid = decoding.evaluation_images(image_bytes, self.image_size)
        return {"embedding": self._embedding(images), "valid": valid}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def classify(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of all classes, from the penultimate layer."""
        embedding = tf.ensure_shape(embedding, (None, self.features))
        logits = self.head(embedding)
        if self.nested:
            logits = self.nested(logits)
        logits = tf.cast(logits, tf.float32)
        return {"probabilities": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def distribution(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of all classes."""
        found = self.embed(image_bytes)
        of_cells = self.classify(found["embedding"])
        return of_cells | {"valid": found["valid"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def top_cells(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The likeliest cells."""
        found = self.distribution(image_bytes)
        return self.answers(found["probabilities"]) | {"valid": found["valid"]}

    def _of_images(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """All that is answered, of images as the network takes them."""
        found = self.classify(self._embedding(image))
        return self.answers(found["probabilities"]) | found

    def _embedding(self, images: tf.Tensor) -> tf.Tensor:
        embedding = self.trunk(images, training=False)
        return tf.cast(embedding, tf.float32)

    def signatures(self) -> dict[str, Callable]:
        """The functions to serve, by name."""
        return {
            "serving_default": self.top_cells,
            "distribution": self.distribution,
            "embeddings": self.embed,
            "images": self.of_images,
            "classify": self.classify,
        }


def save(module: Servable, directory: str) -> None:
    """Writes the SavedModel, replacing an older one in one move."""
    # tf.saved_model.save, because Keras' own export stores weights twice.
    temporary = directory.rstrip("/") + ".incomplete"
    if tf.io.gfile.exists(temporary):
        tf.io.gfile.rmtree(temporary)
    tf.saved_model.save(module, temporary, signatures=module.signatures())
    if tf.io.gfile.exists(directory):
        tf.io.gfile.rmtree(directory)
    tf.io.gfile.rename(temporary, directory)


class Geolocator:
    """A SavedModel to ask from Python, checked against its directory.

    Attributes:
      partition: the classes that are answered: those of the model, or put
        together to be no narrower than `min_cell_km`. All that is answered is
        made of their sums, so that nothing finer gets out.
      photo_size: pixels of the short side of photos, as `images.fit` makes
        them.
      config: of the training run.
      module: the SavedModel, which knows nothing of a limit.
    """

    def __init__(self, directory: str, min_cell_km: float = 0.0):
        self.config = model_dir.read_config(directory)
        self.photo_size: int = self.config["photo_size"]
        partition = model_dir.read_partition(directory)
        self.module = load(directory, partition)
        self.partition, self._limited = coarsening.limited(
            partition, min_cell_km
        )

    @property
    def weights(self) -> str:
        """The fingerprint of the model's weights."""
        return self.module.weights.numpy().decode()

    def probabilities(self, jpegs: Sequence[bytes]) -> np.ndarray:
        """Probabilities (n, classes) float32 for JPEG bytes, by label."""
        found = self.module.distribution(tf.constant(list(jpegs)))
        return self._limited(found["probabilities"].numpy())

    def embed(self, jpegs: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The penultimate layer.

        Returns:
          (n, features) float32, and (n,) bool which images could be decoded;
          the others' rows mean nothing.
        """
        found = self.module.embed(tf.constant(list(jpegs)))
        return found["embedding"].numpy(), found["valid"].numpy()

    def classify(self, embedding: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) float32 of the penultimate layer."""
        found = self.module.classify(tf.constant(embedding))
        return self._limited(found["probabilities"].numpy())

    def answers(self, probabilities: np.ndarray, k: int) -> np.ndarray:
        """The k likeliest cells (n, k), as positions in the partition."""
        of_cells = probabilities[:, int(self.partition.other_class) :]
        return metrics.ranked(of_cells, k)


def load(directory: str, partition: partition_lib.Partition) -> tf.Module:
    """The SavedModel in a directory, checked against its partition."""
    path = model_dir.export_path(directory)
    module = tf.saved_model.load(path)
    model_dir.check_partition(
        module.fingerprint.numpy().decode(),
        path,
        partition.fingerprint,
        f"{directory}/{model_dir.PARTITION}",
    )
    return module
