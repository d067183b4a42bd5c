import numpy as np
import pytest

from planet_tf.drawing import maps, pictures
from planet_tf.geo import geometry, partition

matplotlib = pytest.importorskip("matplotlib")

NEW_YORK, RIO, SUVA = (40.71, -74.0), (-22.91, -43.17), (-18.14, 178.44)


@pytest.fixture(scope="module")
def cells():
    points = np.array([NEW_YORK] * 5 + [RIO] * 5 + [SUVA] * 5)
    return partition.build(
        *points.T, max_photos=2, min_photos=1, max_level=9, other_class=True
    )


def example(cells, answer, truth):
    probabilities = np.full(cells.num_classes, 0.1)
    probabilities[cells.labels(*np.array([answer]).T)[0]] = 0.7
    return pictures.Example(np.zeros((8, 8, 3), np.uint8), probabilities, truth)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_examples_are_photos_beside_maps_with_their_errors(cells, count):
    pairs = [(RIO, NEW_YORK), (SUVA, (-18, -179)), (NEW_YORK, NEW_YORK)]
    pairs = (pairs * 3)[:count]
    figure = pictures.examples_figure(
        cells, [example(cells, answer, truth) for answer, truth in pairs]
    )
    photos = [a for a in figure.axes if a.images]
    worlds = [a for a in figure.axes if a.lines]
    assert len(photos) == len(worlds) == count
    for axes, (answer, truth) in zip(worlds, pairs, strict=True):
        point = cells.points[cells.labels(*np.array([answer]).T)[0] - 1]
        km = float(geometry.great_circle_km(*point, *truth))
        assert axes.get_title().endswith(f"{maps.km_text(km)} from the truth")
        assert [line.get_label() for line in axes.lines] == [
            "top answer",
            "truth",
        ]
    for photo, world in zip(photos, worlds, strict=True):
        left, right = photo.get_position(), world.get_position()
        assert left.x1 <= right.x0
        assert (left.y0 + left.y1) / 2 == pytest.approx(
            (right.y0 + right.y1) / 2
        )
    assert maps.encode(figure).startswith(b"\x89PNG")


def test_the_errors_in_the_pictures_are_right(cells):
    # Suva to 18 S 179 W, over the antimeridian: 2.56 degrees of longitude.
    figure = pictures.examples_figure(
        cells, [example(cells, SUVA, (-18.14, -179.0))]
    )
    (world,) = (a for a in figure.axes if a.lines)
    assert world.get_title() == "18.14°S 178.44°E, 271 km from the truth"


def test_curves_share_the_panels_that_their_names_begin_with():
    steps = [0, 10, 20]
    series = {
        "loss/train": (range(40), np.linspace(8, 2, 40)),
        "loss/validation": (steps, [8, 4, 3]),
        "median km": (steps, [9000, 900, 90]),
        "within/25 km": (steps, [0, 0.1, 0.2]),
        "within/750 km": (steps, [0.1, 0.3, 0.5]),
    }
    figure = pictures.learning_curves(series)
    assert [a.get_title() for a in figure.axes] == [
        "loss",
        "median km",
        "within",
    ]
    loss, median, within = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "validation"]
    np.testing.assert_array_equal(loss.lines[1].get_xdata(), steps)
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), [8, 4, 3])
    assert [a.get_yscale() for a in figure.axes] == ["linear", "log", "linear"]
    assert median.get_legend() is None
    assert [t.get_text() for t in within.get_legend().get_texts()] == [
        "25 km",
        "750 km",
    ]
    assert maps.encode(figure).startswith(b"\x89PNG")
