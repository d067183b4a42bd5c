"""Tests of planet_tf.sizing.traffic."""

import numpy as np
import pytest

from planet_tf.sizing import traffic


def ring_all_reduce(parts):
    """Sums arrays (n, n, k) as a ring does; what each of the n has sent.

    parts[r, c] is chunk c of replica r.
    """
    count = len(parts)
    sent = np.zeros(count, int)
    for turn in range(2 * (count - 1)):
        moved = []
        for replica in range(count):
            chunk = (replica - turn) % count
            moved.append((replica, chunk, parts[replica, chunk].copy()))
        for replica, chunk, values in moved:
            sent[replica] += values.nbytes
            after = (replica + 1) % count
            if turn < count - 1:  # sums go round
                parts[after, chunk] += values
            else:  # whole sums do
                parts[after, chunk] = values
    return sent


@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_a_ring_sends_as_many_bytes_as_one_that_is_played_through(replicas):
    parts = np.random.default_rng(0).integers(
        0, 100, (replicas, replicas, 5), np.int64
    )
    sums = parts.sum(axis=0)
    size = sums.nbytes
    sent = ring_all_reduce(parts)
    assert (parts == sums).all()  # the ring did its work
    assert (sent == traffic.all_reduce_bytes(size, replicas)).all()


def ring_all_gather(parts):
    """Gathers arrays (n, k) as a ring does; what each of the n has sent."""
    count = len(parts)
    held = [{r: parts[r]} for r in range(count)]
    sent = np.zeros(count, int)
    for turn in range(count - 1):
        moved = [held[r][(r - turn) % count] for r in range(count)]
        for replica, values in enumerate(moved):
            sent[replica] += values.nbytes
            held[(replica + 1) % count][(replica - turn) % count] = values
    assert all(len(x) == count for x in held)  # all have all
    return sent


@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_a_gathering_sends_as_many_bytes_as_one_that_is_played_through(
    replicas,
):
    parts = np.zeros((replicas, 7))
    sent = ring_all_gather(parts)
    assert (sent == traffic.all_gather_bytes(parts.nbytes, replicas)).all()


def test_each_step_of_a_ring_costs_its_latency():
    fast = traffic.all_reduce_seconds(1e6, 5, 1e9)
    assert fast == pytest.approx(1.6e-3)
    assert traffic.all_reduce_seconds(1e6, 5, 1e9, latency=0.5) - fast == 4


def test_the_factors_of_a_step_are_small_up_to_a_number_of_photos():
    def sent(photos, features=2_048, classes=26_263, replicas=2, device="CPU"):
        return traffic.head_factors_are_sent(
            photos, features, classes, replicas=replicas, device=device
        )

    # A quarter of the sum's: 2,048 x 26,263 / 2 / (2,048 + 26,263) = 949.9.
    assert [sent(n) for n in (1, 32, 949, 950)] == [True, True, True, False]
    assert sent(949, replicas=200)
    assert [sent(n, classes=354) for n in (150, 151)] == [True, False]
    assert [sent(n, 4, 4) for n in (1, 2)] == [True, False]
    assert not sent(32, replicas=1)
    assert sent(32, device="GPU")
    assert not sent(32, device="TPU")


@pytest.mark.parametrize(
    ("photos", "summed", "gathered"),
    [
        (949, 100 + 3, 949 * (2_048 + 26_263)),
        (950, 100 + 2_049 * 26_263 + 3, 0),
    ],
)
def test_the_traffic_of_a_step_is_all_or_all_but_the_head(
    photos, summed, gathered
):
    found = traffic.of_step(
        parameters=100 + 2_049 * 26_263,
        features=2_048,
        classes=26_263,
        photos=photos,
        replicas=4,
        number=8,
    )
    assert found == traffic.Traffic(4, 8 * summed, 8 * gathered)
    assert found.sent == 2 * 6 * summed + 6 * gathered


def test_one_replica_sends_nothing():
    assert traffic.all_reduce_seconds(1e6, 1, 1e9, latency=1.0) == 0
