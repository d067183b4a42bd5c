import io
import json

import numpy as np
import pytest

from planet_tf.geo import cell_lists, geometry, partition, partition_formats

# Around both poles, across the antimeridian, in the Americas and elsewhere.
PLACES = ((89, 0), (-89, 50), (-18, 180), (41, -74), (-23, -43), (48, 2))


def make_partition(other_class=False, max_photos=40):
    rng = np.random.default_rng(0)
    points = np.repeat(PLACES, 60, 0) + rng.normal(0, 2, (360, 2))
    lat = np.clip(points[:, 0], -90, 90)
    return partition.build(
        lat,
        geometry.wrap_lng(points[:, 1]),
        max_photos=max_photos,
        min_photos=2,
        other_class=other_class,
    )


def written(cells, format):
    file = io.StringIO()
    partition_formats.write(cells, file, format)
    return file.getvalue()


def read_again(text, **options):
    cells = cell_lists.read(text)
    found, labels, _ = cell_lists.to_partition(cells, **options)
    assert labels.tolist() == cells.labels
    return found


def facts(cells):
    return cells.tokens, cells.photos, cells.points, cells.other_class


@pytest.mark.parametrize("other_class", [False, True])
def test_what_csv_keeps_is_read_again_exactly(other_class):
    cells = make_partition(other_class)
    text = written(cells, "csv")
    found = read_again(text)
    assert facts(found) == facts(cells)
    assert found.fingerprint == cells.fingerprint
    assert written(found, "csv") == text


def test_csv_holds_no_bare_token():
    cells = make_partition(other_class=True)
    lines = written(cells, "csv").splitlines()
    assert lines[:2] == ["label,cell,photos,lat,lng", "0,other,,,"]
    names = [line.split(",")[1] for line in lines[2:]]
    assert names == ["s2:" + token for token in cells.tokens]


@pytest.mark.parametrize("other_class", [False, True])
def test_the_label_map_of_planet_v2_is_read_again_exactly(other_class):
    cells = make_partition(other_class)
    text = written(cells, "planet_v2")
    lines = text.splitlines()
    assert lines[0] == "id,S2CellId"
    assert lines[1 + other_class] == (
        f"{int(other_class)},{cells.tokens[0].ljust(16, '0')}"
    )
    found = read_again(text)
    assert found.fingerprint == cells.fingerprint
    assert written(found, "planet_v2") == text
    centres = geometry.from_vectors(geometry.cell_vectors(cells.ids))
    assert np.array_equal(found.latlng, centres)
    assert set(found.photos) == {0}
    assert (found.max_photos, found.min_photos, found.max_level) == (None,) * 3


def test_a_list_of_tokens_is_read_again_exactly():
    cells = make_partition()
    text = written(cells, "tokens")
    assert text.splitlines()[0].split("\t")[0] == cells.tokens[0]
    found = read_again(text)
    assert found.fingerprint == cells.fingerprint
    assert found.points == cells.points
    assert written(found, "tokens") == text


def test_a_list_of_tokens_has_no_place_for_other():
    with pytest.raises(cell_lists.FormatError, match="off by one"):
        written(make_partition(other_class=True), "tokens")


def test_a_partition_that_was_read_is_a_partition_file_too():
    found = read_again(written(make_partition(), "planet_v2"))
    again = partition.load(io.StringIO(written(found, "partition")))
    assert again == found


def holds(ring, lng, lat):
    """Which points (n,) a closed ring (k, 2) holds, by crossings."""
    (x1, y1), (x2, y2) = ring[:-1].T, ring[1:].T
    lng, lat = np.asarray(lng)[:, None], np.asarray(lat)[:, None]
    between = (y1 <= lat) != (y2 <= lat)
    rise = np.where(y1 == y2, 1, y2 - y1)
    x = x1 + (lat - y1) / rise * (x2 - x1)
    return (between & (lng < x)).sum(1) % 2 == 1


def signed_area(ring):
    (x1, y1), (x2, y2) = ring[:-1].T, ring[1:].T
    return (x1 * y2 - x2 * y1).sum() / 2


@pytest.mark.parametrize("level", [0, 1, 2, 4])
def test_the_polygons_of_a_level_cover_the_map_once(level):
    ids = geometry.parents(np.arange(6, dtype=np.uint64) << np.uint64(61), 0)
    for _ in range(level):
        ids = geometry.children(ids)
    rng = np.random.default_rng(level)
    lat, lng = rng.uniform(-90, 90, 300), rng.uniform(-180, 180, 300)
    own = geometry.parents(geometry.leaf_ids(lat, lng), level)
    covered, wrong, area = np.zeros(300, int), 0, 0.0
    for cell, token in zip(ids, geometry.to_tokens(ids), strict=True):
        for ring in partition_formats.polygons(token):
            assert (ring[0] == ring[-1]).all()
            assert np.abs(ring).max(0)[0] <= 180
            assert np.abs(ring).max(0)[1] <= 90
            assert signed_area(ring) > 0
            area += signed_area(ring)
            inside = holds(ring, lng, lat)
            covered += inside
            wrong += (own[inside] != cell).sum()
    # An edge is a chord of half a degree: points beside it may go astray.
    assert wrong <= 3
    assert (covered != 1).sum() <= 3
    assert area == pytest.approx(360 * 180, rel=1e-6)


def test_geojson_has_the_outline_and_the_facts_of_each_cell():
    # Few photos: the face around the antimeridian stays whole.
    cells = make_partition(other_class=True, max_photos=100)
    data = json.loads(written(cells, "geojson"))
    assert data["type"] == "FeatureCollection"
    assert len(data["features"]) == len(cells.tokens)
    kinds = set()
    for label, feature in enumerate(data["features"], 1):
        found = feature["properties"]
        assert found["label"] == label
        assert found["token"] == cells.tokens[label - 1]
        assert found["photos"] == cells.photos[label - 1]
        assert (found["lat"], found["lng"]) == cells.points[label - 1]
        assert found["level"] == geometry.levels(cells.ids)[label - 1]
        kinds.add(feature["geometry"]["type"])
        rings = feature["geometry"]["coordinates"]
        if feature["geometry"]["type"] == "Polygon":
            rings = [rings]
        assert (
            sum(
                holds(np.array(ring), [found["lng"]], [found["lat"]])[0]
                for [ring] in rings
            )
            == 1
        )
    assert kinds == {"Polygon", "MultiPolygon"}


@pytest.mark.parametrize(
    "path, format",
    [
        ("a.json", "partition"),
        ("gs://a/b.csv", "csv"),
        ("a.TSV", "tokens"),
        ("a.geojson", "geojson"),
    ],
)
def test_a_name_says_the_format(path, format):
    assert partition_formats.format_of(path) == format


def test_a_name_without_a_format_is_refused():
    with pytest.raises(cell_lists.FormatError, match=r"\.geojson.*--format"):
        partition_formats.format_of("cells.txt")
