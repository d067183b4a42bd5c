import numpy as np
import pytest
from worlds import SPREADS, cells_around, distributions, world

from planet_tf.answering import answers, spread
from planet_tf.geo import geometry


def naive(row, made, rule, spreading, k, most_cells, most_candidates):
    """One photo's answers by loops over cells and places."""
    row = [float(p) for p in row[int(made.other_class) :]]
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))[:most_cells]
    left = {
        (c, a): row[c] * w
        for c in order
        for a, w in enumerate(spreading.weights[c])
    }
    found = []
    for _ in range(k):
        best = None
        for c in order[:most_candidates]:
            if c in [f[0] for f in found]:
                continue
            km = {
                (d, a): geometry.great_circle_km(
                    *made.latlng[c], *spreading.points[d, a]
                )
                for d, a in left
            }
            counts = {
                place: float(np.exp(-far / rule.km))
                if rule.kind == "smooth"
                else float(far <= rule.km)
                for place, far in km.items()
            }
            gain = sum(left[p] * counts[p] for p in left)
            if best is None or gain > best[1] + 1e-12:
                best = c, gain, counts
        c, gain, counts = best
        point = made.latlng[c]
        if rule.kind == "middle":
            sums = sum(
                left[d, a] * counts[d, a] * spreading.vectors[d, a]
                for d, a in left
            )
            point = geometry.from_vectors(sums)
        if gain == 0:  # there is nothing left
            point = (np.nan, np.nan)
        found.append((c, gain, point))
        left = {p: m * (1 - counts[p]) for p, m in left.items()}
    return np.array([f[2] for f in found]), np.array([f[1] for f in found])


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("text", ["mass@400", "smooth@300", "middle@400"])
def test_answers_are_those_of_a_search_through_everything(
    text, name, other_class
):
    made, latlng = world(other_class, photos=800)
    spreading = SPREADS[name](made, latlng)
    rule = answers.parse_rule(text)
    rows = distributions(made, 4, evenness=1)
    points, gains = answers.answer(
        rows, made, rule, 3, spread=spreading, most_cells=12, most_candidates=7
    )
    for i, row in enumerate(rows):
        wanted, wanted_gains = naive(row, made, rule, spreading, 3, 12, 7)
        assert gains[i] == pytest.approx(wanted_gains, rel=1e-5)
        assert (np.isnan(points[i]) == np.isnan(wanted)).all()
        away = geometry.great_circle_km(*points[i].T, *wanted.T)
        assert np.nanmax(away) < 1e-3
    # It is not as if the likeliest cells were always the answers.
    plain, _ = answers.answer(rows, made, answers.Rule("mean"), 3)
    assert (points != plain).any()


@pytest.mark.parametrize("other_class", [False, True])
def test_centre_and_mean_are_those_of_the_likeliest_cells(other_class):
    made, _ = world(other_class)
    rows = distributions(made)
    if other_class:
        rows[:, 0] = 1  # the class "other" is no answer
    mean, gains = answers.answer(rows, made, answers.Rule("mean"))
    centre, _ = answers.answer(rows, made, answers.Rule("centre"))
    for i, row in enumerate(rows):
        top = np.argsort(-row[int(other_class) :], kind="stable")[:5]
        assert (mean[i] == made.latlng[top]).all()
        assert gains[i] == pytest.approx(row[int(other_class) :][top])
        wanted = geometry.from_vectors(geometry.cell_vectors(made.ids[top]))
        assert (centre[i] == wanted).all()


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ([(40.7, -74.0), (41.3, -73.6)], (48.85, 2.35)),
        ([(-17.0, 179.8), (-17.0, -179.8)], (-17.0, 0.0)),
        ([(89.6, 10.0), (89.6, -170.0)], (60.0, 10.0)),
        ([(-89.7, 80.0), (-89.7, -100.0)], (-60.0, 80.0)),
    ],
)
def test_two_near_cells_outweigh_a_likelier_one(near, far):
    made, place = cells_around(*near, far)
    row = np.zeros((1, 3), np.float32)
    row[0, place] = [0.3, 0.3, 0.4]
    for text in ("mass@120", "smooth@200", "middle@120"):
        points, gains = answers.answer(row, made, answers.parse_rule(text), 3)
        away = [
            geometry.great_circle_km(*points[0, 0], *point)
            for point in (*near, far)
        ]
        assert max(away[:2]) < 120 < away[2]
        if text.startswith("middle"):
            assert away[0] == pytest.approx(away[1])
        # What is left is the far cell; then, of a disc, nothing.
        assert points[0, 1] == pytest.approx(np.array(far))
        if not text.startswith("smooth"):
            assert gains[0] == pytest.approx([0.6, 0.4, 0])
            assert np.isnan(points[0, 2]).all()
    plain, _ = answers.answer(row, made, answers.Rule("mean"), 1)
    assert tuple(plain[0, 0]) == far


def test_gains_fall_and_never_exceed_what_the_cells_hold():
    made, latlng = world(True)
    rows = distributions(made, 30)
    spreading = spread.as_photos(made, latlng)
    for text in ("mass@500", "smooth@500", "middle@500"):
        _, gains = answers.answer(
            rows, made, answers.parse_rule(text), 5, spread=spreading
        )
        assert (np.diff(gains, axis=1) <= 1e-9).all()
        assert (gains.sum(axis=1) <= rows[:, 1:].sum(axis=1) + 1e-6).all()


def test_a_radius_around_the_earth_holds_all():
    made, _ = world()
    rows = distributions(made)
    _, gains = answers.answer(
        rows, made, answers.Rule("mass", 21_000), 2, most_cells=10**6
    )
    assert gains[:, 0] == pytest.approx(1, abs=1e-5)
    assert gains[:, 1] == pytest.approx(0)


@pytest.mark.parametrize("km", [0.01, 1.0])
def test_a_tiny_radius_answers_like_the_mean(km):
    made, _ = world()
    rows = distributions(made)
    plain, _ = answers.answer(rows, made, answers.Rule("mean"))
    for kind in ("mass", "smooth"):
        points, _ = answers.answer(rows, made, answers.Rule(kind, km))
        assert (points == plain).all()


def test_answers_do_not_depend_on_the_other_photos_of_a_batch(monkeypatch):
    made, _ = world()
    rows = distributions(made, 9)
    rule = answers.Rule("middle", 300)
    whole = answers.answer(rows, made, rule)
    monkeypatch.setattr(answers, "_CHUNK_PAIRS", 1)
    for a, b in zip(whole, answers.answer(rows, made, rule), strict=True):
        assert a == pytest.approx(b, nan_ok=True)


def test_more_answers_than_cells_are_none():
    made, _ = cells_around((0.0, 0.0), (10.0, 10.0))
    row = np.array([[0.7, 0.3]])
    for text in ("centre", "mean", "mass@5", "smooth@5"):
        points, gains = answers.answer(row, made, answers.parse_rule(text), 4)
        assert points.shape == (1, 4, 2)
        assert np.isnan(points[0, 2:]).all()
        assert not np.isnan(points[0, :2]).any()
        assert gains[0] == pytest.approx([0.7, 0.3, 0, 0], abs=1e-4)


@pytest.mark.parametrize("text", ["centre", "mean", "mass@0.5", "smooth@750"])
def test_rules_are_written_as_they_are_read(text):
    assert str(answers.parse_rule(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mode",
        "mass",
        "mean@25",
        "mass@",
        "mass@x",
        "mass@0.001",
        "smooth@-1",
    ]
    + ["middle@nan", "mass@inf"],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError, match="a rule is|at least 0.01"):
        answers.parse_rule(text)
