"""Figures of answers, their intervals, and reports that say them.

No TensorFlow.
"""
