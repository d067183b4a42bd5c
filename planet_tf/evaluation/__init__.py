"""A model, or a file of answers, beside baselines."""
