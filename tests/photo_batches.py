"""Batches of photos that only their places and fields matter of."""

import numpy as np

from beam_pipelines import photos
from planet_tf.photos import records


def batch(lat, lng, **fields):
    """Photos at points, with fields other than the usual ones."""
    n = len(lat)
    empty = np.full(n, "", object)
    values = {
        "photo_id": np.array([f"id{i}" for i in range(n)], object),
        "uri": empty,
        "offset": np.zeros(n, np.int64),
        "length": np.full(n, photos.TO_THE_END),
        "lat": np.asarray(lat, float),
        "lng": np.asarray(lng, float),
        "owner_id": empty,
        "album_id": empty,
        "taken_at": np.full(n, records.UNKNOWN_TIME),
    }
    values |= {k: np.array(v, object) for k, v in fields.items()}
    return photos.Photos(**values)
