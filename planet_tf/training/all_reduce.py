"""Sums over replicas, in pieces of a size that suits a ring of workers."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# A ring cuts each piece into a part for each replica, and each part is a
# message: a size that costs much more than a message's start.
_MESSAGE_BYTES = 8 * 2**20


def sums(
    tensors: Sequence[tf.Tensor], context: tf.distribute.ReplicaContext
) -> list[tf.Tensor]:
    """The sums of each of some tensors over all replicas.

    In pieces, since TensorFlow would put all into one buffer and make it anew
    in each step: its page faults took a quarter of the CPU time of two local
    workers with 72 M parameters (docs/scaling.md).

    Args:
      tensors: of this replica; better first what is ready first.
      context: of this replica.
    """
    size = _MESSAGE_BYTES * context.num_replicas_in_sync
    pieces, counts = [], []
    for tensor in tensors:
        parts = _cut(tensor, size)
        pieces += parts
        counts.append(len(parts))
    options = tf.distribute.experimental.CommunicationOptions(
        bytes_per_pack=size
    )
    summed = iter(context.all_reduce("SUM", pieces, options=options))
    found = [[next(summed) for _ in range(count)] for count in counts]
    return [x[0] if len(x) == 1 else tf.concat(x, 0) for x in found]


def _cut(tensor: tf.Tensor, size: int) -> list[tf.Tensor]:
    """A tensor's rows in parts of about so many bytes at most."""
    rows = tensor.shape[0] if tensor.shape.rank else 1
    bytes_ = tensor.shape.num_elements() * tensor.dtype.size
    many = min(rows, math.ceil(bytes_ / size))
    if many <= 1:
        return [tensor]
    bounds = [rows * i // many for i in range(many + 1)]
    return tf.split(tensor, np.diff(bounds))
