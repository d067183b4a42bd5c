import subprocess
import sys
import warnings

import numpy as np
import pytest

from planet_tf.drawing import (
    local_maps,
    maps,
    track_drawing,
    track_maps,
    tracks,
)
from planet_tf.geo import geometry, outlines, partition, place_names

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection  # noqa: E402

PARIS, NEW_YORK, RIO = (48.86, 2.35), (40.71, -74.0), (-22.91, -43.17)
USHUAIA, TOKYO, SYDNEY = (-54.8, -68.3), (35.68, 139.69), (-33.87, 151.2)
EAST, WEST = (-17.0, 179.0), (-17.0, -179.0)  # of the antimeridian


def answer(point, probability=0.5):
    leaf = geometry.leaf_ids(*np.array([point], float).T)
    (token,) = geometry.to_tokens(geometry.parents(leaf, 9))
    return tracks.Answer(*point, probability, token)


def photo(album, single=None, name="a.jpg", **options):
    return tracks.Photo(
        name, "", answer(single or album), answer(album), **options
    )


def album(*points):
    return [photo(p, name=f"{k}.jpg") for k, p in enumerate(points, 1)]


def walk(n):
    """Photos along a spiral, each of them in a place of its own."""
    turn = np.linspace(0, 20, n)
    lat, lng = 46 + turn * np.sin(turn) / 8, 7 + turn * np.cos(turn) / 6
    return album(*zip(lat.tolist(), lng.tolist(), strict=True))


def map_and_frame(photos, title="Trip"):
    """The axes with the map, and the frame it must be in."""
    figure = track_maps.figure(photos, title)
    width, height = figure.axes[0].bbox.size
    points = [p.album.latlng for p in photos]
    points += [p.truth for p in photos if p.truth]
    return figure.axes[0], local_maps.fit(np.array(points), width / height)


def written(figure):
    """All texts of a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def numbers(axes):
    return sorted(t.get_text() for t in axes.texts if t.get_weight() == "bold")


def edge_at(y):
    """How far the world reaches to the right at heights y of the map."""
    outline = outlines.equal_earth(*outlines.world_outline().T)
    right = outline[outline[:, 0] > 1]
    order = np.argsort(right[:, 1])
    return np.interp(y, right[order, 1], right[order, 0])


def tracks_of(axes):
    """The pieces of the line through the album's answers."""
    colour = matplotlib.colors.to_rgb(maps.ANSWER)
    return [
        segment
        for lines in axes.findobj(LineCollection)
        if len(lines.get_colors())
        and tuple(lines.get_colors()[0][:3]) == colour
        for segment in lines.get_segments()
    ]


@pytest.mark.parametrize(
    "points",
    [
        [RIO],
        [NEW_YORK, (41.88, -87.63), (37.77, -122.42)],
        [USHUAIA, (-50.3, -72.3)],
        [EAST, WEST],
        [(89, 10), (88, -170), (90, 0), (86, 100)],
        [(-90, 0), (-77.8, 166.7), (-64, -62)],
        [(0, 0), (0, 70)],
    ],
)
def test_all_answers_and_truths_are_on_the_map_with_a_margin(points):
    photos = [photo(p, truth=points[0]) for p in points]
    axes, frame = map_and_frame(photos)
    assert frame.centre is not None
    low, high = axes.get_position().min, axes.get_position().max
    assert (low >= 0).all() and (high <= 1).all()
    xy = axes.transData.transform(frame.project(points))
    shares = axes.transAxes.inverted().transform(xy)
    assert shares.min() > 0.03 and shares.max() < 0.97
    # It is no larger than it has to be.
    ends = np.array([axes.get_xlim(), axes.get_ylim()])
    size = np.ptp(ends, axis=1).min() * geometry.EARTH_RADIUS_KM
    span = max(geometry.great_circle_km(*a, *b) for a in points for b in points)
    assert local_maps.LEAST_KM - 1e-6 <= size <= max(1.3 * span, 201)


def test_a_map_is_as_wide_as_high_on_the_ground():
    axes, frame = map_and_frame([photo(USHUAIA)])
    west, south, east, north = frame.box
    corners = outlines.azimuthal_inverse(
        np.array([(west, south), (east, south), (west, north)]), frame.centre
    )
    wide = geometry.great_circle_km(*corners[0], *corners[1])
    high = geometry.great_circle_km(*corners[0], *corners[2])
    pixels = axes.bbox.size
    assert wide / high == pytest.approx(pixels[0] / pixels[1], rel=1e-3)
    assert high == pytest.approx(local_maps.LEAST_KM, rel=1e-3)


def test_a_track_across_the_antimeridian_is_short():
    axes, frame = map_and_frame(album(EAST, WEST, EAST))
    pieces = tracks_of(axes)
    assert len(pieces) == 2
    km = geometry.great_circle_km(*EAST, *WEST)
    for piece in pieces:
        length = np.hypot(*(piece[1] - piece[0])) * geometry.EARTH_RADIUS_KM
        assert length == pytest.approx(km, rel=1e-3)
    assert frame.width_km < 3 * km


def test_a_track_around_the_world_leaves_it_on_both_sides():
    axes, frame = map_and_frame(
        album(PARIS, NEW_YORK, (37.8, -122.4), TOKYO, SYDNEY, RIO, PARIS)
    )
    assert frame.centre is None
    pieces = tracks_of(axes)
    assert len(pieces) == 6 + 2  # two of them cross the antimeridian
    assert len({piece.tobytes() for piece in pieces}) == 8
    ends = np.concatenate([piece[[0, -1]] for piece in pieces])
    inside = np.abs(ends[:, 0]) < edge_at(ends[:, 1])
    assert inside.sum() == 2 * 6
    edge = outlines.equal_earth(0.0, 180.0)[0]
    assert max(np.ptp(piece[:, 0]) for piece in pieces) < edge
    for lines in axes.findobj(LineCollection):
        if len(lines.get_segments()) == len(pieces):
            assert lines.get_clip_path() is not None


def test_photos_of_one_answer_share_a_label():
    photos = album(PARIS, PARIS, *[(48.0, 3.0)] * 5, (47.0, 2.0), PARIS)
    axes, _ = map_and_frame(photos)
    assert numbers(axes) == ["1-2, 9", "3-7", "8"]


@pytest.mark.parametrize(
    "positions, text",
    [
        ([1], "1"),
        ([1, 2], "1-2"),
        ([3, 4, 5, 9], "3-5, 9"),
        ([1, 3, 5], "1, 3, 5"),
        ([1, 3, 5, 7, 8], "1, 3, 5, …"),
    ],
)
def test_numbers_are_joined_to_runs(positions, text):
    assert track_drawing.numbers_text(positions) == text


def test_outliers_are_named_and_numbered():
    photos = album(PARIS, PARIS, (48.0, 3.0))
    odd = photo(PARIS, NEW_YORK, "odd $one$_\n.jpg", outlier=True)
    alone = photo((49.5, 3.0), NEW_YORK, "b.jpg", outlier=True)
    last = photo(PARIS)
    figure = track_maps.figure([*photos, odd, alone, last], "Trip")
    text = written(figure)
    assert "4  odd $one$_ .jpg" in text
    assert "alone 40.71°N 74.00°W, 5,837 km off" in text
    assert "2 outliers" in text
    assert numbers(figure.axes[0]) == ["1-2, 4, 6", "3", "4", "5"]
    assert "Outliers" not in written(track_maps.figure(photos, "Trip"))


def test_outliers_that_have_no_room_are_counted():
    photos = [
        photo(PARIS, NEW_YORK, f"odd{k}.jpg", outlier=True) for k in range(90)
    ]
    text = written(track_maps.figure(photos, "Trip"))
    shown = text.count("  odd")
    assert 5 < shown < 30
    assert f"and {90 - shown} more" in text


def test_what_photos_alone_were_answered_is_joined_to_the_track():
    far, near = photo(PARIS, NEW_YORK), photo(PARIS, (48.5, 2.4))
    axes, frame = map_and_frame([far, near, photo(PARIS)])
    marks = [
        line for line in axes.lines if line.get_markerfacecolor() == "none"
    ]
    drawn = np.concatenate([line.get_xydata() for line in marks])
    np.testing.assert_allclose(drawn, frame.project([(48.5, 2.4)]))
    ends = [
        segment[-1]
        for lines in axes.findobj(LineCollection)
        for segment in lines.get_segments()
        if len(segment) == 2
    ]
    for end in frame.project([NEW_YORK, (48.5, 2.4)]):
        assert np.abs(np.array(ends) - end).sum(1).min() < 1e-9


def test_truths_are_crosses():
    truth = (48.9, 2.1)
    axes, frame = map_and_frame([photo(PARIS, truth=truth), photo(PARIS)])
    (crosses,) = (c for c in axes.lines if c.get_marker() == "x")
    np.testing.assert_allclose(crosses.get_xydata(), frame.project([truth]))


@pytest.mark.parametrize("count", [1, 1000])
def test_albums_of_all_sizes_become_pictures(count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = track_maps.figure(walk(count), "$x_{ & <b>")
        picture = maps.encode(figure)
    assert picture.startswith(b"\x89PNG")
    labels = numbers(figure.axes[0])
    assert {"1", str(count)} <= set(labels) and len(labels) <= 62
    text = written(figure)
    assert "$x_{ & <b>" in text
    assert f"{count:,} photo" in text


def test_labels_cover_neither_each_other_nor_the_dots():
    axes, frame = map_and_frame(walk(60))
    axes.figure.draw_without_rendering()
    boxes = [t.get_window_extent().extents for t in axes.texts if t.get_text()]
    assert len(boxes) > 20
    for k, a in enumerate(boxes):
        for b in boxes[:k]:
            wide = min(a[2], b[2]) - max(a[0], b[0])
            high = min(a[3], b[3]) - max(a[1], b[1])
            assert wide < 3 or high < 6  # letters are not as high as a line


def test_a_track_of_no_photos_is_refused():
    with pytest.raises(ValueError, match="at least one photo"):
        track_maps.figure([], "Trip")


@pytest.mark.parametrize(
    "centre, points, on_land",
    [
        # China is opposite to Argentina: its coast is torn on the map.
        ((-34.6, -64.0), [(-34.6, -64.0), (-37, -62), (-40, -60)], [1, 1, 0]),
        ((39.9, 110.0), [(39.9, 110.0), (38, 114), (38.5, 119.5)], [1, 1, 0]),
        ((-85, 20), [(-85, 20), (-88, 100), (-60, 20)], [1, 1, 0]),
        ((85, 20), [(85, 20), (77, -40), (80, -170)], [0, 1, 0]),
        ((-17, 179), [(-17.8, 178), (-17.5, -179.5)], [1, 0]),
    ],
)
def test_land_is_land_and_sea_is_sea(centre, points, on_land):
    if not outlines.land("c", 1e6).land:
        pytest.skip("there are no outlines of the land")
    frame = local_maps.fit(np.array([centre, *points], float), 1.35)
    figure = maps.new_figure(6.75, 5)
    axes = figure.add_axes((0, 0, 1, 1))
    local_maps.draw(axes, frame)
    pixels = image_of(figure)
    land = np.multiply(matplotlib.colors.to_rgb(maps.LAND), 255)
    sea = np.multiply(matplotlib.colors.to_rgb(maps.SEA), 255)
    for xy, expected in zip(frame.project(points), on_land, strict=True):
        x, y = axes.transData.transform(xy).astype(int)
        around = pixels[::-1][y - 2 : y + 3, x - 2 : x + 3, :3].reshape(-1, 3)
        colour = np.median(around.astype(float), axis=0)
        to_land, to_sea = (np.abs(colour - c).sum() for c in (land, sea))
        assert (to_land < to_sea) == bool(expected)


def test_only_a_piece_of_the_world_has_an_outline():
    frame = local_maps.fit(np.array([(-17, 179), (-17.5, -179.5)]), 1.35)
    ring = local_maps.outline(frame)
    assert np.abs(ring - frame.centre)[:, 0].max() < 5
    with pytest.raises(ValueError, match="has no centre"):
        local_maps.outline(local_maps.world())


def image_of(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_the_inverse_of_the_projection_is_one():
    rng = np.random.default_rng(0)
    points = geometry.from_vectors(rng.normal(size=(500, 3)))
    for centre in (NEW_YORK, USHUAIA, (90, 0), (-90, 30), (0, 180)):
        xy = outlines.azimuthal(*points.T, centre)
        assert np.hypot(*xy.T).max() <= 2 + 1e-9
        back = outlines.azimuthal_inverse(xy, centre)
        assert geometry.great_circle_km(*back.T, *points.T).max() < 1e-3
        # Distances from the centre are those of chords.
        chords = np.linalg.norm(
            geometry.to_vectors(*points.T) - geometry.to_vectors(*centre),
            axis=-1,
        )
        np.testing.assert_allclose(np.hypot(*xy.T), chords, atol=1e-9)


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys; from planet_tf.drawing import track_maps;"
    code += "assert not {'matplotlib', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def cells():
    rng = np.random.default_rng(3)
    points = [
        geometry.destinations(
            *place, rng.uniform(0, 360, 80), rng.uniform(0, 200, 80)
        )
        for place in (PARIS, NEW_YORK, EAST)
    ]
    return partition.build(
        *np.concatenate(points).T, max_photos=5, min_photos=1, other_class=True
    )


@pytest.fixture
def shown(monkeypatch):
    """What was given to the page, as (title, subtitle, cells, ..., track)."""
    seen = []
    page = track_maps.web_map.page

    def spy(*args):
        seen.append(args)
        return page(*args)

    monkeypatch.setattr(track_maps.web_map, "page", spy)
    return seen


def test_a_page_has_the_probable_cells_and_the_track(cells, shown):
    probabilities = np.full(cells.num_classes, 1e-7)
    shares = 0.3, 0.4, 0.1, 0.1, 0.05, 0.05, 1e-4
    probabilities[[0, 4, 9, 20, 30, 40, 50]] = shares
    photos = album(PARIS, NEW_YORK)
    text = track_maps.page(photos, cells, probabilities, "A & B")
    assert "<h1>A &amp; B</h1>" in text
    ((_, subtitle, drawn, _, towns, _, track),) = shown
    # "other", label 0, is no cell.
    assert drawn.tokens == [cells.token(k) for k in (4, 9, 20, 30, 40, 50)]
    (column,) = drawn.columns
    assert column.unit == "%"
    np.testing.assert_allclose(column.values, [40, 10, 10, 5, 5, 0.01])
    assert track == photos
    assert subtitle == "2 photos, 2 places"
    if place_names.available():
        names = [name for name, _, _ in towns]
        assert "Paris" in names and len(names) <= 1400


def test_a_page_has_five_cells_at_least(cells, shown):
    probabilities = np.zeros(cells.num_classes)
    probabilities[[0, 7]] = 0.1, 0.9
    track_maps.page(album(PARIS), cells, probabilities, "Trip")
    tokens = shown[0][2].tokens
    assert len(tokens) == 5 and cells.token(7) in tokens
    assert tokens == sorted(tokens, key=cells.tokens.index)


def test_probabilities_of_another_partition_are_refused(cells):
    with pytest.raises(ValueError, match="classes"):
        track_maps.page(album(PARIS), cells, np.ones(3), "Trip")
