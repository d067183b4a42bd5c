import numpy as np
import pytest

from beam_pipelines import shards
from beam_pipelines.photos import Photos
from planet_tf.records import UNKNOWN_TIME
from planet_tf.rejects import Reason


def row(photo_id, uri="u", lat=0.0, owner=""):
    return (photo_id, uri, lat, 0.0, owner, "", UNKNOWN_TIME)


def test_a_batch_is_cut_by_the_hash_of_the_ids():
    ids = [f"photo {i}" for i in range(1000)]
    batch = Photos.from_rows([row(i) for i in ids])
    parts = dict(shards.by_shard(batch, 7))
    assert sorted(parts) == list(range(7))
    assert sorted(
        i for part in parts.values() for i in part.photo_id
    ) == sorted(ids)
    again = dict(shards.by_shard(batch.take(slice(500, None)), 7))
    for shard, part in again.items():
        assert set(part.photo_id) <= set(parts[shard].photo_id)


@pytest.mark.parametrize("seed", range(4))
def test_one_of_the_rows_with_an_id_is_kept_whatever_the_order(seed):
    rows = [
        row("a", "2.jpg"),
        row("a", "1.jpg", lat=5.0),
        row("a", "1.jpg", lat=-5.0),
        row("b", "b.jpg"),
        row("b", "b.jpg"),
        row("c", owner="zoe"),
        row("c", owner="ann"),
    ]
    order = np.random.default_rng(seed).permutation(len(rows))
    batches = [
        Photos.from_rows([rows[i] for i in part])
        for part in np.array_split(order, 3)
    ]
    kept, rejects = shards.one_of_each_id(batches)
    assert sorted(kept.rows()) == [
        row("a", "1.jpg", lat=-5.0),
        row("b", "b.jpg"),
        row("c", owner="ann"),
    ]
    assert sorted(reject.id for reject in rejects) == ["a", "a", "b", "c"]
    assert {reject.reason for reject in rejects} == {Reason.DUPLICATE_ID}


def test_an_empty_shard_is_one_too():
    kept, rejects = shards.one_of_each_id([])
    assert (len(kept), rejects) == (0, [])


def test_splits_without_a_share_have_no_files():
    layout = shards.Layout(2, {"validation": 0.0, "test": 0.5}, 0, 299)
    assert layout.file_names() == [
        "planet-train.tfrecord-00000-of-00002",
        "planet-train.tfrecord-00001-of-00002",
        "planet-test.tfrecord-00000-of-00002",
        "planet-test.tfrecord-00001-of-00002",
    ]


def test_the_fingerprint_is_of_the_names_and_contents():
    def file(name="a", sha256="1", photos=3):
        return shards.RecordFile(name, "train", 0, photos, 10, sha256)

    def fingerprint(*files):
        return shards.summary(files, {})["fingerprint"]

    one, two = file("a"), file("b")
    assert fingerprint(one, two) == fingerprint(two, one)
    others = [(one,), (one, file("c")), (one, file("b", sha256="2"))]
    assert len({fingerprint(*files) for files in [(one, two), *others]}) == 4
    split = shards.summary([one, two], {})["splits"]["train"]
    assert split == {"photos": 6, "bytes": 20, "shards": 2}
