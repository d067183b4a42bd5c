"""The processes of a training: who they are, how they start and end.

No TensorFlow.
"""
