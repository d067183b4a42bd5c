#!/usr/bin/env bash
# Makes the environment if it is missing, and runs the tests.
#
#   launch/test.sh               all but the slow ones
#   launch/test.sh -m slow       arguments go to pytest; a later -m wins
#   launch/test.sh -k partition
#
# PYTHON and PLANET_VENV are as in launch/setup_env.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup_env.sh
venv=$(realpath "${PLANET_VENV:-.venv}")
# Programs that the tests start find the same Python.
export PATH="$venv/bin:$PATH"
exec python -m pytest -n auto --dist=loadfile -m "not slow" "$@"
