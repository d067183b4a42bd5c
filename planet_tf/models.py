"""Keras graphs: the photo classifier (PlaNet section 3.2).

InceptionV3 with a softmax over the cells of a partition. Keras' own graph of
it is the base, so that published weights of its convolutions fit at width 1.
"""

import keras

TRUNK = "trunk"  # name of InceptionV3 within the model
EMBEDDING = "embedding"  # name of the penultimate layer, which albums use


def photo_classifier(
    num_classes: int,
    *,
    image_size: int = 299,
    width: float = 1.0,
    batch_norm_momentum: float = 0.99,
    synchronized_batch_norm: bool = False,
    standardize: bool = False,
    precision: str = "float32",
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
      precision: what layers compute in. bfloat16 is for speed, its variables
        and logits are float32; float64 is to tell rounding from mistakes.

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
    logits = keras.layers.Dense(num_classes, name="logits", dtype=policy)(
        features
    )
    if mixed:
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(inputs, logits, name="photo_classifier")


def scaled_filters(filters: int, width: float) -> int:
    """Filters of a layer at a width: a multiple of 8 where it is narrowed."""
    if width == 1.0:
        return filters
    return max(8, 8 * round(filters * width / 8))
