#!/usr/bin/env bash
# From nothing to a map of answers: makes the environment, cuts satellite views
# around the places of real photos and along trips, partitions the Earth, writes
# shards, trains the photo model, evaluates it and predicts; the same for albums.
# Interrupted, it goes on where it was. No network but the Python package index
# is used.
#
#   launch/quickstart.sh                 some 16 minutes on 2 cores
#   launch/quickstart.sh --size small    3 minutes, to see that all works
#   launch/quickstart.sh --out DIR       instead of quickstart (quickstart-small)
#                                        where you are
#   launch/quickstart.sh --variants all  all album models, 10 minutes more;
#                                        or a list of them: lstm,bidirectional
#
# PYTHON and PLANET_VENV are as in launch/setup_env.sh.
set -euo pipefail
case " $* " in # before gigabytes are installed
  *' --help '* | *' -h '*)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    exit
    ;;
esac
root=$(realpath "$(dirname "$0")/..")
"$root/launch/setup_env.sh"
venv=$(cd "$root" && realpath "${PLANET_VENV:-.venv}")
# The installed package, even from where the clone is a folder `planet_tf`.
export PATH="$venv/bin:$PATH" PYTHONSAFEPATH=1
exec python -m planet_tf.quickstart "$@"
