"""Converts partitions: published ones to ours, ours to other formats.

python -m planet_tf.convert_partition published.csv --out=partition.json
python -m planet_tf.convert_partition partition.json --out=partition.geojson

The input is a partition.json or a table of cells; what it is, is seen by what
it holds. If its labels are not in S2 order, as ours are, OUT.labels.csv
translates its labels to ours. Cells that overlap, and tokens that a
spreadsheet has destroyed, are refused.
"""

import dataclasses
import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from planet_tf import config_flags
from planet_tf.config_flags import option

_FORMATS = ("partition", "csv", "planet_v2", "tokens", "geojson")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of convert_partition."""

    out: str = option(help="the file to write")
    format: str | None = option(
        None,
        help="of --out; by default as its name ends: .json partition, .csv"
        " csv, .tsv tokens (token, lat, lng), .geojson geojson",
        choices=_FORMATS,
    )
    points: str = option(
        "file",
        help="what each cell stands for: file, the lat, lng of the input, if"
        " it has them; centre, the cell's centre",
        choices=("file", "centre"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, paths = config_flags.parse(
        Config,
        list(sys.argv if argv is None else argv),
        usage=__doc__,
        positional="a partition",
    )
    if len(paths) != 1:
        config_flags.fail(f"needed is one partition; got {len(paths)}")
    from planet_tf.geo import cell_lists, partition_formats

    try:
        format = config.format or partition_formats.format_of(config.out)
    except cell_lists.FormatError as error:
        config_flags.fail(error)
    try:
        lines = convert(paths[0], config.out, format, config.points == "centre")
    except (OSError, ValueError) as error:
        print(f"error: {paths[0]}: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def convert(source: str, out: str, format: str, centres: bool) -> list[str]:
    """Reads, checks and writes a partition; returns what was found."""
    from etils import epath

    from planet_tf.geo import cell_lists, partition_formats

    text = decode(epath.Path(source).read_bytes())
    lines, translation = [], []
    if text.lstrip().startswith("{"):
        partition = load(text)
        if centres:
            partition = with_centres(partition)
    else:
        cells = cell_lists.read(text)
        partition, labels, outside = cell_lists.to_partition(
            cells, centres=centres
        )
        translation = translated(cells, labels)
        if outside:
            lines.append(
                f"{outside:,} points of the input are outside of their cells;"
                " the cells' centres are taken"
            )
    written = io.StringIO()
    partition_formats.write(partition, written, format)
    labels_path = os.path.splitext(out)[0] + ".labels.csv"
    differing = sum(theirs != ours for theirs, ours in translation)
    # Before the partition, which then never has another one's beside it.
    epath.Path(labels_path).unlink(missing_ok=True)
    if differing:
        table = io.StringIO()
        partition_formats.write_labels(translation, partition, table)
        replace(labels_path, table.getvalue())
        lines.append(
            f"{differing:,} of {len(translation):,} labels differ from ours,"
            f" which are in S2 order; {labels_path} translates them"
        )
    replace(out, written.getvalue())
    return [*summary_lines(partition), *lines, f"written to {out}"]


def decode(data: bytes) -> str:
    """The text of a file; FormatError if it is none in UTF-8."""
    from planet_tf.geo.cell_lists import ACCEPTED, FormatError

    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"this is no text in UTF-8 ({error.reason} at byte"
            f" {error.start}), as spreadsheets (.xlsx) and their Unicode text"
            f" are not. Accepted: {ACCEPTED}"
        ) from error


def load(text: str) -> Any:
    """The partition of a partition.json; FormatError if it is none."""
    from planet_tf.geo import partition
    from planet_tf.geo.cell_lists import ACCEPTED, FormatError

    try:
        return partition.load(io.StringIO(text))
    except partition.PartitionError as error:
        raise FormatError(f"{error}. Accepted: {ACCEPTED}") from error


def with_centres(partition: Any) -> Any:
    """The partition with its cells' centres as points."""
    from planet_tf.geo import geometry

    centres = geometry.from_vectors(geometry.cell_vectors(partition.ids))
    return dataclasses.replace(
        partition, points=tuple((lat, lng) for lat, lng in centres.tolist())
    )


def translated(cells: Any, labels: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs of a label of the input and ours, by the input's."""
    pairs = list(zip(cells.labels, map(int, labels), strict=True))
    if cells.other_label is not None:
        pairs.append((cells.other_label, 0))
    return sorted(pairs)


def replace(path: str, text: str) -> None:
    """Writes a file that appears when it is whole."""
    from etils import epath

    temporary = epath.Path(path + ".incomplete")
    temporary.write_text(text)
    temporary.replace(path)


def summary_lines(partition: Any) -> list[str]:
    """What the partition is, for people."""
    from planet_tf.geo import geometry

    levels = geometry.levels(partition.ids)
    photos = sum(partition.photos)
    other = ' and a class "other"' if partition.other_class else ""
    known = f"{photos:,} photos" if photos else "photos not known"
    return [
        f"{len(partition.tokens):,} cells{other}, of levels {levels.min()} to"
        f" {levels.max()}, {known}",
        f"fingerprint {partition.fingerprint}",
    ]


if __name__ == "__main__":
    sys.exit(main())
