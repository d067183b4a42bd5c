import numpy as np

from planet_tf import report

OPTIONS = {"resamples": 300, "seed": 0}


def figures(share, photos=1000):
    errors = np.full((photos, 5), 9000.0)
    errors[: int(share * photos)] = 500.0
    return report.system_figures(errors, **OPTIONS)


def test_every_figure_lies_in_its_interval():
    errors = np.random.default_rng(0).exponential(500, (400, 5))
    found = report.system_figures(errors, **OPTIONS)
    assert found["intervals"].keys() == found.keys() - {"intervals"}
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high


def test_verdicts_need_intervals_that_do_not_overlap():
    systems = {
        "network": figures(0.80),
        "neighbour": figures(0.70),
        "twin": figures(0.79),
        "oracle": figures(0.90),
    }
    lines = report.verdicts(systems, "network")
    assert "network beats the neighbour: 80.0 %" in lines[0]
    assert "is not clearly different from the twin" in lines[1]
    assert "is behind the oracle" in lines[2]


def test_the_markdown_has_a_row_a_system_and_a_column_a_radius():
    text = report.markdown(
        {
            "photos": 1000,
            "split": "test",
            "cells": 34,
            "step": 10,
            "systems": {"network": figures(0.8), "prior": figures(0.1)},
            "ceiling": figures(1.0),
            "verdicts": ["It wins."],
        },
        ["examples.png"],
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (2 + 3)
    assert len({len(row) for row in rows[:5]}) == 1  # columns line up
    network = [cell.strip() for cell in rows[2].split("|")]
    assert network[1] == "network"
    assert network[2].startswith("0.0 %")
    assert network[5].startswith("80.0 % (")
    assert network[7] == "500"
    assert "![examples.png](examples.png)" in text
