"""Options of the programs that ask models, one frozen dataclass each."""

import dataclasses

from planet_tf import config_flags
from planet_tf.answering import answers
from planet_tf.config_flags import option

FILE_FORMATS = ("jsonl", "csv", "geojson")


def _min_cell_km() -> float:
    return option(
        0.0,
        help="say no more than a cell at least so many km wide (of a square of"
        " its area): cells are put together before anything is answered",
        low=0,
        high=7142,  # larger ones there are not
    )


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Options of `planet_tf.evaluate`."""

    out: str = option(help="directory for the report, figures, predictions")
    # --- a model of ours
    model_dir: str = option("", help="directory of a trained model")
    shards: str = option("", help="directory of shards made by write_shards")
    split: str = option("test", help="split of the shards to evaluate on")
    batch_size: int = option(64, help="photos at a time", low=1)
    coarse_cells: tuple[int, ...] = option(
        (354, 48),  # the former is in the paper's figure
        help="also evaluate with about so many cells, put together from those"
        " of the model; numbers that are no fewer are passed by",
    )
    rules: tuple[str, ...] = option(
        ("centre", "mass@25", "middle@300"),
        help="further ways from probabilities to answers to evaluate: centre,"
        " mass@R, smooth@R or middle@R for a radius of R km; the network's own"
        " answers are the means of the cells' photos",
    )
    neighbor_photos: int = option(
        100_000,
        help="training photos that the nearest-neighbour baselines may use",
        low=1,
    )
    neighbors: int = option(
        1, help="training photos that vote on a baseline's answer", low=1
    )
    neighbor_weights: str = option(
        "even",
        help="every vote alike, or more the more alike the photos look",
        choices=("even", "distance"),
    )
    neighbor_km: float = option(
        100.0,
        help="reach of a vote; answers nearer than that to a better one come"
        " after the others",
        low=0.001,
    )
    temperature_photos: int = option(
        10_000,
        help="validation photos to fit the temperature of probabilities on; 0:"
        " do without",
        low=0,
    )
    # --- predictions of any system
    predictions: str = option(
        "",
        help="JSON Lines or CSV of any system's answers, instead of a model; a"
        " glob for several files",
    )
    truth: str = option("", help="CSV of where the photos were taken")
    name: str = option("system", help="what the report calls the system")
    partition: str = option(
        "",
        help="partition.json, to have the ceiling of its cells and figures by"
        " their size",
    )
    missing: str = option(
        "error",
        help="photos of the truth that --predictions lacks: refuse, count as"
        " wrong, or leave out",
        choices=("error", "wrong", "skip"),
    )
    extra: str = option(
        "error",
        help="predictions of photos that the truth lacks: refuse, or leave out",
        choices=("error", "ignore"),
    )
    duplicates: str = option(
        "error",
        help="ids that are there more than once: refuse, or which one to take",
        choices=("error", "first", "last"),
    )
    match: str = option(
        "exact",
        help="what of the ids has to be the same: all, the file's name without"
        " directories, or that without its extension",
        choices=("exact", "name", "stem"),
    )
    id_column: str = option("", help="ids in --predictions, if not found")
    lat_column: str = option("", help="latitudes in --predictions")
    lng_column: str = option("", help="longitudes in --predictions")
    probability_column: str = option("", help="probabilities there")
    token_column: str = option("", help="tokens of S2 cells there")
    rank_column: str = option("", help="ranks, where answers have a row each")
    truth_id_column: str = option("", help="ids in --truth, if not found")
    truth_lat_column: str = option("", help="latitudes in --truth")
    truth_lng_column: str = option("", help="longitudes in --truth")
    truth_group_column: str = option(
        "", help="owners or albums in --truth, for --resample_by=group"
    )
    # --- people
    game: str = option(
        "",
        help="results of the game, which planet_tf.serve --game_results wrote:"
        " people against the machine; a glob for several files",
    )
    # --- intervals
    resample_by: str = option(
        "group",
        help="what the bootstrap draws: photos, or groups of photos, of one"
        " owner or else of one album (of the game: of one player), which are"
        " right or wrong together",
        choices=("group", "photo"),
    )
    resamples: int = option(
        1_000, help="bootstrap resamples for intervals", low=100
    )
    seed: int = option(0, help="of the bootstrap")

    def __post_init__(self) -> None:
        for rule in self.rules:
            try:
                answers.parse_rule(rule)
            except ValueError as error:
                raise config_flags.UsageError(f"--rules: {error}") from error
        ways = (
            (self.model_dir, self.shards),
            (self.predictions, self.truth),
            (self.game,),
        )
        if [all(way) for way in ways if any(way)] != [True]:
            raise config_flags.UsageError(
                "needed is one of --model_dir with --shards, --predictions with"
                " --truth, and --game"
            )


@dataclasses.dataclass(frozen=True)
class CompareReportsConfig:
    """Options of `planet_tf.compare_reports`."""

    out: str = option(help="directory for the comparison")
    names: tuple[str, ...] = option(
        (), help="what to call the systems; their directories' names if not"
    )
    common: bool = option(
        False,
        help="compare on the photos that all reports have, instead of refusing"
        " reports of other photos; says how many are left out",
    )
    resamples: int = option(
        1_000, help="bootstrap resamples for intervals", low=100
    )
    seed: int = option(0, help="of the bootstrap")


@dataclasses.dataclass(frozen=True)
class EvaluateAlbumsConfig:
    """Options of `planet_tf.evaluate_albums`."""

    albums: str = option(help="directory of albums made by write_albums")
    model_dirs: tuple[str, ...] = option(
        help="directories of album models, to be compared"
    )
    out: str = option(help="directory for the report")
    split: str = option("test", help="split of the albums to evaluate on")
    batch_size: int = option(16, help="albums at a time", low=1)
    resamples: int = option(
        2_000, help="bootstrap resamples of albums for intervals", low=100
    )
    seed: int = option(0, help="of the bootstrap")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswersConfig:
    """Options of the programs that write answers for many photos."""

    model_dir: str = option(help="directory of a trained model")
    top: int = option(5, help="answers for each photo", low=1, high=100)
    min_cell_km: float = _min_cell_km()
    batch_size: int = option(
        32, help="photos that the model is asked about at once", low=1
    )
    piece_photos: int = option(
        4096,
        help="photos after which a file is safe: stopped and started again, it"
        " goes on with the next so many",
        low=1,
    )
    max_reject_fraction: float = option(
        0.05, help="fail if more of the photos cannot be read", low=0, high=1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(AnswersConfig):
    """Options of `planet_tf.predict`."""

    out: str = option(".", help="directory for the maps, or the file")
    format: str = option(
        "text",
        help="text: for people, on stdout, with maps; else a file"
        " predictions.FORMAT in --out, for any number of photos",
        choices=("text", *FILE_FORMATS),
    )
    maps: bool = option(
        True, help="with --format=text: draw a PNG of the distribution"
    )


@dataclasses.dataclass(frozen=True)
class PredictAlbumConfig:
    """Options of `planet_tf.predict_album`."""

    model_dir: str = option(help="directory of a trained album model")
    out: str = option(".", help="directory for answers.csv and the maps")
    albums: str = option(
        "", help="directory of albums made by write_albums, instead of photos"
    )
    split: str = option("train", help="split of --albums to answer for")
    limit: int = option(
        0, help="answer for so many albums of --albums at most; 0: all", low=0
    )
    maps: bool = option(
        True,
        help="draw each album's track, as a PNG and as a page to look into",
    )
    outlier_km: float = option(
        750.0,
        help="a photo that alone is sure of a place further than that from the"
        " album's answer is named as an outlier",
        low=0,
    )
    outlier_probability: float = option(
        0.8,
        help="how sure: what a photo alone gives to all that is within"
        " --outlier_km of its answer",
        low=0,
        high=1,
    )
    min_cell_km: float = _min_cell_km()


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """Options of `planet_tf.serve`."""

    model_dir: str = option(
        help="directory of a trained photo model, or of an album model, which"
        " has its photo model with it"
    )
    host: str = option(
        "127.0.0.1",
        help="address to listen on; 0.0.0.0 is open to whoever reaches this"
        " machine",
    )
    port: int = option(
        8765, help="port to listen on; 0: any free one", low=0, high=65535
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        help="names under which clients may ask for this server, beside --host;"
        " *: any, where a proxy in front has checked them",
    )
    min_cell_km: float = _min_cell_km()
    max_bytes: int = option(
        20_000_000, help="largest photo that is taken, in bytes", low=1
    )
    max_pixels: int = option(
        89_478_485, help="largest photo that is taken, in pixels", low=1
    )
    max_photos: int = option(60, help="most photos of one request", low=1)
    max_request_bytes: int = option(
        100_000_000, help="largest request, of all its photos", low=1
    )
    max_waiting_bytes: int = option(
        500_000_000,
        help="most bytes that are held of all requests that are not answered;"
        " beyond, requests are told to come again",
        low=1,
    )
    upload_seconds: float = option(
        20.0,
        help="for each next megabyte of a request, or what is left of it, to"
        " arrive; a client that sends more slowly is given up",
        low=0.001,
    )
    request_seconds: float = option(
        60.0, help="a request that takes longer is given up", low=0.001
    )
    queue: int = option(
        512,
        help="most photos that are accepted and not answered; beyond, requests"
        " are told to come again",
        low=1,
    )
    batch_size: int = option(
        32, help="most photos that the model is asked about at once", low=1
    )
    batch_wait_ms: float = option(
        3.0, help="how long a photo waits for others to be asked with", low=0
    )
    decoders: int = option(
        0, help="threads that decode photos; 0: one for each core", low=0
    )
    shutdown_seconds: float = option(
        30.0, help="for what was accepted to be answered, after SIGTERM", low=0
    )
    # --- a game against the model
    game_shards: str = option(
        "",
        help="directory of the shards that the model was trained with, to play"
        " a game with photos that it was not trained on",
    )
    game_split: str = option("test", help="split of --game_shards to play with")
    game_photos: int = option(
        1_000, help="photos to play with, drawn at the start", low=5
    )
    game_results: str = option(
        "",
        help="file to which the results of players who want it are added, for"
        " planet_tf.evaluate --game",
    )

    def __post_init__(self) -> None:
        if self.game_results and not self.game_shards:
            raise config_flags.UsageError(
                "--game_results needs --game_shards, whose photos are played"
                " with"
            )
        if self.game_split == "train":
            raise config_flags.UsageError(
                "--game_split=train: the model was trained on these photos, it"
                " would win by heart. Play with test, validation or albums"
            )
        if self.max_photos > self.queue:
            raise config_flags.UsageError(
                f"--max_photos is {self.max_photos}, more than --queue, which"
                f" is {self.queue}: an album of so many would never be taken"
            )
        if self.max_waiting_bytes < self.max_request_bytes:
            raise config_flags.UsageError(
                f"--max_waiting_bytes is {self.max_waiting_bytes}, less than"
                f" --max_request_bytes, which is {self.max_request_bytes}: so"
                " large a request would never be taken"
            )
