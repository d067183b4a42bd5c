#!/usr/bin/env bash
# Trains the photo model, or an album model, with several workers.
#
#   launch/train_multiworker.sh --workers=2 --shards=DIR --model_dir=DIR [...]
#   launch/train_multiworker.sh --model=album --albums=DIR --model_dir=DIR [...]
#
# On its own it starts workers on this machine. On a cluster run it once for
# each worker: it becomes the one that TF_CONFIG, --hosts, SLURM or a JobSet
# says it is (docs/clusters.md). Options that are not the launcher's go to the
# trainer: --help lists the former, python -m planet_tf.train --help the latter
# (train_albums with --model=album).
#
# It runs in the environment of launch/setup_env.sh if there is one, else with
# the python3 on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(realpath -m "${PLANET_VENV:-.venv}")/bin:$PATH"
exec python3 -m planet_tf.launcher "$@"
