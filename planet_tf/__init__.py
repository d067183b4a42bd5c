"""PlaNet: photo geolocation as classification over the Earth's cells."""

__version__ = "0.1.0"
