"""From nothing to a map of answers, on satellite views.

planet-quickstart [--size=small] [--out=DIR] [--variants=all]

Cuts satellite views around the places of real photos and along trips,
partitions the Earth, writes shards, trains the photo model, evaluates it and
predicts; the same for albums. Takes some 16 minutes on 2 cores; --size=small
takes 3, to see that all works; --variants=all takes 10 more. Interrupted, it
goes on where it was. No network is used.

Needs the extra `demo` and, without what that one asks for, geoclip:
pip install --no-deps geoclip==1.3.0
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from planet_tf import config_flags
from planet_tf.config_flags import UsageError, option
from planet_tf.options.album_variants import VARIANTS
from planet_tf.workers import gang

PRESETS = pathlib.Path(__file__).parent / "presets"

# All album models, from the control to the one that answers for three trips.
_ALL = (
    "alone",
    "lstm",
    "offset1",
    "offset2",
    "repeated",
    "bidirectional_repeated",
    "bidirectional",
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much data there is, and the cells that it is enough for."""

    views: int
    trips: int
    max_photos: int
    min_photos: int


SIZES = {
    "full": Size(views=34_000, trips=4_000, max_photos=220, min_photos=33),
    "small": Size(views=3_200, trips=150, max_photos=140, min_photos=28),
}


@dataclasses.dataclass(frozen=True)
class QuickstartConfig:
    """Options of `planet_tf.quickstart`."""

    size: str = option(
        "full",
        help="how much data and training: small only shows that all works",
        choices=tuple(SIZES),
    )
    out: str = option(
        "", help="directory of the results (quickstart, or quickstart-small)"
    )
    variants: tuple[str, ...] = option(
        ("lstm", "bidirectional"),
        help="album models to train, or all; the last one answers for trips",
        choices=("all", *VARIANTS),
    )

    def __post_init__(self) -> None:
        if not self.variants:
            raise UsageError("--variants is empty; name one or more, or all")
        if "all" in self.variants and len(self.variants) > 1:
            raise UsageError(
                f"--variants is {','.join(self.variants)}; all goes alone"
            )

    @property
    def directory(self) -> str:
        """Where the results go."""
        default = "quickstart" if self.size == "full" else "quickstart-small"
        return self.out or default

    @property
    def album_models(self) -> tuple[str, ...]:
        """The variants that are trained, in their order."""
        return _ALL if self.variants == ("all",) else self.variants


@dataclasses.dataclass(frozen=True)
class Stage:
    """One program's run.

    Attributes:
      title: what it is called while it runs.
      result: the file that appears when it is done.
      command: the program's module and its arguments.
    """

    title: str
    result: str
    command: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(QuickstartConfig, argv, usage=__doc__)
    start = time.monotonic()
    os.makedirs(config.directory, exist_ok=True)
    with gang.stop_signals() as signals:
        code = run(plan(config), start, signals)
    if code:
        return code
    _say(f"\n== done after {time.monotonic() - start:.0f} s\n")
    print(summary(config))
    return 0


def plan(config: QuickstartConfig) -> list[Stage]:
    """What is run, in its order."""
    models = {
        variant: f"{config.directory}/album_models/{variant}"
        for variant in config.album_models
    }
    known = dataclasses.asdict(SIZES[config.size]) | {
        "out": config.directory,
        "flags": preset(f"quickstart_{config.size}"),
        "album_flags": preset(f"quickstart_albums_{config.size}"),
        "models": ",".join(models.values()),
        "last_model": models[config.album_models[-1]],
    }
    return [
        *(_stage(row, known) for row in _PHOTO_STAGES),
        *(
            _stage(_ALBUM_TRAINING, known | {"variant": name, "model": model})
            for name, model in models.items()
        ),
        *(_stage(row, known) for row in _ALBUM_STAGES),
    ]


def preset(name: str) -> str:
    """The path of a preset's flag file, seen from here if it is below."""
    path = PRESETS / f"{name}.flags"
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def run(stages: Sequence[Stage], start: float, signals: Sequence[int]) -> int:
    """Runs the stages whose results are not there; returns an exit code.

    Args:
      stages: what to run.
      start: when the program began, by time.monotonic.
      signals: what `gang.stop_signals` yields; it ends the stage that runs.
    """
    for stage in stages:
        _say(f"\n== {stage.title} ({time.monotonic() - start:.0f} s)")
        if os.path.exists(stage.result):
            _say(f"there already: {stage.result}")
            continue
        _say(f"$ python -m {shlex.join(stage.command)}")
        command = [sys.executable, "-m", *stage.command]
        code = _run(command, signals)
        if signals:
            _say(f"\nstopped in {stage.title}; call it again to go on there")
            return 128 + signals[0]
        if code:
            _say(
                f"\nerror: {stage.title} failed, {gang.describe(code)}:\n"
                f"  {shlex.join(command)}\n"
                "call the quickstart again to go on there"
            )
            return code
    return 0


def summary(config: QuickstartConfig) -> str:
    """What was measured, what was made, and what to do with it."""
    out = pathlib.Path(config.directory)
    photos = (out / "report" / "report.md").read_text("utf-8")
    albums = (out / "album_report" / "report.md").read_text("utf-8")
    return (
        re.sub(r"(?ms)^## Other figures.*", "", photos)
        + albums
        + _FILES.format(
            out=out,
            programs=os.path.dirname(sys.executable),
            preset=preset(f"quickstart_{config.size}"),
        )
    )


# Of the views, and of the trips, which keep to the views' blocks of one split.
# The partition is made of the training views alone.
_SPLITS = "--validation_fraction=0.05 --test_fraction=0.1 --albums_fraction=0.3"

# (title, result, command); what is in braces is filled in word by word.
_PHOTO_STAGES = (
    (
        "1/12 satellite views",
        "{out}/views/manifest.csv",
        "beam_pipelines.make_satellite_views --out={out}/views"
        f" --count={{views}} --trips={{trips}} {_SPLITS}",
    ),
    (
        "2/12 partition",
        "{out}/partition.json",
        "beam_pipelines.build_partition --out={out}/partition.json"
        f" --photos={{out}}/views/manifest.csv --train_only {_SPLITS}"
        " --max_photos={max_photos} --min_photos={min_photos}",
    ),
    (
        "3/12 map of the partition",
        "{out}/partition.png",
        "planet_tf.draw {out}/partition.json --out={out}/partition.png",
    ),
    (
        "4/12 report on the partition",
        "{out}/partition_report/map.html",
        "beam_pipelines.report_partition --out={out}/partition_report"
        " --partition={out}/partition.json --photos={out}/views/manifest.csv",
    ),
    (
        "5/12 shards",
        "{out}/shards/shards.json",
        "beam_pipelines.write_shards --photos={out}/views/manifest.csv"
        f" --partition={{out}}/partition.json --out={{out}}/shards {_SPLITS}",
    ),
    (
        "6/12 training",
        "{out}/model/export/saved_model.pb",
        "planet_tf.train --flagfile={flags} --shards={out}/shards"
        " --model_dir={out}/model",
    ),
    (
        "7/12 evaluation on the test split",
        "{out}/report/report.md",
        "planet_tf.evaluate --model_dir={out}/model --shards={out}/shards"
        " --out={out}/report",
    ),
    (
        "8/12 prediction",
        "{out}/maps/3-map.png",
        "planet_tf.predict --model_dir={out}/model --out={out}/maps"
        " {out}/report/examples/1.jpg {out}/report/examples/2.jpg"
        " {out}/report/examples/3.jpg",
    ),
    (
        "9/12 albums of the trips, embedded",
        "{out}/albums/albums.json",
        "beam_pipelines.write_albums --photos={out}/views/trips.csv"
        " --model_dir={out}/model --out={out}/albums --shards=4",
    ),
)
_ALBUM_TRAINING = (
    "10/12 training the album model {variant}",
    "{model}/export/saved_model.pb",
    "planet_tf.train_albums --albums={out}/albums --flagfile={album_flags}"
    " --variant={variant} --model_dir={model}",
)
_ALBUM_STAGES = (
    (
        "11/12 evaluation on the test trips",
        "{out}/album_report/report.md",
        "planet_tf.evaluate_albums --albums={out}/albums"
        " --model_dirs={models} --out={out}/album_report",
    ),
    (
        "12/12 prediction of three trips",
        "{out}/tracks/answers.csv",
        "planet_tf.predict_album --albums={out}/albums --split=test --limit=3"
        " --model_dir={last_model} --out={out}/tracks",
    ),
)


def _stage(row: tuple[str, str, str], known: Mapping[str, object]) -> Stage:
    """A row of the tables above with its braces filled in."""
    title, result, command = row
    return Stage(
        title.format_map(known),
        result.format_map(known),
        tuple(word.format_map(known) for word in command.split()),
    )


_FILES = """\
Files:
  {out}/partition.png         the partition: cells by photos per km2
  {out}/partition_report/map.html  the same to look into, in a browser
  {out}/report/examples.png   test views, maps of the answers, the truth
  {out}/report/report.html    the tables above and more, all pictures
  {out}/maps/                 predictions on the world map
  {out}/model/export/         the SavedModel: JPEG bytes in, cells out
  {out}/album_report/         the tables of the albums above
  {out}/tracks/               three trips on maps (HTML: to look into)

Next, with the environment on the PATH: export PATH={programs}:$PATH
  tensorboard --logdir {out}/model/events
  python -m planet_tf.predict --model_dir={out}/model PHOTO...
  python -m planet_tf.launcher --workers=2 --shards={out}/shards \\
      --flagfile={preset} --model_dir={out}/model2"""


def _run(command: Sequence[str], signals: Sequence[int]) -> int:
    """Runs one program to its end, and hands on what asks us to stop.

    It is in a process group of its own: what a terminal sends to all reaches
    it once, through us, and nothing that it starts outlives it.
    """
    process = subprocess.Popen(
        command,
        env=_environment(os.environ),
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    told = 0
    try:
        while process.poll() is None:
            for number in signals[told:]:
                _signal(process, number)
                told += 1
            time.sleep(gang.POLL_SECONDS)
    finally:
        _signal(process, signal.SIGKILL)
    return gang.shell_code(process.wait())


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The programs' environment: TensorFlow says errors alone."""
    return {"TF_CPP_MIN_LOG_LEVEL": "3"} | dict(inherited)


def _signal(process: subprocess.Popen, number: int) -> None:
    """Sends a signal to a program and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
