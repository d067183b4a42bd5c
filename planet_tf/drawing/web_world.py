"""The world that the server's page draws: land, borders and towns, offline."""

from typing import Any

import numpy as np

from planet_tf.drawing import web_map
from planet_tf.geo import countries, outlines, place_names

_TOWNS = 20_000  # the most populous
_BORDER_DEGREES = 0.02  # that a simplified border may be off by
_DIGITS = 5  # of coordinates that the borders of two countries share


def world() -> dict[str, Any]:
    """What the page is given, as JSON can have it.

    Returns:
      land: rings of land, lakes and islands in them, packed as web_map has it.
      borders: lines between countries, packed alike.
      places: names, lat and lng of towns, the most populous first.
      credits: whose data it is.
    """
    credits, places, lines = ["Land: GSHHG"], [], []
    if countries.available():
        lines = [web_map.pack_line(line) for line in borders()]
        credits.append(countries.CREDIT)
    if place_names.available():
        towns = place_names.towns()
        rows = zip(towns.names[:_TOWNS], *towns.latlng[:_TOWNS].T, strict=True)
        places = [(n, round(lat, 3), round(lng, 3)) for n, lat, lng in rows]
        credits.append(place_names.CREDIT)
    land = outlines.land("l", web_map.LEAST_LAND_KM2)
    return {
        "land": web_map.pack_land(land),
        "borders": lines,
        "places": places,
        "credits": ". ".join(credits),
    }


def borders() -> list[np.ndarray]:
    """Lines (n, 2) = (lat, lng) where two countries meet: no coasts.

    These are the edges that the polygons of two countries have in common.
    """
    import shapely

    rings = []
    for polygon in countries.countries().polygons.geometries:
        for ring in (polygon.exterior, *polygon.interiors):
            points = np.round(shapely.get_coordinates(ring), _DIGITS)
            rings.append(np.stack([points[:-1], points[1:]], axis=1))
    edges = np.concatenate(rings)
    # From west to east, so that both countries' edges are the same.
    first, second = edges[:, 0], edges[:, 1]
    turned = (first[:, 0] > second[:, 0]) | (
        (first[:, 0] == second[:, 0]) & (first[:, 1] > second[:, 1])
    )
    edges[turned] = edges[turned, ::-1]
    found, counts = np.unique(edges, axis=0, return_counts=True)
    merged = shapely.line_merge(shapely.multilinestrings(found[counts > 1]))
    lines = shapely.simplify(shapely.get_parts(merged), _BORDER_DEGREES)
    return [shapely.get_coordinates(line)[:, ::-1] for line in lines]
