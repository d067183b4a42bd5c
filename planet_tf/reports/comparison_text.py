"""Systems side by side, as text."""

from collections.abc import Mapping
from typing import Any

from planet_tf.reports import report_text

_FEWER_IS_BETTER = ("median_km", "mean_km")


def markdown(found: Mapping[str, Any]) -> str:
    """The comparison that `compare_reports` made, in Markdown."""
    base, *others = found["systems"]
    parts = [
        f"# Comparison on {found['photos']:,} photos",
        f"In {found['groups']:,} groups, of one owner or album. Differences are"
        f" to {base}, on the same photos; intervals are of 95 %.",
    ]
    for name, count in found["left_out"].items():
        if count:
            parts.append(f"{count:,} photos of {name} alone are left out.")
    for name in others:
        parts += [f"## {name} against {base}", _table(found, base, name)]
    return "\n\n".join(parts) + "\n"


def _table(found: Mapping[str, Any], base: str, name: str) -> str:
    rows = [["", base, name, "difference", "p", ""]]
    systems = found["systems"]
    for figure, apart in found["differences"][name].items():
        values = [
            report_text.value(systems[system], figure)
            for system in (base, name)
        ]
        p = report_text.p_value(apart) if "p_value" in apart else "-"
        rows.append(
            [
                report_text.title(figure),
                *values,
                _difference(figure, apart),
                p.removeprefix("p ").removeprefix("= "),
                _verdict(figure, apart),
            ]
        )
    return report_text.aligned(rows)


def _difference(figure: str, apart: Mapping[str, Any]) -> str:
    if apart["difference"] is None:
        return "-"
    if figure not in report_text.NUMBERS:
        return report_text.points(apart)
    low, high = (_signed(x) for x in apart["interval"])
    return f"{_signed(apart['difference'])} ({low} to {high})"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+,.0f}"


def _verdict(figure: str, apart: Mapping[str, Any]) -> str:
    """Whether the interval is on one side of 0."""
    low, high = apart["interval"]
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (low > 0) != (figure in _FEWER_IS_BETTER) else "worse"
