#!/usr/bin/env bash
# Runs one of the Beam programs on Google's Dataflow: build_partition,
# write_shards, check_photos, check_splits or report_partition.
#
#   PROJECT=my-project BUCKET=my-bucket IMAGE=REGISTRY/planet:1 \
#     launch/dataflow/run.sh write_shards \
#       '--photos=gs://BUCKET/photos/*.parquet' --shards=10000 \
#       --partition=gs://BUCKET/partition.json --out=gs://BUCKET/shards
#
# IMAGE is made from launch/Dockerfile (target beam), again after each change of
# the code. REGION (us-central1), WORKERS at most (100), MACHINE (n2-standard-8)
# and DISK_GB (50) may be set. Options are those of the program and Beam's; a
# later one wins. --dry_run=True translates the pipeline and runs nothing.
#
# This machine waits for the job and does the last steps: leave it running.
# Not verified: no job has been run on the real service yet; what was checked
# without it is in docs/scale.md.
set -euo pipefail
program=${1:?the program, such as write_shards}
shift
name=planet-${program//_/-}-$(date -u +%Y%m%d-%H%M%S)
cd "$(dirname "$0")/../.."
PATH="$(realpath -m "${PLANET_VENV:-.venv}")/bin:$PATH"
exec python3 -m "beam_pipelines.$program" \
  --runner=DataflowRunner \
  --project="${PROJECT:?the Google Cloud project}" \
  --region="${REGION:-us-central1}" \
  --job_name="$name" \
  --temp_location="gs://${BUCKET:?a bucket in the same region}/temp" \
  --staging_location="gs://$BUCKET/staging" \
  --sdk_container_image="${IMAGE:?the image of the workers}" \
  --sdk_location=container \
  --worker_machine_type="${MACHINE:-n2-standard-8}" \
  --disk_size_gb="${DISK_GB:-50}" \
  --autoscaling_algorithm=THROUGHPUT_BASED \
  --max_num_workers="${WORKERS:-100}" \
  "$@"
