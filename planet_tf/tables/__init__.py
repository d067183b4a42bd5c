"""Tables of answers and truths of any system: what is read, and as what.

No TensorFlow.
"""
