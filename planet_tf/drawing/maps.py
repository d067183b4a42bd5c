"""World maps of partitions (as figure 2 of the PlaNet paper) and of answers.

`partition_map` and `prediction_map` return a matplotlib Figure, of which
`encode` makes the bytes of a file; nothing is fetched. The street cells that
hold most of a distribution are too small to be seen on a world map: it is
drawn summed over larger S2 cells.
"""

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from planet_tf.geo import geometry, outlines
from planet_tf.geo.partition import Partition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.colorizer import ColorizingArtist
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.path import Path

HEAT_LABEL = "probability, in cells of 300 km and more"
HEAT_LEVEL = 5  # of the cells a distribution is summed over, some 300 km wide
LEAST_PROBABILITY = 1e-4  # of a cell that is drawn

SEA, LAND, COAST, GRID = "#eaf0f4", "#dcdbd5", "#6f7478", "#c9d2d8"
TRUTH, ANSWER = "#007a3d", "#1a3fb0"
_DENSITY_COLOURS, _HEAT_COLOURS = "YlGnBu", "YlOrRd"
# Smaller islands and lakes are specks; by the detail of the outlines.
_LEAST_LAND_KM2 = {"l": 1000.0, "c": 6000.0}
_PIXEL_KM2 = 500.0  # of partition_map
_BORDER_KM2 = 4000.0  # of cells large enough for a border of their own
_DPI = 150


def partition_map(partition: Partition) -> "Figure":
    """All cells of a partition, coloured by photos per km2."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    km2 = np.array([geometry.cell_area_km2(t) for t in partition.tokens])
    density = np.array(partition.photos) / km2
    # Street cells, which the map cannot show, would take half of the colours.
    shown = density[km2 >= min(_PIXEL_KM2, km2.max())]
    norm = LogNorm(density.min(), max(shown.max(), 10 * density.min()))
    figure = new_figure(12, 6.9)
    axes = figure.add_axes((0.01, 0.1, 0.98, 0.84))
    draw_world(axes)
    cells = _draw_cells(axes, partition.tokens, density, norm, _DENSITY_COLOURS)
    large = [partition.tokens[k] for k in np.flatnonzero(km2 > _BORDER_KM2)]
    rings, _ = _cell_rings(large)
    borders = LineCollection(rings, colors="white", lw=0.35, zorder=2)
    axes.add_collection(borders, autolim=False)
    axes.set_title(
        f"{len(partition.tokens):,} cells, {sum(partition.photos):,} photos",
        fontsize=14,
    )
    colour_bar(figure, cells, "photos per km²", bottom=0.085)
    return figure


def prediction_map(
    partition: Partition,
    probabilities: np.ndarray,
    truth: tuple[float, float] | None = None,
    top: int = 5,
) -> "Figure":
    """The distribution over the world, and its best cells in words.

    Args:
      partition: the classes.
      probabilities: (classes,) by label, "other" included if there is one.
      truth: (lat, lng) where the photo was taken, if known.
      top: how many cells to list under the map.
    """
    caption = _caption(partition, probabilities, top)
    foot = 0.85 + 0.2 * len(caption)  # inches below the map
    height = 6.2 + foot
    figure = new_figure(12, height)
    axes = figure.add_axes((0.01, foot / height, 0.98, 5.8 / height))
    cells = draw_heat(axes, partition, probabilities, truth)
    axes.legend(loc="lower left", frameon=False, fontsize=10)
    axes.set_title(answer_text(partition, probabilities, truth), fontsize=14)
    colour_bar(figure, cells, HEAT_LABEL, bottom=(foot - 0.15) / height)
    figure.text(
        0.5,
        (foot - 0.7) / height,
        "\n".join(caption),
        ha="center",
        va="top",
        family="monospace",
        fontsize=9.5,
        linespacing=1.35,
    )
    return figure


def draw_world(axes: "Axes", detail: str = "l") -> None:
    """Makes axes a world map: the sea, the land, a graticule and its edge."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import PathPatch, Polygon

    edge = outlines.equal_earth(*outlines.world_outline().T)
    axes.add_artist(Polygon(edge, fc=SEA, ec="none", zorder=0))
    *surfaces, coast = _land_paths(detail)
    for path, colour in zip(surfaces, (LAND, SEA, LAND), strict=True):
        axes.add_artist(PathPatch(path, fc=colour, ec="none", zorder=1))
    axes.add_collection(
        LineCollection(_graticule(), colors=GRID, lw=0.4, zorder=1.5)
    )
    axes.add_artist(PathPatch(coast, fc="none", ec=COAST, lw=0.35, zorder=3))
    axes.add_artist(Polygon(edge, fc="none", ec=COAST, lw=0.8, zorder=4))
    axes.set_aspect("equal")
    axes.set_xlim(edge[:, 0].min() - 0.01, edge[:, 0].max() + 0.01)
    axes.set_ylim(edge[:, 1].min() - 0.01, edge[:, 1].max() + 0.01)
    axes.set_axis_off()


def draw_heat(
    axes: "Axes",
    partition: Partition,
    probabilities: np.ndarray,
    truth: tuple[float, float] | None = None,
    detail: str = "l",
    mark_size: float = 9,
) -> "PolyCollection":
    """Makes axes a world map of a distribution; returns its coloured cells.

    `detail` is of the land ("l", or "c" for small maps), `mark_size` of the
    marks of the top answer and the truth, in points.
    """
    from matplotlib.colors import LogNorm

    draw_world(axes, detail)
    tokens, sums = roll_up(partition, probabilities)
    seen = np.flatnonzero(sums >= LEAST_PROBABILITY)
    cells = _draw_cells(
        axes,
        [tokens[k] for k in seen],
        sums[seen],
        LogNorm(LEAST_PROBABILITY, 1, clip=True),
        _HEAT_COLOURS,
    )
    best = answers(partition, probabilities, 1)[0][0]
    marks = [(partition.points[best], "top answer", "o", ANSWER)]
    if truth is not None:
        marks.append((truth, "truth", "x", TRUTH))
    for point, label, marker, colour in marks:
        x, y = outlines.equal_earth(*np.array(point))
        (mark,) = axes.plot(x, y, marker, c=colour, mfc="none", label=label)
        mark.set(ms=mark_size, mew=mark_size / 4, clip_on=False, zorder=5)
    return cells


def roll_up(
    partition: Partition, probabilities: np.ndarray, level: int = HEAT_LEVEL
) -> tuple[list[str], np.ndarray]:
    """Tokens of cells and their summed probabilities (cells,).

    The cells are the ancestors at `level`, and coarser cells as they are. The
    sums add up to 1 less the probability of "other".
    """
    ids = partition.ids.copy()
    small = geometry.levels(ids) > level
    ids[small] = geometry.parents(ids[small], level)
    cells, where = np.unique(ids, return_inverse=True)
    of_cells = _of_cells(partition, probabilities)
    sums = np.bincount(where, weights=of_cells, minlength=len(cells))
    return geometry.to_tokens(cells), sums


def answers(
    partition: Partition, probabilities: np.ndarray, top: int
) -> list[tuple[int, float]]:
    """The `top` cells (not labels) and their probabilities, best first."""
    of_cells = _of_cells(partition, probabilities)
    order = np.argsort(-of_cells, kind="stable")[:top]
    return [(int(k), float(of_cells[k])) for k in order]


def new_figure(width: float, height: float) -> "Figure":
    """A figure of a size in inches that no global state knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI)


def encode(figure: "Figure", format: str = "png") -> bytes:
    """The bytes of a picture file: "png", "pdf" or "svg"."""
    file = io.BytesIO()
    figure.savefig(file, format=format)
    return file.getvalue()


def colour_bar(
    figure: "Figure", cells: "ColorizingArtist", label: str, bottom: float
) -> None:
    """A horizontal scale for colours, `bottom` being in parts of the figure."""
    values, (_, highest) = cells.get_array(), cells.get_clim()
    beyond = (
        values is not None
        and highest is not None
        and np.any(np.greater(values, highest))
    )
    extend = "max" if beyond else "neither"
    height = 0.11 / figure.get_size_inches()[1]
    axes = figure.add_axes((0.34, bottom, 0.32, height))
    bar = figure.colorbar(
        cells, cax=axes, orientation="horizontal", extend=extend
    )
    bar.outline.set_visible(False)
    axes.minorticks_off()
    axes.tick_params(labelsize=9, length=2)
    axes.set_xlabel(label, fontsize=10, labelpad=2)


def answer_text(
    partition: Partition,
    probabilities: np.ndarray,
    truth: tuple[float, float] | None = None,
) -> str:
    """The top answer and, if the truth is known, its error."""
    point = partition.points[answers(partition, probabilities, 1)[0][0]]
    if truth is None:
        return place_text(point)
    km = float(geometry.great_circle_km(*point, *truth))
    return f"{place_text(point)}, {km_text(km)} from the truth"


def place_text(point: tuple[float, float]) -> str:
    """A point in words, such as 40.71°N 74.01°W."""
    lat, lng = point
    return (
        f"{abs(lat):.2f}°{'N' if lat >= 0 else 'S'}"
        f" {abs(lng):.2f}°{'E' if lng >= 0 else 'W'}"
    )


def km_text(km: float) -> str:
    """A distance in words: three figures are as many as anyone reads."""
    return f"{km:,.0f} km" if km >= 10 else f"{km:.1f} km"


def path_of(lines: Sequence[np.ndarray]) -> "Path":
    """One path of many rings or lines (n, 2) of a map: drawn at once."""
    from matplotlib.path import Path

    starts = np.cumsum([0, *(len(line) for line in lines)])
    codes = np.full(starts[-1], Path.LINETO)
    codes[starts[:-1]] = Path.MOVETO
    return Path(np.concatenate([np.zeros((0, 2)), *lines]), codes)


def _of_cells(partition: Partition, probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (cells,) of the cells, without "other"."""
    if np.shape(probabilities) != (partition.num_classes,):
        raise ValueError(
            f"got probabilities of shape {np.shape(probabilities)}; the"
            f" partition has {partition.num_classes} classes"
        )
    return np.asarray(probabilities, np.float64)[int(partition.other_class) :]


def _caption(
    partition: Partition, probabilities: np.ndarray, top: int
) -> list[str]:
    """A line for each of the top cells, and for "other" if there is one."""
    best = answers(partition, probabilities, top)
    width = max(len(partition.tokens[k]) for k, _ in best)
    lines = []
    for rank, (k, p) in enumerate(best, 1):
        token = partition.tokens[k]
        km = np.sqrt(geometry.cell_area_km2(token))
        lines.append(
            f"{rank:2}. {p:6.1%}  {place_text(partition.points[k]):>16}"
            f"  {km_text(km):>8} wide  cell {token:<{width}}"
        )
    if partition.other_class:
        lines.append(
            f"    {probabilities[0]:6.1%}  elsewhere, outside all cells"
        )
    return lines


def _draw_cells(
    axes: "Axes",
    tokens: Sequence[str],
    values: np.ndarray,
    norm: "Normalize",
    colours: str,
) -> "PolyCollection":
    """Cells as polygons coloured by their values."""
    from matplotlib.collections import PolyCollection

    rings, owners = _cell_rings(tokens)
    cells = PolyCollection(
        rings,
        array=values[owners],
        norm=norm,
        cmap=colours,
        # Without an edge of its own colour a polygon's neighbours show a gap.
        edgecolors="face",
        linewidths=0.3,
        zorder=2,
    )
    axes.add_collection(cells, autolim=False)
    return cells


def _cell_rings(tokens: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Rings in map coordinates and the position of each one's cell."""
    rings, owners = [], []
    for k, level in enumerate(geometry.levels(geometry.from_tokens(tokens))):
        outline = geometry.cell_outline(tokens[k], max(1, 64 >> level))
        pieces = outlines.cut_ring(outline)
        rings += pieces
        owners += [k] * len(pieces)
    if not rings:
        return [], np.zeros(0, np.int64)
    ends = np.cumsum([len(ring) for ring in rings])
    flat = outlines.equal_earth(*np.concatenate(rings).T)  # all in one go
    return np.split(flat, ends[:-1]), np.array(owners)


def _graticule() -> list[np.ndarray]:
    along_lat, along_lng = np.arange(-90, 91, 3.0), np.arange(-180, 181, 3.0)
    lines = [outlines.equal_earth(along_lat, x) for x in range(-150, 180, 30)]
    return lines + [
        outlines.equal_earth(y, along_lng) for y in range(-60, 90, 30)
    ]


@functools.cache
def _land_paths(detail: str) -> list["Path"]:
    """The land, the lakes, the islands in them and the coast of all."""
    world = outlines.land(detail, _LEAST_LAND_KM2[detail])
    return [
        path_of([outlines.equal_earth(*ring.T) for ring in rings])
        for rings in (world.land, world.lakes, world.islands, world.coast)
    ]
