"""The game of people against the model, after PlaNet section 4.

Its photos are read by TensorFlow; its results are not.
"""
