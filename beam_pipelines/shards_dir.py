"""The directory of write_shards: what is in it, and when it is finished."""

import contextlib
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

import planet_tf
from beam_pipelines import files
from beam_pipelines.photos import Source
from planet_tf import records

_SECONDS_PER_LINE = 5
_SHARE_OF_LISTING = 0.05  # of the time, at most, goes into counting files
_WHAT_IS_OTHER = {
    "partition_fingerprint": "partition",
    "source_fingerprint": "photos",
}
# What this program writes, whole or not.
_OURS = re.compile(
    records.DATASET + r"-[a-z]+\.tfrecord-\d+-of-\d+|rejects-\d+-of-\d+\.jsonl"
    r"|(partition|features|dataset_info|shards)\.json|.*\.incomplete"
)


class ShardsError(ValueError):
    """An output directory that cannot be written, and what to do about it."""


def source_fingerprint(source: Source, out: str) -> str:
    """Of the names, sizes and times of the source's files.

    What lies in `out`, which may be below the photos, is none of them.
    """
    found = []
    for path in filter(None, (source.photos, source.table)):
        [below] = FileSystems.match([files.join(path, "**")])
        [itself] = FileSystems.match([path])
        found += below.metadata_list or itself.metadata_list
    facts = sorted(
        (file.path, file.size_in_bytes, file.last_updated_in_seconds)
        for file in found
        if not files.full_path(file.path).startswith(files.join(out, ""))
    )
    text = "".join(json.dumps(fact) + "\n" for fact in facts)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def is_finished(
    out: str,
    options: Mapping[str, Any],
    made_of: Mapping[str, str],
    overwrite: bool,
) -> bool:
    """Whether there is nothing to do; else makes room in the directory.

    Args:
      out: the directory.
      options: that say what is in the files.
      made_of: fingerprints of what else shards depend on, as in shards.json.
      overwrite: whether finished shards may be replaced.

    Raises:
      ShardsError: if it holds something that must not be replaced.
    """
    names = files.names(out)
    ours = [name for name in names if _OURS.fullmatch(name)]
    if records.SHARDS_FILE in names and not overwrite:
        path = files.join(out, records.SHARDS_FILE)
        old = json.loads(files.read(path))
        made = {**old.get("config", {}), **{k: old.get(k) for k in made_of}}
        wanted = {**options, **made_of}
        other = [k for k, v in wanted.items() if made.get(k) != v]
        if not other:
            return True
        other = [_WHAT_IS_OTHER.get(name, name) for name in other]
        raise ShardsError(
            f"{out} holds finished shards, made from other"
            f" {', '.join(other)}; --overwrite replaces them"
        )
    if records.SHARDS_FILE not in names and len(ours) < len(names):
        foreign = next(name for name in names if name not in ours)
        raise ShardsError(
            f"{out} is no directory of shards: it holds {foreign}. Choose a"
            " new or empty directory for --out"
        )
    # shards.json first: what it describes is going to go.
    ours.sort(key=lambda name: name != records.SHARDS_FILE)
    files.delete([files.join(out, name) for name in ours])
    return False


def write_descriptions(
    out: str,
    options: Mapping[str, Any],
    made_of: Mapping[str, str],
    result: Mapping[str, Any],
) -> None:
    """Writes what describes the files; shards.json, the last, says "done"."""
    photos: dict[str, list[int]] = {split: [] for split in result["splits"]}
    for name, file in sorted(result["files"].items()):
        photos[records.split_of(name)].append(file["photos"])
    num_bytes = {name: s["bytes"] for name, s in result["splits"].items()}
    records.write_metadata(out, photos, num_bytes)
    head = {
        "format": records.SHARDS_FORMAT,
        "version": records.SHARDS_VERSION,
        "code_version": planet_tf.__version__,
        **made_of,
        "image_size": options["image_size"],
        "config": options,
    }
    files.write_json({**head, **result}, files.join(out, records.SHARDS_FILE))


@contextlib.contextmanager
def progress(out: str, expected: Sequence[str]) -> Iterator[None]:
    """Tells now and then how many of the expected files are there."""
    done = threading.Event()

    def watch() -> None:
        start, pause = time.monotonic(), _SECONDS_PER_LINE
        while not done.wait(pause):
            asked = time.monotonic()
            there = len(set(expected).intersection(files.names(out)))
            seconds = time.monotonic() - start
            took = time.monotonic() - asked  # long for many remote files
            pause = max(_SECONDS_PER_LINE, took / _SHARE_OF_LISTING)
            print(
                f"{there} of {len(expected)} files after {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
