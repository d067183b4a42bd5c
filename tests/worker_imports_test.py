"""What a fresh interpreter loads: seconds and memory of each Beam worker."""

import json
import subprocess
import sys

from modules import MODULES, NO_TENSORFLOW, PROGRAMS, ROOT

# A worker may be handed what is defined in any of these.
WORKER_MODULES = [
    name
    for name in MODULES
    if name.startswith("beam_pipelines.")
    or any(f"{name}.".startswith(f"{own}.") for own in NO_TENSORFLOW)
]
# Benchmarks measure TensorFlow and Beam, and load them.
OUR_PROGRAMS = [name for name in PROGRAMS if not name.startswith("benchmarks.")]
LOAD = """
import importlib, json, sys
from absl import flags

loaded = {}
for name in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(name)
    loaded[name] = [*set(sys.modules) - before]
print(json.dumps([loaded, [*flags.FLAGS.flags_by_module_dict()]]))
"""


def load(names: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """What comes with each, and who has defined flags, in one interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
    )
    loaded, defining = json.loads(done.stdout)
    assert list(loaded) == names
    return loaded, defining


def test_what_workers_load_is_without_tensorflow():
    assert len(WORKER_MODULES) > 100
    loaded, _ = load(WORKER_MODULES)
    for name, found in loaded.items():
        assert not {"tensorflow", "keras"} & set(found), name


def test_a_program_loads_neither_beam_nor_tensorflow_and_defines_no_flag():
    loaded, defining = load(OUR_PROGRAMS)
    for name, found in loaded.items():
        assert not {"tensorflow", "keras", "apache_beam"} & set(found), name
    assert not set(defining) & set(MODULES)
