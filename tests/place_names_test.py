import numpy as np
import pytest

from planet_tf.geo import geometry, place_names

pytest.importorskip("reverse_geocode")


@pytest.mark.parametrize(
    "lat, lng, town, country",
    [
        (40.71, -74.0, "New York City", "United States"),  # and not Seaport
        (48.887, 2.31, "Paris", "France"),  # and not its 17th arrondissement
        (48.805, 2.13, "Versailles", "France"),  # no borough of Paris
        (-33.45, -70.66, "Santiago", "Chile"),
        (-22.95, -43.2, "Rio de Janeiro", "Brazil"),
        (78.22, 15.65, "Longyearbyen", "Svalbard and Jan Mayen"),
        # Its nearest town is across the antimeridian, 50 km away.
        (-16.8, -179.99, "Labasa", "Fiji"),
        (0.0, -30.0, place_names.NOWHERE, place_names.NOWHERE),
        (-90.0, 0.0, place_names.NOWHERE, place_names.NOWHERE),
    ],
)
def test_a_place_is_named_as_people_do(lat, lng, town, country):
    [name] = place_names.names(np.array([(lat, lng)]))
    assert (name.town, name.country) == (town, country)


def test_the_nearest_towns_are_those_of_a_search_through_all():
    rng = np.random.default_rng(0)
    towns = place_names.towns()
    points = towns.latlng[rng.integers(0, len(towns.latlng), 40)]
    points = points + rng.normal(0, 2, points.shape)
    points[:2] = (-16.5, 179.99), (-16.5, -179.99)
    points = np.stack(
        [points[:, 0].clip(-90, 90), geometry.wrap_lng(points[:, 1])], -1
    )
    rows, km = place_names._nearest(points, 15_000, 3)
    large = towns.latlng[towns.people >= 15_000]
    for point, found, away in zip(points, rows, km, strict=True):
        all_km = geometry.great_circle_km(*point, *large.T)
        np.testing.assert_allclose(away, np.sort(all_km)[:3], atol=1e-4)
        np.testing.assert_allclose(away, all_km[found], atol=1e-4)


def test_a_country_without_other_towns_is_named_once():
    name = place_names.Name("Singapore", "Singapore")
    assert str(name) == "Singapore"
    assert str(place_names.Name("Nice", "France")) == "Nice, France"


def test_no_points_have_no_names():
    assert place_names.names(np.zeros((0, 2))) == []
