"""Trains an album model on albums of embedded photos.

python -m planet_tf.train_albums --albums=DIR --model_dir=DIR [options]

Stops, goes on, and ends with the exit codes of planet_tf.train.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from planet_tf import config_flags, train
from planet_tf.options.train_config import TrainAlbumsConfig

if TYPE_CHECKING:
    from planet_tf.training import loop


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(TrainAlbumsConfig, argv, usage=__doc__)
    return train.run(config, _album_task)


def _album_task(config: TrainAlbumsConfig) -> "loop.Task":
    from planet_tf.training import album_task

    return album_task.AlbumTask(config)


if __name__ == "__main__":
    sys.exit(main())
