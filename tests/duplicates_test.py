import collections

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines import duplicates, splits
from beam_pipelines.photos import Photos
from planet_tf.photos.records import UNKNOWN_TIME
from planet_tf.photos.rejects import Reason


def row(photo_id, uri="u", lat=0.0, owner="", offset=0, length=-1):
    return (photo_id, uri, offset, length, lat, 0.0, owner, "", UNKNOWN_TIME)


def in_batches(rows, seed):
    """The rows in another order, in three batches."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [
        Photos.from_rows([rows[i] for i in part])
        for part in np.array_split(order, 3)
    ]


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
    kept, rejects = duplicates.one_of_each_id(
        Photos.from_rows([rows[i] for i in order])
    )
    by_hash = sorted("abc", key=splits.hash64)
    assert kept.photo_id.tolist() == by_hash
    assert sorted(kept.rows()) == [
        row("a", "1.jpg", lat=-5.0),
        row("b", "b.jpg"),
        row("c", owner="ann"),
    ]
    assert sorted(reject.id for reject in rejects) == ["a", "a", "b", "c"]
    assert {reject.reason for reject in rejects} == {Reason.DUPLICATE_ID}
    kept, rejects = duplicates.one_of_each_id(Photos.from_rows([]))
    assert (len(kept), rejects) == (0, [])


@pytest.fixture
def contents(tmp_path):
    """60 rows of 20 contents, 3 each, as files and inside one; 2 bad ones."""
    (tmp_path / "all").write_bytes(b"".join(b"%04d" % i for i in range(20)))
    rows, content = [], {}
    for i in range(60):
        path = tmp_path / f"{i}.jpg"
        path.write_bytes(b"%04d" % (i % 20))
        content[f"p{i}"] = i % 20
        inside = row(
            f"p{i}", str(tmp_path / "all"), 1.0, f"o{i}", i % 20 * 4, 4
        )
        rows.append(inside if i < 20 else row(f"p{i}", str(path), 1.0, f"o{i}"))
    rows.append(rows[30])  # the same photo again
    bad = [
        row("gone", str(tmp_path / "gone.jpg")),
        row("beyond", str(tmp_path / "all"), 1.0, "", 78, 4),
    ]
    return rows + bad, content


@pytest.mark.parametrize(
    ("runner", "seed"),
    [("FnApiRunner", 0), ("FnApiRunner", 1), ("BundleBasedDirectRunner", 2)],
)
def test_one_photo_of_each_content_is_kept(contents, runner, seed):
    rows, content = contents
    best = {}
    for photo_id in sorted(content, key=splits.hash64):
        best.setdefault(content[photo_id], photo_id)
    copies = collections.Counter(row[0] for row in rows)
    wanted = [
        (i, "duplicate_content", f"same bytes as {best[content[i]]}")
        for i in content
        if i != best[content[i]]
        for _ in range(copies[i])
    ]
    if best[content["p30"]] == "p30":
        place = f"{rows[30][1]} at lat 1.0, lng 0.0"
        wanted.append(("p30", "duplicate_id", f"kept is {place}, not {place}"))
    with TestPipeline(runner) as p:
        found = (
            p
            | beam.Create(in_batches(rows, seed))
            | duplicates.DropDuplicates(3, threads=2)
        )
        assert_that(
            found["photos"] | beam.FlatMap(Photos.rows),
            equal_to(
                [row for row in dict.fromkeys(rows) if row[0] in best.values()]
            ),
        )
        same = found["rejects"] | "Same" >> beam.Filter(
            lambda r: r.reason.startswith("duplicate")
        )
        assert_that(
            same | beam.Map(lambda r: (r.id, str(r.reason), r.detail)),
            equal_to(wanted),
            label="same",
        )
        bad = found["rejects"] | "Bad" >> beam.Filter(
            lambda r: not r.reason.startswith("duplicate")
        )
        assert_that(
            bad | "Name" >> beam.Map(lambda r: (r.id, str(r.reason))),
            equal_to(
                [("gone", "missing_file"), ("beyond", "truncated_archive")]
            ),
            label="bad",
        )


def test_ids_that_are_names_of_each_other_are_different():
    ids = ["", "0", "00", "a b", "a  b", "\u00e9", "e\u0301"]
    kept, rejects = duplicates.one_of_each_id(
        Photos.from_rows([row(i) for i in ids])
    )
    assert sorted(kept.photo_id) == sorted(ids) and not rejects


def test_a_jpegs_metadata_makes_no_other_photo(tmp_path, make_jpeg):
    comments = [{}, {"comment": b"mine"}, {"exif": b"Exif\0\0II*\0\x08\0\0\0"}]
    jpegs = [make_jpeg(seed=1, **save) for save in comments]
    jpegs += [make_jpeg(seed=2), b"no photo", b"\xff\xd8\xff", b""]
    found = []
    for i, data in enumerate(jpegs):
        (tmp_path / f"{i}.jpg").write_bytes(data)
        path = str(tmp_path / f"{i}.jpg")
        found.append(duplicates.digest("id", path, 0, -1))
    assert len(set(jpegs)) == 7
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 5
