"""A classifier's last layer for other classes than it was trained for.

Cells of two partitions are related by S2 ancestry: they are the same, one
lies within the other, or they have nothing in common.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition


@dataclasses.dataclass(frozen=True)
class Ancestry:
    """Which old cells the rows of new cells come from.

    A row and bias of new cell n are sums over its pairs with old cells o of
    weight * row_o and weight * (bias_o + shift). Pairs are sorted by n.

    Attributes:
      new: (pairs,) position of a new cell.
      old: (pairs,) position of the old cell.
      weight: (pairs,) float64, 1 in sum for each new cell.
      shift: (pairs,) float64.
      kinds: new cells that are old ones, lie within one, cover some, or have
        nothing to do with any; the latter are in no pair.
    """

    new: np.ndarray
    old: np.ndarray
    weight: np.ndarray
    shift: np.ndarray
    kinds: dict[str, int]


def ancestry(old: Partition, new: Partition) -> Ancestry:
    """Relates the cells of two partitions.

    Within an old cell the new ones share its probability as they share its
    photos: the row is the old one, the bias lower by the log of the share p.
    So the new cells together have just what the old one had.

    A new cell over several old ones should have the sum of their
    probabilities, so the logit log(sum(exp(z_o))), which is not linear in the
    features. Taken is its tangent plane where the old cells' probabilities
    are as their photos, sum(p * (z_o - log(p))): it is never above the curve,
    and undoes the split of a cell exactly.
    """
    first, last = geometry.range_bounds(old.ids)
    low, high = geometry.range_bounds(new.ids)
    start = np.searchsorted(last, low)  # the old cells that overlap
    end = np.searchsorted(first, high, side="right")
    within = (end > start) & (_at(first, start) <= low)
    within &= _at(last, start) >= high
    covers = (end > start) & ~within
    counts = np.where(within, 1, end - start)
    pair_new = np.repeat(np.arange(len(new.ids)), counts)
    ends = np.cumsum(counts)
    pair_old = np.arange(len(pair_new)) + np.repeat(
        start - (ends - counts), counts
    )
    # Of the pairs, whichever cell is the smaller one shares the other.
    inside = within[pair_new]
    photos = np.array(new.photos)[pair_new], np.array(old.photos)[pair_old]
    share = np.ones(len(pair_new))
    share[inside] = _shares(photos[0][inside], pair_old[inside])
    share[~inside] = _shares(photos[1][~inside], pair_new[~inside])
    same = np.isin(new.ids, old.ids)
    return Ancestry(
        pair_new,
        pair_old,
        weight=np.where(inside, 1.0, share),
        shift=np.where(inside, np.log(share), -np.log(share)),
        kinds={
            "as before": int(same.sum()),
            "within an old one": int((within & ~same).sum()),
            "over old ones": int(covers.sum()),
            "elsewhere": int((end == start).sum()),
        },
    )


def _at(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    return values[np.minimum(position, len(values) - 1)]


def _shares(photos: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Each cell's share of its group's photos; if any are unknown, alike."""
    unknown = np.bincount(group, photos == 0)[group] > 0
    weight = np.where(unknown, 1.0, photos)
    return weight / np.bincount(group, weight)[group]


def map_head(
    kernel: np.ndarray, bias: np.ndarray, old: Partition, new: Partition
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """A head for new classes.

    Args:
      kernel: (features, old classes).
      bias: (old classes,).
      old: the old classes.
      new: the new classes. One that has to do with no old one gets the mean
        row and the least bias.

    Returns:
      The new kernel, the new bias, and the kinds of new cells.
    """
    found = ancestry(old, new)
    rows, biases = kernel[:, old.other_class :], bias[old.other_class :]
    new_kernel = np.repeat(rows.mean(1, keepdims=True), new.num_classes, 1)
    new_bias = np.full(new.num_classes, biases.min())
    related, starts = np.unique(found.new, return_index=True)
    if len(related):
        classes = related + new.other_class
        weighted = rows[:, found.old] * found.weight.astype(rows.dtype)
        new_kernel[:, classes] = np.add.reduceat(weighted, starts, axis=1)
        shifted = found.weight * (biases[found.old] + found.shift)
        new_bias[classes] = np.add.reduceat(shifted, starts)
    if old.other_class and new.other_class:
        new_kernel[:, 0], new_bias[0] = kernel[:, 0], bias[0]
    return new_kernel, new_bias, found.kinds


def map_heads(
    kernel: np.ndarray,
    bias: np.ndarray,
    old: Sequence[Partition],
    new: Sequence[Partition],
) -> tuple[np.ndarray, np.ndarray, list[dict[str, int]]]:
    """As map_head, of heads that lie side by side.

    A new head comes from the old one of the same place, so that the coarser
    ones stay in touch with what they were trained for, else from the first.

    Args:
      kernel: (features, old classes of all heads).
      bias: (old classes of all heads,).
      old: the classes of each old head, the finest first.
      new: the classes of each new head, alike.
    """
    ends = np.cumsum([partition.num_classes for partition in old])[:-1]
    kernels, biases = np.split(kernel, ends, axis=1), np.split(bias, ends)
    found = []
    for place, partition in enumerate(new):
        of = place if place < len(old) else 0
        found.append(map_head(kernels[of], biases[of], old[of], partition))
    new_kernels, new_biases, kinds = zip(*found, strict=True)
    return np.hstack(new_kernels), np.hstack(new_biases), list(kinds)
