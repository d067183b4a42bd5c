"""Examines photos before anything is made of them: the data doctor.

Photos are rejected here for the reasons, and in the words, of write_shards:
the same functions decide, in the same order. Only the order of the work is
another one, since an image is read once: it is hashed and decoded in one go,
and what is wrong with it counts if it is no copy of another one.

The references of the photos go through two shuffles, by content and by id, as
they do in write_shards (some 150 bytes each, 16 bytes of hash, and the names);
`photo_statistics` and `photo_values` say what crosses the others. An image
never does.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import batches, duplicates, files, splits
from beam_pipelines import photo_statistics as stats
from beam_pipelines import photo_values as values_lib
from beam_pipelines.photos import Photos, Places
from planet_tf.geo import land
from planet_tf.photos import images, records
from planet_tf.photos.images import Limits
from planet_tf.photos.rejects import PhotoError, Reject


@dataclasses.dataclass(frozen=True)
class Settings:
    """How photos are examined.

    Attributes:
      images: "decode", "header" or "none"; "coordinates" if these are all
        that is known of the photos.
      image_size: short side that write_shards will make of them.
      limits: of images that are taken.
      latest_time: Unix seconds; what is later is in the future.
      mask: where land is, if that is known.
      threads: images that a worker reads at once.
      buckets: groups of photos that are compared by one worker each.
      partition: whose cells are looked for around the photos, if any.
    """

    images: str
    image_size: int
    limits: Limits
    latest_time: int
    mask: land.LandMask | None
    threads: int
    buckets: int
    partition: splits.PartitionFile | None = None


@dataclasses.dataclass(frozen=True)
class Seen:
    """A batch of n photos whose images were read.

    Attributes:
      photos: the batch.
      digest: (n, 2) uint64, hashes of the images.
      fault: (n,) Reject of an image that cannot be used, else None.
    """

    photos: Photos
    digest: np.ndarray
    fault: np.ndarray

    def __len__(self) -> int:
        return len(self.photos)

    def take(self, rows: Any) -> "Seen":
        """Some of the photos."""
        return Seen(self.photos.take(rows), self.digest[rows], self.fault[rows])


@dataclasses.dataclass(eq=False)
class ExaminePhotos(beam.PTransform):
    """Statistics of batches with the name of their file, and what is bad.

    Attributes:
      settings: see there.
    """

    settings: Settings

    def expand(self, named: Any) -> Any:
        """Gives a dict of `statistics`, one dict, and `rejects` (Reject).

        Args:
          named: a dict of PCollections, `photos` (str, Photos | Places) and
            `rejects` (str, Reject).
        """
        settings = self.settings
        named_photos = named["photos"] | beam.MapTuple(_as_photos)
        photos = named_photos | "Photos" >> beam.Values()
        unread = named["rejects"] | "Unread" >> beam.Values()
        found = self._examine_images(photos)
        rejects = (unread, *found["rejects"]) | "Rejects" >> beam.Flatten()
        tallies = (
            photos
            | beam.Map(stats.tally_photos, settings.latest_time, settings.mask),
            rejects | beam.Map(stats.tally_reject),
            *found["tallies"],
        )
        tally = (
            (tallies | "Tallies" >> beam.Flatten())
            | beam.Map(stats.count_notes)
            | beam.CombineGlobally(stats.add_tallies)
        )  # Tally
        values = (
            photos | beam.Map(values_lib.values_of),
            *found["values"],
        )
        statistics = tally | beam.Map(
            _statistics,
            beam.pvalue.AsList(self._points(named_photos, named["rejects"])),
            beam.pvalue.AsList(self._summaries(values)),
        )
        return {"statistics": statistics, "rejects": rejects}

    def _points(self, photos: Any, rejects: Any) -> Any:
        """Gives (str, Points), of each file."""
        taken = (
            photos
            | beam.FlatMapTuple(lambda name, p: stats.by_file(p, name))
            | "Points" >> beam.MapTuple(_points, self.settings.mask)
        )
        out = (
            rejects
            | beam.Filter(lambda named: stats.is_misplaced(named[1]))
            | beam.MapTuple(
                lambda name, reject: (name, stats.points_of_reject(reject))
            )
        )
        return (
            (taken, out)
            | "All points" >> beam.Flatten()
            | "Of a file" >> beam.CombinePerKey(stats.add_points)
        )

    def _summaries(self, values: tuple) -> Any:
        """Gives (int, dict), of each kind of value."""
        buckets = self.settings.buckets
        return (
            values
            | "All values" >> beam.Flatten()
            | "By value"
            >> beam.ParDo(
                batches.Cut(
                    functools.partial(values_lib.value_buckets, count=buckets)
                )
            )  # (int, Values)
            | "Values of a bucket" >> beam.GroupByKey()
            | beam.MapTuple(
                lambda key, parts: (
                    key // buckets,
                    values_lib.summarize(batches.join(parts)),
                )
            )
            | "Of a kind" >> beam.CombinePerKey(values_lib.add_summaries)
        )

    def _examine_images(self, photos: Any) -> dict[str, list]:
        """Gives lists of PCollections `rejects`, `tallies` and `values`."""
        settings, rejects, tallies, values = self.settings, [], [], []
        if settings.partition:
            inside = photos | beam.ParDo(
                splits.DropOutside(settings.partition)
            ).with_outputs("rejects", main="photos")
            photos = inside.photos
            rejects.append(inside.rejects)
        if settings.images == "coordinates":
            return {"rejects": rejects, "tallies": [], "values": []}
        if settings.images == "none":
            distinct = photos | "Unseen" >> beam.Map(_unseen)
        else:
            looked = (
                photos
                | beam.FlatMap(batches.pieces)  # Photos, few
                | beam.Reshuffle()  # else one worker reads a whole manifest's
                | beam.ParDo(_Look(settings)).with_outputs(
                    "rejects", "tally", "values", main="seen"
                )
            )
            rejects.append(looked.rejects)
            tallies.append(looked.tally)
            values.append(looked["values"])
            compared = _compare(
                looked.seen, "content", _content_buckets, settings.buckets
            )
            rejects.append(compared.rejects)
            distinct = compared.seen
        compared = _compare(distinct, "id", _id_buckets, settings.buckets)
        rejects += [
            compared.rejects,
            compared.seen | beam.FlatMap(lambda s: s.fault[s.fault != None]),  # noqa: E711
        ]
        return {"rejects": rejects, "tallies": tallies, "values": values}


def _compare(seen: Any, what: str, keys: Any, buckets: int) -> Any:
    """Gives `seen`, without copies, and `rejects`."""
    drop = {"content": drop_same_content, "id": drop_same_id}[what]
    return (
        seen
        | f"Cut by {what}"
        >> beam.ParDo(batches.Cut(functools.partial(keys, count=buckets)))
        | f"Group by {what}" >> beam.GroupByKey()  # (int, Seen)
        | f"One of each {what}"
        >> beam.ParDo(_Drop(drop)).with_outputs("rejects", main="seen")
    )


def _content_buckets(seen: Seen, count: int) -> np.ndarray:
    return seen.digest[:, 0] % np.uint64(count)


def _id_buckets(seen: Seen, count: int) -> np.ndarray:
    return splits.hashes(seen.photos.photo_id) % np.uint64(count)


@dataclasses.dataclass(eq=False)
class _Drop(beam.DoFn):
    drop: Any

    def process(self, group: tuple[int, Iterable[Seen]]) -> Iterator[Any]:
        seen, rejects = self.drop(batches.join(group[1]))
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)
        yield seen


def drop_same_content(seen: Seen) -> tuple[Seen, list[Reject]]:
    """Photos with different bytes, and the copies."""
    kept, rejects = duplicates.one_of_each_content(
        duplicates.Hashed(seen.photos, seen.digest)
    )
    return _again(kept, seen), rejects


def drop_same_id(seen: Seen) -> tuple[Seen, list[Reject]]:
    """Photos with different ids, and the rows that repeat one."""
    kept, rejects = duplicates.one_of_each_id(seen.photos)
    return _again(kept, seen), rejects


def _again(photos: Photos, seen: Seen) -> Seen:
    """Some photos of a batch with their faults, which few have."""
    faulty = np.flatnonzero([fault is not None for fault in seen.fault])
    rows = seen.photos.take(faulty).rows()
    faults = dict(zip(rows, seen.fault[faulty], strict=True))
    ids = {row[0] for row in rows}
    result = _unseen(photos)
    for i, photo_id in enumerate(photos.photo_id):
        if photo_id in ids:
            [row] = photos.take([i]).rows()
            result.fault[i] = faults.get(row)
    return result


def _unseen(photos: Photos) -> Seen:
    n = len(photos)
    return Seen(photos, np.zeros((n, 2), np.uint64), np.full(n, None))


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen of an image.

    Attributes:
      size: in bytes.
      digest: hash of the content, see duplicates.content_hash.
      facts: of the header, if it can be read.
      fault: why the image cannot be used, or None.
    """

    size: int
    digest: bytes
    facts: images.Facts | None
    fault: Reject | None


def look(row: tuple, settings: Settings) -> Look | Reject:
    """Reads and decodes an image as write_shards does."""
    photo_id, uri, offset, length, *_ = row
    try:
        data = files.read_photo(uri, offset, length)
    except PhotoError as error:
        return Reject(photo_id, "write", error.reason, error.detail)
    digest = duplicates.content_hash(data)
    facts, fault = None, None
    try:
        if settings.images == "decode":
            images.fit(data, settings.image_size, limits=settings.limits)
        facts = images.facts(data)
        settings.limits.check(facts.width, facts.height)
    except PhotoError as error:
        fault = Reject(photo_id, "write", error.reason, error.detail)
    return Look(len(data), digest, facts, fault)


@dataclasses.dataclass(eq=False)
class _Look(beam.DoFn):
    settings: Settings

    def setup(self) -> None:
        self.pool = concurrent.futures.ThreadPoolExecutor(self.settings.threads)

    def teardown(self) -> None:
        self.pool.shutdown()

    def process(self, photos: Photos) -> Iterator[Any]:
        work = functools.partial(look, settings=self.settings)
        found = list(self.pool.map(work, photos.rows()))
        for reject in found:
            if isinstance(reject, Reject):
                yield beam.pvalue.TaggedOutput("rejects", reject)
        read = np.array([isinstance(found_, Look) for found_ in found], bool)
        photos = photos.take(read)
        looks = [look for look in found if isinstance(look, Look)]
        digest = np.frombuffer(b"".join(k.digest for k in looks), np.uint64)
        fault = np.full(len(looks), None)
        fault[:] = [look.fault for look in looks]
        seen = Seen(photos, digest.reshape(-1, 2), fault)
        yield beam.pvalue.TaggedOutput("tally", _tally(seen, looks))
        contents = values_lib.contents_of(photos, seen.digest)
        yield beam.pvalue.TaggedOutput("values", contents)
        yield seen


def _tally(seen: Seen, looks: list[Look]) -> stats.Tally:
    """What the images of a batch show."""
    of_images = [
        stats.tally_image(photo_id, look.facts)
        for photo_id, look in zip(seen.photos.photo_id, looks, strict=True)
        if look.facts
    ]
    size = sum(look.size for look in looks)
    return stats.add_tallies(
        [*of_images, {"bytes": (size, ())}, {"images": (len(looks), ())}]
    )


def _as_photos(name: str, photos: Photos | Places) -> tuple[str, Photos]:
    """A batch, of which no more may be known than the coordinates."""
    if isinstance(photos, Photos):
        return name, photos
    n = len(photos)
    blank = np.full(n, "", object)
    return name, Photos(
        photo_id=blank,
        uri=blank,
        offset=np.zeros(n, np.int64),
        length=np.full(n, -1),
        lat=photos.lat,
        lng=photos.lng,
        owner_id=blank,
        album_id=blank,
        taken_at=np.full(n, records.UNKNOWN_TIME),
    )


def _points(
    name: str, photos: Photos, mask: land.LandMask | None = None
) -> tuple[str, stats.Points]:
    return name, stats.points_of(photos, mask)


def _statistics(
    tally: stats.Tally,
    points: list[tuple[str, stats.Points]],
    summaries: list[tuple[int, dict]],
) -> dict[str, Any]:
    """All of it, as plain values in an order."""
    return {
        "tally": {name: [n, list(ids)] for name, (n, ids) in tally.items()},
        "files": {
            name: {**found.counts, "regions": len(found.regions)}
            for name, found in sorted(points)
        },
        "values": {
            values_lib.Kind(kind).name.lower(): summary
            for kind, summary in sorted(summaries)
        },
    }
