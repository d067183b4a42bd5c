"""Directories of record files: what is in them, and when they are finished."""

import contextlib
import dataclasses
import functools
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
from planet_tf.photos import records

_SECONDS_PER_LINE = 5
_SHARE_OF_LISTING = 0.05  # of the time, at most, goes into counting files
_WHAT_IS_OTHER = {
    "partition_fingerprint": "partition",
    "source_fingerprint": "photos",
    "model_fingerprint": "model",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a directory of record files is of.

    Attributes:
      dataset: the first part of the files' names.
      unit: what a record is of, as it is counted.
      description: the file that says what they are, and is written last.
      format: what that file says it is.
      version: of the format.
      name: of finished files, for people.
      directory: beside them, with what else they are made of; "" for none.
    """

    dataset: str
    unit: str
    description: str
    format: str
    version: int
    name: str
    directory: str = ""

    @functools.cached_property
    def files(self) -> re.Pattern:
        """Names of what a program writes there, whole or not."""
        return re.compile(
            self.dataset
            + r"-[a-z]+\.tfrecord-\d+-of-\d+|rejects-\d+-of-\d+\.jsonl"
            r"|(partition|features|dataset_info)\.json|.*\.incomplete|"
            + re.escape(self.description)
            + (f"|{re.escape(self.directory)}/.*" if self.directory else "")
        )


SHARDS = Kind(
    dataset=records.DATASET,
    unit="photos",
    description=records.SHARDS_FILE,
    format=records.SHARDS_FORMAT,
    version=records.SHARDS_VERSION,
    name="shards",
)
ALBUMS = Kind(
    dataset=records.ALBUMS,
    unit="albums",
    description=records.ALBUMS_FILE,
    format=records.ALBUMS_FORMAT,
    version=records.ALBUMS_VERSION,
    name="albums",
    directory=records.PHOTO_MODEL,
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
    kind: Kind = SHARDS,
) -> bool:
    """Whether there is nothing to do; else makes room in the directory.

    Args:
      out: the directory.
      options: that say what is in the files.
      made_of: fingerprints of what else they depend on, as described there.
      overwrite: whether finished files may be replaced.
      kind: of the files.

    Raises:
      ShardsError: if it holds something that must not be replaced.
    """
    names = files.names(out)
    ours = [name for name in names if kind.files.fullmatch(name)]
    if kind.description in names and not overwrite:
        path = files.join(out, kind.description)
        old = json.loads(files.read(path))
        made = {**old.get("config", {}), **{k: old.get(k) for k in made_of}}
        wanted = {**options, **made_of}
        other = [k for k, v in wanted.items() if made.get(k) != v]
        if not other:
            return True
        other = [_WHAT_IS_OTHER.get(name, name) for name in other]
        raise ShardsError(
            f"{out} holds finished {kind.name}, made from other"
            f" {', '.join(other)}; --overwrite replaces them"
        )
    if kind.description not in names and len(ours) < len(names):
        foreign = next(name for name in names if name not in ours)
        raise ShardsError(
            f"{out} is no directory of {kind.name}: it holds {foreign}. Choose"
            " a new or empty directory for --out"
        )
    # The description first: what it describes is going to go.
    ours.sort(key=lambda name: name != kind.description)
    files.delete([files.join(out, name) for name in ours])
    return False


def write_descriptions(
    out: str,
    options: Mapping[str, Any],
    made_of: Mapping[str, str],
    result: Mapping[str, Any],
    kind: Kind = SHARDS,
    features: Any = None,
) -> None:
    """Writes what describes the files; the last one says "done".

    Args:
      out: the directory.
      options: that say what is in the files.
      made_of: fingerprints of what else they depend on.
      result: what else is to be said, as by `shards.summary`.
      kind: of the files.
      features: TFDS features of the records, if they are not of photos.
    """
    lengths: dict[str, list[int]] = {split: [] for split in result["splits"]}
    for name, file in sorted(result["files"].items()):
        lengths[records.split_of(name)].append(file[kind.unit])
    num_bytes = {name: s["bytes"] for name, s in result["splits"].items()}
    records.write_metadata(
        out, lengths, num_bytes, dataset=kind.dataset, features=features
    )
    head = {
        "format": kind.format,
        "version": kind.version,
        "code_version": planet_tf.__version__,
        **made_of,
        "config": options,
    }
    files.write_json({**head, **result}, files.join(out, kind.description))


@contextlib.contextmanager
def progress(out: str, expected: Sequence[str]) -> Iterator[None]:
    """Tells now and then how many of the expected files are there."""
    done = threading.Event()

    def watch() -> None:
        start, pause = time.monotonic(), float(_SECONDS_PER_LINE)
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
