"""The directory that an evaluation leaves: text, data, pictures, a page.

report.md, report.json, report.html, photos.csv (what each photo scored: what
another report is compared with), and the pictures.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planet_tf.drawing import maps
from planet_tf.reports import (
    report,
    report_figures,
    report_page,
    report_photos,
    report_text,
)

PHOTOS = "photos.csv"
REPORT = "report.json"


def write(
    out: str,
    evaluated: report.Evaluated,
    ids: np.ndarray,
    facts: Mapping[str, Any],
    *,
    pictures: Mapping[str, bytes] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes all files of a report; returns what is in report.json.

    Args:
      out: the directory.
      evaluated: what was answered.
      ids: (n,) of the photos.
      facts: what else belongs into report.json; `what` says what it is of.
      pictures: further PNGs by file name, shown after those of all reports.
      notes: paragraphs on the systems.
    """
    found = report.json_ready({**facts, **report.make(evaluated)})
    drawn = {**_figures(evaluated, found), **(pictures or {})}
    text = report_text.markdown(found, list(drawn), notes)
    for name, png in drawn.items():
        save(out, name, png)
    save(out, PHOTOS, report_photos.dump(evaluated, ids))
    save(out, "report.html", report_page.page(text, drawn))
    save(out, REPORT, json.dumps(found, indent=1) + "\n")
    save(out, "report.md", text)  # the last one: whoever has it has all
    return found


def _figures(
    evaluated: report.Evaluated, found: Mapping[str, Any]
) -> dict[str, bytes]:
    """The pictures of all reports, as PNG by file name."""
    errors = {name: found[:, 0] for name, found in evaluated.errors.items()}
    ours = evaluated.systems[evaluated.ours].points[:, 0]
    drawn = {
        "error_curves.png": report_figures.error_curves(errors),
        "error_histogram.png": report_figures.error_histogram(
            errors[evaluated.ours]
        ),
        "error_map.png": report_figures.error_map(evaluated.truth, ours),
    }
    confidence = found.get("confidence", {})
    if "reliability" in confidence:
        drawn["reliability.png"] = report_figures.reliability(
            confidence["reliability"]["bins"]
        )
    if "within" in confidence:
        drawn["risk_coverage.png"] = report_figures.risk_curves(
            confidence["within"]
        )
    return {name: maps.encode(figure) for name, figure in drawn.items()}


def save(out: str, name: str, content: str | bytes) -> None:
    """Writes a whole file into a directory, text or bytes."""
    from etils import epath

    path = epath.Path(out) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / (path.name + ".incomplete")
    if isinstance(content, str):
        content = content.encode()
    temporary.write_bytes(content)
    temporary.replace(path)
