"""From a probability for every cell to answers: points, radii, countries.

No TensorFlow.
"""
