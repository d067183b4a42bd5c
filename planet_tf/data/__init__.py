"""Directories of records as batches for training."""
