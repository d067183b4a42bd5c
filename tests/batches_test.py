import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines import batches, shards
from beam_pipelines.photos import Photos
from planet_tf.photos.records import UNKNOWN_TIME


def photos(first, last):
    """A batch of photos first .. last - 1."""
    return Photos.from_rows(
        [
            (f"photo {i}", "u", 0, -1, 0.0, 0.0, "", "", UNKNOWN_TIME)
            for i in range(first, last)
        ]
    )


def test_joined_batches_have_all_photos_in_order():
    joined = batches.join([photos(0, 3), photos(3, 3), photos(3, 7)])
    assert joined.rows() == photos(0, 7).rows()
    assert joined.lat.dtype == float and joined.offset.dtype == np.int64
    assert len(batches.join([])) == 0


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], []),
        ([5], [(0, 1)]),
        ([1, 1, 2, 2, 2, 1], [(0, 2), (2, 5), (5, 6)]),
        ([[1, 2], [1, 2], [1, 3], [2, 3]], [(0, 2), (2, 3), (3, 4)]),
    ],
)
def test_runs_are_where_equal_values_stand(values, wanted):
    found = batches.runs(np.array(values, np.uint64))
    assert [(run.start, run.stop) for run in found] == wanted


def shard(batch):
    return shards.shard_numbers(batch, 7)


@pytest.mark.parametrize("gathered", [100, 1_000_000])
def test_batches_are_cut_by_key_into_few_pieces(monkeypatch, gathered):
    monkeypatch.setattr(batches, "_PHOTOS_GATHERED", gathered)
    some = [photos(i, i + 10) for i in range(0, 1000, 10)]
    cut = batches.Cut(shard)
    cut.start_bundle()
    pieces = [piece for batch in some for piece in cut.process(batch)]
    pieces += [windowed.value for windowed in cut.finish_bundle()]
    assert len(pieces) <= 7 * max(1, 1000 // gathered)
    assert {key for key, _ in pieces} == set(range(7))
    for key, piece in pieces:
        assert (shard(piece) == key).all()
    ids = [i for _, piece in pieces for i in piece.photo_id]
    assert sorted(ids) == sorted(photos(0, 1000).photo_id)


def test_pieces_of_a_bundles_end_reach_a_shuffle():
    with TestPipeline("FnApiRunner") as p:
        found = (
            p
            | beam.Create([photos(0, 50), photos(50, 80), photos(0, 0)])
            | beam.ParDo(batches.Cut(shard))
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, pieces: len(batches.join(pieces)))
            | beam.CombineGlobally(sum)
        )
        assert_that(found, equal_to([80]))
