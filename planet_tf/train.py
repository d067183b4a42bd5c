"""Trains the photo model on shards.

python -m planet_tf.train --shards=DIR --model_dir=DIR [options]

Run again after a stop, it goes on from the last checkpoint. Several workers
are started by launch/train_multiworker.sh, or each by a cluster that sets
TF_CONFIG.
"""

import sys
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.config import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(TrainConfig, argv, usage=__doc__)

    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf import (
        distribution,
        input_pipeline,
        model_dir,
        progress,
        training,
    )

    try:
        training.train(config)
    except (config_flags.UsageError, distribution.ClusterError) as error:
        config_flags.fail(error)
    except (
        input_pipeline.ShardsError,
        model_dir.ModelDirError,
        progress.TrainingError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
