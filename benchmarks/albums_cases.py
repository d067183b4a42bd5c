"""The programs that benchmarks.albums measures, but for the training loop."""

import itertools
import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from beam_pipelines import album_records, albums, embedding, grouping, splits
from beam_pipelines.photos import TO_THE_END, Photos
from benchmarks import rounds, train_step_cases
from benchmarks.albums import WARM, Config, photo_path
from planet_tf.data import album_input, data_dirs
from planet_tf.geo import partition as partition_lib
from planet_tf.model import export, models
from planet_tf.options.train_config import TrainAlbumsConfig
from planet_tf.photos import records
from planet_tf.sizing import memory

_THREADS = 4  # as of write_albums
_PHOTOS_OF_ALBUM = 22
_PHOTO_SIZE = 342  # as of write_shards


def serve_write(config: Config) -> None:
    """What a worker of write_albums does with a shard of photos."""
    path = os.path.join(config.work, records.PARTITION_FILE)
    with open(path) as file:
        partition = partition_lib.load(file)
    model = save_model(config, partition, path)
    photos = photos_of(config, partition)
    rule = grouping.Rule(
        root=config.work,
        seen=grouping.NONE,
        fractions={},
        split_seed=0,
        gap_seconds=0,
        max_photos=100,
        min_photos=1,
    )
    writer = albums.WriteShard(
        config.work,
        splits.PartitionFile(path, partition.fingerprint),
        embedding.SharedModel(model),
        albums.Layout(1, rule),
        _THREADS,
    )
    writer.setup()

    def write() -> None:
        (file,) = writer.process((0, [photos]))
        assert file.photos == config.photos, file

    def read() -> list[bytes]:
        found = writer.pool.map(
            lambda row: album_records.read_image(*row[:4], _PHOTO_SIZE),
            photos.rows(),
        )
        return [image.jpeg for image in found]

    jpegs = read()

    def embed() -> None:
        for start in range(0, config.photos, config.photo_batch):
            writer.model.embed(jpegs[start : start + config.photo_batch])

    write()  # compiles
    rounds.serve(
        {
            "write_albums": timed(write),
            "its embedding alone, of JPEGs in memory": timed(embed),
            "its reading and fitting alone": timed(read),
        }
    )


def timed(work: Callable[[], object]) -> Callable[[], rounds.Result]:
    """A turn of one piece of work."""
    return lambda: train_step_cases.timed_steps(lambda _: work(), 0, 1)


def save_model(
    config: Config, partition: partition_lib.Partition, partition_file: str
) -> embedding.ModelFile:
    """Saves a photo model, as the end of its training does."""
    path = os.path.join(config.work, "export-" + config.precisions[0])
    module = export.PhotoGeolocator(
        photo_model(config, partition.num_classes),
        partition,
        partition_file,
        config.image_size,
    )
    export.save(module, path)
    return embedding.ModelFile(
        path=path,
        weights=embedding.weights_fingerprint(path),
        photo_size=_PHOTO_SIZE,
        batch_size=config.photo_batch,
    )


def photo_model(config: Config, classes: int) -> keras.Model:
    """A photo model with random weights."""
    (precision,) = config.precisions
    return models.photo_classifier(
        classes,
        image_size=config.image_size,
        width=config.width,
        precision=precision,
    )


def photos_of(config: Config, partition: partition_lib.Partition) -> Photos:
    """The photos, in albums."""
    rows = []
    for i in range(config.photos):
        lat, lng = partition.points[i % partition.num_classes]
        path = photo_path(config.work, i)
        album = f"album {i // _PHOTOS_OF_ALBUM}"
        rows.append((f"{i}", path, 0, TO_THE_END, lat, lng, "", album, i))
    return Photos.from_rows(rows)


def serve_forward(config: Config) -> None:
    """The forward pass up to the embedding, of constant images."""
    memory.keep_freed()
    model = photo_model(config, config.classes)
    trunk = keras.Model(model.inputs, model.get_layer(models.EMBEDDING).output)
    shape = (config.photo_batch, config.image_size, config.image_size, 3)
    pixels = np.random.default_rng(0).uniform(-1, 1, shape)
    images = tf.constant(pixels, tf.float32)

    @tf.function
    def forward() -> tf.Tensor:
        return trunk(images, training=False)

    def batches() -> None:
        for _ in range(config.photos // config.photo_batch):
            forward().numpy()

    forward().numpy()  # compiles
    rounds.serve({"bare forward pass": timed(batches)})


def serve_keras(config: Config, train: TrainAlbumsConfig) -> None:
    """Keras' own LSTM, and what is trained with it, of constant data."""
    memory.keep_freed()
    data = data_dirs.open_albums(train.albums)
    lengths, photos = batch_lengths(config, train, data)
    classes = data.partition.num_classes
    lstm = keras.layers.LSTM(train.units, return_sequences=True)
    inputs = keras.Input((None, data.features))
    model = keras.Model(inputs, keras.layers.Dense(classes)(lstm(inputs)))
    optimizer = keras.optimizers.Adagrad(train.learning_rate)
    optimizer.build(model.trainable_variables)
    signature = [
        tf.TensorSpec((train.batch_size, None, data.features)),
        tf.TensorSpec((train.batch_size, None), tf.int64),
    ]

    @tf.function(input_signature=signature)
    def step(read: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, model(read, training=True)
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function(input_signature=signature)
    def passes(read: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        del labels
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(lstm(read, training=True))
        gradients = tape.gradient(total, lstm.trainable_variables)
        # So little of them is passed on, but they have to be made.
        return tf.stack([tf.reshape(g, [-1])[0] for g in gradients])

    batches = constant_batches(set(lengths), train, data.features, classes)
    works = {"step of Keras' LSTM": step, "Keras' LSTM alone": passes}
    for work in works.values():
        work(*batches[lengths[0]]).numpy()  # compiles
    rounds.serve(
        {
            name: turns(config, [batches[n] for n in lengths], work)
            for name, work in works.items()
        },
        length=float(np.mean(lengths)),
        photos=float(np.mean(photos)),
    )


def batch_lengths(
    config: Config, train: TrainAlbumsConfig, data: data_dirs.Albums
) -> tuple[list[int], list[int]]:
    """Of each batch that training is given in its turns: padded, and photos."""
    batches = album_input.training_batches(
        data, train, first_step=0, context=tf.distribute.InputContext()
    )
    wanted = config.rounds * (WARM + config.steps)
    # Before its first turn it makes steps until it first comes to its log.
    shapes = [
        (batch["label"].shape[1], int(tf.reduce_sum(batch["photos"])))
        for batch in batches.skip(train.log_every).take(wanted)
    ]
    lengths, photos = zip(*shapes, strict=True)
    return list(lengths), list(photos)


def constant_batches(
    lengths: set[int], train: TrainAlbumsConfig, features: int, classes: int
) -> dict[int, tuple[tf.Tensor, tf.Tensor]]:
    """By their lengths, embeddings and labels."""
    rng = np.random.default_rng(0)
    found = {}
    for length in lengths:
        shape = train.batch_size, length
        read = rng.standard_normal((*shape, features), np.float32)
        labels = rng.integers(0, classes, shape)
        found[length] = tf.constant(read), tf.constant(labels)
    return found


def turns(
    config: Config,
    batches: list[tuple[tf.Tensor, tf.Tensor]],
    step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Callable[[], rounds.Result]:
    """A turn of some steps, each time of the batches that follow."""
    upcoming = iter(batches)

    def run(many: int) -> None:
        for batch in itertools.islice(upcoming, many):
            step(*batch).numpy()

    return lambda: train_step_cases.timed_steps(run, WARM, config.steps)
