"""The three ways to a partition, on real coordinates and on odd places."""

import collections
import importlib.util
import json
import pathlib

import apache_beam as beam
import numpy as np
import pytest
import s2geometry as s2
from apache_beam.testing.test_pipeline import TestPipeline

from beam_pipelines import files, photos, transforms
from planet_tf.geo import geometry, partition, quadtree

MAX_LEVEL = 20
THRESHOLDS = [(10000, 50), (2000, 50), (500, 10), (100, 5), (10, 1)]


def odd_places():
    """Poles, corners and edges of the cube, the antimeridian; some repeat."""
    corner = np.degrees(np.arcsin(1 / np.sqrt(3)))
    places = [(90.0, 0.0), (-90.0, 123.0)]
    places += [
        (s * corner, lng) for s in (1, -1) for lng in range(-135, 180, 90)
    ]
    places += [(0.0, lng) for lng in (-135.0, -45.0, 45.0, 135.0)]
    places += [(45.0, lng) for lng in (-180.0, -90.0, 0.0, 90.0)]
    places += [(-17.7, -180.0), (66.0, np.nextafter(180, 0)), (1e-12, -180.0)]
    repeats = 1 + 7 * (np.arange(len(places)) % 9)
    return np.repeat(np.array(places), repeats, axis=0)


@pytest.fixture(scope="module")
def points():
    """The 100,000 coordinates of the package geoclip, and the odd places."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        pytest.skip("the package geoclip is not installed")
    root = pathlib.Path(spec.submodule_search_locations[0])
    path = next(root.rglob("coordinates_100K.csv"))
    real = np.loadtxt(path, delimiter=",", skiprows=1)
    return np.concatenate([real, odd_places()])


@pytest.fixture(scope="module")
def photos_by_cell(points):
    """{level: {cell: photos}}, the photos' cells being s2geometry's."""
    leaves = [
        s2.S2CellId(s2.S2LatLng.FromDegrees(*p)).id() for p in points.tolist()
    ]
    leaves = np.array(leaves, np.uint64)
    by_level = {}
    for level in range(MAX_LEVEL + 1):
        bit = np.uint64(1 << 2 * (30 - level))
        cells = leaves - leaves % (bit + bit) + bit
        by_level[level] = collections.Counter(
            dict(
                zip(
                    *map(list, np.unique(cells, return_counts=True)),
                    strict=True,
                )
            )
        )
    return by_level


def by_the_rule(photos_by_cell, max_photos, min_photos):
    """{token: photos} by the paper's rule, from the faces down."""
    kept = {}

    def visit(cell):
        n = photos_by_cell[cell.level()][cell.id()]
        if n > max_photos and cell.level() < MAX_LEVEL:
            for k in range(4):
                visit(cell.child(k))
        elif n >= max(1, min_photos):
            kept[cell.ToToken()] = n

    for face in range(6):
        visit(s2.S2CellId.FromFacePosLevel(face, 0, 0))
    return kept


@pytest.mark.parametrize("max_photos, min_photos", THRESHOLDS)
def test_the_direct_path_the_beam_path_and_the_rule_give_one_partition(
    points, photos_by_cell, max_photos, min_photos, tmp_path
):
    built = partition.build(
        *points.T, max_photos=max_photos, min_photos=min_photos
    )
    expected = by_the_rule(photos_by_cell, max_photos, min_photos)
    assert dict(zip(built.tokens, built.photos, strict=True)) == expected
    assert built.dropped == len(points) - sum(expected.values())
    # Beam would carry the points themselves along with each of its steps.
    path = tmp_path / "points.npy"
    np.save(path, np.random.default_rng(0).permutation(points))
    with TestPipeline("FnApiRunner") as p:
        _ = (
            p
            | beam.Create(range(5))
            | beam.Map(lambda k: photos.Places(*np.load(path)[k::5].T))
            | transforms.PartitionLeaves(max_photos, MAX_LEVEL, coarse_level=3)
            | beam.Map(transforms.leaves_to_json, {})
            | beam.Map(files.write_json, str(tmp_path / "leaves"))
        )
    found = json.loads((tmp_path / "leaves").read_bytes())
    leaves, _ = transforms.leaves_from_json(found)
    assert built == partition.from_leaves(
        leaves,
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=MAX_LEVEL,
    )


def test_the_odd_places_are_where_they_should_be():
    odd = odd_places()
    vectors = np.sort(np.abs(geometry.to_vectors(*odd.T)), axis=-1)
    tied = np.isclose(vectors[:, 1], vectors[:, 2])
    assert tied.sum() > 100  # on edges
    assert (tied & np.isclose(vectors[:, 0], vectors[:, 2])).sum() > 50
    faces = geometry.leaf_ids(*odd.T) >> np.uint64(61)
    assert set(faces.tolist()) == set(range(6))


@pytest.mark.parametrize("photos_there", [499, 500, 501])
def test_t1_photos_stay_and_one_more_splits_in_both_paths(photos_there):
    here, there = (10.0, -80.0), (-10.0, -100.0)  # one face, two children
    lat, lng = np.array([here] * 400 + [there] * (photos_there - 400)).T
    options = {"max_photos": 500, "min_photos": 1, "max_level": MAX_LEVEL}
    cells = 2 if photos_there > 500 else 1
    assert len(partition.build(lat, lng, **options).tokens) == cells
    assert len(beam_leaves(lat, lng, 500)) == cells


@pytest.mark.parametrize("photos_there, kept", [(9, False), (10, True)])
def test_t2_photos_are_kept_and_one_fewer_dropped(photos_there, kept):
    lat, lng = np.array([(10.0, -80.0)] * photos_there + [(48.9, 2.35)] * 30).T
    built = partition.build(lat, lng, max_photos=500, min_photos=10)
    assert len(built.tokens) == 1 + kept
    assert built.dropped == (0 if kept else photos_there)


def beam_leaves(lat, lng, max_photos):
    """What the pipeline's functions give, without a runner."""
    ids = geometry.parents(geometry.leaf_ids(lat, lng), 22)
    groups = collections.defaultdict(list)
    for part in np.array_split(ids, 5):
        histogram = quadtree.add_up(np.sort(part))
        for token, packed in transforms.pack(histogram, 22, 6):
            groups[token].append(packed)
    histograms = [
        {token: transforms.unpack(token, packed, 22)}
        for token, packed in groups.items()
    ]
    parts = [
        transforms.subtrees(some, max_photos, MAX_LEVEL) for some in histograms
    ]
    return transforms.join(parts, max_photos)[0]
