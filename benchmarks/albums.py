r"""How fast albums are embedded and learned, against the models alone.

python -m benchmarks.albums

Photos made here are read, embedded and written by the part of write_albums
that does it, in turns with the photo model's forward pass on constant images
in batches of the same size. Then planet_tf.train_albums trains on albums made
here, in turns with a step of Keras' own LSTM, dense layer and Adagrad, and with
the LSTM's two passes alone, both on constant data of the very lengths that the
training's own batches have. The tables go to stdout; a quarter of an hour.
"""

import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import albums_table, collection, rounds, train_step
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib
from planet_tf.options.train_config import MIN_IMAGE_SIZE, TrainAlbumsConfig
from planet_tf.photos import records
from planet_tf.workers import machine

WARM = 2  # steps of a turn of training that are not counted
_NEVER = 1_000_000_000
_WHAT = tuple(albums_table.UNITS)
_SHORTEST, _LONGEST = 5, 60  # photos of an album
_MORE = 18  # than the fewest: the mean of an exponential distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the benchmark."""

    what: tuple[str, ...] = option(
        _WHAT, help=f"what to measure, of {', '.join(_WHAT)}"
    )
    # --- embedding
    photo_size: str = option("400x300", help="of the JPEG files")
    photos: int = option(256, help="of a turn, whole batches", low=1)
    photo_batch: int = option(32, help="photos the model is asked about", low=1)
    image_size: int = option(
        299, help="side of the model's images", low=MIN_IMAGE_SIZE
    )
    width: float = option(1.0, help="of the photo model", low=0.1, high=1)
    precisions: tuple[str, ...] = option(
        (), help="of the photo model; by default those that the CPU has"
    )
    # --- training
    albums: int = option(512, help="to train on", low=16)
    features: int = option(2048, help="of an embedding", low=1)
    units: tuple[int, ...] = option((2048, 256), help="widths of the LSTM")
    batch_size: int = option(16, help="albums a step", low=2)
    steps: int = option(4, help="steps of a turn, an even number", low=2)
    # --- both
    classes: int = option(354, help="cells of the partition", low=2)
    rounds: int = option(5, help="turns of every case", low=1)
    case: str = option("", help="used by the benchmark itself")
    work: str = option("", help="directory for the data; default temporary")

    def __post_init__(self):
        if self.steps % WARM:
            raise config_flags.UsageError(f"--steps is odd: {self.steps}")
        if self.photos % self.photo_batch:
            raise config_flags.UsageError(
                f"--photos is {self.photos}, no multiple of --photo_batch,"
                f" which is {self.photo_batch}"
            )
        if unknown := set(self.what) - set(_WHAT):
            raise config_flags.UsageError(
                f"--what: there is no {', '.join(sorted(unknown))}; there are"
                f" {', '.join(_WHAT)}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    if config.case:
        serve(config)
        return 0
    if not config.precisions:
        native = machine.bfloat16_is_native()
        both = ("float32", "bfloat16") if native else ("float32",)
        config = dataclasses.replace(config, precisions=both)
    with tempfile.TemporaryDirectory(dir=config.work or None) as work:
        config = dataclasses.replace(config, work=work)
        try:
            lines = list(report(config))
        except rounds.RoundsError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("\n".join(lines))
    return 0


def report(config: Config) -> Iterator[str]:
    """Measures everything; the tables, and what follows from them."""
    if "embedding" in config.what:
        write_photos(config, pathlib.Path(config.work))
        results = {}
        for precision in config.precisions:
            own = dataclasses.replace(config, precisions=(precision,))
            found, _ = measure(own, precision, ("write", "forward"))
            results |= found
        yield from albums_table.lines("embedding", results, config.photos)
        yield (
            f"- {config.photos} photos of {config.photo_size} a turn, batch"
            f" {config.photo_batch}, {config.image_size} pixels"
        )
        yield ""
    if "training" in config.what:
        write_albums(config, pathlib.Path(config.work) / "albums")
        results, facts = {}, {}
        for units in config.units:
            own = dataclasses.replace(config, units=(units,))
            found, facts = measure(own, f"{units} units", ("loop", "keras"))
            results |= found
        yield from albums_table.lines("training", results, config.steps)
        yield (
            f"- {config.batch_size} albums a step, of"
            f" {facts['photos'] / config.batch_size:.1f} photos, padded to"
            f" {facts['length']:.1f} (means); {config.features:,} features,"
            f" {config.classes:,} classes"
        )


def measure(
    config: Config, setting: str, cases: Sequence[str]
) -> tuple[dict[str, list[rounds.Result]], rounds.Result]:
    """Results by "work, setting", and the facts that the last case told."""
    programs: dict[str, rounds.Program] = {}
    try:
        for case in cases:
            programs[case] = start(config, case)
        works = {
            f"{work}, {setting}": (programs[case], work)
            for work, case in albums_table.CASES.items()
            if case in programs
        }
        return rounds.run(works, config.rounds), programs[cases[-1]].facts
    finally:
        for program in programs.values():
            program.close()


def start(config: Config, case: str) -> rounds.Program:
    """Starts one of the measured processes."""
    print(f"starting {case}", file=sys.stderr)
    flags = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        flags.append(
            f"--{field.name}={case if field.name == 'case' else value}"
        )
    command = [sys.executable, "-m", "benchmarks.albums", *flags]
    return rounds.Program(command, {"TF_CPP_MIN_LOG_LEVEL": "2"})


def serve(config: Config) -> None:
    """What one of the measured processes does."""
    from benchmarks import albums_cases, train_step_cases
    from planet_tf.training import album_task

    if config.case == "write":
        albums_cases.serve_write(config)
    elif config.case == "forward":
        albums_cases.serve_forward(config)
    elif config.case == "keras":
        albums_cases.serve_keras(config, train_config(config))
    else:
        train_step_cases.serve_loop(
            train_config(config), album_task.AlbumTask, WARM, config.steps
        )


def train_config(config: Config) -> TrainAlbumsConfig:
    """The run that is measured; it never ends, validates or saves."""
    (units,) = config.units
    return TrainAlbumsConfig(
        albums=os.path.join(config.work, "albums"),
        model_dir=os.path.join(config.work, f"model-{units}"),
        units=units,
        batch_size=config.batch_size,
        learning_rate=0.001,  # a loss that grows would end the run
        shuffle_buffer=config.albums,
        steps=_NEVER,
        validate_every=_NEVER,
        checkpoint_every=_NEVER,
        log_every=WARM,
        strategy="one_device",
    )


def photo_path(directory: str | pathlib.Path, number: int) -> str:
    """Where a photo is."""
    return os.path.join(directory, "photos", f"{number:07d}.jpg")


def write_photos(config: Config, directory: pathlib.Path) -> None:
    """Writes JPEG files, and a partition that is not of their places."""
    rng = np.random.default_rng(0)
    (directory / "photos").mkdir()
    pictures = collection.jpegs([config.photo_size], rng)
    for number in range(config.photos):
        pathlib.Path(photo_path(directory, number)).write_bytes(next(pictures))
    write_partition(directory, train_step.random_partition(config.classes, rng))


def write_partition(
    directory: pathlib.Path, partition: partition_lib.Partition
) -> None:
    """Writes a partition where shards and albums have theirs."""
    with (directory / records.PARTITION_FILE).open("w") as file:
        partition_lib.dump(partition, file)


def write_albums(config: Config, directory: pathlib.Path) -> None:
    """Writes albums of noise, as write_albums would, without a photo model."""
    (directory / records.PHOTO_MODEL).mkdir(parents=True)
    rng = np.random.default_rng(0)
    partition = train_step.random_partition(config.classes, rng)
    write_partition(directory, partition)
    files = {}
    for split, count in (("train", config.albums), ("validation", 16)):
        name = records.file_name(split, 0, 1, records.ALBUMS)
        files[name] = {"albums": count}
        with (directory / name).open("wb") as file:
            for i in range(count):
                album = random_album(f"{split}-{i}", partition, config, rng)
                file.write(records.frame(records.encode_album(album)))
    facts = {
        "format": records.ALBUMS_FORMAT,
        "version": records.ALBUMS_VERSION,
        "partition_fingerprint": partition.fingerprint,
        "model_fingerprint": "sha256:benchmark",
        "fingerprint": "sha256:benchmark",
        "features": config.features,
        "max_photos": _LONGEST,
        "files": files,
    }
    (directory / records.ALBUMS_FILE).write_text(json.dumps(facts))


def random_album(
    album_id: str,
    partition: partition_lib.Partition,
    config: Config,
    rng: np.random.Generator,
) -> records.Album:
    """An album of a place: a few of them are much longer than most."""
    more = rng.exponential(_MORE)
    count = min(_LONGEST, _SHORTEST + round(more))
    label = int(rng.integers(partition.num_classes))
    photos = [
        records.PhotoOfAlbum(
            photo_id=f"{album_id}-{i}",
            label=label,
            token=partition.token(label),
            lat=partition.points[label][0],
            lng=partition.points[label][1],
            taken_at=3_600 * i,
        )
        for i in range(count)
    ]
    vectors = rng.standard_normal((count, config.features), np.float32)
    return records.Album(album_id, True, photos, vectors)


if __name__ == "__main__":
    sys.exit(main())
