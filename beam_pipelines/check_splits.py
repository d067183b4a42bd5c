"""Proves that the splits of finished shards have nothing in common.

python -m beam_pipelines.check_splits --shards=shards

No owner, album, image (its bytes) or place (of photos of unknown owner and
album) may be in two splits, and no photo may be there twice. Files, checksums
and counts must be those of shards.json, and labels those of the partition. If
anything is otherwise it is listed, and the exit code is 1. Nothing of the
shards is changed.
"""

import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines import options
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib
from planet_tf.photos import records

_PHOTOS_PER_BUCKET = 1_000_000  # whose hashes one worker compares
_WHAT = {
    "photo_id": "photo ids",
    "owner": "owners",
    "album": "albums",
    "image": "images (their bytes)",
    "place": "places without owner or album",
    "album_id": "album ids, of whatever owner",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of check_splits."""

    shards: str = option(help="the directory that write_shards has written")
    examples: int = option(5, help="leaks of each kind that are listed", low=1)
    out: str = option(
        "",
        help="a JSON file for what was found; by default it is in --shards"
        " while the program runs, and is then deleted",
    )


class ShardsError(ValueError):
    """A directory that holds no shards that could be checked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    faults: list[str] = []

    def body() -> list[str]:
        lines, found = check(config, beam_options)
        faults.extend(found)
        return lines

    code = options.run_program(body, ShardsError)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else code


def check(config: Config, beam_options: Any) -> tuple[list[str], list[str]]:
    """A table of what was checked, and what is wrong."""
    from beam_pipelines import files

    directory = files.full_path(config.shards)
    info = read_info(directory)
    names = sorted(info["files"])
    result_path = files.full_path(config.out) if config.out else ""
    if not result_path:
        name = "check_splits" + files.INCOMPLETE
        result_path = files.join(directory, name)
    options.run(
        pipeline(config, beam_options, directory, info, names, result_path)
    )
    result = json.loads(files.read(result_path))
    if not config.out:
        files.delete([result_path])
    leaks = combined(result["leaks"])
    faults = [
        *file_faults(directory, info, result["files"]),
        *leak_faults(leaks, directory, names, config.examples),
    ]
    return list(table_lines(result["files"], leaks, not faults)), faults


def read_info(directory: str) -> dict[str, Any]:
    """What shards.json says; ShardsError if it is none of finished shards."""
    from beam_pipelines import files

    path = files.join(directory, records.SHARDS_FILE)
    try:
        info = json.loads(files.read(path))
        version = (info["format"], info["version"])
        if version != (records.SHARDS_FORMAT, records.SHARDS_VERSION):
            raise ShardsError(
                f"{path} is {version[0]} version {version[1]}; needed is"
                f" {records.SHARDS_FORMAT} version {records.SHARDS_VERSION}"
            )
        fingerprint = info["partition_fingerprint"]
        _ = info["files"], info["splits"], info["fingerprint"]
    except OSError as error:
        raise ShardsError(
            f"{directory} holds no finished shards: {error}"
        ) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ShardsError(
            f"{path} is not as write_shards writes it:"
            f" {type(error).__name__}: {error}"
        ) from error
    text = files.read(files.join(directory, records.PARTITION_FILE))
    found = partition_lib.load(io.StringIO(text.decode(errors="replace")))
    if found.fingerprint != fingerprint:
        raise ShardsError(
            f"{directory} has a partition of fingerprint {found.fingerprint},"
            f" but the shards were made for {fingerprint}"
        )
    return info


def pipeline(
    config: Config,
    beam_options: Any,
    directory: str,
    info: Mapping[str, Any],
    names: Sequence[str],
    result_path: str,
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import files, leaks, splits

    photos = sum(file["photos"] for file in info["files"].values())
    p = beam.Pipeline(options=beam_options)
    found = (
        p
        | beam.Create(list(enumerate(names)))
        | leaks.FindLeaks(
            directory,
            splits.PartitionFile(
                files.join(directory, records.PARTITION_FILE),
                info["partition_fingerprint"],
            ),
            sorted({records.split_of(name) for name in names}),
            1 + photos // _PHOTOS_PER_BUCKET,
            config.examples,
        )
    )
    of_leaks = found["leaks"] | "List leaks" >> beam.combiners.ToList()
    _ = (
        found["files"]
        | "List files" >> beam.combiners.ToList()
        | beam.Map(_result, beam.pvalue.AsSingleton(of_leaks))
        | beam.Map(files.write_json, result_path)
    )
    return p


def _result(
    of_files: list[dict[str, Any]], of_leaks: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "files": sorted(of_files, key=lambda file: file["name"]),
        "leaks": sorted(of_leaks, key=lambda leak: json.dumps(leak)),
    }


def combined(parts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What all buckets have found, by kind."""
    total = {
        kind: {"distinct": 0, "leaks": 0, "examples": []} for kind in _WHAT
    }
    for part in parts:
        for name, value in total[part["kind"]].items():
            total[part["kind"]][name] = value + part[name]
    return total


def file_faults(
    directory: str, info: Mapping[str, Any], found: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """What is wrong with the files by themselves."""
    from beam_pipelines import files, shards

    written = []
    for file in found:
        name = file["name"]
        for problem in file["problems"]:
            yield f"{name}: {problem}"
        if file["bad"] > len(file["problems"]):
            yield f"{name}: {file['bad'] - len(file['problems'])} more"
        for fact in ("photos", "sha256"):
            value = info["files"][name][fact]
            if file[fact] != value and file["sha256"]:  # it could be opened
                yield (
                    f"{name}: {fact} is {file[fact]}, but {value} in"
                    f" {records.SHARDS_FILE}"
                )
        written.append(
            shards.RecordFile(
                name,
                records.split_of(name),
                *(0, file["photos"], file["bytes"], file["sha256"]),
            )
        )
    there = [name for name in files.names(directory) if ".tfrecord-" in name]
    for name in sorted(set(there) - set(info["files"])):
        if not name.endswith(files.INCOMPLETE):
            yield f"{name}: not in {records.SHARDS_FILE}"
    result = shards.summary(written, {})
    for fact in ("fingerprint", "splits"):
        if result[fact] != info[fact]:
            yield (
                f"{fact} of the files: {result[fact]}, but {info[fact]} in"
                f" {records.SHARDS_FILE}"
            )


def leak_faults(
    leaks: Mapping[str, Mapping[str, Any]],
    directory: str,
    names: Sequence[str],
    examples: int,
) -> Iterator[str]:
    """What several splits have, with the photos that show it."""
    for kind, found in leaks.items():
        if not found["leaks"] or kind == "album_id":
            continue
        where = "there twice" if kind == "photo_id" else "in several splits"
        yield f"{found['leaks']:,} {_WHAT[kind]} are {where}"
        shown = [
            example_line(kind, places, directory, names)
            for places in found["examples"]
        ]
        yield from sorted(shown)[:examples]


def example_line(
    kind: str,
    places: Iterable[Sequence[int]],
    directory: str,
    names: Sequence[str],
) -> str:
    """One leak: what it is, and the photos, each with its split."""
    from beam_pipelines import files, leaks, record_files

    parts = []
    for file, offset in places:
        photo = record_files.read_photo_at(
            files.join(directory, names[file]), offset
        )
        split = records.split_of(names[file])
        parts.append(f"photo {photo.photo_id} in {split} ({names[file]})")
    return f"  {leaks.describe(kind, photo)}: {', '.join(parts)}"


def table_lines(
    found: Sequence[Mapping[str, Any]],
    leaks: Mapping[str, Mapping[str, Any]],
    good: bool,
) -> Iterator[str]:
    """What was checked, for people."""
    photos = sum(file["photos"] for file in found)
    size = sum(file["bytes"] for file in found)
    yield f"{photos:,} photos in {len(found):,} files ({size / 1e6:,.1f} MB)"
    yield f"{'':32}{'distinct':>12}{'leaks':>12}"
    for kind, what in _WHAT.items():
        if kind != "album_id":
            row = leaks[kind]
            yield f"{what:32}{row['distinct']:12,}{row['leaks']:12,}"
    on_edge = sum(file["on_edge"] for file in found)
    if on_edge:
        yield (
            f"note: {on_edge:,} photos lie so near to the edge of their place"
            " that the rounded degrees do not tell it"
        )
    if leaks["album_id"]["leaks"]:
        yield (
            f"note: {leaks['album_id']['leaks']:,} album ids are in several"
            " splits, of different owners: taken for different albums"
        )
    yield "no leak, and all as described" if good else "NOT as it must be"


if __name__ == "__main__":
    sys.exit(main())
