"""Keras graphs: the photo classifier (PlaNet section 3.2).

InceptionV3 with a softmax over the cells of a partition. Keras' own graph of
it is the base, so that published weights of its convolutions fit at width 1.
"""

import contextlib
import contextvars
import hashlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from planet_tf.geo import nesting
from planet_tf.model import nested_heads

TRUNK = "trunk"  # name of InceptionV3 within the model
EMBEDDING = "embedding"  # name of the penultimate layer, which albums use
HEAD = "logits"  # name of the last layer with weights, a dense one


def photo_classifier(
    num_classes: int,
    *,
    image_size: int = 299,
    width: float = 1.0,
    batch_norm_momentum: float = 0.99,
    synchronized_batch_norm: bool = False,
    standardize: bool = False,
    dropout: float = 0.0,
    precision: str = "float32",
    nested: nesting.Nesting | None = None,
) -> keras.Model:
    """The photo model: images to one logit per class.

    Args:
      num_classes: classes of the partition.
      image_size: pixels of an image's side.
      width: share of InceptionV3's filters to keep in every layer.
      batch_norm_momentum: share of the old moving statistics kept at a step.
      synchronized_batch_norm: normalise over the batches of all replicas.
      standardize: give each colour of each image mean 0 and deviation 1, so
        that brightness, contrast and tint say nothing.
      dropout: share of the embedding left out in training; above 0, whoever
        trains the model calls it within `dropout_seed`.
      precision: what layers compute in. bfloat16 is for speed, its variables
        and logits are float32; float64 is to tell rounding from mistakes.
      nested: coarser partitions that it has heads for too. The logits are
        those of the product of all heads.

    Returns:
      A model from float32 images (n, image_size, image_size, 3) in [-1, 1]
      to logits (n, num_classes).
    """
    mixed = precision == "bfloat16"
    policy = "mixed_bfloat16" if mixed else precision

    def adapt(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config() | {"dtype": policy}
        if isinstance(layer, keras.layers.Conv2D):
            config["filters"] = scaled_filters(layer.filters, width)
        elif isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = batch_norm_momentum
            config["synchronized"] = synchronized_batch_norm
            return FusedBatchNormalization.from_config(config)
        return type(layer).from_config(config)

    # --- input
    inputs = keras.Input((image_size, image_size, 3), name="images")
    images = inputs
    if standardize:
        images = keras.layers.GroupNormalization(
            groups=3,
            center=False,
            scale=False,
            name="standardize",
            dtype="float32" if mixed else policy,
        )(images)

    # --- trunk
    trunk = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=inputs.shape[1:]
    )
    trunk = keras.models.clone_model(trunk, clone_function=adapt)
    trunk.name = TRUNK
    features = keras.layers.GlobalAveragePooling2D(
        name=EMBEDDING, dtype=policy
    )(trunk(images))

    # --- head
    if dropout:
        features = SeededDropout(dropout, name="dropout", dtype=policy)(
            features
        )
    outputs = num_classes + sum(nested.num_classes if nested else ())
    logits = keras.layers.Dense(outputs, name=HEAD, dtype=policy)(features)
    if nested:
        logits = nested_heads.NestedHeads(
            nested.ancestors, dtype="float32" if mixed else policy
        )(logits)
    elif mixed:
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(inputs, logits, name="photo_classifier")


def weights_digest(model: keras.Model) -> str:
    """Tells whether two processes or runs have the very same weights."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return "sha256:" + digest.hexdigest()


def scaled_filters(filters: int, width: float) -> int:
    """Filters of a layer at a width: a multiple of 8 where it is narrowed."""
    if width == 1.0:
        return filters
    return max(8, 8 * round(filters * width / 8))


@keras.saving.register_keras_serializable("planet_tf")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm over images, computed by TensorFlow's fused kernel.

    The same weights, states and, but for rounding, results. Keras writes it
    out in some 30 operations, in float32 also where the rest of the model is
    bfloat16: a third of a step's time on a CPU. There is no fused kernel for
    float64 and none over several replicas; those are left to Keras.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool = False,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalises images (n, h, w, channels) channel by channel."""
        fused = not self.synchronized and self.compute_dtype != "float64"
        if not fused or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        options = {
            "scale": _or_constant(self.gamma, self.moving_mean, 1.0),
            "offset": _or_constant(self.beta, self.moving_mean, 0.0),
            "epsilon": self.epsilon,
        }
        normalize = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            return normalize(
                inputs,
                mean=self.moving_mean.value,
                variance=self.moving_variance.value,
                is_training=False,
                **options,
            )[0]
        outputs, mean, variance = normalize(inputs, **options)
        # The kernel divides by n - 1, Keras by n.
        values = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
        variance *= tf.maximum(values - 1, 1) / values
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return outputs

    def _follow(self, moving: keras.Variable, now: tf.Tensor) -> None:
        old = self.momentum
        moving.assign(moving * old + now * (1.0 - old))


def _or_constant(
    weights: keras.Variable | None, like: keras.Variable, constant: float
) -> tf.Tensor:
    if weights is None:
        return tf.fill(like.shape, constant)
    return tf.convert_to_tensor(weights.value)


_dropout_seed: contextvars.ContextVar[tf.Tensor] = contextvars.ContextVar(
    "dropout_seed"
)


@contextlib.contextmanager
def dropout_seed(seed: tf.Tensor) -> Iterator[None]:
    """Within this block, models in training draw their dropout from `seed`.

    A train step wraps its call of the model, in each replica:

        with models.dropout_seed(tf.stack([config.seed, step])):
            logits = model(images, training=True)

    No more is needed: what is left out of a photo is a function of the seed
    and of the photo's place in the global batch, which SeededDropout knows.
    So replicas differ, and their number does not matter.

    Args:
      seed: (2,) int32 or int64, a tensor or numbers; a new one each step.
    """
    token = _dropout_seed.set(tf.convert_to_tensor(seed))
    try:
        yield
    finally:
        _dropout_seed.reset(token)


@keras.saving.register_keras_serializable("planet_tf")
class SeededDropout(keras.layers.Layer):
    """Dropout as a function of the seed that `dropout_seed` sets.

    It has no state: Keras' own Dropout draws from a state that is the same on
    every replica and is not in a checkpoint.
    """

    def __init__(self, rate: float, **options: Any):
        super().__init__(**options)
        self.rate = rate
        self.supports_masking = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Leaves out a share of a replica's features (b, n) or (b, t, n).

        Of an album's photos (t) the same ones, as suits recurrent networks.
        """
        if not training:
            return inputs
        seed = _dropout_seed.get(None)
        if seed is None:
            raise RuntimeError(
                "a model with dropout was called in training without a seed:"
                " call it within models.dropout_seed"
            )
        context = tf.distribute.get_replica_context()
        photos, *between, width = tf.unstack(tf.shape(inputs))
        drawn = tf.random.stateless_uniform(
            (context.num_replicas_in_sync * photos, width), seed
        )
        first = context.replica_id_in_sync_group * photos
        mine = tf.slice(drawn, (first, 0), (photos, width))
        mine = tf.reshape(mine, (photos, *[1] * len(between), width))
        kept = tf.cast(mine >= self.rate, inputs.dtype)
        return inputs * kept / (1 - self.rate)

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again."""
        return super().get_config() | {"rate": self.rate}
