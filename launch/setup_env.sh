#!/usr/bin/env bash
# Makes the Python environment that the other scripts here use; does nothing
# if it is there and up to date.
#
#   launch/setup_env.sh
#   PYTHON=python3.12 PLANET_VENV=/big/disk/venv launch/setup_env.sh
#
# PYTHON is the interpreter to make it from (python3; 3.11 or newer), and
# PLANET_VENV its directory (.venv; a relative path starts at the repository).
# About 3.4 GB, all from the Python package index.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${PLANET_VENV:-.venv}
log=$venv/setup.log
start=$SECONDS

fail() {
  printf '%s\n' "error: $1" "${@:2}" >&2
  exit 1
}

# What the environment was made from: another answer makes it anew.
recipe() {
  pwd
  cksum setup.py requirements_lock.txt launch/setup_env.sh
}

# A line every 10 s with what pip does, until this shell ends.
report_progress() {
  while sleep 10 &>/dev/null; do
    printf '[environment] %d s: %s\n' "$((SECONDS - start))" "$(
      grep -oE '(Collecting|Downloading|Installing) .{,45}' "$log" | tail -n 1
    )" >&2
  done
}

install() {
  "$venv/bin/python" -m pip --disable-pip-version-check install \
    --progress-bar=off "$@" >>"$log" 2>&1 ||
    fail "pip failed; $log ends with:" "$(tail -n 15 "$log")"
}

if [[ -e $venv/planet_tf.stamp ]] &&
  [[ $(recipe) == "$(cat "$venv/planet_tf.stamp")" ]]; then
  exit 0
fi
command -v "$python" >/dev/null ||
  fail "no $python here; set PYTHON to a Python of 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is $("$python" -V 2>&1); needed is 3.11 or newer: set PYTHON"
printf '[environment] installing into %s (3.4 GB, minutes, once)\n' \
  "$venv" >&2
if ! "$venv/bin/python" -m pip --version &>/dev/null; then
  "$python" -m venv "$venv" ||
    fail "$python cannot make environments; on Debian: apt install python3-venv"
fi
rm -f "$venv/planet_tf.stamp"
: >"$log"
report_progress &
trap 'kill $! 2>/dev/null' EXIT
install -c requirements_lock.txt -e '.[demo,test]'
# Only its coordinates are read; its dependencies (PyTorch) are not needed.
install --no-deps geoclip==1.3.0
recipe >"$venv/planet_tf.stamp"
printf '[environment] ready after %d s\n' "$((SECONDS - start))" >&2
