#!/usr/bin/env bash
# Checks without a TPU whether the train step compiles for one and fits it.
#
#   launch/check_tpu.sh --topology=v5e:2x2 --batch_size=512 [...]
#
# Needs the packages of the extra tpu-check (pip install '.[train,tpu-check]').
# --help lists the options; docs/tpu.md says what is checked and what is not.
#
# It runs in the environment of launch/setup_env.sh if there is one, else with
# the python3 on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(realpath -m "${PLANET_VENV:-.venv}")/bin:$PATH"
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
exec python3 -m planet_tf.check_tpu "$@"
