import numpy as np
import pytest

from beam_pipelines import leaks, record_files
from planet_tf.geo import geometry
from planet_tf.photos import records


def test_rounding_changes_no_place_that_is_taken_for_sure():
    rng = np.random.default_rng(0)
    corners = np.concatenate(
        [
            geometry.cell_outline(token, 7)
            for token in ("89c3", "0d5", "7ffd", "4")
        ]
    )
    points = corners + rng.normal(0, 1e-5, corners.shape)
    lat = np.clip(points[:, 0], -90, 90)
    lng = geometry.wrap_lng(points[:, 1])
    rows = [
        record_files.Row(
            0,
            b"",
            records.Photo(
                b"", "p", float(np.float32(a)), float(np.float32(b)), "", 0
            ),
        )
        for a, b in zip(lat, lng, strict=True)
    ]
    blocks, sure = leaks._places(rows)
    true = geometry.parents(geometry.leaf_ids(lat, lng), 8)
    assert (blocks != true).sum() > 3
    assert (blocks[sure] == true[sure]).all()
    assert sure.sum() > 10


def brute_leaks(rows):
    """Digests in several splits, by plain sets."""
    found = {}
    for digest, split in rows:
        found.setdefault(digest, set()).add(split)
    return sum(len(splits) > 1 for splits in found.values()), len(found)


@pytest.mark.parametrize("seed", range(5))
def test_leaks_are_those_of_plain_sets(seed):
    rng = np.random.default_rng(seed)
    digest = rng.integers(0, 40, (60, 2)).astype(np.uint64) // np.uint64(9)
    split = rng.integers(0, 3, 60).astype(np.uint8)
    rows = [(leaks.Kind.OWNER, d.tobytes(), n) for n, d in enumerate(digest)]
    keys = leaks._keys(rows, 0, 0)
    keys = leaks.Keys(keys.kind, keys.digest, split, keys.file, keys.offset)
    [found] = leaks._compare(
        (0, [keys.take(slice(30)), keys.take(slice(30, None))]), 100
    )
    pairs = [(d.tobytes(), s) for d, s in zip(digest, split, strict=True)]
    assert (found["leaks"], found["distinct"]) == brute_leaks(pairs)
    assert 0 < found["leaks"] < found["distinct"]
    for places in found["examples"]:
        offsets = [offset for _, offset in places]
        assert len({digest[k].tobytes() for k in offsets}) == 1
        assert len({split[k] for k in offsets}) == len(offsets) > 1
