"""What replicas send one another in a train step, by arithmetic.

They are taken to be in a ring, each with a link to the next.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Of a step.

    Attributes:
      replicas: of all workers.
      summed: bytes that each replica has to be summed over all.
      gathered: bytes of all replicas together that each gets whole.
    """

    replicas: int
    summed: int
    gathered: int

    @property
    def sent(self) -> int:
        """Bytes that each replica sends."""
        return math.ceil(
            all_reduce_bytes(self.summed, self.replicas)
            + all_gather_bytes(self.gathered, self.replicas)
        )


def of_step(
    *,
    parameters: int,
    features: int,
    classes: int,
    photos: int,
    replicas: int,
    device: str = "CPU",
    number: int = 4,
) -> Traffic:
    """The traffic of the photo model's training.

    Args:
      parameters: of the model, batch norm's moving statistics included.
      features: that go into its last layer.
      classes: that come out of it.
      photos: of the global batch.
      replicas: of all workers.
      device: that they compute on: CPU, GPU, TPU.
      number: bytes of a number that is sent.
    """
    numbers = parameters + 3  # with loss, accuracy and stops
    gathered = 0
    if head_factors_are_sent(
        photos, features, classes, replicas=replicas, device=device
    ):
        numbers -= (features + 1) * classes
        gathered = photos * (features + classes)
    return Traffic(replicas, numbers * number, gathered * number)


def head_factors_are_sent(
    photos: int, features: int, classes: int, *, replicas: int, device: str
) -> bool:
    """Whether replicas send the factors of the head's gradient, not its sum.

    They do where that takes a quarter of the bytes at most: each multiplies
    for the photos of all then. With 2,048 features and 26,263 cells that is up
    to 949 photos a step.

    Args:
      photos: of the global batch.
      features: inputs of the last layer.
      classes: outputs of the last layer.
      replicas: of all workers.
      device: CPU, GPU, TPU; not on TPUs, whose links are fast.
    """
    if replicas == 1 or device == "TPU":
        return False
    # A sum goes round twice, what is gathered once.
    return 4 * photos * (features + classes) <= 2 * features * classes


def all_reduce_bytes(size: float, replicas: int) -> float:
    """What each replica of a ring sends to sum `size` bytes over all.

    In n - 1 steps each sends an n-th of them, by which sums go round, and in
    n - 1 more steps the results do.
    """
    return 2 * all_gather_bytes(size, replicas)


def all_gather_bytes(size: float, replicas: int) -> float:
    """What each replica sends so that all get all: `size` bytes in sum.

    In n - 1 steps each sends on an n-th of them, first its own.
    """
    return (replicas - 1) / replicas * size


def all_reduce_seconds(
    size: float, replicas: int, link_speed: float, latency: float = 0.0
) -> float:
    """A ring's time: each replica sends on one link, step by step.

    Args:
      size: bytes to sum.
      replicas: that each hold as many.
      link_speed: bytes/s from one to the next.
      latency: seconds that a step takes besides.
    """
    return 2 * all_gather_seconds(size, replicas, link_speed, latency)


def all_gather_seconds(
    size: float, replicas: int, link_speed: float, latency: float = 0.0
) -> float:
    """As all_reduce_seconds, for a gathering of `size` bytes in sum."""
    sent = all_gather_bytes(size, replicas)
    return sent / link_speed + (replicas - 1) * latency
