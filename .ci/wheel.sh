#!/usr/bin/env bash
# Builds sdist and wheel as a release would, looks into both, and runs the
# programs of the wheel where there is no repository.
#
#   .ci/wheel.sh
#
# Uses the python that is first on the PATH, and its packages.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

# same WHAT WANTED: compares lines of the standard input with those of a file.
same() {
  sort | diff "$2" - || {
    printf '%s: < is missing in it, > should not be there\n' "$1" >&2
    return 1
  }
}

python -m build --outdir "$work/dist" >"$work/build.log" 2>&1 || {
  tail -n 20 "$work/build.log"
  exit 1
}
wheel=$(echo "$work"/dist/*.whl)
git ls-files -co --exclude-standard planet_tf beam_pipelines |
  grep -v '/BUILD$' | sort >"$work/code"
python -m zipfile -l "$wheel" | awk 'NR > 1 {print $1}' |
  grep -v '^planet_tf-[^/]*\.dist-info/' | same wheel "$work/code"
printf '%s\n' LICENSE PKG-INFO README.md pyproject.toml setup.cfg setup.py |
  sort - "$work/code" >"$work/source"
tar -tzf "$work"/dist/*.tar.gz | sed 's#^[^/]*/##' |
  grep -v -e '^planet_tf.egg-info/' -e '/$' -e '^$' | same sdist "$work/source"

# An environment of the wheel alone. Its dependencies are seen where this
# Python has them, since TensorFlow takes minutes to install; .pth files are not
# read there, and so there is no editable install of the repository.
python -m venv --without-pip "$work/env"
install=(python -m pip --disable-pip-version-check
  --python "$work/env/bin/python" install --quiet)
"${install[@]}" --no-deps "$wheel"
python -c 'import site; print(*site.getsitepackages(), sep="\n")' \
  >"$(echo "$work"/env/lib/python3*/site-packages)/packages.pth"
# Fails if one is not there, or not in the version of the lock.
"${install[@]}" --no-index -c requirements_lock.txt "${wheel}[demo]"

mkdir "$work/empty"
cd "$work/empty"
found=$("$work/env/bin/python" -c 'import planet_tf; print(planet_tf.__file__)')
[[ $found == "$work"/env/* ]] || {
  printf 'imported from the repository: %s\n' "$found"
  exit 1
}
export PATH="$work/env/bin:$PATH"
for program in "$work"/env/bin/planet-*; do
  "$program" --help >"$work/help" 2>&1 || {
    printf '%s --help:\n' "$program"
    tail -n 5 "$work/help"
    exit 1
  }
done
awk 'BEGIN {
  print "LAT,LON"
  for (i = 0; i < 500; i++) print rand() * 160 - 80 "," rand() * 360 - 180
}' >photos.csv
{
  planet-build-partition --photos=photos.csv --out=partition.json \
    --max_photos=50 --min_photos=5
  planet-convert-partition partition.json --out=partition.geojson
  planet-draw partition.json --out=partition.png
  # This one reads the files that are no Python.
  planet-report-partition --partition=partition.json --photos=photos.csv \
    --out=report
} >"$work/run.log" 2>&1 || {
  tail -n 20 "$work/run.log"
  exit 1
}
[[ -s partition.geojson && -s partition.png && -s report/map.html ]]
printf '%s\n' "${wheel##*/}: $(wc -l <"$work/code") files," \
  "$(echo "$work"/env/bin/planet-* | wc -w) programs run by it"
