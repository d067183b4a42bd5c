"""What a server counts, in Prometheus' form."""

from typing import Any

import prometheus_client as prometheus

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = tuple(1 << i for i in range(9))


class Metrics:
    """Counters of one server.

    Attributes:
      requests: by route and code of the answer.
      seconds: that requests took, by route.
      photos: by what became of them: "answered", or the code of a refusal.
      batch_size: of batches that the model was asked about.
      model_seconds: that the model took for batches.
      accepted: photos that are accepted and not answered.
      waiting_bytes: that are held of requests that are not answered.
    """

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "planet"}
        self.requests = prometheus.Counter(
            "requests", "requests answered", ("route", "code"), **own
        )
        self.seconds = prometheus.Histogram(
            "request_seconds",
            "from a request's first byte to its answer",
            ("route",),
            buckets=_SECONDS,
            **own,
        )
        self.photos = prometheus.Counter(
            "photos", "photos, by what became of them", ("result",), **own
        )
        self.batch_size = prometheus.Histogram(
            "batch_size", "photos of a batch", buckets=_SIZES, **own
        )
        self.model_seconds = prometheus.Histogram(
            "model_seconds", "of the model for a batch", buckets=_SECONDS, **own
        )
        self.accepted = prometheus.Gauge(
            "accepted_photos", "photos accepted and not answered", **own
        )
        self.waiting_bytes = prometheus.Gauge(
            "waiting_bytes", "bytes held of requests not answered", **own
        )

    def observe_batch(self, size: int, seconds: float) -> None:
        """Takes note of a batch."""
        self.batch_size.observe(size)
        self.model_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return prometheus.generate_latest(self.registry)


CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
