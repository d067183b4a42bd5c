import subprocess
import sys

import pytest

WORKER_MODULES = [
    "planet_tf.geo.geometry",
    "planet_tf.geo.partition",
    "planet_tf.photos.images",
    "planet_tf.photos.records",
    "planet_tf.photos.rejects",
    "planet_tf.photos.exif",
    "planet_tf.geo.land",
    "planet_tf.reports.partition_report",
    "planet_tf.geo.quadtree",
    "planet_tf.tables.matching",
    "planet_tf.photos.manifests",
    "planet_tf.photos.photo_files",
    "planet_tf.tables.predictions",
    "planet_tf.photos.tars",
    "planet_tf.tables.truths",
    "beam_pipelines.album_records",
    "beam_pipelines.albums",
    "beam_pipelines.answers",
    "beam_pipelines.archives",
    "beam_pipelines.batches",
    "beam_pipelines.doctor",
    "beam_pipelines.duplicates",
    "beam_pipelines.embedding",
    "beam_pipelines.files",
    "beam_pipelines.grouping",
    "beam_pipelines.leaks",
    "beam_pipelines.photo_statistics",
    "beam_pipelines.photo_values",
    "beam_pipelines.photos",
    "beam_pipelines.record_files",
    "beam_pipelines.rejects",
    "beam_pipelines.shards",
    "beam_pipelines.shards_dir",
    "beam_pipelines.sources",
    "beam_pipelines.splits",
    "beam_pipelines.tables",
    "beam_pipelines.transforms",
]
PROGRAMS = [
    "beam_pipelines.build_partition",
    "beam_pipelines.check_photos",
    "beam_pipelines.check_splits",
    "beam_pipelines.predict_photos",
    "beam_pipelines.report_partition",
    "beam_pipelines.write_albums",
    "beam_pipelines.write_shards",
    "planet_tf.check_tpu",
    "planet_tf.convert_partition",
]


def modules_after_importing(module):
    """What a fresh interpreter has imported after one module."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_worker_modules_do_not_import_tensorflow():
    modules = modules_after_importing(", ".join(WORKER_MODULES))
    assert set(WORKER_MODULES) <= set(modules)
    assert "tensorflow" not in modules


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_imports_neither_beam_nor_tensorflow_for_its_help(program):
    modules = modules_after_importing(program)
    assert "tensorflow" not in modules
    assert "apache_beam" not in modules
