"""The evaluation's tables, as data and as text (PlaNet section 4)."""

from typing import Any

import numpy as np

from planet_tf import metrics

_MAIN_KM = 750  # the radius that the verdict is given at: a country


def system_figures(
    errors: np.ndarray, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Figures of one system from its errors (n, k) in km, with intervals.

    `intervals` has, for each figure of `metrics.summary`, the 95 % bootstrap
    interval over photos.
    """
    figures: dict[str, Any] = metrics.summary(errors)
    intervals = {}
    options = {"resamples": resamples, "seed": seed}
    for k in (1, metrics.TOP):
        best = metrics.best_of(errors, k)
        for km in metrics.RADII_KM:
            intervals[f"top{k}_within_{km}km"] = metrics.bootstrap_interval(
                best <= km, **options
            )
    intervals["median_km"] = metrics.bootstrap_interval(
        errors[:, 0], np.median, **options
    )
    return figures | {"intervals": intervals}


def verdicts(systems: dict[str, dict[str, Any]], ours: str) -> list[str]:
    """How our system compares with each other one, in plain words."""
    key = f"top1_within_{_MAIN_KM}km"
    lines = []
    low, high = systems[ours]["intervals"][key]
    for name, figures in systems.items():
        if name == ours:
            continue
        other_low, other_high = figures["intervals"][key]
        if low > other_high:
            word = "beats"
        elif high < other_low:
            word = "is behind"
        else:
            word = "is not clearly different from"
        lines.append(
            f"Within {_MAIN_KM} km the {ours} {word} the {name}:"
            f" {_share(systems[ours], key)} against {_share(figures, key)}"
            " (95 % intervals)."
        )
    return lines


def markdown(report: dict[str, Any], pictures: list[str]) -> str:
    """The report as Markdown."""
    systems = report["systems"] | {"perfect classifier": report["ceiling"]}
    parts = [
        f"# Evaluation on {report['photos']:,} photos of {report['split']!r}",
        f"Model: {report['cells']:,} cells, step {report['step']:,}.",
        *report["verdicts"],
        "## Share of photos within, first answer (95 % interval)",
        table(systems, 1),
        f"## Share of photos within, best of {metrics.TOP} answers",
        table(systems, metrics.TOP),
        "The prior always answers the most frequent cells. The nearest"
        " neighbour answers the places of the training photos most alike on"
        " 16x16 pixels, brightness, contrast and tint taken out. The perfect"
        " classifier always finds the right cell: no model with these cells"
        " can do better.",
        *(f"![{name}]({name})" for name in pictures),
    ]
    return "\n\n".join(parts) + "\n"


def table(systems: dict[str, dict[str, Any]], k: int) -> str:
    """Shares within the radii of systems' best of k answers, in Markdown."""
    head = [f"{km:,} km" for km in metrics.RADII_KM]
    if k == 1:
        head.append("median km")
    rows = [["", *head]]
    for name, figures in systems.items():
        row = [name]
        for km in metrics.RADII_KM:
            row.append(_share(figures, f"top{k}_within_{km}km"))
        if k == 1:
            row.append(f"{figures['median_km']:,.0f}")
        rows.append(row)
    return aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    """A table in Markdown, the first row its head, with straight columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_row(row, widths) for row in rows]
    rule = [
        "-" * width if i == 0 else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return "\n".join([lines[0], _row(rule, widths), *lines[1:]])


def _row(cells: list[str], widths: list[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def _share(figures: dict[str, Any], key: str) -> str:
    return share(figures[key], *figures["intervals"][key])


def share(value: float, low: float, high: float) -> str:
    """A share and its interval, in percent."""
    return f"{100 * value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
