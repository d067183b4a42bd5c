"""The report on a partition as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from planet_tf.answering import metrics
from planet_tf.geo import place_names
from planet_tf.reports import partition_report as report

_UNKNOWN = "unknown"
_REGIONS_SHOWN = 40


def markdown(found: Mapping[str, Any], name: str) -> str:
    """The figures as Markdown, `name` being the partition's."""
    parts = [
        f"# Partition {name}",
        _table_text(["", ""], _size_rows(found)),
        "## Cells",
        _table_text(["", *report.QUANTILES], _quantile_rows(found)),
        _table_text(["level", "cells"], list(found["levels"].items())),
        "## Hot spots",
        _hot_spot_text(found),
        "## Densest cells",
        _cells_text(found["densest"]),
    ]
    if found["source"]:
        parts += ["## Photos by region", _regions_text(found)]
    if found["ceiling"]:
        parts += ["## Ceiling", _ceiling_text(found["ceiling"])]
    if not found["place_names"]:
        parts.append(f"There are {place_names.MISSING}.")
    else:
        parts.append(f"{place_names.CREDIT}.")
    return "\n\n".join(parts) + "\n"


def _size_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    head = found["head"]
    return [
        ("cells", _whole(found["cells"])),
        ("classes", _whole(found["classes"])),
        (
            f"head ({report.FEATURES} x classes + biases)",
            f"{_whole(head['parameters'])} parameters,"
            f" {head['megabytes']:,.1f} MB",
        ),
        ("split above (t1)", _whole(found["max_photos"])),
        ("dropped below (t2)", _whole(found["min_photos"])),
        ("deepest level", _whole(found["max_level"])),
        ("photos kept", _whole(found["photos"][report.KEPT])),
        ("photos dropped", _whole(found["photos"][report.DROPPED])),
        ("fingerprint", found["fingerprint"]),
    ]


def _quantile_rows(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for key, title in (
        ("km2", "km²"),
        ("photos_per_cell", "photos"),
        ("photos_per_km2", "photos per km²"),
    ):
        values = found[key] or dict.fromkeys(report.QUANTILES)
        rows.append([title, *map(_figures_text, values.values())])
    return rows


def _hot_spot_text(found: Mapping[str, Any]) -> str:
    over, at_cap = found["over_max_photos"], found["at_max_level"]
    if over is None or at_cap is None:
        return "Unknown: the partition does not tell how it was made."
    text = (
        f"{_whole(len(over))} cells at level {found['max_level']} have more"
        f" than {_whole(found['max_photos'])} photos, as they may not be split"
        f" further; in all {_whole(at_cap['cells'])} cells are of that level,"
        f" with {_whole(at_cap['photos'])} photos"
        f" ({at_cap['photos_share']:.2%})."
    )
    return text + ("\n\n" + _cells_text(over[: report.TOP]) if over else "")


def _cells_text(rows: list[dict[str, Any]] | None) -> str:
    if rows is None:
        return "Unknown: the partition does not tell its photos."
    head = ["token", "level", "photos", "km²", "photos per km²", "at", "place"]
    return _table_text(
        head,
        [
            (
                f"`{row['token']}`",
                row["level"],
                _whole(row["photos"]),
                _figures_text(row["km2"]),
                _figures_text(row["photos_per_km2"]),
                f"{row['lat']:.5f}, {row['lng']:.5f}",
                row["place"] or "",
            )
            for row in rows
        ],
    )


def _regions_text(found: Mapping[str, Any]) -> str:
    source = found["source"]
    lines = [
        f"{_whole(source[report.KEPT])} photos are in cells,"
        f" {_whole(source[report.DROPPED])} outside all of them."
    ]
    if source[report.KEPT] != found["photos"][report.KEPT]:
        lines.append(
            "The partition was made of other photos, or of coordinates"
            " rounded otherwise: it says that it kept"
            f" {_whole(found['photos'][report.KEPT])}."
        )
    regions = source["regions"]
    if regions:
        rest = regions[_REGIONS_SHOWN:]
        rows = [_region_row(row) for row in regions[:_REGIONS_SHOWN]]
        if rest:
            total = {
                k: sum(r[k] for r in rest)
                for k in (report.KEPT, report.DROPPED)
            }
            rows.append(_region_row({"region": f"{len(rest)} more", **total}))
        lines.append(
            _table_text(
                ["region", report.KEPT, report.DROPPED, "share kept"], rows
            )
        )
    return "\n\n".join(lines)


def _region_row(row: Mapping[str, Any]) -> list[str]:
    share = row[report.KEPT] / (row[report.KEPT] + row[report.DROPPED])
    return [
        row["region"],
        _whole(row[report.KEPT]),
        _whole(row[report.DROPPED]),
        f"{share:.1%}",
    ]


def _ceiling_text(shares: Mapping[str, Any]) -> str:
    head = ["answers", *(f"{km:,} km" for km in metrics.RADII_KM)]
    titles = ("centres of cells", "means of cells' photos")
    rows = [
        [title, *(f"{share:.1%}" for share in shares[name].values())]
        for title, name in zip(titles, report.ANSWERS, strict=True)
    ]
    return (
        f"Of {_whole(shares['photos'])} other photos a classifier that always"
        " finds the right cell would place so many within the radii;"
        f" {shares['outside_share']:.2%} are outside all cells and count as"
        f" wrong.\n\n{_table_text(head, rows)}"
    )


def _table_text(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    cells = [[str(c).replace("|", "\\|") for c in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _whole(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"


def _figures_text(number: float | None) -> str:
    """A number with three figures that count."""
    if number is None:
        return _UNKNOWN
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
