import collections
import json
import tempfile

import apache_beam as beam
import numpy as np
import pytest
import s2geometry as s2
from apache_beam.testing.test_pipeline import TestPipeline

from beam_pipelines import files, photos, transforms
from planet_tf.geo import geometry, partition, quadtree, target_cells

# Clusters in the Americas (S2 faces 4 and 5: ids beyond int64), elsewhere, at
# both poles, at a cube's corner and edge, on both sides of the antimeridian.
CENTRES = [
    (40.7, -74.0),
    (-33.4, -70.6),
    (19.4, -99.1),
    (48.9, 2.35),
    (35.7, 139.7),
    (90.0, 0.0),
    (-90.0, 0.0),
    (35.26, 45.0),
    (0.0, 45.0),
    (-17.7, 179.999),
    (-17.7, -179.999),
]


def world(seed=0, points=4000):
    """Clustered points on the whole Earth, many at one place, (n,), (n,)."""
    rng = np.random.default_rng(seed)
    centres = np.array(CENTRES)[rng.integers(0, len(CENTRES), points)]
    spread = 10.0 ** rng.uniform(-5, 1.5, (points, 1))
    offset = rng.normal(size=(points, 2)) * spread
    lat = np.clip(centres[:, 0] + offset[:, 0], -90, 90)
    lng = geometry.wrap_lng(centres[:, 1] + offset[:, 1])
    lat[:150], lng[:150] = 40.7, -74.0
    return lat, lng


def beam_partition(
    lat, lng, options, *, batches, runner="FnApiRunner", coarse=4
):
    """The pipeline's leaves, made a partition, and how many there were."""
    parts = np.array_split(
        np.random.default_rng(1).permutation(len(lat)), batches
    )
    with tempfile.TemporaryDirectory() as directory:
        # Nothing but files comes out of a pipeline.
        path = f"{directory}/leaves.json"
        with TestPipeline(runner) as p:
            _ = (
                p
                | beam.Create([photos.Places(lat[i], lng[i]) for i in parts])
                | transforms.PartitionLeaves(
                    options["max_photos"], options["max_level"], coarse
                )
                | beam.Map(transforms.leaves_to_json, {})
                | beam.Map(files.write_json, path)
            )
        found = json.loads(files.read(path))
    leaves, _ = transforms.leaves_from_json(found)
    return partition.from_leaves(leaves, **options)


def recursive_partition(lat, lng, max_photos, min_photos, max_level):
    """{token: photos} by s2geometry, one point and one cell at a time."""
    leaves = [
        s2.S2CellId(s2.S2LatLng.FromDegrees(*point))
        for point in zip(lat.tolist(), lng.tolist(), strict=True)
    ]
    result = {}

    def grow(level, ids):
        by_cell = collections.defaultdict(list)
        for leaf in ids:
            by_cell[leaf.parent(level).ToToken()].append(leaf)
        for token, inside in by_cell.items():
            if len(inside) > max_photos and level < max_level:
                grow(level + 1, inside)
            elif len(inside) >= min_photos:
                result[token] = len(inside)

    grow(0, leaves)
    return result


OPTIONS = [
    {"max_photos": 100, "min_photos": 5, "max_level": 20},
    {"max_photos": 17, "min_photos": 1, "max_level": 26},
    {"max_photos": 100, "min_photos": 5, "max_level": 3},
    {"max_photos": 3000, "min_photos": 5, "max_level": 20},
]


@pytest.mark.parametrize(
    "options, coarse",
    [
        (OPTIONS[0], 0),
        (OPTIONS[0], 6),
        (OPTIONS[0], 11),
        (OPTIONS[1], 5),
        (OPTIONS[2], 4),  # coarser than the coarse level
        (OPTIONS[3], 4),
    ],
)
def test_the_pipeline_gives_the_partition_made_in_one_go(
    options, coarse, monkeypatch
):
    monkeypatch.setattr(transforms, "_PHOTOS_PER_FLUSH", 700)
    monkeypatch.setattr(transforms, "_ROWS_PER_FLUSH", 300)
    lat, lng = world()
    found = beam_partition(lat, lng, options, batches=13, coarse=coarse)
    assert found == partition.build(lat, lng, **options)  # points, bit by bit
    assert dict(zip(found.tokens, found.photos, strict=True)) == (
        recursive_partition(lat, lng, **options)
    )


def test_the_comparison_above_is_not_trivial():
    lat, lng = world()
    coarse = geometry.parents(geometry.leaf_ids(lat, lng), 4)
    cells, counts = np.unique(coarse, return_counts=True)
    assert len(cells) > 20
    assert (counts > 100).any() and (counts < 5).any()
    assert (cells > np.uint64(2**63)).any()
    levels = {
        (options["max_photos"], options["max_level"]): set(
            geometry.levels(partition.build(lat, lng, **options).ids).tolist()
        )
        for options in OPTIONS
    }
    assert min(levels[100, 20]) < 4 < max(levels[100, 20])
    assert max(levels[100, 3]) == 3
    assert partition.build(lat, lng, **OPTIONS[0]).over_max_photos


@pytest.mark.parametrize("batches", [1, 5])
@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
def test_neither_batches_nor_runner_change_the_partition(batches, runner):
    lat, lng = world(seed=1)
    found = beam_partition(lat, lng, OPTIONS[0], batches=batches, runner=runner)
    assert found == partition.build(lat, lng, **OPTIONS[0])


def test_more_than_max_photos_splits_and_fewer_than_min_photos_drops():
    """Exactly t1 photos stay together, exactly t2 are kept."""
    here, there = (40.7, -74.0), (-33.4, -70.6)
    for n, split in ((10, False), (11, True)):
        lat, lng = np.array([here] * n + [there] * 3).T
        for small, kept in ((3, True), (4, False)):
            options = {"max_photos": 10, "min_photos": small, "max_level": 6}
            found = beam_partition(lat, lng, options, batches=4)
            first = geometry.parents(geometry.leaf_ids(*np.array([here]).T), 6)
            assert (geometry.to_tokens(first)[0] in found.tokens) == split
            assert sum(found.photos) == (n + 3 if kept else n)


@pytest.mark.parametrize("cells", [40, 100000])
def test_leaves_for_a_wanted_number_of_cells_are_fine_enough(cells, tmp_path):
    lat, lng = world()
    with TestPipeline("FnApiRunner") as p:
        _ = (
            p
            | beam.Create(
                [photos.Places(lat[i::9], lng[i::9]) for i in range(9)]
            )
            | transforms.PartitionLeaves(10000, 20, 6, cells)
            | beam.Map(transforms.leaves_to_json, {})
            | beam.Map(files.write_json, str(tmp_path / "leaves"))
        )
    found = json.loads((tmp_path / "leaves").read_bytes())
    leaves, _ = transforms.leaves_from_json(found)
    ids = quadtree.sorted_cells([(lat, lng)], 22)
    low = target_cells.floor(len(lat), cells)
    expected = quadtree.grow(ids, None, low, 20)
    for field in ("ids", "counts", "sums"):
        np.testing.assert_array_equal(
            getattr(leaves, field), getattr(expected, field)
        )


@pytest.mark.parametrize("coarse", [0, 4, 6, 20])
@pytest.mark.parametrize("level", [22, 26, 30])
def test_histograms_come_through_the_shuffle_as_they_are(level, coarse):
    lat, lng = world()
    ids = geometry.parents(geometry.leaf_ids(lat, lng), level)
    parts = [np.sort(ids[k::3]) for k in range(3)]
    groups = collections.defaultdict(list)
    for part in parts:
        cells, counts = quadtree.add_up(part)
        counts[::7] *= 300  # more than a byte holds
        for token, packed in transforms.pack((cells, counts), level, coarse):
            groups[token].append(packed)
    expected = collections.Counter()
    for part in parts:
        cells, counts = quadtree.add_up(part)
        counts[::7] *= 300
        expected.update(dict(zip(cells.tolist(), counts.tolist(), strict=True)))
    found = {}
    for token, packed in groups.items():
        cells, counts = transforms.unpack(token, packed, level)
        assert (np.diff(cells.astype(object)) > 0).all()
        root = geometry.from_tokens([token])[0]
        assert (geometry.parents(cells, coarse) == root).all()
        found.update(zip(cells.tolist(), counts.tolist(), strict=True))
    assert found == expected


def test_a_photo_takes_5_bytes_in_the_shuffle():
    lat, lng = world()
    ids = quadtree.sorted_cells([(lat, lng)], 22)
    cells, counts = quadtree.add_up(ids)
    keep = counts < 256
    packed = transforms.pack((cells[keep], counts[keep]), 22, 6)
    size = sum(len(p) + len(c) for _, (p, c) in packed)
    assert size == 5 * keep.sum()


def test_the_places_with_the_most_photos_are_told_where_a_cell_is_over_t1():
    lat, lng = world()
    ids, counts = quadtree.add_up(quadtree.sorted_cells([(lat, lng)], 22))
    groups = transforms.pack((ids, counts), 22, 2)
    histograms = [
        {token: transforms.unpack(token, [part], 22)} for token, part in groups
    ]
    most = quadtree.add_up(geometry.parents(ids, 20), counts)[1].max()
    for max_photos, max_level in ((100, 20), (100, 9), (most, 20)):
        parts = [
            transforms.subtrees(h, max_photos, max_level) for h in histograms
        ]
        leaves, hottest = transforms.join(parts, max_photos)
        over = leaves.ids[leaves.counts > max_photos]
        inside = np.isin(geometry.parents(ids, max_level), over)
        assert bool(len(over)) == (max_photos < most)
        assert max_photos == 100 or all(len(h) == 0 for _, h in parts)
        expected = np.sort(counts[inside])[::-1][: transforms.HOTTEST]
        assert np.sort(hottest.counts)[::-1].tolist() == expected.tolist()
        assert np.isin(hottest.ids, ids[inside]).all()


def test_no_photos_give_no_leaves():
    with pytest.raises(partition.PartitionError, match="without cells"):
        beam_partition(np.zeros(0), np.zeros(0), OPTIONS[0], batches=1)
