import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines import tables
from beam_pipelines.photos import Photos
from planet_tf.photos.records import UNKNOWN_TIME
from planet_tf.photos.rejects import Reason

NAN = float("nan")


def photo(photo_id, owner="", time=UNKNOWN_TIME):
    return (photo_id, "a.tar", 7, 9, NAN, NAN, owner, "", time)


def row(photo_id, lat, lng, owner="", album="", time=UNKNOWN_TIME):
    return (photo_id, "t.csv", 0, -1, lat, lng, owner, album, time)


PHOTOS = [photo("a"), photo("b", "ann", 5), photo("c"), photo("lost")]
ROWS = [
    row("c", -33.4, -70.6),
    row("a", 40.7, -74.0, "bob", "trip", 9),
    row("b", 90.0, -180.0),
    row("a", 50.0, 0.0),
    row("c", -33.4, -70.6),  # once more, the same
    row("unused", 1.0, 2.0),
]
JOINED = [
    ("a", "a.tar", 7, 9, 40.7, -74.0, "bob", "trip", 9),
    ("b", "a.tar", 7, 9, 90.0, -180.0, "ann", "", 5),
    ("c", "a.tar", 7, 9, -33.4, -70.6, "", "", UNKNOWN_TIME),
]
REJECTS = [
    ("a", Reason.DUPLICATE_ID),
    ("lost", Reason.MISSING_COORDINATES),
    ("unused", Reason.NO_PHOTO_OF_ROW),
]


@pytest.mark.parametrize("seed", range(3))
def test_photos_meet_their_rows_in_any_order(seed):
    rng = np.random.default_rng(seed)
    photos = Photos.from_rows([PHOTOS[i] for i in rng.permutation(4)])
    table = Photos.from_rows([ROWS[i] for i in rng.permutation(len(ROWS))])
    joined, rejects = tables.join(photos, table, "t.csv")
    assert sorted(joined.rows()) == JOINED
    assert sorted((r.id, r.reason) for r in rejects) == REJECTS


def test_the_pipeline_gives_what_one_join_does():
    with TestPipeline("FnApiRunner") as p:
        parts = {
            "photos": [PHOTOS[:1], PHOTOS[1:]],
            "table": [ROWS[:2], ROWS[2:]],
        }
        found = {
            kind: p
            | kind >> beam.Create([Photos.from_rows(part) for part in some])
            for kind, some in parts.items()
        } | tables.JoinTable("t.csv")
        assert_that(found.photos | beam.FlatMap(Photos.rows), equal_to(JOINED))
        assert_that(
            found.rejects | beam.Map(lambda r: (r.id, r.reason)),
            equal_to(REJECTS),
            label="rejects",
        )


def test_either_side_may_be_empty():
    nothing = Photos.from_rows([])
    joined, rejects = tables.join(Photos.from_rows(PHOTOS), nothing, "t.csv")
    assert len(joined) == 0 and len(rejects) == 4
    joined, rejects = tables.join(nothing, Photos.from_rows(ROWS[:3]), "t.csv")
    assert len(joined) == 0
    assert {r.reason for r in rejects} == {Reason.NO_PHOTO_OF_ROW}
