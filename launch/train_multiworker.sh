#!/usr/bin/env bash
# Trains the photo model with several workers.
#
#   launch/train_multiworker.sh --workers=2 --shards=DIR --model_dir=DIR [...]
#
# On one machine it starts the workers. On a cluster run it on every machine,
# with TF_CONFIG set there: it is then the one worker that TF_CONFIG says.
# Options that are not the launcher's go to planet_tf.train; --help lists the
# launcher's, python -m planet_tf.train --help the others.
#
# It runs in the environment of launch/setup_env.sh if there is one, else with
# the python3 on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(realpath -m "${PLANET_VENV:-.venv}")/bin:$PATH"
exec python3 -m planet_tf.local_workers "$@"
