"""Photos' places that make partitions of all kinds, and their partitions."""

import io

import numpy as np
from globe import all_over_the_globe

from planet_tf.geo import geometry, partition


def build(points, max_photos, min_photos, max_level=20, **kwargs):
    return partition.build(
        *np.asarray(points, np.float64).T,
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=max_level,
        **kwargs,
    )


def clusters(centres, n, seed, spread):
    """Points around centres, at distances from metres to `spread` km."""
    rng = np.random.default_rng(seed)
    km = spread * 10 ** rng.uniform(-4, 0, (len(centres), n))
    bearing = rng.uniform(0, 360, (len(centres), n))
    around = [
        geometry.destinations(*c, b, k)
        for c, b, k in zip(centres, bearing, km, strict=True)
    ]
    return np.concatenate(around)


def dumped(built):
    file = io.StringIO()
    partition.dump(built, file)
    return file.getvalue()


NEW_YORK, RIO, PARIS = (40.71, -74.0), (-22.91, -43.17), (48.86, 2.35)
POINT_SETS = {
    "cities": clusters([NEW_YORK, RIO, PARIS, (35.68, 139.7)], 150, 1, 800),
    "the Americas": clusters([NEW_YORK, RIO, (19.4, -99.1)], 150, 2, 2500),
    "both poles": clusters([(90, 0), (-90, 0)], 200, 3, 3000),
    "antimeridian": clusters([(-17, 180), (66, -180), (0, 180)], 150, 4, 900),
    "face edges": clusters([(0, 45), (45, 0), (35.264, 45)], 150, 5, 500),
    "all over the globe": all_over_the_globe(500, 6),
    "rounded": np.round(clusters([NEW_YORK, PARIS], 250, 7, 50), 2),
    "one place": np.array([NEW_YORK] * 40 + [RIO] * 7 + [PARIS] * 3),
}
