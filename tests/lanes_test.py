import numpy as np
import pytest
import tensorflow as tf

from planet_tf.data import lanes

COUNTS = [7, 1, 12, 3, 40, 9, 2, 2, 30, 5, 1, 1, 6, 8, 11, 4, 20, 3, 17, 5]
TOTAL = sum(COUNTS)
ALL = [(file, i) for file, n in enumerate(COUNTS) for i in range(n)]
PHOTOS = tf.constant(COUNTS, tf.int64)


def deal(*seed, photos=PHOTOS):
    return lanes.deal_epoch(photos, tf.constant(seed, tf.int64))


def cut(runs, lane, lanes_):
    return lanes.cut(runs, TOTAL * lane // lanes_, TOTAL * (lane + 1) // lanes_)


def listed(runs):
    rows = zip(*(column.numpy().tolist() for column in runs), strict=True)
    return [(f, first + i) for f, first, n in rows for i in range(n)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Record files; a record says in which file it is, and where."""
    directory = tmp_path_factory.mktemp("files")
    found = []
    for file, count in enumerate(COUNTS):
        found.append(str(directory / f"{file}"))
        with tf.io.TFRecordWriter(found[-1]) as writer:
            for i in range(count):
                writer.write(f"{file} {i}".encode())
    return found


def read(paths, runs, start=0):
    path = tf.constant(paths).__getitem__
    found = lanes.records(path, runs, tf.constant(start))
    return [tuple(map(int, r.split())) for r in found.as_numpy_iterator()]


@pytest.mark.parametrize("many", [1, 2, 23])
def test_an_epoch_deals_every_record_once_in_even_lanes(many):
    dealt = deal(1, 2)
    parts = [listed(cut(dealt, lane, many)) for lane in range(many)]
    assert sorted(sum(parts, [])) == ALL
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_an_epoch_is_dealt_by_its_seed():
    assert listed(deal(1, 1)) == listed(deal(1, 1))
    assert len({str(listed(deal(1, n))) for n in range(9)}) == 9
    assert len({str(listed(deal(n, 1))) for n in range(9)}) == 9


def test_epochs_of_one_file_end_with_different_records():
    one = tf.constant([10], tf.int64)
    ends = set()
    for epoch in range(40):
        order = listed(deal(1, epoch, photos=one))
        assert sorted(order) == [(0, i) for i in range(10)]
        ends.add(order[-1])
    assert len(ends) > 5


@pytest.mark.parametrize("many", [1, 4])
def test_a_lane_reads_what_it_was_dealt_and_mixes_its_files(paths, many):
    runs = cut(deal(3, 1), 0, many)
    dealt, found = listed(runs), read(paths, runs)
    assert sorted(found) == sorted(dealt)
    # Of a file in its order, and the first files together.
    for file in {f for f, _ in dealt}:
        assert [x for x in found if x[0] == file] == [
            x for x in dealt if x[0] == file
        ] or dealt[0][0] == file  # which may come twice
    assert len({f for f, _ in found[:20]}) >= 4


def test_files_of_a_group_run_out_together(paths):
    counts = [40, 30, 20, 17]
    files = [COUNTS.index(n) for n in counts]
    runs = lanes.Runs(*map(np.int64, (files, [0] * 4, counts)))
    found = read(paths, lanes.Runs(*map(tf.constant, runs)))
    assert len(found) == sum(counts)
    for file, count in zip(files, counts, strict=True):
        seen = np.cumsum([f == file for f, _ in found])
        even = count * np.arange(1, len(found) + 1) / len(found)
        assert np.abs(seen - even).max() < 2.5


def test_a_lane_can_be_entered_anywhere(paths):
    runs = cut(deal(3, 1), 1, 2)
    whole = read(paths, runs)
    assert len(runs.file) > lanes.FILES_AT_ONCE  # more than a group
    path = tf.constant(paths).__getitem__
    starts = tf.data.Dataset.range(len(whole))
    lists = starts.flat_map(
        lambda start: lanes.records(path, runs, start).batch(999)
    )
    for start, found in enumerate(lists.as_numpy_iterator()):
        assert [tuple(map(int, r.split())) for r in found] == whole[start:]


def test_what_comes_before_is_not_read(paths, tmp_path):
    runs = deal(3, 1)
    whole = read(paths, runs)
    left = whole[-20:]
    # The group of the last ones has more files, but not all.
    needed = set(runs.file.numpy()[-lanes.FILES_AT_ONCE :])
    kept = [
        path if i in needed else str(tmp_path / "gone")
        for i, path in enumerate(paths)
    ]
    assert len(needed) < len(paths)
    assert read(kept, runs, TOTAL - 20) == left
    with pytest.raises(tf.errors.NotFoundError):
        read(kept, runs)


def test_a_pattern_longer_than_what_is_made_at_a_time(paths, monkeypatch):
    runs = deal(3, 1)
    whole = read(paths, runs)
    monkeypatch.setattr(lanes, "_ROWS", 3)
    assert read(paths, runs) == whole
    assert read(paths, runs, 77) == whole[77:]


@pytest.mark.parametrize("wanted", [0, 1, 5, 50, TOTAL - 1, TOTAL])
def test_some_photos_are_the_first_of_each_file_by_its_share(wanted):
    count = lanes.first_of_each(PHOTOS, wanted).count.numpy()
    assert count.sum() == wanted
    assert (count >= 0).all() and (count <= COUNTS).all()
    assert np.abs(count - np.array(COUNTS) * wanted / TOTAL).max() <= 1
