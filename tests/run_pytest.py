"""Runs test files by pytest; Bazel's way in (see BUILD)."""

import sys

import pytest

if __name__ == "__main__":
    code = pytest.main(["-m", "not slow", *sys.argv[1:]])
    # A file whose tests are all slow has none to run here.
    sys.exit(0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code)
