"""Compares the reports of several systems on the same photos.

python -m planet_tf.compare_reports --out=DIR REPORT REPORT...

A REPORT is a directory that planet_tf.evaluate wrote. All are compared with
the first one, photo by photo: differences come with 95 % intervals and
p-values. Writes comparison.md, comparison.json and comparison.html to --out.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from planet_tf import config_flags
from planet_tf.options.asking_config import CompareReportsConfig


class ComparisonError(ValueError):
    """Reports that cannot be compared, and what to do about it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, reports = config_flags.parse(
        CompareReportsConfig, argv, usage=__doc__, positional="REPORT REPORT..."
    )
    if len(reports) < 2:
        config_flags.fail(
            f"needed are two reports or more, given were {len(reports)}"
        )
    if config.names and len(config.names) != len(reports):
        config_flags.fail(
            f"--names has {len(config.names)} names for {len(reports)} reports"
        )
    try:
        compare(config, reports)
    except ComparisonError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(config: CompareReportsConfig, reports: Sequence[str]) -> None:
    """Writes the comparison and prints it."""
    from planet_tf.reports import (
        comparison_text,
        report,
        report_dir,
        report_page,
    )

    names = config.names or _names(reports)
    photos = [_read(directory) for directory in reports]
    left_out = _match(config, reports, photos)
    found = report.json_ready(
        {
            "photos": len(photos[0].ids),
            "left_out": dict(zip(names, left_out, strict=True)),
            "reports": dict(zip(names, reports, strict=True)),
            **figures(config, dict(zip(names, photos, strict=True))),
        }
    )
    text = comparison_text.markdown(found)
    report_dir.save(
        config.out, "comparison.json", json.dumps(found, indent=1) + "\n"
    )
    report_dir.save(config.out, "comparison.md", text)
    report_dir.save(config.out, "comparison.html", report_page.page(text, {}))
    print(text.strip())
    print(f"\nwritten to {config.out}")


def figures(
    config: CompareReportsConfig, photos: dict[str, Any]
) -> dict[str, Any]:
    """Figures of all systems, and differences of the others to the first.

    Args:
      config: how to resample.
      photos: `report_photos.Photos` by system, the same photos in all.
    """
    from planet_tf.reports import bootstrap, scores

    first = next(iter(photos.values()))
    boot = bootstrap.of_groups(
        first.group, resamples=config.resamples, seed=config.seed
    )
    found = {
        name: scores.Figures(own.all_scores(), own.errors[:, 0], boot)
        for name, own in photos.items()
    }
    base, *others = found.values()
    return {
        "groups": boot.groups,
        "systems": {name: own.overall() for name, own in found.items()},
        "differences": dict(
            zip(
                list(found)[1:],
                [other.minus(base) for other in others],
                strict=True,
            )
        ),
    }


def _names(reports: Sequence[str]) -> tuple[str, ...]:
    """The directories' names, as long as it takes to tell them apart."""
    parts = [os.path.normpath(path).split(os.sep) for path in reports]
    for length in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(part[-length:]) for part in parts)
        if len(set(names)) == len(names):
            return names
    raise ComparisonError(
        f"the same report is given twice: {', '.join(reports)}"
    )


def _read(directory: str) -> Any:
    from etils import epath

    from planet_tf.reports import report_dir, report_photos

    path = epath.Path(directory) / report_dir.PHOTOS
    if not path.exists():
        raise ComparisonError(
            f"{path} is missing: {directory} is no report of planet_tf.evaluate"
        )
    try:
        return report_photos.load(path.read_bytes())
    except ValueError as error:
        raise ComparisonError(f"{path}: {error}; evaluate again") from error


def _match(
    config: CompareReportsConfig, reports: Sequence[str], photos: list[Any]
) -> list[int]:
    """Puts the same photos in the same order into all; how many go out."""
    common = set.intersection(*(set(own.ids.tolist()) for own in photos))
    left_out = [len(own.ids) - len(common) for own in photos]
    if any(left_out) and not config.common:
        counts = ", ".join(
            f"{path} has {n} of {len(own.ids)} alone"
            for path, own, n in zip(reports, photos, left_out, strict=True)
        )
        raise ComparisonError(
            f"the reports are of other photos: {counts}. --common compares on"
            f" the {len(common)} that all have"
        )
    if not common:
        raise ComparisonError("the reports have no photo in common")
    for i, own in enumerate(photos):
        order = np.argsort(own.ids)
        kept = np.isin(own.ids[order], list(common))
        photos[i] = own.take(order[kept])
    far = _different_places(photos)
    if far is not None:
        raise ComparisonError(
            f"photo {far} is at different places in the reports: they are of"
            " different ground truths"
        )
    return left_out


def _different_places(photos: list[Any]) -> str | None:
    """The id of a photo whose truths are more than a metre apart."""
    from planet_tf.geo import geometry

    first = photos[0].truth
    for own in photos[1:]:
        apart = geometry.great_circle_km(*first.T, *own.truth.T)
        if (apart > 1e-3).any():
            return str(own.ids[apart.argmax()])
    return None


if __name__ == "__main__":
    sys.exit(main())
