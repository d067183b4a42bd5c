r"""Says where any number of photos were taken, on the workers of a runner.

python -m beam_pipelines.predict_photos --photos='gs://BUCKET/*.tar' \
    --model_dir=gs://BUCKET/model --out=gs://BUCKET/predictions

Writes predictions-SOURCE-PIECE.FORMAT to --out, and rejects-SOURCE-PIECE.jsonl
with what could not be answered: SOURCE counts the tars, tables and runs of
image files that --photos names, PIECE the pieces of --piece_photos of them.
Stopped and started again with the same command, it goes on with the pieces
that are not there. planet_tf.evaluate reads all of them:
--predictions='predictions/predictions-*.jsonl'.

planet_tf.predict does the same on one machine, to one file.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines import options
from planet_tf.config_flags import option
from planet_tf.options.asking_config import FILE_FORMATS, AnswersConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(AnswersConfig):
    """Options of predict_photos."""

    photos: tuple[str, ...] = option(
        help="image files, directories of them, globs, tars (*.tar), or tables"
        " (*.csv, *.tsv, *.parquet) with a column path and, if there is one,"
        " photo_id"
    )
    out: str = option(help="the directory of the files")
    format: str = option(
        "jsonl", help="of the files of answers", choices=FILE_FORMATS
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines import embedding
    from planet_tf.model import model_dir
    from planet_tf.prediction import batch_prediction

    return options.run_program(
        lambda: predict(config, beam_options),
        batch_prediction.PredictionError,
        embedding.ModelError,
        model_dir.ModelDirError,
    )


def predict(config: Config, beam_options: Any) -> list[str]:
    """Writes all files; returns a summary of them."""
    from beam_pipelines import answers, embedding, files, rejects
    from planet_tf.geo import coarsening
    from planet_tf.model import model_dir
    from planet_tf.prediction import batch_prediction, pieces

    out = files.full_path(config.out)
    directory = files.full_path(config.model_dir)
    check_photos(config)
    partition, _ = coarsening.limited(
        model_dir.read_partition(directory), config.min_cell_km
    )
    form = pieces.Form(config.format, config.top, config.batch_size)
    exported = model_dir.export_path(directory)
    weights = embedding.weights_fingerprint(exported)
    model = answers.Model(directory, weights, config.min_cell_km, form)
    if not options.is_dry_run(beam_options):
        facts = batch_prediction.facts(config, form, weights, partition)
        batch_prediction.claim(out, facts | {"photos": list(config.photos)})
    counts = run(config, beam_options, out, model)
    photos = counts.pop(answers.READ, 0)
    rejects.check_fraction(counts, photos, config.max_reject_fraction)
    return list(summary_lines(photos, counts, out))


def check_photos(config: Config) -> None:
    """Raises SourceError if the first of the photos cannot be named."""
    from planet_tf.photos import manifests, photo_files

    found = photo_files.sources(config.photos)
    if not found:
        raise manifests.SourceError(
            f"no image files in {', '.join(config.photos)}"
        )
    next(iter(photo_files.photos(found[0])), None)


def run(
    config: Config, beam_options: Any, out: str, model: Any
) -> dict[str, int]:
    """Runs the pipeline; returns what was read, and rejects by reason."""
    import apache_beam as beam

    from beam_pipelines import answers, files

    result_path = files.join(out, "result" + files.INCOMPLETE)
    p = beam.Pipeline(options=beam_options)
    _ = (
        p
        | answers.WriteAnswers(config.photos, out, model, config.piece_photos)
        | beam.Map(files.write_json, result_path)
    )
    options.run(p)
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    return result


def summary_lines(
    photos: int, counts: Mapping[str, int], out: str
) -> Iterator[str]:
    """What was made, for people."""
    yield f"{photos:,} photos read"
    yield f"  {photos - sum(counts.values()):,} answered"
    yield f"  {sum(counts.values()):,} left out"
    yield from (f"    {n:,} {reason}" for reason, n in counts.items())
    yield f"written to {out}"


if __name__ == "__main__":
    sys.exit(main())
