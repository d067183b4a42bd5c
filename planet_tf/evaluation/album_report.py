"""The evaluation of albums as tables, by what may make a photo hard."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from planet_tf.answering import metrics
from planet_tf.reports import bootstrap, report_text, scores

_MAIN_KM = 750  # the radius of the tables by parts
_MAIN = f"top1_within_{_MAIN_KM}km"
# Lower bounds of the parts.
_POSITIONS = {"first": 0, "2 to 3": 1, "4 to 10": 3, "11 and later": 10}
_LENGTHS = {"1 to 4": 1, "5 to 14": 5, "15 to 29": 15, "30 and more": 30}
_EXTENTS = {
    "under 500 km": 0.0,
    "500 to 1,500 km": 500.0,
    "1,500 km and more": 1500.0,
}
_QUARTERS = ("clearest", "clear", "ambiguous", "most ambiguous")


@dataclasses.dataclass(frozen=True)
class Answers:
    """Errors of all systems on n photos, and what is known of these.

    Attributes:
      errors: (n, k) km of the k likeliest cells, by system.
      album: (n,) which album a photo is of.
      position: (n,) which photo of it.
      length: (n,) how many photos it has.
      extent: (n,) km between the two of its photos that are farthest apart.
      entropy: (n,) bits, of the single photo's distribution.
    """

    errors: dict[str, np.ndarray]
    album: np.ndarray
    position: np.ndarray
    length: np.ndarray
    extent: np.ndarray
    entropy: np.ndarray


def make(
    answers: Answers, *, baseline: str, resamples: int, seed: int
) -> dict[str, Any]:
    """All figures with 95 % intervals over albums, ready for JSON.

    Args:
      answers: of all systems.
      baseline: the system that the others are compared with.
      resamples: of the bootstrap.
      seed: of the bootstrap.
    """
    over_albums = bootstrap.of_groups(
        answers.album, resamples=resamples, seed=seed
    )
    groupings = _groupings(answers)
    figures = {
        name: scores.Figures(
            scores.score_errors(errors), errors[:, 0], over_albums, groupings
        )
        for name, errors in answers.errors.items()
    }
    return {
        "photos": len(answers.album),
        "albums": over_albums.groups,
        "systems": {name: found.overall() for name, found in figures.items()},
        "baseline": baseline,
        "differences": {
            name: found.minus(figures[baseline])
            for name, found in figures.items()
            if name != baseline
        },
        "parts": _by_part(figures),
    }


def _groupings(answers: Answers) -> list[scores.Grouping]:
    """What may make a photo hard."""
    quarters = np.quantile(answers.entropy, [0.25, 0.5, 0.75])
    parts: dict[str, tuple[Mapping[str, float], np.ndarray]] = {
        "position in the album": (_POSITIONS, answers.position),
        "photos of the album": (_LENGTHS, answers.length),
        "extent of the album": (_EXTENTS, answers.extent),
        "ambiguity of the single photo": (
            dict(zip(_QUARTERS, [0, *quarters], strict=True)),
            answers.entropy,
        ),
    }
    return [
        scores.Grouping(
            title,
            tuple(bounds),
            np.searchsorted(list(bounds.values()), values, side="right") - 1,
        )
        for title, (bounds, values) in parts.items()
    ]


def _by_part(
    figures: dict[str, scores.Figures],
) -> dict[str, dict[str, dict[str, Any]]]:
    """By title and part: its photos, and each system's figures."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for system, own in figures.items():
        for title, parts in own.by_part().items():
            for part, values in parts.items():
                entry = found.setdefault(title, {}).setdefault(
                    part, {"photos": values["photos"], "systems": {}}
                )
                entry["systems"][system] = values
    return found


def markdown(figures: dict[str, Any]) -> str:
    """The report as Markdown."""
    parts = [
        f"# Evaluation on {figures['albums']:,} albums of"
        f" {figures['split']!r}, {figures['photos']:,} photos",
        "## Share of photos within, first answer (95 % interval over albums)",
        report_text.table(figures["systems"], 1),
        f"## Share of photos within, best of {metrics.TOP} answers",
        report_text.table(figures["systems"], metrics.TOP),
        "The single photo is the photo model's own answer. The average is of"
        " its probabilities over the album, and so the same for all its"
        " photos.",
    ]
    parts += [
        f"## Within {_MAIN_KM} km against the {figures['baseline']}",
        "Percentage points more of the same photos (95 % interval over albums)",
        _differences(figures["differences"]),
    ]
    for title, rows in figures["parts"].items():
        parts += [f"## Share within {_MAIN_KM} km by {title}", _table(rows)]
    return "\n\n".join(parts) + "\n"


def _differences(found: dict[str, dict[str, Any]]) -> str:
    rows = [["", "points", "verdict"]]
    for name, figures in found.items():
        apart = figures[_MAIN]
        low, high = apart["interval"]
        better = "better" if low > 0 else "worse" if high < 0 else "not clear"
        rows.append([name, report_text.points(apart), better])
    return report_text.aligned(rows)


def _table(rows: dict[str, dict[str, Any]]) -> str:
    names = list(next(iter(rows.values()))["systems"])
    lines = [["", "photos", *names]]
    for part, found in rows.items():
        shares = [report_text.share(found["systems"][n], _MAIN) for n in names]
        lines.append([part, f"{found['photos']:,}", *shares])
    return report_text.aligned(lines)
