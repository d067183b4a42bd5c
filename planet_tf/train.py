"""Trains the photo model on shards.

python -m planet_tf.train --shards=DIR --model_dir=DIR [options]

Run again after a stop, it goes on from the last checkpoint. Several workers
are started by launch/train_multiworker.sh, or each by a cluster that sets
TF_CONFIG.

Exit codes: 0 done; 2 wrong options; 1 an error that would come again; 143
start it again: it was asked to end (130 by Ctrl-C) and left a checkpoint, or
another worker ended or did not come.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from planet_tf import config_flags
from planet_tf.options.train_config import RunConfig, TrainConfig

if TYPE_CHECKING:
    from planet_tf.training import loop

Options = TypeVar("Options", bound=RunConfig)

AGAIN = 143  # 128 + SIGTERM
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(TrainConfig, argv, usage=__doc__)
    return run(config, _photo_task)


def _photo_task(config: TrainConfig) -> "loop.Task":
    from planet_tf.training import photo_task

    return photo_task.PhotoTask(config)


def run(config: Options, make_task: "Callable[[Options], loop.Task]") -> int:
    """Trains what a task says; returns the program's exit code."""
    try:
        return _train(config, make_task)
    except KeyboardInterrupt:  # before signals are taken note of
        return _fail("interrupted", _INTERRUPTED)


def _train(config: Options, make_task: "Callable[[Options], loop.Task]") -> int:
    # After the options are known to be right: TensorFlow takes seconds.
    from planet_tf.data import data_dirs
    from planet_tf.model import model_dir
    from planet_tf.sizing import memory
    from planet_tf.training import (
        checkpoints,
        distribution,
        loop,
        progress,
        warm_start,
    )
    from planet_tf.workers import preemption, rendezvous

    memory.keep_freed()
    try:
        loop.train(config, make_task)
    except (
        checkpoints.CheckpointError,
        distribution.DisagreementError,
        data_dirs.DataError,
        model_dir.ModelDirError,
        progress.TrainingError,
        warm_start.WarmStartError,
    ) as error:
        return _fail(f"error: {error}", 1)
    except (config_flags.UsageError, distribution.ClusterError) as error:
        config_flags.fail(error)
    except preemption.Preempted as error:
        again = "the same command goes on from the last checkpoint"
        return _fail(f"{error}: {again}", error.exit_code)
    except rendezvous.PeersMissingError as error:
        return _fail(f"error: {error}", AGAIN)
    except Exception as error:
        lost = distribution.lost_peer(error)
        if lost is None:
            raise
        _fail(f"error: {lost}", AGAIN)
        # Not by the usual way, on which TensorFlow may wait for its peers.
        sys.stdout.flush()
        os._exit(AGAIN)
    return 0


def _fail(text: str, code: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
