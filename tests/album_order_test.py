import pytest

from planet_tf.photos import album_order, records


def test_the_order_is_by_time_and_then_by_name():
    names = ["img10", "img9", "z"]
    assert album_order.in_order(names, [1, 1, 0]) == ([2, 1, 0], True)
    times = [1, records.UNKNOWN_TIME, 0]
    assert album_order.in_order(names, times) == ([1, 0, 2], False)
    assert album_order.in_order([], []) == ([], True)


@pytest.mark.parametrize(
    ("first", "second"),
    [("2", "10"), ("a2b", "a10"), ("a", "a0"), ("1a", "1b"), ("0", "00")]
    + [("9" * 5000, "1" + "0" * 5000), ("", "1"), ("é2", "é10")],
)
def test_names_are_in_natural_order(first, second):
    order = album_order.natural_order
    assert order(first) < order(second)


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        (1, [1]),
        (99, [99]),
        (100, [100]),
        (101, [51, 50]),
        (250, [84, 83, 83]),
        (1000, [100] * 10),
        (1001, [91] * 11),
    ],
)
def test_long_albums_are_cut_evenly(count, lengths):
    cuts = album_order.even_cuts(count, 100)
    found = [cut.stop - cut.start for cut in cuts]
    assert sorted(found, reverse=True) == lengths
    assert list(range(count)) == [i for cut in cuts for i in range(count)[cut]]


def test_cuts_are_even_for_any_count():
    for count in range(1, 60):
        for largest in range(1, 60):
            cuts = album_order.even_cuts(count, largest)
            found = [cut.stop - cut.start for cut in cuts]
            assert sum(found) == count and len(found) == -(-count // largest)
            assert max(found) <= largest and max(found) - min(found) <= 1
