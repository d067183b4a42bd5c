import concurrent.futures
import threading
import time

import pytest

from beam_pipelines import shards
from planet_tf.photos import images
from planet_tf.photos.rejects import Reason, Reject


def test_splits_without_a_share_have_no_files():
    fractions = {"validation": 0.0, "test": 0.5}
    layout = shards.Layout(2, fractions, 0, 299, 90, images.Limits())
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


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


def test_results_come_in_the_order_of_the_items(pool):
    def work(i):
        time.sleep(0.001 * (i % 3))
        return Reject(str(i), "", Reason.TOO_SMALL, "") if i % 5 else b"%d" % i

    found = list(shards.ahead(pool, work, ((i,) for i in range(100)), 7))
    assert found == [work(i) for i in range(100)]


@pytest.mark.parametrize(
    ("size", "ahead"), [(1, 20), (6_000_000, 11), (90_000_000, 1)]
)
def test_as_many_results_wait_as_fit_in_the_memory(pool, size, ahead):
    lock, made, most = threading.Lock(), 0, 0

    def work(i):
        nonlocal made
        with lock:
            made += 1
        return bytes(size)

    results = shards.ahead(pool, work, ((i,) for i in range(40)), 20)
    for taken, _ in enumerate(results, 1):
        if taken > 8:  # the size is known since the first ones
            time.sleep(0.001)
            most = max(most, made - taken)
    assert most <= ahead
    assert made == 40


def test_an_error_of_the_work_is_not_swallowed(pool):
    def work(i):
        raise OSError(f"photo {i}")

    with pytest.raises(OSError, match="photo 0"):
        list(shards.ahead(pool, work, [(0,), (1,)], 4))
