"""The options of the programs, as frozen dataclasses.

No TensorFlow. planet_tf.config_flags makes command lines of them.
"""
