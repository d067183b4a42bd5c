"""Texts beside points of a map, where there is room for them."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where a text may be, seen from its point: right, left, above and so on.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


class Labels:
    """Texts beside points of a map that cover neither points nor each other.

    Args:
      axes: of the map, its limits being set.
      points: (n, 2) map coordinates that must stay free.
    """

    def __init__(self, axes: "Axes", points: np.ndarray):
        self._axes = axes
        box = axes.transAxes.transform([(0, 0), (1, 1)])
        self._limits = np.concatenate(box)
        at = axes.transData.transform(points).reshape(-1, 2)
        radius = 3 * axes.figure.dpi / 72
        self._taken = np.concatenate([at - radius, at + radius], 1)

    def add(
        self,
        xy: np.ndarray,
        text: str,
        size: float,
        gap: float,
        colour: str,
        bold: bool = False,
        needed: bool = False,
    ) -> bool:
        """Writes a text on some side of a point if there is room; tells if so.

        Args:
          xy: map coordinates of the point.
          text: what is written.
          size: of the letters, in points.
          gap: points between xy and the text.
          colour: of the letters.
          bold: whether they are, and so above all others.
          needed: whether to write it even without room.
        """
        x, y = self._axes.transData.transform(xy)
        pixels = self._axes.figure.dpi / 72
        width, height = 0.64 * size * len(text) + 3, 1.1 * size
        for dx, dy in _SIDES:
            reach = gap * (0.75 if dx and dy else 1)
            left = x + pixels * (dx * reach + (dx - 1) * width / 2)
            low = y + pixels * (dy * reach + (dy - 1) * height / 2)
            box = (left, low, left + pixels * width, low + pixels * height)
            if self._take(np.array(box)):
                offset = dx * reach, dy * reach
                self._write(xy, text, size, offset, colour, bold)
                return True
        if needed:
            self._write(xy, text, size, (gap, 0), colour, bold)
        return needed

    def _take(self, box: np.ndarray) -> bool:
        outside = (box[:2] < self._limits[:2]) | (box[2:] > self._limits[2:])
        taken = (self._taken[:, :2] < box[2:]) & (self._taken[:, 2:] > box[:2])
        if outside.any() or taken.all(1).any():
            return False
        self._taken = np.concatenate([self._taken, box[None]])
        return True

    def _write(
        self,
        xy: np.ndarray,
        text: str,
        size: float,
        offset: tuple[float, float],
        colour: str,
        bold: bool,
    ) -> None:
        from matplotlib.patheffects import withStroke

        self._axes.annotate(
            text,
            tuple(xy),
            offset,
            textcoords="offset points",
            ha=("right", "center", "left")[int(np.sign(offset[0])) + 1],
            va=("top", "center", "bottom")[int(np.sign(offset[1])) + 1],
            fontsize=size,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="#ffffffcc")],
            color=colour,
            weight="bold" if bold else "normal",
            zorder=9 if bold else 4.5,
        )
