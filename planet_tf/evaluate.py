"""Evaluates a trained photo model, any system's predictions, or people.

python -m planet_tf.evaluate --model_dir=DIR --shards=DIR --out=DIR
python -m planet_tf.evaluate --predictions=FILE --truth=FILE --out=DIR
python -m planet_tf.evaluate --game=FILE --out=DIR

Asks the exported model about every photo of a split, or reads another system's
answers from JSON Lines or CSV, or the results of the server's game. Writes to
--out: report.md, report.json and report.html (share of photos within
1/25/200/750/2500 km, GeoScore, countries, calibration, all with 95 %
intervals), photos.csv, pictures; of a model also predictions.jsonl and
examples.
"""

import sys
from collections.abc import Callable, Sequence

from planet_tf import config_flags
from planet_tf.options.asking_config import EvaluateConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(EvaluateConfig, argv, usage=__doc__)

    # After the options are known to be right: TensorFlow takes seconds.
    if config.predictions:
        from planet_tf.evaluation import file_evaluation
        from planet_tf.geo import partition
        from planet_tf.tables import answer_columns

        return _run(
            file_evaluation.evaluate,
            config,
            (
                answer_columns.PredictionsError,
                partition.PartitionError,
                FileNotFoundError,
            ),
        )
    if config.game:
        from planet_tf.games import people
        from planet_tf.tables import answer_columns

        errors = answer_columns.PredictionsError, FileNotFoundError
        return _run(people.evaluate, config, errors)
    from planet_tf.data import data_dirs
    from planet_tf.evaluation import model_evaluation
    from planet_tf.model import model_dir

    return _run(
        model_evaluation.evaluate,
        config,
        (data_dirs.DataError, model_dir.ModelDirError),
    )


def _run(
    evaluate: Callable[[EvaluateConfig], None],
    config: EvaluateConfig,
    errors: tuple[type[Exception], ...],
) -> int:
    try:
        evaluate(config)
    except errors as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
