"""The report of a collection of photos, for a terminal and as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines.findings import Finding, top_lines

_SHARES = ("lat_out", "sea", "swapped_sea")


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for a terminal."""
    for f in findings:
        yield f"{f.level}: {f.count:,} {f.what}"
        if f.examples:
            yield f"  such as {'; '.join(f.examples)}"
        yield f"  to do: {f.cure}"


def markdown(report: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """The whole report."""
    statistics = report["statistics"]
    parts = [
        "# Check of photos",
        "",
        f"{report['photos_read']:,} photos read,"
        f" {sum(report['rejects'].values()):,} left out.",
        "",
        *_findings_table(findings),
        *_tally_tables(statistics["tally"]),
        *_files_table(statistics["files"]),
        *_values_tables(statistics["values"], max(report["photos_read"], 1)),
    ]
    return "\n".join(parts) + "\n"


def _findings_table(findings: Sequence[Finding]) -> Iterator[str]:
    yield from _table_head(
        "Findings", "level", "photos", "what", "examples", "to do"
    )
    for f in findings:
        examples = "; ".join(f.examples)
        yield _row(f.level, f"{f.count:,}", f.what, examples, f.cure)
    yield ""


def _tally_tables(tally: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    titles = {
        "format": "Formats",
        "mode": "Colours",
        "short_side": "Short sides, in pixels",
    }
    for group, title in titles.items():
        rows = [n for n in tally if n.startswith(group + "/")]
        if rows:
            yield from _table_head(title, "", "photos", "such as")
        for name in rows:
            what = name.partition("/")[2]
            if group == "short_side":
                what = f"{int(what) // 2:,} to {int(what) - 1:,}"
            yield _row(what, f"{tally[name][0]:,}", ", ".join(tally[name][1]))
        if rows:
            yield ""
    if "bytes" in tally:
        mean = tally["bytes"][0] / max(tally["images"][0], 1)
        yield f"{tally['bytes'][0]:,} bytes of images, {mean:,.0f} each."
        yield ""


def _files_table(files: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield from _table_head("Points of files", "file", "points", *_SHARES)
    for name, counts in files.items():
        numbers = [f"{counts.get(c, 0):,}" for c in ("points", *_SHARES)]
        yield _row(name, *numbers)
    yield ""


def _values_tables(
    values: Mapping[str, Any], photos_read: int
) -> Iterator[str]:
    for kind, found in values.items():
        yield from _table_head(
            f"Most frequent: {kind}",
            f"{found['distinct']:,} different, of {found['photos']:,} photos",
        )
        yield from (_row(t) for t in top_lines(kind, found, photos_read))
        yield ""
        if kind in ("owner", "album"):
            each = ", ".join(
                f"{n:,} with {2 ** (int(b) - 1):,} to {2 ** int(b) - 1:,}"
                for b, n in sorted(
                    found["sizes"].items(), key=lambda s: int(s[0])
                )
            )
            yield f"By how many photos they have: {each or 'none'}."
            yield ""


def _table_head(title: str, *columns: str) -> list[str]:
    return [f"## {title}", "", _row(*columns), "|" + " --- |" * len(columns)]


def _row(*cells: str) -> str:
    """A row of a table, whatever ids have in them."""
    clean = (" ".join(c.split()).replace("|", "\\|") for c in cells)
    safe = (c.replace("<", "&lt;").replace("`", "'") for c in clean)
    return "| " + " | ".join(safe) + " |"
