"""Coarser partitions that a model answers for beside its own.

A cell's probability times those of its ancestors, each of a head of its own:
Vo et al., Revisiting IM2GPS in the Deep Learning Era (ICCV 2017), and
Müller-Budack et al., Geolocation Estimation of Photos using a Hierarchical
Model and Scene Classification (ECCV 2018). Here the coarser partitions are
made of the model's own, so that each of its cells lies in one of theirs.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from planet_tf import config_flags
from planet_tf.geo import coarsening
from planet_tf.geo.partition import Partition


class NestingError(config_flags.UsageError):
    """Coarser partitions that cannot be."""


@dataclasses.dataclass(frozen=True)
class Nesting:
    """How coarser partitions lie over a fine one.

    Attributes:
      partitions: the coarser ones, with the class "other" if the fine one has
        it; each has fewer cells than the one before.
      ancestors: (partitions, fine classes) int32, in which class of each a
        fine class lies; "other" lies in "other".
    """

    partitions: tuple[Partition, ...]
    ancestors: np.ndarray

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Classes of each coarser partition."""
        return tuple(found.num_classes for found in self.partitions)


def nest(fine: Partition, cells: Sequence[int]) -> Nesting | None:
    """Makes the coarser partitions of about so many cells; of none, None.

    Raises:
      NestingError: they cannot be made of this partition.
    """
    if not cells:
        return None
    fewer_than = len(fine.tokens)
    partitions, ancestors = [], []
    for wanted in cells:
        try:
            coarse = coarsening.to_cells(fine, wanted)
        except ValueError as error:
            raise NestingError(f"--coarse_cells: {error}") from error
        found = len(coarse.starts)
        if not 2 <= found < fewer_than:
            raise NestingError(
                f"--coarse_cells is {config_flags.text(cells)}: of a partition"
                f" of {len(fine.tokens)} cells the nearest to {wanted} that can"
                f" be made is one of {found}; needed are at least 2 and fewer"
                f" than {fewer_than}"
            )
        fewer_than = found
        partitions.append(
            dataclasses.replace(coarse.partition, other_class=fine.other_class)
        )
        ancestors.append(_ancestors(coarse, fine))
    return Nesting(tuple(partitions), np.stack(ancestors))


def check(cells: Sequence[int]) -> None:
    """Raises NestingError unless the numbers are at least 2 and fall."""
    falling = all(a > b for a, b in zip(cells, cells[1:], strict=False))
    if cells and (cells[-1] < 2 or not falling):
        raise NestingError(
            f"--coarse_cells is {config_flags.text(cells)}; needed are numbers"
            " of at least 2, each smaller than the one before"
        )


def _ancestors(coarse: coarsening.Coarse, fine: Partition) -> np.ndarray:
    """The coarse class (fine classes,) of each fine one."""
    counts = np.diff(coarse.starts, append=len(fine.tokens))
    of_cells = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    if not fine.other_class:
        return of_cells
    return np.append(np.int32(0), of_cells + np.int32(1))
