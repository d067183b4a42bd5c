import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="of glibc"
)

# Pages that the kernel had to give while a block was freed and asked for again.
_PROGRAM = """
import resource, sys
from planet_tf.sizing import memory
kept = memory.keep_freed() if "keep" in sys.argv else None
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
block = b"x" * 2**26
del block
before = faults()
for _ in range(4):
    block = b"x" * 2**26
    del block
print(kept, faults() - before)
"""


def run(*arguments, **variables):
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={
            **{k: v for k, v in os.environ.items() if "MALLOC" not in k},
            **variables,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    kept, faults = found.stdout.split()
    return kept, int(faults)


def test_freed_memory_is_used_again_without_asking_the_kernel():
    pages = 4 * 2**26 // os.sysconf("SC_PAGESIZE")
    assert run("keep") == ("True", pytest.approx(0, abs=pages // 100))
    assert run()[1] > pages // 2  # what glibc does by itself


def test_what_the_user_has_set_stays():
    assert run("keep", MALLOC_ARENA_MAX="2")[0] == "False"
    tunables = "glibc.malloc.arena_max=2"
    assert run("keep", GLIBC_TUNABLES=tunables)[0] == "False"
