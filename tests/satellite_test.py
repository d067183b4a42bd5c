import numpy as np
import pytest

from beam_pipelines import satellite
from planet_tf.geo import geometry

STILL = satellite.Jitter(0, 0, 0, 0, 0, 0, 0)


def picture_of(function, height=180):
    """A picture whose pixels are function(unit vectors) of their centres."""
    lat = 90 - (np.arange(height) + 0.5) * 180 / height
    lng = (np.arange(2 * height) + 0.5) * 180 / height - 180
    vectors = geometry.to_vectors(*np.meshgrid(lat, lng, indexing="ij"))
    return function(vectors).astype(np.float32)


def slopes(vectors):
    """Colours without a seam or a kink anywhere on the sphere."""
    return 100 + 80 * vectors


def random_picture(height=90):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, 2 * height, 3), dtype=np.uint8)


def test_a_pixel_centre_samples_that_pixel_and_between_two_their_mean():
    picture = random_picture()
    padded = satellite.pad(picture)
    lat, lng = 90 - 10.5 * 2, -180 + 20.5 * 2
    colours = satellite.sample(
        padded, np.array([lat, lat, lat - 1]), np.array([lng, lng + 1, lng])
    )
    pixels = picture.astype(float)
    np.testing.assert_allclose(colours[0], pixels[10, 20], atol=1e-3)
    mean = (pixels[10, 20] + pixels[10, 21]) / 2
    np.testing.assert_allclose(colours[1], mean, atol=1e-3)
    mean = (pixels[10, 20] + pixels[11, 20]) / 2
    np.testing.assert_allclose(colours[2], mean, atol=1e-3)


def test_beyond_the_edges_lies_the_other_side():
    picture = random_picture()
    padded = satellite.pad(picture)
    pixels = picture.astype(float)
    lat = 90 - 10.5 * 2
    edges = satellite.sample(
        padded,
        np.array([lat, lat, 90.0, -90.0]),
        np.array([-180.0, 180.0, 1 - 180.0, 1 - 180.0]),
    )
    seam = (pixels[10, 0] + pixels[10, -1]) / 2
    np.testing.assert_allclose(edges[:2], [seam, seam], atol=1e-3)
    poles = [(pixels[r, 0] + pixels[r, 90]) / 2 for r in (0, -1)]
    np.testing.assert_allclose(edges[2:], poles, atol=1e-3)


PLACES = [
    (40.71, -74.01),
    (-22.9, -43.2),
    (48.86, 2.35),
    (-17.0, 180.0),
    (68.0, -179.9),
    (90.0, 0.0),
    (89.3, 100.0),
    (-90.0, 0.0),
    (-88.0, -60.0),
]


@pytest.mark.parametrize(("lat", "lng"), PLACES)
def test_a_view_shows_its_place_without_a_seam(lat, lng):
    padded = satellite.pad(picture_of(slopes))
    view = satellite.cut(padded, lat, lng, size=45, km=450)
    # The centre is the place, and no neighbours differ by more than the
    # steepest slope of the colours allows.
    expected = slopes(geometry.to_vectors(lat, lng))
    np.testing.assert_allclose(view[22, 22], expected, atol=0.02)
    step = 80 * 10 / geometry.EARTH_RADIUS_KM
    for axis in (0, 1):
        assert np.abs(np.diff(view, axis=axis)).max() < 1.2 * step


@pytest.mark.parametrize(("lat", "lng"), PLACES)
@pytest.mark.parametrize("rotation", [0.0, 90.0, -35.0])
def test_a_views_pixels_are_where_the_compass_says(lat, lng, rotation):
    padded = satellite.pad(picture_of(slopes))
    view = satellite.cut(padded, lat, lng, size=45, km=450, rotation=rotation)
    for (row, column), bearing in {
        (2, 22): 0,
        (22, 42): 90,
        (42, 22): 180,
        (22, 2): 270,
    }.items():
        point = geometry.destinations(lat, lng, bearing + rotation, 200.0)
        expected = slopes(geometry.to_vectors(*point))
        np.testing.assert_allclose(view[row, column], expected, atol=0.02)


def _spot(vectors, centre):
    near = vectors @ centre > np.cos(20 / geometry.EARTH_RADIUS_KM)
    return 250.0 * near[..., None] * np.ones(3)


def test_jitter_keeps_the_place_in_view_and_turns_it_any_way():
    # A picture that is black but for one bright spot, the place.
    lat, lng = 40.0, -74.0
    spot = geometry.to_vectors(lat, lng)
    padded = satellite.pad(picture_of(lambda v: _spot(v, spot), height=900))
    angles, distances = [], []
    for seed in range(100):
        view = satellite.jittered_view(
            padded,
            lat,
            lng,
            np.random.default_rng(seed),
            size=45,
            km=450,
            jitter=satellite.Jitter(noise=0),
        ).mean(-1)
        rows, columns = np.nonzero(view > view.max() / 2)
        north, east = 22 - rows.mean(), columns.mean() - 22
        angles.append(np.arctan2(east, north))
        distances.append(10 * np.hypot(east, north))
    assert 30 < np.median(distances) < 60
    assert max(distances) < 60 * np.exp(0.35) + 20
    quarters = np.histogram(angles, 4, (-np.pi, np.pi))[0]
    assert quarters.min() > 10


def test_without_jitter_a_view_is_the_plain_cut():
    padded = satellite.pad(random_picture())
    view = satellite.jittered_view(
        padded,
        -33.9,
        151.2,
        np.random.default_rng(5),
        size=30,
        km=450,
        jitter=STILL,
    )
    plain = satellite.cut(padded, -33.9, 151.2, size=30, km=450)
    assert view.dtype == np.uint8
    assert np.abs(view - plain).max() < 0.51


def test_open_sea_is_where_all_around_is_deep_blue_and_nowhere_else():
    # Sea but for an island, an ice cap, and shallows west of it all.
    island = geometry.to_vectors(-5.0, 179.0)
    ice = geometry.to_vectors(90.0, 0.0)
    shallows = geometry.to_vectors(0.0, -90.0)

    def colours(vectors):
        picture = np.broadcast_to([5.0, 14.0, 40.0], vectors.shape).copy()
        for centre, km, colour in [
            (island, 300, (30, 40, 10)),
            (ice, 2000, (250, 252, 254)),
            (shallows, 1000, (26, 70, 75)),
        ]:
            near = vectors @ centre > np.cos(km / geometry.EARTH_RADIUS_KM)
            picture[near] = colour
        return picture

    sea = satellite.open_sea(satellite.pad(picture_of(colours, 360)), 500.0)
    assert len(sea) > 2000
    vectors = geometry.to_vectors(*sea.T)
    for centre, km in [(island, 300), (ice, 2000), (shallows, 1000)]:
        away = geometry.EARTH_RADIUS_KM * np.arccos(vectors @ centre)
        # What is looked at is 25 km apart, and a pixel is 55 km wide.
        assert km + 400 < away.min() < km + 800
    assert (np.abs(sea[:, 1]) > 170).any()  # around the island too


def test_a_picture_without_sea_has_no_open_sea():
    assert satellite.open_sea(satellite.pad(random_picture()), 500).shape == (
        0,
        2,
    )


def test_a_view_reaches_no_further_than_is_said():
    lat, lng = -33.0, 179.0
    km = satellite.reach_km(450, satellite.Jitter())
    place = geometry.to_vectors(lat, lng)

    def outside(vectors):
        near = vectors @ place > np.cos((km + 20) / geometry.EARTH_RADIUS_KM)
        return 250.0 * ~near[..., None] * np.ones(3)

    padded = satellite.pad(picture_of(outside, height=900))
    brightest = [
        satellite.jittered_view(
            padded,
            lat,
            lng,
            np.random.default_rng(seed),
            size=45,
            km=450,
            jitter=satellite.Jitter(noise=0),
        ).max()
        for seed in range(100)
    ]
    assert max(brightest) == 0


def view_of(kind, seed, jitter=STILL, place=(40.0, -74.0)):
    """A view of a dark picture of noise with pixels of 22 km."""
    padded = satellite.pad(random_picture(900) // 3)
    return satellite.jittered_view(
        padded,
        *place,
        np.random.default_rng(seed),
        size=45,
        km=450,
        jitter=jitter,
        kind=kind,
    ).astype(float)


def test_a_zoom_shows_one_pixel_of_the_picture_and_no_more():
    clear, zoom = view_of("clear", 0), view_of("zoom", 0)
    assert np.abs(np.diff(clear, axis=0)).mean() > 3
    assert np.abs(np.diff(zoom, axis=0)).mean() < 1
    plain = satellite.cut(
        satellite.pad(random_picture(900) // 3),
        40.0,
        -74.0,
        size=45,
        km=satellite.ZOOM_KM,
    )
    assert np.abs(zoom - plain).max() < 0.51


def test_a_cloud_is_bright_smooth_uneven_and_never_twice_the_same():
    cloud, other = view_of("cloud", 0), view_of("cloud", 1)
    assert cloud.min() > 90 and cloud.max() < 160
    assert np.abs(np.diff(cloud, axis=0)).max() < 8
    assert np.ptp(cloud.mean(-1)) > 5
    assert np.abs(cloud - other).mean() > 2


def test_two_places_of_like_colour_look_alike_under_a_cloud():
    # All that is left of a place is its mean colour, and little of that.
    here, there = (
        view_of("cloud", 0, place=place)
        for place in [(40.0, -74.0), (-33.9, 151.2)]
    )
    assert np.abs(here - there).max() < 4


def test_views_that_tell_nothing_are_jittered_too():
    for kind in satellite.UNINFORMATIVE_KINDS:
        still = view_of(kind, 0)
        varied = view_of(kind, 0, satellite.Jitter())
        noise = varied - np.roll(varied, 1, axis=0)
        assert noise.std() > (still - np.roll(still, 1, axis=0)).std()
        assert np.abs(varied.mean((0, 1)) - still.mean((0, 1))).max() > 5
