"""Stands in for rules_cc: the rules that Bazel 4 holds itself."""

# buildifier: disable=native-cc
cc_binary = native.cc_binary

# buildifier: disable=native-cc
cc_import = native.cc_import

# buildifier: disable=native-cc
cc_library = native.cc_library

# buildifier: disable=native-cc
cc_proto_library = native.cc_proto_library

# buildifier: disable=native-cc
cc_test = native.cc_test

# buildifier: disable=native-cc
cc_toolchain = native.cc_toolchain

# buildifier: disable=native-cc
cc_toolchain_suite = native.cc_toolchain_suite

# buildifier: disable=native-cc
fdo_profile = native.fdo_profile
