import dataclasses

import numpy as np
import pytest

from beam_pipelines import record_files
from planet_tf.geo import geometry, partition
from planet_tf.photos import records


def photo_at(lat, lng, cells, label=None):
    [label] = [label] if label is not None else cells.labels([lat], [lng])
    token = cells.token(int(label))
    return record_files.Row(
        0, b"", records.Photo(b"", "p", lat, lng, token, int(label))
    )


@pytest.mark.parametrize(
    "fields, cause",
    [
        ({}, ""),
        ({"label": 0}, "the label's token is"),
        ({"label": 999}, "classes"),
        ({"label": -1}, "classes"),
        ({"token": "1"}, "the label's token is"),
        ({"lat": 48.0}, "the partition's label there is -1"),
        ({"lat": float("nan")}, "no such place"),
        ({"lat": 91.0}, "no such place"),
        ({"lng": 181.0}, "no such place"),
    ],
)
def test_a_wrong_label_or_place_is_found(fields, cause):
    points = np.random.default_rng(0).normal([40.7, -74.0], 1.5, (90, 2))
    cells = partition.build(*points.T, max_photos=20, min_photos=1)
    rows = [photo_at(lat, lng, cells) for lat, lng in points.tolist()]
    k = next(k for k, row in enumerate(rows) if row.photo.label > 0)
    photo = dataclasses.replace(rows[k].photo, photo_id="bad", **fields)
    rows[k] = rows[k]._replace(photo=photo)
    found = record_files.wrong_labels(rows, cells)
    assert len(found) == bool(cause)
    assert all("photo bad" in text and cause in text for text in found)


def random_cells():
    rng = np.random.default_rng(1)
    places = [[89.9, 10], [-17, 179.999], [41, -74], [0, 0], [-90, 0]]
    points = np.repeat(places, 3, 0) + rng.normal(0, 0.05, (15, 2))
    leaves = geometry.leaf_ids(
        np.clip(points[:, 0], -90, 90), geometry.wrap_lng(points[:, 1])
    )
    return [
        geometry.to_tokens(geometry.parents(leaves[k : k + 1], level))[0]
        for level in (0, 3, 10, 16)
        for k in range(15)
    ]


@pytest.mark.parametrize("token", sorted(set(random_cells())))
def test_the_distance_to_an_outline_is_that_of_its_nearest_point(token):
    outline = geometry.cell_outline(token, 2000)
    size = geometry.great_circle_km(*outline[0], *outline[4000])
    rng = np.random.default_rng(0)
    for km in rng.uniform(0, 2 * size, 5):
        [point] = geometry.destinations(
            *outline[rng.integers(8000)], rng.uniform(0, 360, 1), np.array([km])
        )
        brute = geometry.great_circle_km(*point, *outline.T).min()
        found = record_files.km_to_outline(token, *point)
        assert found <= brute + 1e-9
        assert found == pytest.approx(brute, abs=size * 2e-3)


@pytest.mark.parametrize("place", [(41, -74), (-17, 179.9999), (89.9, 10)])
@pytest.mark.parametrize("other_class", [False, True])
def test_labels_are_right_within_a_metre_of_the_edge(place, other_class):
    lat, lng = place
    rng = np.random.default_rng(0)
    around = geometry.destinations(
        lat, lng, rng.uniform(0, 360, 500), rng.uniform(0, 2, 500)
    )
    cells = partition.build(
        *around.T, max_photos=20, min_photos=12, other_class=other_class
    )
    outline = geometry.cell_outline(cells.tokens[3], 5)[::3]
    rows = [
        [
            photo_at(np.float32(a), np.float32(b), cells, label)
            for a, b in geometry.destinations(
                *corner, rng.uniform(0, 360, 40), np.full(40, km)
            )
            for label in [3 + other_class]
        ]
        for corner in outline
        for km in (1e-7, 0.02)
    ]
    near, far = sum(rows[::2], []), sum(rows[1::2], [])
    assert record_files.wrong_labels(near, cells) == []
    wrong = record_files.wrong_labels(far, cells)
    assert len(far) / 4 < len(wrong) < len(far)


def test_other_is_right_within_a_metre_of_a_cell_only():
    cells = partition.build(
        [41.0], [-74.0], max_photos=5, min_photos=1, other_class=True
    )
    [token] = cells.tokens
    corner = geometry.cell_outline(token)[0]
    centre = geometry.from_vectors(
        geometry.cell_vectors(geometry.from_tokens([token]))
    )[0]
    inside = corner + (centre - corner) * 1e-9
    assert cells.labels(*inside[:, None]) == [1]
    assert record_files.wrong_labels([photo_at(*inside, cells, 0)], cells) == []
    bad = record_files.wrong_labels([photo_at(*centre, cells, 0)], cells)
    assert len(bad) == 1 and "label there is 1" in bad[0]
