"""What a compiled step can reach at best on a TPU, by arithmetic alone.

Nothing here is measured: times follow from the published peaks of a chip.
"""

import dataclasses
import math

from planet_tf.sizing import traffic

GIGA = 1e9


@dataclasses.dataclass(frozen=True)
class Chip:
    """One TPU chip's published figures."""

    flops: float  # a second, bfloat16
    hbm_bytes: float
    hbm_speed: float  # bytes/s
    link_speed: float  # bytes/s, one link between chips, one direction


# Source: the "System architecture" tables at cloud.google.com/tpu/docs/v4,
# v5e, v5p and v6e. A link's speed is the chip's published one over its ports
# (6 on v4 and v5p, 4 on v5e and v6e). Sizes are taken as decimal gigabytes,
# the stricter reading.
CHIPS = {
    "v4": Chip(275e12, 32 * GIGA, 1228 * GIGA, 50 * GIGA),
    "v5e": Chip(197e12, 16 * GIGA, 819 * GIGA, 50 * GIGA),
    "v5p": Chip(459e12, 95 * GIGA, 2765 * GIGA, 100 * GIGA),
    "v6e": Chip(918e12, 32 * GIGA, 1638 * GIGA, 100 * GIGA),
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The roofline of a step; seconds are a step's."""

    compute_seconds: float
    memory_seconds: float
    all_reduce_seconds: float
    step_seconds: float
    photos_per_second_per_core: float
    photos_per_second: float
    hours_per_epoch: float


def estimate(
    chip: Chip,
    *,
    cores: int,
    cores_per_chip: int,
    flops: float,
    bytes_accessed: float,
    gradient_bytes: float,
    photos_per_core: int,
    epoch_photos: float,
) -> Estimate:
    """The best that a synchronous step can do.

    Args:
      chip: where it runs.
      cores: replicas, over which gradients are summed.
      cores_per_chip: replicas that share a chip's peaks.
      flops: of one replica's step.
      bytes_accessed: by one replica's step, in HBM.
      gradient_bytes: that each replica gives to the sum.
      photos_per_core: of one replica's step.
      epoch_photos: of an epoch.
    """
    compute = flops * cores_per_chip / chip.flops
    memory = bytes_accessed * cores_per_chip / chip.hbm_speed
    reduction = traffic.all_reduce_seconds(
        gradient_bytes, cores, chip.link_speed
    )
    # Nothing of the sum is hidden behind the arithmetic: XLA may do better.
    step = max(compute, memory) + reduction
    speed = photos_per_core / step
    return Estimate(
        compute_seconds=compute,
        memory_seconds=memory,
        all_reduce_seconds=reduction,
        step_seconds=step,
        photos_per_second_per_core=speed,
        photos_per_second=speed * cores,
        hours_per_epoch=epoch_photos / (speed * cores) / 3600,
    )


def largest_batch(
    hbm_bytes: float, fixed_bytes: float, batch_bytes: float, batch: int
) -> int:
    """Photos a core that should fit, if `batch` needs both sizes; or 0.

    A multiple of 8 where possible, as the TPU pads batches to that.
    """
    room = max(0.0, hbm_bytes - fixed_bytes)
    most = math.floor(room / (batch_bytes / batch))
    return most // 8 * 8 if most >= 8 else most
