"""Stands in for rules_python: the rules that Bazel 4 holds itself."""

# buildifier: disable=native-py
py_library = native.py_library

# buildifier: disable=native-py
py_test = native.py_test
