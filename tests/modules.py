"""The repository's modules by name, found as files and not imported."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# Packages that neither import TensorFlow nor what does, not even in functions.
NO_TENSORFLOW = (
    "planet_tf.config_flags",
    "planet_tf.photos",
    "planet_tf.workers",
    "planet_tf.geo",
    "planet_tf.answering",
    "planet_tf.drawing",
    "planet_tf.tables",
    "planet_tf.options",
    "planet_tf.reports",
)


def _name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {
    _name(path): path
    for top in ("planet_tf", "beam_pipelines", "benchmarks")
    for path in sorted((ROOT / top).rglob("*.py"))
}
# What `python -m` is meant to run.
PROGRAMS = [
    name
    for name, path in MODULES.items()
    if '\nif __name__ == "__main__":\n' in path.read_text()
]
