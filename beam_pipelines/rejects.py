"""Rejected photos as files, counted by reason.

Bad photos never stop a job. Each ends as a line in a file rejects-*.jsonl
beside the program's output, and is counted by reason.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines import files
from planet_tf.photos.rejects import NO_FAULTS, Reject


class TooManyRejects(ValueError):
    """More bad photos than the user allows."""


@dataclasses.dataclass(eq=False)
class WriteRejects(beam.PTransform):
    """Writes rejects as JSON lines, sorted, and counts them by reason.

    Attributes:
      prefix: path of the files without "-00000-of-00001.jsonl".
      shards: how many files; each has to fit in a worker's memory.
    """

    prefix: str
    shards: int = 1

    def expand(self, rejects: beam.PCollection) -> beam.PCollection:
        """Gives one dict of counts by reason."""
        # A key for each file, for those without rejects too.
        keys = rejects.pipeline | beam.Create(
            [(shard, "") for shard in range(self.shards)]
        )
        lines = rejects | beam.Map(_keyed_line, self.shards)
        return (
            (keys, lines)
            | beam.Flatten()  # (int, str), shard and line
            | beam.GroupByKey()
            | beam.Map(_write_file, self.prefix, self.shards)
            | beam.CombineGlobally(add_counts)  # dict[str, int]
        )


def add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Sums of counts by name, sorted by name."""
    total: collections.Counter[str] = collections.Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def faults(counts: Mapping[str, int]) -> dict[str, int]:
    """Those of some counts by reason that speak against the data."""
    return {r: n for r, n in counts.items() if r not in NO_FAULTS}


def check_fraction(
    counts: Mapping[str, int], photos: int, max_fraction: float
) -> None:
    """Raises TooManyRejects if a larger share of the photos was rejected."""
    bad = faults(counts)
    if sum(bad.values()) > max_fraction * photos:
        reasons = ", ".join(f"{n:,} {r}" for r, n in bad.items())
        raise TooManyRejects(
            f"{sum(bad.values()):,} of {photos:,} photos are bad, more than"
            f" --max_reject_fraction={max_fraction} allows ({reasons});"
            " rejects-*.jsonl beside the output names them"
        )


def _keyed_line(reject: Reject, shards: int) -> tuple[int, str]:
    Metrics.counter("planet_tf", f"rejected_{reject.reason}").inc()
    digest = hashlib.blake2b(reject.id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards, reject.line()


def _write_file(
    group: tuple[int, Iterable[str]], prefix: str, shards: int
) -> dict[str, int]:
    shard, lines = group
    lines = sorted(line for line in lines if line)
    name = f"{prefix}-{shard:05d}-of-{shards:05d}.jsonl"
    files.write(name, "".join(line + "\n" for line in lines).encode())
    return dict(collections.Counter(json.loads(t)["reason"] for t in lines))
