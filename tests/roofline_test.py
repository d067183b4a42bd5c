"""Tests of planet_tf.roofline."""

import numpy as np
import pytest

from planet_tf import roofline


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
    assert (sent == roofline.all_reduce_bytes(size, replicas)).all()


def test_each_step_of_a_ring_costs_its_latency():
    fast = roofline.all_reduce_seconds(1e6, 5, 1e9)
    assert fast == pytest.approx(1.6e-3)
    assert roofline.all_reduce_seconds(1e6, 5, 1e9, latency=0.5) - fast == 4


def test_one_replica_sends_nothing():
    assert roofline.all_reduce_seconds(1e6, 1, 1e9, latency=1.0) == 0
