"""The image files that people name: files, directories, globs."""

import glob
import os
from collections.abc import Iterable

from planet_tf import images

_GLOB = frozenset("*?[")


def find(names: Iterable[str]) -> list[str]:
    """Paths of image files, each once, in the order they are named.

    Those below a directory, and those that a glob names, are sorted. A name of
    nothing stays what it is, for whoever reads it to say so.
    """
    found: list[str] = []
    for name in names:
        if os.path.isdir(name):
            found += _below(name)
        elif _GLOB & set(name) and not os.path.exists(name):
            found += sorted(filter(os.path.isfile, _matches(name))) or [name]
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def _below(directory: str) -> list[str]:
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(images.SUFFIXES)
    )


def _matches(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)
