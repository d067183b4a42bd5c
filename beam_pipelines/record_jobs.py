"""How the jobs that write record files begin and end."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam

from beam_pipelines import (
    batches,
    files,
    options,
    rejects,
    shards_dir,
    sources,
)
from beam_pipelines.photos import Source

_SHARDS_PER_REJECTS = 64  # each file of rejects is sorted by one worker


def run(
    out: str,
    file_names: Sequence[str],
    make: Callable[[str], beam.Pipeline],
) -> dict[str, Any]:
    """Runs a pipeline while saying how many record files there are.

    Args:
      out: the directory of the record files.
      file_names: all that will be there.
      make: the pipeline that leaves its result at the path it is given.

    Returns:
      The result, which is JSON.
    """
    result_path = files.join(out, "result" + files.INCOMPLETE)
    with shards_dir.progress(out, file_names):
        options.run(make(result_path))
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    return result


def read(
    pipeline: beam.Pipeline, source: Source
) -> tuple[beam.PCollection, beam.PCollection]:
    """PCollections of Photos and of Reject, both counted as read."""
    found = pipeline | sources.ReadPhotos(source)
    photos = found.photos | "Count photos" >> beam.Map(batches.count_read)
    unread = found.rejects | "Count rejects" >> beam.Map(batches.count_read)
    return photos, unread


def leave_result(
    written: Any,
    left_out: Iterable[beam.PCollection],
    summary: Callable[..., dict[str, Any]],
    out: str,
    shards: int,
    result_path: str,
) -> None:
    """Writes the rejects, and the summary of what was written as JSON.

    Args:
      written: PCollections `files` and `rejects` of the writing transform.
      left_out: PCollections of Reject of the steps before it.
      summary: from all files and the counts of rejects by reason.
      out: the directory of the record files.
      shards: of a split.
      result_path: where the summary goes.
    """
    counts = (
        (*left_out, written.rejects)
        | beam.Flatten()
        | rejects.WriteRejects(
            files.join(out, "rejects"), 1 + shards // _SHARDS_PER_REJECTS
        )
    )  # dict[str, int]
    _ = (
        written.files
        | beam.combiners.ToList()
        | beam.Map(summary, beam.pvalue.AsSingleton(counts))
        | beam.Map(files.write_json, result_path)
    )
