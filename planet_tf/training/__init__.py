"""The training loop, its tasks (photos, albums), and what it leaves behind."""
