import numpy as np
import pytest
import s2geometry as s2
from globe import (
    BUENOS_AIRES,
    NEW_YORK,
    NORTH_POLE,
    PARIS,
    POINT_SETS,
    SUVA,
    all_over_the_globe,
    s2_cell,
)

from planet_tf.geo import geometry


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7, 8, 12, 20, 27, 28, 29, 30])
def test_parents_levels_and_ranges_are_those_of_s2geometry(level):
    points = np.concatenate([p[::7] for p in POINT_SETS.values()])
    leaves = geometry.leaf_ids(*points.T)
    cells = [s2_cell(*p).parent(level) for p in points]
    ids = geometry.parents(leaves, level)
    np.testing.assert_array_equal(ids, [c.id() for c in cells])
    assert ids.dtype == np.uint64
    assert (geometry.levels(ids) == level).all()
    first, last = geometry.range_bounds(ids)
    np.testing.assert_array_equal(first, [c.range_min().id() for c in cells])
    np.testing.assert_array_equal(last, [c.range_max().id() for c in cells])
    assert ((first <= leaves) & (leaves <= last)).all()


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7, 12, 28, 29])
def test_children_are_those_of_s2geometry(level):
    points = np.concatenate([p[::20] for p in POINT_SETS.values()])
    ids = geometry.parents(geometry.leaf_ids(*points.T), level)
    cells = [s2_cell(*p).parent(level) for p in points]
    expected = [c.child(k).id() for c in cells for k in range(4)]
    np.testing.assert_array_equal(geometry.children(ids), expected)
    assert geometry.children(ids).dtype == np.uint64


@pytest.mark.parametrize("level", [0, 1, 2, 5, 9, 15, 22, 29, 30])
def test_cell_vectors_are_the_centres_of_s2geometry(level):
    points = np.concatenate([p[::9] for p in POINT_SETS.values()])
    ids = geometry.parents(geometry.leaf_ids(*points.T), level)
    centres = [s2_cell(*p).parent(level).ToPoint() for p in points]
    expected = [(c.x(), c.y(), c.z()) for c in centres]
    np.testing.assert_allclose(
        geometry.cell_vectors(ids), expected, rtol=0, atol=1e-15
    )


def test_ids_may_be_a_list_of_numbers():
    ids = geometry.from_tokens(["1", "89c25", "b"])  # one beyond int64
    for name in ("cell_vectors", "children", "levels", "range_bounds"):
        function = getattr(geometry, name)
        np.testing.assert_array_equal(function(ids.tolist()), function(ids))
    faces = geometry.parents(ids.tolist(), 0)
    np.testing.assert_array_equal(faces, geometry.parents(ids, 0))


def test_a_cell_holds_its_own_centre_at_every_level():
    points = np.concatenate([p[::9] for p in POINT_SETS.values()])
    leaves = geometry.leaf_ids(*points.T)
    for level in range(geometry.MAX_CELL_LEVEL + 1):
        ids = geometry.parents(leaves, level)
        centres = geometry.from_vectors(geometry.cell_vectors(ids))
        inside = geometry.parents(geometry.leaf_ids(*centres.T), level)
        np.testing.assert_array_equal(inside, ids)


def test_tokens_are_those_of_s2geometry_and_come_back_as_the_same_ids():
    points = all_over_the_globe(300, seed=8)
    levels = np.arange(len(points)) % 31
    cells = [
        s2_cell(*p).parent(int(level))
        for p, level in zip(points, levels, strict=True)
    ]
    ids = np.array([c.id() for c in cells], np.uint64)
    tokens = geometry.to_tokens(ids)
    assert tokens == [c.ToToken() for c in cells]
    np.testing.assert_array_equal(geometry.from_tokens(tokens), ids)
    assert geometry.from_tokens(tokens).dtype == np.uint64
    np.testing.assert_array_equal(geometry.levels(ids), levels)


def test_token_order_is_id_order():
    ids = geometry.leaf_ids(*all_over_the_globe(500, seed=9).T)
    ids = np.concatenate([geometry.parents(ids, k) for k in (3, 9)])
    tokens = geometry.to_tokens(ids)
    assert sorted(tokens) == geometry.to_tokens(np.sort(ids))


@pytest.mark.parametrize(
    "token",
    [
        "4.7E+064",  # "47e63" after a spreadsheet
        "",
        "X",
        "0",
        "47e6F",
        "47E63",
        "47e630",  # a trailing zero
        "c00",
        "d",  # a face that does not exist
        "47e63 ",
        "89c25a31000000001",  # 17 digits
        "0x89c4",
        "47e62",  # no cell ends in this bit pattern at an odd position
    ],
)
def test_a_destroyed_token_is_refused_by_name(token):
    with pytest.raises(ValueError, match="cell token 1 is") as error:
        geometry.from_tokens(["89c4", token])
    assert repr(token) in str(error.value)


def shoelace(ring):
    x, y = ring.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


@pytest.mark.parametrize("place", [NEW_YORK, BUENOS_AIRES, PARIS])
def test_an_outline_surrounds_its_cell_counter_clockwise(place):
    for level in (4, 8, 13):
        token = s2_cell(*place).parent(level).ToToken()
        ring = geometry.cell_outline(token)
        assert ring.shape == (4, 2)
        assert shoelace(ring[:, ::-1]) > 0
        corners = [
            s2.S2LatLng(s2.S2Cell(s2.S2CellId.FromToken(token)).GetVertex(k))
            for k in range(4)
        ]
        expected = [(c.lat().degrees(), c.lng().degrees()) for c in corners]
        np.testing.assert_allclose(ring, expected, atol=1e-9)


def test_a_finer_outline_has_the_corners_and_great_circles_between():
    for place in (NEW_YORK, SUVA, NORTH_POLE, BUENOS_AIRES):
        token = s2_cell(*place).parent(1).ToToken()
        ring = geometry.cell_outline(token, points_per_edge=6)
        corners = geometry.to_vectors(*geometry.cell_outline(token).T)
        vectors = geometry.to_vectors(*ring.T)
        assert ring.shape == (24, 2)
        np.testing.assert_allclose(vectors[::6], corners, atol=1e-12)
        for edge in range(4):
            normal = np.cross(corners[edge], corners[(edge + 1) % 4])
            along = vectors[6 * edge : 6 * edge + 6]
            np.testing.assert_allclose(along @ normal, 0, atol=1e-12)
        km = geometry.great_circle_km(*ring.T, *np.roll(ring, -1, 0).T)
        steps = km.reshape(4, 6)
        # From corner to corner without a way around, the same from both ends.
        lengths = [
            geometry.great_circle_km(*ring[6 * k], *ring[(6 * k + 6) % 24])
            for k in range(4)
        ]
        np.testing.assert_allclose(steps.sum(1), lengths, rtol=1e-9)
        np.testing.assert_allclose(steps, steps[:, ::-1], rtol=1e-6)
        assert steps.min() > 0.5 * steps.max()


@pytest.mark.parametrize("level", [0, 1, 4])
def test_cells_of_a_level_cover_the_sphere_once(level):
    cell = s2.S2CellId.Begin(level)
    total = 0.0
    while cell.id() != s2.S2CellId.End(level).id():
        total += geometry.cell_area_km2(cell.ToToken())
        cell = cell.next()
    assert total == pytest.approx(4 * np.pi * 6371.0088**2, rel=1e-9)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, 12, 29])
def test_the_deepest_level_has_no_cell_that_is_too_narrow(level):
    cells = (np.arange(6, dtype=np.uint64) << np.uint64(61)) + np.uint64(
        1 << 60
    )
    if level <= 5:
        for _ in range(level):
            cells = geometry.children(cells)
    else:  # the narrowest are in the corners of the faces
        cells = np.concatenate(geometry.range_bounds(cells))
        cells = geometry.parents(cells, level)
    areas = map(geometry.cell_area_km2, geometry.to_tokens(cells))
    narrowest = min(areas) ** 0.5
    assert geometry.deepest_level(0.7 * narrowest) == level
    assert geometry.deepest_level(narrowest * (1 + 1e-6)) == level - 1


def test_any_cell_is_wide_enough_for_no_width():
    assert geometry.deepest_level(0) == 30
    assert geometry.deepest_level(1e-9) == 30
    assert geometry.deepest_level(7142) == 0
    widest = np.sqrt(8 * np.sqrt(2) / 9) * 6371.0088
    assert geometry.deepest_level(widest) == 0


@pytest.mark.parametrize("km", [-0.5, -1e-9, 7144, float("nan")])
def test_no_cell_has_a_negative_width_or_is_wider_than_a_face(km):
    with pytest.raises(ValueError, match="so give 0 to 7,143"):
        geometry.deepest_level(km)
