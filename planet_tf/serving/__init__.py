"""The HTTP server: routes, limits, common batches."""
