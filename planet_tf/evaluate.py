"""Evaluates a trained photo model beside baselines.

python -m planet_tf.evaluate --model_dir=DIR --shards=DIR --out=DIR

Asks the exported model about every photo of a split and writes to --out:
report.md and report.json (share of photos within 1/25/200/750/2500 km, median
error), predictions.jsonl, examples.png, examples/*.jpg, learning_curves.png.
"""

import sys
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.config import EvaluateConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(EvaluateConfig, argv, usage=__doc__)

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf import data_dirs, evaluation, model_dir

    try:
        evaluation.evaluate(config)
    except (data_dirs.DataError, model_dir.ModelDirError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
