"""The order of an album's photos, and where long albums are cut."""

import re
from collections.abc import Sequence

from planet_tf.photos import records

_NUMBER = re.compile("([0-9]+)")


def in_order(
    names: Sequence[str], times: Sequence[int]
) -> tuple[list[int], bool]:
    """Positions of photos by time, or by name if a time is unknown.

    Args:
      names: (n,) of photos; those of one time are in their order.
      times: (n,) Unix seconds, or records.UNKNOWN_TIME.

    Returns:
      The positions (n,), and whether they are in the order of times.
    """
    timed = records.UNKNOWN_TIME not in times

    def place(i: int) -> tuple:
        return times[i] if timed else 0, natural_order(names[i])

    return sorted(range(len(names)), key=place), timed


def natural_order(name: str) -> tuple:
    """What to sort names by, so that img2 is before img10."""
    parts = _NUMBER.split(name)  # text and digits in turn
    numbers = [part.lstrip("0") for part in parts[1::2]]
    parts[1::2] = [(len(digits), digits) for digits in numbers]
    return tuple(parts), name


def even_cuts(count: int, largest: int) -> list[slice]:
    """As few runs as can be of at most `largest`, their lengths alike."""
    pieces = -(-count // largest)
    bounds = [-(-count * i // pieces) for i in range(pieces + 1)]
    return list(map(slice, bounds[:-1], bounds[1:]))
