"""Apache Beam jobs that turn geotagged photos into PlaNet's data."""
