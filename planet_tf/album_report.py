"""The evaluation of albums as tables, by what may make a photo hard."""

from typing import TYPE_CHECKING, Any

import numpy as np

from planet_tf import metrics, report

if TYPE_CHECKING:
    from planet_tf.album_evaluation import Answers

_MAIN_KM = 750  # the radius of the tables by parts
# Lower bounds of the parts.
_POSITIONS = {"first": 0, "2 to 3": 1, "4 to 10": 3, "11 and later": 10}
_LENGTHS = {"1 to 4": 1, "5 to 14": 5, "15 to 29": 15, "30 and more": 30}
_QUARTERS = ("clearest", "clear", "ambiguous", "most ambiguous")


def make(
    answers: "Answers", *, baseline: str, resamples: int, seed: int
) -> dict[str, Any]:
    """All figures with 95 % intervals over albums, ready for JSON.

    Args:
      answers: of all systems.
      baseline: the system that the others are compared with.
      resamples: of the bootstrap.
      seed: of the bootstrap.
    """
    options = {"resamples": resamples, "seed": seed}
    quarters = np.quantile(answers.entropy, [0.25, 0.5, 0.75])
    parts = {
        "position in the album": (_POSITIONS, answers.position),
        "photos of the album": (_LENGTHS, answers.length),
        "ambiguity of the single photo": (
            dict(zip(_QUARTERS, [0, *quarters], strict=True)),
            answers.entropy,
        ),
    }
    return {
        "photos": len(answers.album),
        "albums": len(np.unique(answers.album)),
        "systems": {
            name: _figures(errors, answers.album, options)
            for name, errors in answers.errors.items()
        },
        "baseline": baseline,
        "differences": {
            name: _difference(answers, name, baseline, options)
            for name in answers.errors
            if name != baseline
        },
        "parts": {
            title: _by_part(answers, *part, options)
            for title, part in parts.items()
        },
    }


def _figures(
    errors: np.ndarray, album: np.ndarray, options: dict[str, int]
) -> dict[str, Any]:
    """Figures of one system from its errors (n, k) in km."""
    figures: dict[str, Any] = metrics.summary(errors)
    intervals = {}
    for k in (1, metrics.TOP):
        best = metrics.best_of(errors, k)
        for km in metrics.RADII_KM:
            intervals[f"top{k}_within_{km}km"] = metrics.bootstrap_share(
                best <= km, album, **options
            )
    return figures | {"intervals": intervals}


def _difference(
    answers: "Answers", name: str, baseline: str, options: dict[str, int]
) -> dict[str, Any]:
    """By how much more of the same photos are within _MAIN_KM."""
    hits, others = (
        (answers.errors[system][:, 0] <= _MAIN_KM).astype(int)
        for system in (name, baseline)
    )
    interval = metrics.bootstrap_share(hits - others, answers.album, **options)
    return {"share": float((hits - others).mean()), "interval": interval}


def _by_part(
    answers: "Answers",
    bounds: dict[str, float],
    values: np.ndarray,
    options: dict[str, int],
) -> dict[str, dict[str, Any]]:
    """By part: its photos, and each system's share within _MAIN_KM.

    Args:
      answers: of n photos.
      bounds: the least value of each part.
      values: (n,) of the photos.
      options: of the bootstrap.
    """
    which = np.searchsorted(list(bounds.values()), values, side="right") - 1
    found = {}
    for number, part in enumerate(bounds):
        own = which == number
        if not own.any():
            continue
        shares = {}
        for name, errors in answers.errors.items():
            hits = errors[own, 0] <= _MAIN_KM
            interval = metrics.bootstrap_share(
                hits, answers.album[own], **options
            )
            shares[name] = {"share": float(hits.mean()), "interval": interval}
        found[part] = {"photos": int(own.sum()), "systems": shares}
    return found


def markdown(figures: dict[str, Any]) -> str:
    """The report as Markdown."""
    parts = [
        f"# Evaluation on {figures['albums']:,} albums of"
        f" {figures['split']!r}, {figures['photos']:,} photos",
        "## Share of photos within, first answer (95 % interval over albums)",
        report.table(figures["systems"], 1),
        f"## Share of photos within, best of {metrics.TOP} answers",
        report.table(figures["systems"], metrics.TOP),
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
        low, high = figures["interval"]
        better = "better" if low > 0 else "worse" if high < 0 else "not clear"
        points = f"{100 * figures['share']:+.1f}"
        rows.append([name, f"{points} ({100 * low:+.1f} to {100 * high:+.1f})"])
        rows[-1].append(better)
    return report.aligned(rows)


def _table(rows: dict[str, dict[str, Any]]) -> str:
    names = list(next(iter(rows.values()))["systems"])
    lines = [["", "photos", *names]]
    for part, found in rows.items():
        shares = [found["systems"][name] for name in names]
        lines.append([part, f"{found['photos']:,}", *map(_share, shares)])
    return report.aligned(lines)


def _share(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return report.share(found["share"], low, high)
