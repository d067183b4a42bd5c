"""Networks, and what belongs to a model: its directory, its SavedModel."""
