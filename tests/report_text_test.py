import evaluations
import pytest

from planet_tf.reports import report, report_text


@pytest.fixture
def found():
    evaluated = evaluations.make_two_systems()
    return report.make(evaluated) | {"what": "300 photos"}


def rows_under(text, heading):
    """The table under a heading, as lists of cells."""
    part = text.partition(heading)[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # columns line up
    return [[c.strip() for c in line.split("|")[1:-1]] for line in lines]


def test_tables_have_a_row_a_system_and_a_column_a_radius(found):
    text = report_text.markdown(found, ["a.png"], ["A note."])
    rows = rows_under(text, "## Share of photos within, first answer")
    names = ["", "ours", "worse", "perfect classifier"]
    assert [row[0] for row in rows if "--" not in row[0]] == names
    assert len(rows[0]) == 7
    ours = found["systems"]["ours"]
    low, high = ours["intervals"]["top1_within_750km"]
    share = 100 * ours["top1_within_750km"]
    cell = f"{share:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
    assert rows[2][4] == cell
    assert rows[2][6] == f"{ours['median_km']:,.0f}"
    others = rows_under(text, "## Other figures")
    assert others[0][1:] == [
        "median km",
        "mean km",
        "GeoScore",
        "cell",
        "cell, best of 5",
        "country",
        "continent",
    ]
    assert others[3][4] == "-"  # the other system has no cells
    ways = rows_under(text, "## The best way to answer")
    assert ways[0][3] == "points above worse"
    assert [row[:2] for row in ways[2:]] == [
        [f"{km:,} km", "ours"] for km in (1, 25, 200, 750, 2500)
    ]
    parts = rows_under(text, "first answers by half")
    assert [row[:2] for row in parts[2:]] == [["a", "150"], ["b", "150"]]
    assert "![a.png](a.png)" in text
    assert "A note." in text


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.01, 0.2), "the ours beats the worse"),
        ((-0.2, -0.01), "the ours is behind the worse"),
        ((-0.01, 0.01), "the ours is level with the worse"),
    ],
)
def test_the_verdict_is_that_of_the_interval(found, interval, word):
    apart = found["differences"]["worse"]["top1_within_750km"]
    apart["interval"] = interval
    assert word in report_text.verdicts(found)[0]


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.01, 0.2), "better"),
        ((-0.2, -0.01), "worse"),
        ((0.0, 0.2), "no better"),
    ],
)
def test_a_way_is_better_if_its_interval_is(found, interval, word):
    found["ways"]["by_radius"]["25km"]["interval"] = interval
    text = report_text.markdown(found, [], [])
    assert rows_under(text, "## The best way to answer")[3][4] == word


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.001, "p < 0.002"), (0.002, "p = 0.002"), (1, "p = 1.000")],
)
def test_small_p_values_are_told_by_their_bound(p, text):
    assert report_text.p_value({"p_value": p}) == text


def test_what_has_no_value_is_a_dash():
    figures = {"median_km": None, "geoscore": 12.3, "intervals": {}}
    figures["intervals"]["geoscore"] = (None, 20.0)
    assert report_text.value(figures, "median_km") == "-"
    assert report_text.value(figures, "country") == "-"
    assert report_text.value(figures, "geoscore") == "12 (--20)"


def test_figures_have_names_for_people():
    assert report_text.title("top1_within_2500km") == "2,500 km"
    assert report_text.title("top5_within_25km") == "25 km, best of 5"
    assert report_text.title("geoscore") == "GeoScore"
    assert report_text.title("within_radius_90") == "within that of 90 %"
    assert report_text.title("of_their_own") == "of their own"
