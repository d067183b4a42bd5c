"""An evaluation as text: what `report.make` found, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from planet_tf.answering import metrics

CEILING = "perfect classifier"
_MAIN_KM = 750  # the radius that the verdict is given at: a country
_MAIN = f"top1_within_{_MAIN_KM}km"
_OTHERS = {  # figures beside the radii, as headings
    "median_km": "median km",
    "mean_km": "mean km",
    "geoscore": "GeoScore",
    "nearer": "rounds won",
    "top1_cell": "cell",
    "top5_cell": "cell, best of 5",
    "country": "country",
    "continent": "continent",
    "country_by_sum": "country, by sum",
    "continent_by_sum": "continent, by sum",
    "within_radius_50": "within the radius of 50 %",
    "within_radius_90": "within that of 90 %",
}
NUMBERS = ("median_km", "mean_km", "geoscore")  # the others are shares


def markdown(
    report: Mapping[str, Any], pictures: Sequence[str], notes: Sequence[str]
) -> str:
    """The report as Markdown.

    Args:
      report: of `report.make`, with `what`, a line that says what it is of.
      pictures: file names of them.
      notes: what there is to know about the systems.
    """
    parts = [
        summary(report),
        "## Other figures of the first answer (95 % interval)",
        others(_with_ceiling(report)),
        *notes,
        *_ways(report),
        *_ceiling(report),
        *_confidence(report),
        *_parts(report),
        *(f"![{name}]({name})" for name in pictures),
    ]
    return "\n\n".join(parts) + "\n"


def summary(report: Mapping[str, Any]) -> str:
    """The head of the report: verdicts, and shares within the radii."""
    systems = _with_ceiling(report)
    parts = [
        f"# Evaluation on {report['what']}",
        *verdicts(report),
        "## Share of photos within, first answer (95 % interval)",
        table(systems, 1),
        f"## Share of photos within, best of {metrics.TOP} answers",
        table(systems, metrics.TOP),
    ]
    return "\n\n".join(parts)


def _with_ceiling(report: Mapping[str, Any]) -> dict[str, Any]:
    systems = dict(report["systems"])
    if "ceiling" in report:
        systems[CEILING] = report["ceiling"]
    return systems


def verdicts(report: Mapping[str, Any]) -> list[str]:
    """How the system compares with each other one, in plain words."""
    lines = []
    ours = report["system"]
    for name, differences in report["differences"].items():
        apart = differences[_MAIN]
        low, high = apart["interval"]
        word = "is level with"
        if low > 0 or high < 0:
            word = "beats" if low > 0 else "is behind"
        lines.append(
            f"Within {_MAIN_KM} km the {ours} {word} the {name}:"
            f" {100 * report['systems'][ours][_MAIN]:.1f} % against"
            f" {100 * report['systems'][name][_MAIN]:.1f} %, on the same photos"
            f" {points(apart)} points (95 % interval), {p_value(apart)}."
        )
    return lines


def points(apart: Mapping[str, Any]) -> str:
    """A difference of shares and its interval, in percentage points."""
    low, high = apart["interval"]
    return (
        f"{100 * apart['difference']:+.1f} ({100 * low:+.1f} to"
        f" {100 * high:+.1f})"
    )


def p_value(apart: Mapping[str, Any]) -> str:
    """The p-value in words; small ones by their bound."""
    p = apart["p_value"]
    return "p < 0.002" if p < 0.002 else f"p = {p:.3f}"


def table(systems: Mapping[str, Mapping[str, Any]], k: int) -> str:
    """Shares within the radii of systems' best of k answers, in Markdown."""
    head = [f"{km:,} km" for km in metrics.RADII_KM]
    if k == 1:
        head.append("median km")
    rows = [["", *head]]
    for name, figures in systems.items():
        row = [name]
        for km in metrics.RADII_KM:
            row.append(share(figures, f"top{k}_within_{km}km"))
        if k == 1:
            row.append(_number(figures["median_km"]))
        rows.append(row)
    return aligned(rows)


def others(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures beside the radii that any of the systems has."""
    names = [
        name
        for name in _OTHERS
        if any(name in figures for figures in systems.values())
    ]
    rows = [["", *map(title, names)]]
    for system, figures in systems.items():
        rows.append([system, *(value(figures, name) for name in names)])
    return aligned(rows)


def _ways(report: Mapping[str, Any]) -> list[str]:
    """Which way to answer is best at each radius, and whether it is better."""
    if "ways" not in report:
        return []
    plain, found = report["ways"]["against"], report["ways"]["by_radius"]
    rows = [["", "best", "share", f"points above {plain}", "verdict"]]
    for km in metrics.RADII_KM:
        best = found[f"{km}km"]
        low, high = best["interval"]
        better = "better" if low > 0 else "worse" if high < 0 else "no better"
        share = f"{100 * best['share']:.1f} %"
        rows.append([f"{km:,} km", best["best"], share, points(best), better])
    return [
        "## The best way to answer from the same probabilities",
        f"Of all but {plain}, on the same photos (95 % interval); chosen on"
        " these photos, so that a narrow lead means little.",
        aligned(rows),
    ]


def _ceiling(report: Mapping[str, Any]) -> list[str]:
    if not report.get("ceiling_reached"):
        return []
    rows = [["", *(f"{km:,} km" for km in metrics.RADII_KM)]]
    row = [report["system"]]
    for km in metrics.RADII_KM:
        found = report["ceiling_reached"].get(f"top1_within_{km}km")
        row.append(_span(found["share"], found["interval"]) if found else "-")
    return [
        "## Share of the ceiling reached",
        "Of what an answer with the right cell, always, would have within.",
        aligned([*rows, row]),
    ]


def _confidence(report: Mapping[str, Any]) -> list[str]:
    if "confidence" not in report:
        return []
    found = report["confidence"]
    parts = ["## How sure, and how often right"]
    if "reliability" in found:
        bins = found["reliability"]
        error = bins["expected_calibration_error"]
        parts.append(
            "Expected calibration error of the first answer's probability as"
            f" that of the photo's being in the cell:"
            f" {_span(error, bins['interval'])}."
        )
    if "temperature" in report:
        fit = report["temperature"]
        parts.append(
            f"Fitted on {fit['photos']:,} photos of {fit['split']!r}, the"
            f" temperature {fit['temperature']:.2f} makes it"
            f" {_span(fit['expected_calibration_error'], fit['interval'])}."
        )
    parts.append(
        "To have a share of right answers, answer only where the probability"
        " is at least so high; that answers so many of the photos:"
    )
    rows = [["right", *(f"{km:,} km" for km in metrics.RADII_KM)]]
    shares = [row["right"] for row in found["within"]["1km"]["abstention"]]
    for i, right in enumerate(shares):
        entries = [w["abstention"][i] for w in found["within"].values()]
        rows.append([f"{100 * right:.0f} %", *map(_abstention, entries)])
    return [*parts, aligned(rows)]


def _abstention(entry: Mapping[str, Any]) -> str:
    if entry["threshold"] is None:
        return "none"
    threshold, coverage = (
        f"{100 * entry[name]:.1f} %" for name in ("threshold", "coverage")
    )
    return f"{threshold}: {coverage}"


def _parts(report: Mapping[str, Any]) -> list[str]:
    found = []
    for title, parts in report["parts"].items():
        rows = [["", "photos", *(f"{km:,} km" for km in metrics.RADII_KM)]]
        for name, figures in parts.items():
            shares = [
                share(figures, f"top1_within_{km}km") for km in metrics.RADII_KM
            ]
            rows.append([name, f"{figures['photos']:,}", *shares])
        heading = f"## The {report['system']}'s first answers by {title}"
        found += [heading, aligned(rows)]
    return found


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the first row its head, with straight columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_row(row, widths) for row in rows]
    rule = [
        "-" * width if i == 0 else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return "\n".join([lines[0], _row(rule, widths), *lines[1:]])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def share(figures: Mapping[str, Any], name: str) -> str:
    """A share and its interval, in percent."""
    return _span(figures[name], figures["intervals"][name])


def _span(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def title(name: str) -> str:
    """A figure's name as people read it."""
    if name in _OTHERS:
        return _OTHERS[name]
    best, within, radius = name.partition("_within_")
    if not within:
        return name.replace("_", " ")
    km = f"{int(radius.removesuffix('km')):,} km"
    return km if best == "top1" else f"{km}, best of {metrics.TOP}"


def value(figures: Mapping[str, Any], name: str) -> str:
    """A figure and its interval; "-" where there is none."""
    if figures.get(name) is None:
        return "-"
    if name not in NUMBERS:
        return share(figures, name)
    low, high = map(_number, figures["intervals"][name])
    return f"{_number(figures[name])} ({low}-{high})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
