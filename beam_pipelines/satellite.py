"""Views of the Earth from above, cut from one picture of the whole of it.

The picture is a plate carree: row 0 begins at the north pole, column 0 at the
antimeridian. A view is a local azimuthal-equidistant map about its centre, so
that views near the poles look like those anywhere else.
"""

import dataclasses

import numpy as np

from planet_tf.geo import geometry


@dataclasses.dataclass(frozen=True)
class Jitter:
    """How far views of one place differ; each is drawn evenly.

    With little jitter a nearest neighbour on raw pixels wins by looking up
    the near-duplicate, and learning shows nothing. Any rotation is the fair
    choice, made before any model was trained on it: a photo from above has no
    natural upright, a satellite passes over at any heading.

    Attributes:
      aim_km: the centre lies up to so far from the place.
      rotation: degrees to either side.
      scale: factor of exp(+-scale) on the width.
      brightness: factor of exp(+-brightness) on all pixels.
      contrast: factor of exp(+-contrast) on differences from the mean.
      colour: factor of exp(+-colour) on each of red, green and blue.
      noise: standard deviation of each pixel's own noise, of 255.
    """

    aim_km: float = 60.0
    rotation: float = 180.0
    scale: float = 0.35
    brightness: float = 0.4
    contrast: float = 0.3
    colour: float = 0.15
    noise: float = 4.0


CLEAR = "clear"
UNINFORMATIVE_KINDS = ("sea", "cloud", "zoom")
ZOOM_KM = 8.0  # a view's width, about one pixel of the picture
CLOUD_COVER = (0.75, 0.98)  # of what is below, from thin to thick
_CLOUD_WHITE = 140.0  # so that brighter ones are not white all over
_CLOUD_PATCHES = 4  # of evenly thick cloud to a side of a view
_SEA_TRIALS = 4000  # points, some 350 km from one another


def pad(picture: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) with a border (h + 2, w + 2, 3) of its neighbours.

    Beyond the left edge lies the right one, and beyond a pole the opposite
    meridian; so views have no seams there. The width must be even.
    """
    half = picture.shape[1] // 2
    rows = np.concatenate(
        [
            np.roll(picture[:1], half, axis=1),
            picture,
            np.roll(picture[-1:], half, axis=1),
        ]
    )
    return np.concatenate([rows[:, -1:], rows, rows[:, :1]], axis=1)


def sample(padded: np.ndarray, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
    """Bilinear colours (n, 3) float32 at n points, from what `pad` gave."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    # Pixels are sampled at their centres; the border shifts them by one.
    y = (90.0 - lat) * (height / 180) + 0.5
    x = (lng + 180.0) * (width / 360) + 0.5
    row, column = y.astype(np.int64), x.astype(np.int64)
    down = (y - row).astype(np.float32)[:, None]
    right = (x - column).astype(np.float32)[:, None]
    pixels = padded.reshape(-1, 3)
    corner = row * padded.shape[1] + column
    below = corner + padded.shape[1]
    top = pixels[corner] * (1 - right) + pixels[corner + 1] * right
    bottom = pixels[below] * (1 - right) + pixels[below + 1] * right
    return top * (1 - down) + bottom * down


def cut(
    padded: np.ndarray,
    lat: float,
    lng: float,
    *,
    size: int,
    km: float | np.floating,
    rotation: float = 0.0,
) -> np.ndarray:
    """A view (size, size, 3) float32 about a point, `km` across.

    North is up at rotation 0; with a larger one (degrees), the view's up is
    the compass bearing `rotation`.
    """
    offset = (np.arange(size) - (size - 1) / 2) * (km / size)
    east, north = np.tile(offset, size), np.repeat(-offset, size)
    points = geometry.destinations(
        lat,
        lng,
        np.degrees(np.arctan2(east, north)) + rotation,
        np.hypot(east, north),
    )
    return sample(padded, *points.T).reshape(size, size, 3)


def open_sea(padded: np.ndarray, km: float) -> np.ndarray:
    """Points (n, 2) with nothing but deep sea for `km` around; maybe none.

    Deep sea is dark blue there, unlike land, ice and shallows; it is looked
    at every 25 km or so, at points that lie evenly over the Earth.
    """
    turn = np.arange(_SEA_TRIALS) * (180 * (3 - 5**0.5))  # the golden angle
    height = 1 - (2 * np.arange(_SEA_TRIALS) + 1) / _SEA_TRIALS
    lat, lng = np.degrees(np.arcsin(height)), geometry.wrap_lng(turn)
    found = np.stack([lat, lng], -1)[_is_sea(sample(padded, lat, lng))]
    steps = np.linspace(-km, km, int(km / 12) + 1)
    east, north = np.meshgrid(steps, steps)
    bearing, away = np.degrees(np.arctan2(east, north)), np.hypot(east, north)
    bearing, away = bearing[away <= km], away[away <= km]
    open_around = [
        _is_sea(
            sample(padded, *geometry.destinations(lat, lng, bearing, away).T)
        ).all()
        for lat, lng in found
    ]
    return found[np.array(open_around, bool)]


def _is_sea(colours: np.ndarray) -> np.ndarray:
    """Whether colours (n, 3) are those of deep sea, (n,) bool."""
    red, green, blue = colours.T
    return (red < 40) & (blue > 10) & (blue > 1.5 * green)


def reach_km(km: float, jitter: Jitter) -> float:
    """How far from its place a view `km` across can show anything."""
    return jitter.aim_km + km * np.sqrt(0.5) * np.exp(jitter.scale)


def jittered_view(
    padded: np.ndarray,
    lat: float,
    lng: float,
    rng: np.random.Generator,
    *,
    size: int,
    km: float,
    jitter: Jitter,
    kind: str = CLEAR,
) -> np.ndarray:
    """A view (size, size, 3) uint8 of a place, varied as `jitter` says.

    It depends on the arguments and the generator's state only. A view of the
    sea is given a place there, of `open_sea`; a cloud lies over the place,
    and a zoom is so near that one pixel of the picture fills it.
    """
    away = jitter.aim_km * np.sqrt(rng.random())  # even over the disk's area
    aim = geometry.destinations(lat, lng, rng.uniform(0, 360), away)
    pixels = cut(
        padded,
        *aim,
        size=size,
        km=(ZOOM_KM if kind == "zoom" else km) * _factor(rng, jitter.scale),
        rotation=rng.uniform(-jitter.rotation, jitter.rotation),
    )
    if kind == "cloud":
        pixels = _under_cloud(pixels, rng)
    mean = pixels.mean(axis=(0, 1))
    pixels = mean + (pixels - mean) * _factor(rng, jitter.contrast)
    pixels *= _factor(rng, jitter.brightness)
    pixels *= [_factor(rng, jitter.colour) for _ in range(3)]
    noise = rng.standard_normal(pixels.shape, np.float32)
    pixels = pixels + np.float32(jitter.noise) * noise
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _under_cloud(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A view through cloud: of what is below only the mean colour is left."""
    patches = rng.uniform(*CLOUD_COVER, [_CLOUD_PATCHES] * 2)
    # Bilinear between the patches' centres, along one axis and the other.
    at = np.linspace(0, _CLOUD_PATCHES - 1, len(pixels))
    nearness = 1 - np.abs(at[:, None] - np.arange(_CLOUD_PATCHES))
    weights = np.maximum(nearness, 0)
    cover = (weights @ patches @ weights.T)[..., None]
    below = pixels.mean(axis=(0, 1))
    return (_CLOUD_WHITE * cover + below * (1 - cover)).astype(np.float32)


def _factor(rng: np.random.Generator, reach: float) -> np.float32:
    return np.float32(np.exp(rng.uniform(-reach, reach)))
