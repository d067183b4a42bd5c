"""The answers for an album's photos in their order, as maps show them."""

import dataclasses

from planet_tf.geo import geometry


@dataclasses.dataclass(frozen=True)
class Answer:
    """Where a photo was taken, by one system.

    Attributes:
      lat: degrees, of the likeliest cell's point.
      lng: degrees.
      probability: of that cell.
      token: of that cell.
    """

    lat: float
    lng: float
    probability: float
    token: str

    @property
    def latlng(self) -> tuple[float, float]:
        """As a point."""
        return self.lat, self.lng


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo of an album.

    Attributes:
      name: as people know it.
      time: when it was taken, as people read it; "" if unknown.
      single: the answer from the photo alone.
      album: the answer from the photo among the others of the album.
      truth: (lat, lng) where it was taken, if known.
      outlier: whether the photo alone is sure to be far from the album's
        answer.
      jpeg: a small picture of it; b"" for none.
    """

    name: str
    time: str
    single: Answer
    album: Answer
    truth: tuple[float, float] | None = None
    outlier: bool = False
    jpeg: bytes = b""

    @property
    def km_apart(self) -> float:
        """Between the two answers."""
        return _km(self.single.latlng, self.album.latlng)

    @property
    def errors_km(self) -> tuple[float, float] | None:
        """Of the single and the album's answer; None without the truth."""
        if self.truth is None:
            return None
        single, album = self.single.latlng, self.album.latlng
        return _km(single, self.truth), _km(album, self.truth)


def _km(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(geometry.great_circle_km(*a, *b))
