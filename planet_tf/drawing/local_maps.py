"""A piece of the Earth as a map, with its land, its towns and a scale.

A piece is drawn in Lambert's projection about its middle, so that neither the
antimeridian nor a pole is an edge. What reaches around the globe is drawn on
the world map of maps.py, which ends at the antimeridian.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from planet_tf.drawing import map_labels, maps
from planet_tf.geo import geometry, outlines, place_names

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LEAST_KM = 200.0  # of a map's width and height
_MARGIN = 0.09  # around what is shown, of its larger side
_FURTHEST_KM = 4500.0  # from the middle; beyond, the edges are too distorted
# Detail of the land and its least km2, for maps up to so many km wide.
_DETAILS = ((800, "i", 20.0), (2500, "i", 100.0), (np.inf, "l", 1000.0))
_FAR = 1.54  # on the map from its centre: 100 degrees, beyond all frames
_GRATICULES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)  # degrees between lines
_TOWNS = 20
_TOWN_INK = "#4a5258"


@dataclasses.dataclass(frozen=True)
class Frame:
    """What a map shows of the Earth.

    Attributes:
      centre: (lat, lng) of the projection; None for the world in Equal Earth.
      box: west, south, east and north, in map coordinates (Earth radii).
    """

    centre: tuple[float, float] | None
    box: tuple[float, float, float, float]

    @property
    def width_km(self) -> float:
        """From the left to the right."""
        return (self.box[2] - self.box[0]) * geometry.EARTH_RADIUS_KM

    @property
    def middle(self) -> tuple[float, float]:
        """The centre, of what is not the world."""
        if self.centre is None:
            raise ValueError("the map of the world has no centre")
        return self.centre

    def project(self, points: ArrayLike) -> np.ndarray:
        """Map coordinates (n, 2) of points (n, 2) = (lat, lng)."""
        lat, lng = np.asarray(points, np.float64).reshape(-1, 2).T
        if self.centre is None:
            return outlines.equal_earth(lat, lng)
        return outlines.azimuthal(lat, lng, self.centre)

    def holds(self, xy: np.ndarray) -> np.ndarray:
        """Whether map coordinates (n, 2) are inside (n,)."""
        west, south, east, north = self.box
        x, y = xy.T
        return (x >= west) & (x <= east) & (y >= south) & (y <= north)

    def joins(self, starts: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
        """Lines (k, 2) of the map from points to points, the short way.

        On the world map those across its end are there twice, and reach out
        of it on either side.
        """
        if self.centre is not None:
            return list(np.stack([self.project(starts), self.project(ends)], 1))
        steps = np.subtract(ends, starts, dtype=np.float64)
        steps[:, 1] = (steps[:, 1] + 180) % 360 - 180
        share = np.linspace(0, 1, 33)[:, None]
        lines = np.asarray(starts)[:, None] + share * steps[:, None]
        turn = 360 * np.sign(lines[:, -1, 1])[:, None]
        over = np.abs(lines[:, -1, 1]) > 180
        again = lines[over].copy()
        again[..., 1] -= turn[over]
        lines = np.concatenate([lines, again])
        return list(outlines.equal_earth(lines[..., 0], lines[..., 1]))


def fit(points: np.ndarray, aspect: float) -> Frame:
    """The frame around points (n, 2) that is `aspect` times as wide as high.

    Where they are too far apart for that, it is the world.
    """
    middle = geometry.to_vectors(*np.unique(points, axis=0).T).mean(0)
    if np.linalg.norm(middle) < 0.1:
        return world()
    lat, lng = points.T
    centre = _pair(geometry.from_vectors(middle))
    low, high = _bounds(outlines.azimuthal(lat, lng, centre))
    centre = _pair(outlines.azimuthal_inverse((low + high) / 2, centre))
    km = geometry.great_circle_km(*centre, lat, lng)
    if km.max() > _FURTHEST_KM:
        return world()
    low, high = _bounds(outlines.azimuthal(lat, lng, centre))
    middle, size = (low + high) / 2, high - low
    size = size + 2 * _MARGIN * size.max()
    height = max(size[1], size[0] / aspect, LEAST_KM / geometry.EARTH_RADIUS_KM)
    half = np.array([height * aspect, height]) / 2
    return Frame(centre, (*(middle - half).tolist(), *(middle + half).tolist()))


def world() -> Frame:
    """The frame of the world."""
    low, high = _bounds(outlines.equal_earth(*outlines.world_outline().T))
    return Frame(None, (*low.tolist(), *high.tolist()))


def _bounds(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return xy.min(0), xy.max(0)


def _pair(values: np.ndarray) -> tuple[float, float]:
    first, second = values.tolist()
    return first, second


def draw(axes: "Axes", frame: Frame) -> None:
    """Makes axes the map of a frame: the sea, the land and a graticule."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import PathPatch

    if frame.centre is None:
        maps.draw_world(axes)
        axes.apply_aspect()
        return
    west, south, east, north = frame.box
    axes.set(xlim=(west, east), ylim=(south, north), facecolor=maps.SEA)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=maps.COAST, lw=0.8, zorder=4)
    k = np.searchsorted([limit for limit, *_ in _DETAILS], frame.width_km)
    land = outlines.land(*_DETAILS[k][1:])
    colours = maps.LAND, maps.SEA, maps.LAND
    for rings, colour in zip(
        (land.land, land.lakes, land.islands), colours, strict=True
    ):
        for lines in _surfaces(frame, rings):
            patch = PathPatch(maps.path_of(lines), fc=colour, ec="none")
            axes.add_artist(patch).set(zorder=1)
    axes.add_collection(
        LineCollection(_graticule(frame), colors=maps.GRID, lw=0.4, zorder=1.5)
    )
    coast = maps.path_of(_near(frame, _project(frame, land.coast)))
    axes.add_artist(PathPatch(coast, fc="none", ec=maps.COAST, lw=0.5))
    _draw_scale(axes, frame)


def draw_lines(
    axes: "Axes",
    frame: Frame,
    lines: Sequence[np.ndarray],
    colour: str,
    width: float,
    alpha: float = 1,
    dotted: bool = False,
) -> None:
    """Draws lines of the map as far as they are in the frame."""
    from matplotlib.collections import LineCollection

    collection = LineCollection(lines, colors=colour, lw=width, alpha=alpha)
    collection.set(linestyle=":" if dotted else "-", zorder=5)
    axes.add_collection(collection, autolim=False)
    _cut_at_edge(axes, collection, frame)


def draw_arrows(
    axes: "Axes", frame: Frame, lines: Sequence[np.ndarray], colour: str
) -> None:
    """Draws the heads of arrows in the middle of lines of the map."""
    for line in lines:
        k = (len(line) - 1) // 2
        a, b = line[k : k + 2]
        angle = np.degrees(np.arctan2(*(b - a)[::-1])) - 90
        (head,) = axes.plot(*((a + b) / 2), marker=(3, 0, angle), c=colour)
        head.set(ms=6, mew=0, zorder=6)
        _cut_at_edge(axes, head, frame)


def _cut_at_edge(axes: "Axes", artist: "Artist", frame: Frame) -> None:
    """Clips to the world's outline; other frames are clipped by the axes."""
    from matplotlib.patches import Polygon

    if frame.centre is None:
        edge = outlines.equal_earth(*outlines.world_outline().T)
        outline = Polygon(edge, transform=axes.transData)
        artist.set_clip_path(outline)


def outline(frame: Frame) -> np.ndarray:
    """The ring (n, 2) = (lat, lng) around a frame that is not the world."""
    west, south, east, north = frame.box
    corners = [(west, south), (east, south), (east, north), (west, north)]
    ring = outlines.densify(np.array(corners), (east - west) / 8)
    return outlines.azimuthal_inverse(ring, frame.middle)


def _project(frame: Frame, lines: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Lines (n, 2) = (lat, lng) as on the map, all in one go."""
    if not lines:
        return []
    flat = frame.project(np.concatenate(lines))
    return np.split(flat, np.cumsum([len(line) for line in lines])[:-1])


def _near(frame: Frame, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those lines of the map whose bounds meet the frame."""
    west, south, east, north = frame.box
    found = []
    for line in lines:
        (x0, y0), (x1, y1) = _bounds(line)
        if x0 < east and x1 > west and y0 < north and y1 > south:
            found.append(line)
    return found


def _surfaces(
    frame: Frame, rings: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """Rings on the map, those that are to be filled together in one list.

    A ring around the point opposite to the centre covers what is outside of
    it on the map: it is turned inside out, with a ring around the whole map.
    """
    pairs = zip(rings, _project(frame, rings), strict=True)
    # Near the opposite point the map is torn; what is all there is not seen.
    seen = [pair for pair in pairs if np.hypot(*pair[1].T).min() < _FAR]
    turn = np.linspace(0, 2 * np.pi, 65)
    edge = 3 * np.stack([np.cos(turn), np.sin(turn)], -1)
    plain, surfaces = [], []
    for ring, xy in seen:
        if not _surrounds_opposite(frame, ring):
            plain.append(xy)
            continue
        x, y = xy.T
        clockwise = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() < 0
        surfaces.append([xy, edge if clockwise else edge[::-1]])
    return [_near(frame, plain), *surfaces]


def _surrounds_opposite(frame: Frame, ring: np.ndarray) -> bool:
    """Whether a ring (lat, lng) holds the point opposite to the centre."""
    from matplotlib.path import Path

    lat, lng = frame.middle
    # A little inside of where the rings are cut.
    point = np.array([-lat, float(geometry.wrap_lng(lng + 180))])
    point = np.clip(point, (-89.9, -179.9), (89.9, 179.9))
    low, high = _bounds(ring)
    inside = (low < point).all() and (point < high).all()
    return bool(inside and Path(ring).contains_point(point))


def _graticule(frame: Frame) -> list[np.ndarray]:
    """Some parallels and meridians of a frame, as on the map."""
    west, south, east, north = frame.box
    grid = np.meshgrid(np.linspace(west, east, 41), np.linspace(south, north))
    seen = outlines.azimuthal_inverse(np.stack(grid, -1), frame.middle)
    lat, lng = seen.reshape(-1, 2).T
    lng = frame.middle[1] + (lng - frame.middle[1] + 180) % 360 - 180
    along_lat = np.linspace(lat.min(), lat.max(), 61)
    along_lng = np.linspace(lng.min(), lng.max(), 181)
    lines = [np.stack([along_lat, 0 * along_lat + x], -1) for x in _steps(lng)]
    lines += [np.stack([0 * along_lng + y, along_lng], -1) for y in _steps(lat)]
    return [frame.project(line) for line in lines]


def _steps(values: np.ndarray) -> np.ndarray:
    """Round numbers in the range of values, some five of them."""
    step = min(_GRATICULES, key=lambda s: abs(np.log(np.ptp(values) / s / 5)))
    first = np.ceil(values.min() / step)
    return step * np.arange(first, values.max() / step)


def _draw_scale(axes: "Axes", frame: Frame) -> None:
    """A line of a round number of km, in the lower left corner."""
    most = frame.width_km / 5
    power = 10 ** np.floor(np.log10(most))
    km = max(k * power for k in (1, 2, 5) if k * power <= most)
    west, south, east, north = frame.box
    x, y = west + 0.02 * (east - west), south + 0.025 * (north - south)
    end = x + km / geometry.EARTH_RADIUS_KM
    axes.plot([x, end], [y, y], c=maps.COAST, lw=2.5, zorder=5)
    label = axes.annotate(
        f"{km:,.0f} km", (x, y), (0, 4), textcoords="offset points"
    )
    label.set(fontsize=8.5, color=_TOWN_INK, zorder=5)


def label_towns(axes: "Axes", frame: Frame, labels: map_labels.Labels) -> None:
    """Writes where the largest towns are, if there are names of towns."""
    if frame.centre is None or not place_names.available():
        return
    towns = place_names.towns()
    xy = frame.project(towns.latlng)
    shown = 0
    for k in np.flatnonzero(frame.holds(xy))[: 4 * _TOWNS]:
        name = str(towns.names[k])
        if labels.add(xy[k], name, 7.5, 4, _TOWN_INK):
            axes.plot(*xy[k], "s", c=_TOWN_INK, ms=2.2, mew=0, zorder=4.5)
            shown += 1
        if shown == _TOWNS:
            return
