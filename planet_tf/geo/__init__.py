"""The Earth: points, cells, partitions, land, countries, names of places.

No TensorFlow. Imports nothing of the project but config_flags.
"""
