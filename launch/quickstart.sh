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
#   launch/quickstart.sh --variants all  all album models, 10 minutes more;
#                                        or a list of them: lstm,bidirectional
#
# PYTHON and PLANET_VENV are as in launch/setup_env.sh.
set -euo pipefail

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  exit "$1"
}

size=full out='' variants=lstm,bidirectional
while (($#)); do
  case $1 in
    --size) size=${2-} && shift ;;
    --size=*) size=${1#*=} ;;
    --out) out=${2-} && shift ;;
    --out=*) out=${1#*=} ;;
    --variants) variants=${2-} && shift ;;
    --variants=*) variants=${1#*=} ;;
    -h | --help) usage 0 ;;
    *) echo "error: unknown argument $1" >&2 && usage 2 >&2 ;;
  esac
  shift
done
case $size in
  full) views=34000 trips=4000 cells=(--max_photos=220 --min_photos=33) ;;
  small) views=3200 trips=150 cells=(--max_photos=140 --min_photos=28) ;;
  *) echo "error: --size is '$size'; it must be full or small" >&2 && usage 2 >&2 ;;
esac
if [[ $variants == all ]]; then
  variants=alone,lstm,offset1,offset2,repeated,bidirectional_repeated,bidirectional
fi
IFS=, read -ra variants <<<"$variants"
[[ -z $out ]] || out=$(realpath -m "$out")
cd "$(dirname "$0")/.."
if [[ -z $out && $size == full ]]; then out=quickstart; fi
out=${out:-quickstart-small}
mkdir -p "$out"

launch/setup_env.sh
venv=$(realpath "${PLANET_VENV:-.venv}")
export PATH="$venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Of the views, and of the trips, which keep to the views' blocks of one split.
# The partition is made of the training views alone.
splits=(--validation_fraction=0.05 --test_fraction=0.1 --albums_fraction=0.3)
SECONDS=0

# stage TITLE RESULT COMMAND...: runs a command unless its result is there.
stage() {
  local title=$1 result=$2
  shift 2
  printf '\n== %s (%d s)\n' "$title" "$SECONDS" >&2
  if [[ -e $result ]]; then
    printf 'there already: %s\n' "$result" >&2
    return
  fi
  printf '$ %s\n' "$*" >&2
  "$@"
}

stage '1/12 satellite views' "$out/views/manifest.csv" \
  python -m beam_pipelines.make_satellite_views --out="$out/views" \
  --count="$views" --trips="$trips" "${splits[@]}"
stage '2/12 partition' "$out/partition.json" \
  python -m beam_pipelines.build_partition --out="$out/partition.json" \
  --photos="$out/views/manifest.csv" --train_only "${splits[@]}" "${cells[@]}"
stage '3/12 map of the partition' "$out/partition.png" \
  python -m planet_tf.draw "$out/partition.json" --out="$out/partition.png"
stage '4/12 report on the partition' "$out/partition_report/map.html" \
  python -m beam_pipelines.report_partition --out="$out/partition_report" \
  --partition="$out/partition.json" --photos="$out/views/manifest.csv"
stage '5/12 shards' "$out/shards/shards.json" \
  python -m beam_pipelines.write_shards --photos="$out/views/manifest.csv" \
  --partition="$out/partition.json" --out="$out/shards" "${splits[@]}"
stage '6/12 training' "$out/model/export/saved_model.pb" \
  python -m planet_tf.train --flagfile="launch/quickstart_$size.flags" \
  --shards="$out/shards" --model_dir="$out/model"
stage '7/12 evaluation on the test split' "$out/report/report.md" \
  python -m planet_tf.evaluate --model_dir="$out/model" \
  --shards="$out/shards" --out="$out/report"
stage '8/12 prediction' "$out/maps/3-map.png" \
  python -m planet_tf.predict --model_dir="$out/model" --out="$out/maps" \
  "$out"/report/examples/[123].jpg
stage '9/12 albums of the trips, embedded' "$out/albums/albums.json" \
  python -m beam_pipelines.write_albums --photos="$out/views/trips.csv" \
  --model_dir="$out/model" --out="$out/albums" --shards=4
models=
for variant in "${variants[@]}"; do
  stage "10/12 training the album model $variant" \
    "$out/album_models/$variant/export/saved_model.pb" \
    python -m planet_tf.train_albums --albums="$out/albums" \
    --flagfile="launch/quickstart_albums_$size.flags" --variant="$variant" \
    --model_dir="$out/album_models/$variant"
  models+=${models:+,}$out/album_models/$variant
done
stage '11/12 evaluation on the test trips' "$out/album_report/report.md" \
  python -m planet_tf.evaluate_albums --albums="$out/albums" \
  --model_dirs="$models" --out="$out/album_report"
stage '12/12 prediction of three trips' "$out/tracks/answers.csv" \
  python -m planet_tf.predict_album --albums="$out/albums" --split=test \
  --limit=3 --model_dir="$out/album_models/${variants[-1]}" --out="$out/tracks"

printf '\n== done after %d s\n\n' "$SECONDS" >&2
sed '/^## Other figures/,$d' "$out/report/report.md"
cat "$out/album_report/report.md"
cat <<TEXT
Files:
  $out/partition.png         the partition: cells by photos per km2
  $out/partition_report/map.html  the same to look into, in a browser
  $out/report/examples.png   test views, maps of the answers, the truth
  $out/report/report.html    the tables above and more, all pictures
  $out/maps/                 predictions on the world map
  $out/model/export/         the SavedModel: JPEG bytes in, cells out
  $out/album_report/         the tables of the albums above
  $out/tracks/               three trips on maps (HTML: to look into)

Next, with the environment on the PATH: export PATH=$venv/bin:\$PATH
  tensorboard --logdir $out/model/events
  python -m planet_tf.predict --model_dir=$out/model PHOTO...
  launch/train_multiworker.sh --workers=2 --shards=$out/shards \\
      --flagfile=launch/quickstart_$size.flags --model_dir=$out/model2
TEXT
