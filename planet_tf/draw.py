"""Draws a partition on a world map.

python -m planet_tf.draw partition.json --out=partition.png
"""

import dataclasses
import os
import sys
from collections.abc import Sequence

from planet_tf import config_flags
from planet_tf.config_flags import option

_FORMATS = ("png", "pdf", "svg")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of draw."""

    out: str = option(
        "partition.png", help="the picture: a PNG, PDF or SVG by its name"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, paths = config_flags.parse(
        Config,
        list(sys.argv if argv is None else argv),
        usage=__doc__,
        positional="a partition.json",
    )
    if len(paths) != 1:
        config_flags.fail(f"needed is one partition.json; got {len(paths)}")
    if os.path.splitext(config.out)[1][1:] not in _FORMATS:
        config_flags.fail(
            f"--out is {config.out!r}; it must end in .{', .'.join(_FORMATS)}"
        )
    try:
        draw(paths[0], config.out)
    except ModuleNotFoundError as error:
        print(f"error: {error}; pip install matplotlib", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"error: cannot draw {paths[0]}: {error}", file=sys.stderr)
        return 1
    print(config.out)
    return 0


def draw(partition_path: str, out: str) -> None:
    """Draws a partition file, to a file that appears when it is whole."""
    # Of TFDS; knows gs:// too, without the seconds that TensorFlow takes.
    from etils import epath

    from planet_tf.drawing import maps
    from planet_tf.geo import partition

    with epath.Path(partition_path).open() as file:
        cells = partition.load(file)
    picture = maps.encode(maps.partition_map(cells), out.rpartition(".")[2])
    temporary = epath.Path(out + ".incomplete")
    temporary.write_bytes(picture)
    temporary.replace(out)


if __name__ == "__main__":
    sys.exit(main())
