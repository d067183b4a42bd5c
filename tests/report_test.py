import dataclasses
import json

import evaluations
import numpy as np
import pytest

from planet_tf.answering import metrics
from planet_tf.reports import bootstrap, report, scores

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def evaluated():
    return evaluations.make_two_systems()


@pytest.fixture(scope="module")
def found(evaluated):
    return report.make(evaluated)


def km(point, truth):
    """A great-circle distance by the law of cosines."""
    (a, b), (c, d) = np.radians(point), np.radians(truth)
    cosine = np.sin(a) * np.sin(c) + np.cos(a) * np.cos(c) * np.cos(b - d)
    return 6371.0088 * np.arccos(np.clip(cosine, -1, 1))


def test_every_figure_equals_a_count_photo_by_photo(evaluated, found):
    answers = evaluated.systems["ours"]
    truth_of, ours_of = (
        evaluated.whereabouts[n] for n in (report.TRUTH, "ours")
    )
    rows = []
    for i in range(300):
        if np.isnan(answers.points[i, 0, 0]):
            errors = [np.inf] * 3
        else:
            errors = [km(p, evaluated.truth[i]) for p in answers.points[i]]
        row = {"mean_km": errors[0] if np.isfinite(errors[0]) else None}
        row["geoscore"] = 5000 * np.exp(-errors[0] / 1492.7)
        for radius in (1, 25, 200, 750, 2500):
            row[f"top1_within_{radius}km"] = errors[0] <= radius
            row[f"top5_within_{radius}km"] = min(errors) <= radius
        row["top1_cell"] = answers.cell_rank[i] == 0
        row["top5_cell"] = answers.cell_rank[i] <= 4
        for kind in ("country", "continent"):
            true, own = getattr(truth_of, kind)[i], getattr(ours_of, kind)[i]
            row[kind] = None if true == -1 else true == own
        inside = answers.extra["inside"][i]
        row["inside"] = None if np.isnan(inside) else inside
        rows.append((errors[0], row))
    ours = found["systems"]["ours"]
    assert ours["photos"] == 300
    assert found["without_answer"] == {"ours": 1, "worse": 1}
    for part, own in (
        (ours, rows),
        (found["parts"]["half"]["a"], rows[:150]),
        (found["parts"]["half"]["b"], rows[150:]),
    ):
        for name in rows[0][1]:
            counted = [r[name] for _, r in own if r[name] is not None]
            assert part[name] == pytest.approx(np.mean(counted), abs=1e-6), name
            low, high = part["intervals"][name]
            assert low <= part[name] <= high
    median = np.median([error for error, _ in rows])
    assert ours["median_km"] == pytest.approx(median)


def test_differences_are_those_of_the_figures(found):
    ours, worse = (found["systems"][name] for name in ("ours", "worse"))
    differences = found["differences"]["worse"]
    assert "top1_cell" not in differences  # the other one has no cells
    for name, apart in differences.items():
        wanted = ours[name] - worse[name]
        assert apart["difference"] == pytest.approx(wanted)
    assert differences["top1_within_2500km"]["interval"][0] > 0
    assert differences["top1_within_2500km"]["p_value"] < 0.01


def test_the_best_way_is_that_with_the_largest_share(evaluated):
    ours, worse = evaluated.systems["ours"], evaluated.systems["worse"]
    near = scores.Answers(  # within 1 km, for every tenth photo
        np.where(
            np.arange(300)[:, None, None] % 10,
            worse.points,
            evaluated.truth[:, None],
        )
    )
    more = report.make(
        dataclasses.replace(
            evaluated,
            systems={"ours": ours, "plain": worse, "near": near},
            ways=["plain", "ours", "near"],
        )
    )
    assert more["ways"]["against"] == "plain"
    shares = {
        name: more["systems"][name]["top1_within_1km"]
        for name in ("ours", "plain", "near")
    }
    for km, best in more["ways"]["by_radius"].items():
        figure = f"top1_within_{km}"
        own, plain = (
            more["systems"][name][figure] for name in (best["best"], "plain")
        )
        assert own == best["share"]
        assert own == max(
            more["systems"][name][figure] for name in ("ours", "near")
        )
        assert best["difference"] == pytest.approx(own - plain)
        low, high = best["interval"]
        assert low <= best["difference"] <= high
    assert shares["near"] > shares["ours"]
    assert more["ways"]["by_radius"]["1km"]["best"] == "near"


def test_the_share_of_the_ceiling_is_that_of_its_figures(evaluated, found):
    reached = found["ceiling_reached"]
    # 0.5 degrees away: nothing of it is within 25 km.
    assert list(reached) == [f"top1_within_{r}km" for r in (200, 750, 2500)]
    name = "top1_within_750km"
    share = found["systems"]["ours"][name] / found["ceiling"][name]
    assert reached[name]["share"] == pytest.approx(share)
    low, high = reached[name]["interval"]
    assert low < share < high


def test_thresholds_answer_with_the_wanted_share_of_right_ones(
    evaluated, found
):
    answers = evaluated.systems["ours"]
    errors = metrics.errors_km(answers.points, evaluated.truth)[:, 0]
    confidence = answers.probabilities[:, 0]
    for radius in (1, 25, 200, 750, 2500):
        own = found["confidence"]["within"][f"{radius}km"]
        assert [row["right"] for row in own["abstention"]] == [0.8, 0.9, 0.95]
        for row in own["abstention"]:
            if row["threshold"] is None:
                continue
            answered = confidence >= row["threshold"]
            assert answered.mean() == pytest.approx(row["coverage"])
            right = (errors[answered] <= radius).mean()
            assert right >= row["right"] - 1e-9
    assert found["confidence"]["within"]["2500km"]["abstention"][0]["coverage"]


def test_the_report_is_json_of_no_odd_numbers(evaluated):
    silent = scores.Answers(np.full((300, 2, 2), np.nan))
    found = report.make(
        report.Evaluated(
            evaluated.truth, {"silent": silent}, evaluated.bootstrap
        )
    )
    text = json.dumps(found, allow_nan=False)
    silent = json.loads(text)["systems"]["silent"]
    assert silent["median_km"] is None
    assert silent["mean_km"] is None
    assert silent["top5_within_2500km"] == 0
    assert found["without_answer"] == {"silent": 300}


def test_a_system_without_probabilities_has_no_confidence(evaluated):
    plain = scores.Answers(evaluated.systems["ours"].points)
    found = report.make(
        report.Evaluated(
            evaluated.truth, {"plain": plain}, bootstrap.of_photos(300)
        )
    )
    assert "confidence" not in found
    assert "ceiling" not in found
