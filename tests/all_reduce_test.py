import numpy as np
import pytest
import replicas
import tensorflow as tf

from planet_tf.training import all_reduce

SHAPES = [(3, 3, 2, 7), (100,), (), (57, 13), (1, 400), (0, 3)]


@pytest.mark.parametrize("message_bytes", [16, 100, 2**20])
def test_sums_in_pieces_are_those_of_whole_tensors(monkeypatch, message_bytes):
    monkeypatch.setattr(all_reduce, "_MESSAGE_BYTES", message_bytes)
    strategy = replicas.strategy(2)

    def own() -> tuple[list, list]:
        context = tf.distribute.get_replica_context()
        seed = context.replica_id_in_sync_group
        tensors = [
            tf.random.stateless_normal(shape, [seed, i])
            for i, shape in enumerate(SHAPES)
        ]
        return tensors, all_reduce.sums(tensors, context)

    tensors, sums = tf.function(lambda: strategy.run(own))()
    for tensor, found, shape in zip(tensors, sums, SHAPES, strict=True):
        left, right = replicas.values(strategy, tensor)
        assert not np.array_equal(left, right) or 0 in shape
        for value in replicas.values(strategy, found):
            assert value.shape == shape
            assert np.array_equal(value, left + right)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((10, 25), [2, 3, 2, 3]),  # 1,000 bytes, 300 at most
        ((2, 125), [1, 1]),  # a row is not cut
        ((1, 250), [1]),
        ((75,), [75]),
        ((76,), [38, 38]),
        ((0, 9), [0]),
    ],
)
def test_large_tensors_are_cut_into_even_parts(shape, rows):
    parts = all_reduce._cut(tf.zeros(shape), 300)
    assert [part.shape[0] for part in parts] == rows
