"""Options of the programs that train, one frozen dataclass each."""

import dataclasses

from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import nesting
from planet_tf.options import album_variants

MIN_IMAGE_SIZE = 75  # InceptionV3 shrinks an image some 32 times, less edges
PRECISIONS = ("float32", "bfloat16", "float64")
SCHEDULES = ("constant", "linear", "cosine")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of all trainings, whatever they train."""

    model_dir: str = option(
        help="directory of the model; a run that stopped there goes on"
    )
    precision: str = option(
        "float32",
        help="what layers compute in; bfloat16 is faster on TPUs, on new GPUs"
        " and on CPUs that have it; float64 is for checks",
        choices=PRECISIONS,
    )
    dropout: float = option(
        0.0,
        help="share of the layer below the last one left out at a step",
        low=0,
        high=0.9,
    )
    # --- optimisation
    batch_size: int = option(
        32, help="photos, or albums, a step, all replicas", low=1
    )
    steps: int = option(1_000_000, help="steps of the whole run", low=1)
    learning_rate: float = option(
        0.045, help="Adagrad's rate (0.045 in the paper)", low=0
    )
    warmup_steps: int = option(
        0, help="steps of linear warm-up of the rate", low=0
    )
    schedule: str = option(
        "constant",
        help="the rate after the warm-up: constant, or falling to 0 at --steps",
        choices=SCHEDULES,
    )
    clip_norm: float = option(
        0.0, help="largest norm of all gradients together; 0: any", low=0
    )
    # --- data and run
    seed: int = option(0, help="of weights, order and augmentation")
    lanes: int = option(
        2,
        help="streams the records of an epoch are dealt to, a multiple of the"
        " number of replicas; runs with the same lanes see the same batches",
        low=1,
    )
    shuffle_buffer: int = option(
        16_384,
        help="records of all lanes held in memory to shuffle: half of them are"
        " given out, shuffled together, while the next half is read",
        low=1,
    )
    strategy: str = option(
        "auto",
        help="how to distribute; auto: multi_worker if TF_CONFIG is set, else"
        " mirrored over the GPUs if there are any, else one device",
        choices=STRATEGIES,
    )
    tpu: str = option("", help="name or address of the TPU for --strategy=tpu")
    startup_timeout: float = option(
        300.0, help="seconds that a worker waits for its peers", low=1
    )
    cache_dir: str = option(
        "",
        help="directory of a fast local disk, or /dev/shm, to which record"
        " files are copied when they are first read, as far as they fit",
    )
    steps_per_loop: int = option(
        1, help="most steps in one call of the device; for TPUs 100", low=1
    )
    validate_every: int = option(5_000, help="steps between validations", low=1)
    validation_photos: int = option(
        20_000, help="most photos, or albums, of a validation; 0: all", low=0
    )
    checkpoint_every: int = option(
        1_000, help="steps between checkpoints", low=1
    )
    keep_checkpoints: int = option(3, help="newest checkpoints kept", low=1)
    log_every: int = option(
        100, help="steps between lines of progress and scalars", low=1
    )
    profile_step: int = option(
        0,
        help="step from which ten are profiled for TensorBoard; 0: none; to"
        " see it install tensorboard-plugin-profile",
    )
    dry_run: bool = option(
        False, help="say what would be trained and what it takes, then end"
    )

    def __post_init__(self) -> None:
        if self.batch_size % self.lanes:
            raise config_flags.UsageError(
                f"--batch_size is {self.batch_size} and --lanes is"
                f" {self.lanes}: the batch must be a multiple of the lanes"
            )
        if self.warmup_steps >= self.steps:
            raise config_flags.UsageError(
                f"--warmup_steps is {self.warmup_steps} and --steps is"
                f" {self.steps}: the warm-up must be shorter than the run"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Options of `planet_tf.train`."""

    shards: str = option(help="directory of shards made by write_shards")
    # --- model
    image_size: int = option(299, help="side of the model's images, pixels")
    width: float = option(
        1.0, help="share of InceptionV3's filters to keep", low=0.1, high=1
    )
    batch_norm_momentum: float = option(
        0.99,
        help="share of the old moving statistics kept at a step; lower it for"
        " runs of few steps",
        low=0,
        high=1,
    )
    synchronized_batch_norm: bool = option(
        False, help="normalise over the batches of all replicas"
    )
    standardize: bool = option(
        False,
        help="give each colour of each image mean 0 and deviation 1: for"
        " images whose brightness and tint say nothing",
    )
    coarse_cells: tuple[int, ...] = option(
        (),
        help="about how many cells further heads' coarser partitions have, in"
        " falling order; answers are products of all heads' probabilities",
        low=2,
    )
    init_from: str = option(
        "",
        help="what to start from instead of random weights: a model directory,"
        " of another partition too, or a file of Keras InceptionV3 weights",
    )
    # --- labels and augmentation
    soft_labels_km: float = option(
        0.0,
        help="scale on which cells near a photo share its label; 0: the"
        " photo's own cell alone, as in the paper",
        low=0,
    )
    min_crop_area: float = option(
        0.5, help="least share of a photo in a random crop", low=0.05, high=1
    )
    rotate: bool = option(
        False,
        help="turn images by chance by quarters, for views from above",
    )
    color_jitter: float = option(
        0.2, help="strength of random brightness and contrast", low=0, high=1
    )
    # --- TensorBoard
    example_photos: int = option(
        4,
        help="validation photos that TensorBoard shows with maps of their"
        " answers; 0: none",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < MIN_IMAGE_SIZE:
            raise config_flags.UsageError(
                f"--image_size is {self.image_size}; InceptionV3 needs at"
                f" least {MIN_IMAGE_SIZE}"
            )
        nesting.check(self.coarse_cells)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainAlbumsConfig(RunConfig):
    """Options of `planet_tf.train_albums`."""

    albums: str = option(help="directory of albums made by write_albums")
    variant: str = option(
        "lstm",
        help="how an album is read: once; with answers one or two photos"
        " later; twice, with answers in the second pass; in both directions;"
        " or, as a control, each photo alone",
        choices=tuple(album_variants.VARIANTS),
    )
    units: int = option(2048, help="width of the LSTM", low=1)
    time_gaps: bool = option(
        False, help="read the time since the photo before, too"
    )
    drop_photos: float = option(
        0.0,
        help="share of an album's photos left out by chance, others each time"
        " that it is read, so that few albums serve as more",
        low=0,
        high=0.9,
    )
