"""Pictures of what a model learned: example answers and learning curves.

The examples are laid out as in figure 4 of the PlaNet paper: photo, heat map.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from planet_tf.drawing import maps
from planet_tf.geo.partition import Partition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _FOOT = 2.6, 0.75  # inches


@dataclasses.dataclass(frozen=True)
class Example:
    """A photo and what a model says of it.

    Attributes:
      image: (height, width, 3) uint8.
      probabilities: (classes,) by label.
      truth: (lat, lng) where it was taken.
      kind: what it is an example of.
    """

    image: np.ndarray
    probabilities: np.ndarray
    truth: tuple[float, float]
    kind: str = ""


def examples_figure(
    partition: Partition, examples: Sequence[Example]
) -> "Figure":
    """Photos beside their maps, with truth, top answer and its error."""
    columns = min(2, len(examples))
    rows = -(-len(examples) // columns)
    height = _ROW * rows + _FOOT
    figure = maps.new_figure(6.6 * columns, height)
    grid = figure.add_gridspec(
        rows,
        2 * columns,
        width_ratios=[1, 2.06] * columns,
        left=0.01,
        right=0.99,
        top=1 - 0.3 / height,
        bottom=_FOOT / height,
        wspace=0.04,
        hspace=0.14,
    )
    for k, example in enumerate(examples):
        row, column = divmod(k, columns)
        photo = figure.add_subplot(grid[row, 2 * column])
        photo.imshow(example.image)
        photo.set_axis_off()
        axes = figure.add_subplot(grid[row, 2 * column + 1])
        answer = partition, example.probabilities, example.truth
        cells = maps.draw_heat(axes, *answer, detail="c", mark_size=6)
        axes.set_title(maps.answer_text(*answer), fontsize=10)
        photo.set_title(example.kind, fontsize=10)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="lower left", frameon=False
    )
    maps.colour_bar(figure, cells, maps.HEAT_LABEL, bottom=0.5 / height)
    return figure


def learning_curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> "Figure":
    """Values over steps; curves named "panel/curve" share a panel.

    Panels come in the order of their first curves. Positive values of one
    panel that differ by more than a factor of 20 get a log scale.
    """
    panels: dict[str, list[str]] = {}
    for name in series:
        panels.setdefault(name.partition("/")[0], []).append(name)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = maps.new_figure(5.5 * columns, 3.3 * rows)
    figure.set_layout_engine("constrained")
    for position, (panel, names) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, position)
        curves = {name.partition("/")[2]: series[name] for name in names}
        _draw_curves(axes, panel, curves)
    return figure


def _draw_curves(
    axes: "Axes",
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> None:
    for name, (steps, values) in curves.items():
        marker = "o" if len(steps) < 30 else None  # evaluations are few
        axes.plot(steps, values, label=name, marker=marker, ms=3, lw=1.4)
    every = np.concatenate([np.asarray(v, float) for _, v in curves.values()])
    if every.min() > 0 and every.max() > 20 * every.min():
        axes.set_yscale("log")
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("step")
    axes.grid(color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if any(curves):
        axes.legend(frameon=False, fontsize=9)
