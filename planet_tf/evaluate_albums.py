"""Compares album models with the single photo and the album's average.

python -m planet_tf.evaluate_albums --albums=DIR --model_dirs=DIR,... --out=DIR

Asks each model about every photo of a split's albums and writes to --out:
report.md and report.json (share of photos within 1/25/200/750/2500 km, of all,
by position and length, and by how ambiguous the single photo is).
"""

import sys
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.options.asking_config import EvaluateAlbumsConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(EvaluateAlbumsConfig, argv, usage=__doc__)

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf.data import data_dirs
    from planet_tf.evaluation import album_evaluation
    from planet_tf.model import model_dir

    try:
        album_evaluation.evaluate(config)
    except (data_dirs.DataError, model_dir.ModelDirError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
