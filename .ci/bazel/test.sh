#!/usr/bin/env bash
# Loads every target of BUILD and runs tests by Bazel, without the network.
#
#   .ci/bazel/test.sh                          all tests
#   .ci/bazel/test.sh //tests:geometry_test ...     these only
#
# Debian's Bazel is 4.2.3. It does not read MODULE.bazel, so the modules named
# there are stood in for: rules_python by the rules that Bazel 4 holds itself,
# and each @pypi package by an empty library: the python3 that is first on PATH
# has to have them all. What this verifies is BUILD; MODULE.bazel and newer
# versions of Bazel are not tried. Needs, from Debian: bazel-bootstrap
# bazel-skylib bazel-platforms bazel-rules-java bazel-rules-proto.
set -euo pipefail
cd "$(dirname "$0")/../.."
stand_ins=$PWD/.ci/bazel
work=$(mktemp -d)
# bazel-4 and not bazel: Debian's `bazel` looks for the newest one.
bazel=(bazel-4 "--output_user_root=$work/output" --max_idle_secs=60)

finish() {
  (cd "$work/workspace" && "${bazel[@]}" shutdown) &>/dev/null || true
  chmod -R u+w "$work"
  rm -rf "$work"
}
trap finish EXIT

# A Python with the packages of the first one on PATH but without its .pth
# files: an editable install there would hide a dependency missing in BUILD.
python3 -m venv --without-pip "$work/python"
python3 -c 'import site; print(*site.getsitepackages(), sep="\n")' \
  >"$(echo "$work"/python/lib/python3*/site-packages)/packages.pth"
export PATH="$work/python/bin:$PATH"

# Bazel 4 wants a file WORKSPACE, which has no place in the repository.
mkdir -p "$work/workspace" "$work/pypi"
ln -s "$PWD"/* "$work/workspace/"
touch "$work/workspace/WORKSPACE" "$work/pypi/WORKSPACE"
grep -rhoI --include=BUILD '@pypi//[a-z0-9_]*' planet_tf beam_pipelines \
  benchmarks tests | sort -u | while read -r label; do
  name=${label#@pypi//}
  mkdir "$work/pypi/$name"
  printf 'py_library(name = "%s", visibility = ["//visibility:public"])\n' \
    "$name" >"$work/pypi/$name/BUILD"
done

options=(
  --override_repository=pypi="$work/pypi"
  --noshow_progress
  --nosandbox_debug
  --symlink_prefix=/
)
for name in rules_python rules_cc remote_coverage_tools; do
  options+=(--override_repository="$name=$stand_ins/$name")
done
debian=/usr/share/bazel
options+=(
  --override_repository=bazel_skylib="$debian/tools/skylib"
  --override_repository=platforms="$debian/tools/platforms"
  --override_repository=rules_java="$debian/rules/java"
  --override_repository=rules_proto="$debian/rules/proto"
)

cd "$work/workspace"
"${bazel[@]}" build "${options[@]}" //...
"${bazel[@]}" test "${options[@]}" --test_output=errors "${@:-//...}"
