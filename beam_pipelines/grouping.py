"""Which photos make an album, and in which order (PlaNet, section 3.3).

An album is what its owner says; else the photos of an owner without a long
pause; else those of a directory. Pure functions on batches of references.
"""

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping

import numpy as np

from beam_pipelines import batches, duplicates, splits
from beam_pipelines.photos import TO_THE_END, Photos
from planet_tf.photos import album_order, records
from planet_tf.photos.rejects import Reason, Reject

TRAIN, ALBUMS = "train", "albums"  # splits
# What may be done with photos that the photo model was trained on.
DROP, NONE, USE = "drop", "none", "use"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What becomes an album of which split.

    Attributes:
      root: the directory that directories are named from.
      seen: DROP, NONE or USE.
      fractions: share of the groups in each split but the one to train on.
      split_seed: another seed is another split.
      gap_seconds: a longer pause of an owner ends an album.
      max_photos: longer albums are cut.
      min_photos: shorter albums are left out.
    """

    root: str
    seen: str
    fractions: Mapping[str, float]
    split_seed: int
    gap_seconds: float
    max_photos: int
    min_photos: int

    @property
    def splits(self) -> list[str]:
        """The splits of albums, without those of fraction 0."""
        others = (s for s, f in self.fractions.items() if f > 0 and s != ALBUMS)
        return [TRAIN, *sorted(others)]


@dataclasses.dataclass(frozen=True)
class Group:
    """Photos that belong together, in order.

    Attributes:
      key: what they have in common, for people.
      split: of the album.
      timed: whether the order is that of known times.
      photos: n photos.
    """

    key: str
    split: str
    timed: bool
    photos: Photos


def keys(photos: Photos, root: str) -> np.ndarray:
    """What photos of one album have in common, (n,) str.

    The photos of an owner without albums have one key, if their times are
    known: they are cut at pauses later. No two keys are the same by chance: a
    slash within a name is escaped unless the name is the last one.
    """
    found = []
    for photo_id, uri, _, length, _, _, owner, album, taken_at in photos.rows():
        quoted = owner.replace("%", "%25").replace("/", "%2F")
        if album:
            found.append(f"album {quoted}/{album}")
        elif owner and taken_at != records.UNKNOWN_TIME:
            found.append(f"owner {quoted}")
        else:
            inside = "" if length == TO_THE_END else photo_id
            place = directory(uri, inside, root)
            found.append(
                f"owner {quoted}/{place}" if owner else f"directory {place}"
            )
    return np.array(found, object)


def directory(uri: str, inside: str, root: str) -> str:
    """Where an image is, below `root` if it is there.

    Args:
      uri: of the image's file, or of an archive.
      inside: the image's name in the archive; "" if it is a file.
      root: a directory, or "".
    """
    start = root.rstrip("/") + "/"
    path = uri.removeprefix(start) if root else uri
    return posixpath.dirname(posixpath.join(path, inside) if inside else path)


def split_names(photos: Photos, own_keys: np.ndarray, rule: Rule) -> np.ndarray:
    """The split of each photo's album, (n,) str.

    It is the split of the photo itself, so that an album of photos in several
    becomes as many albums. A collection that the photo model has not seen has
    no such splits yet: there an album is in one, and an owner is.

    Args:
      photos: n photos.
      own_keys: theirs, as of `keys`.
      rule: see there.
    """
    if rule.seen == NONE:
        owned = photos.owner_id != ""
        groups = np.where(owned, "owner " + photos.owner_id, own_keys)
        return splits.of_groups(groups, rule.fractions, rule.split_seed)
    names = splits.split_names(photos, rule.fractions, rule.split_seed)
    names[names == ALBUMS] = TRAIN
    return names


def groups(
    photos: Photos, own_keys: np.ndarray, names: np.ndarray, gap_seconds: float
) -> tuple[list[Group], list[Reject]]:
    """Albums by the hashes of their keys, and the rows that repeat a photo.

    Args:
      photos: n photos in any order, all those of their keys.
      own_keys: (n,) as of `keys`.
      names: (n,) splits.
      gap_seconds: a longer pause of an owner ends an album.
    """
    both = np.stack([own_keys, names.astype(object)], -1)
    hashes = splits.hashes(own_keys)
    order = np.lexsort((names.astype(str), own_keys.astype(str), hashes))
    found, rejects = [], []
    for run in batches.runs(both[order]):
        rows = order[run]
        key, split = both[rows[0]]
        distinct, repeated = duplicates.one_of_each_id(photos.take(rows))
        rejects += repeated
        ordered, timed = in_order(distinct)
        pieces = [ordered]
        if _is_all_of_an_owner(distinct):
            pieces = list(without_gaps(ordered, gap_seconds))
        found += [Group(key, split, timed, piece) for piece in pieces]
    return found, rejects


def _is_all_of_an_owner(photos: Photos) -> bool:
    """Whether the photos of one key are an owner's that have times."""
    return bool(
        photos.owner_id[0]
        and not photos.album_id[0]
        and photos.taken_at[0] != records.UNKNOWN_TIME
    )


def in_order(photos: Photos) -> tuple[Photos, bool]:
    """Photos by time, or by name if a time is unknown; and whether by time."""
    order, timed = album_order.in_order(
        photos.photo_id.tolist(), photos.taken_at.tolist()
    )
    return photos.take(np.array(order, np.int64)), timed


def without_gaps(photos: Photos, gap_seconds: float) -> Iterator[Photos]:
    """Cuts photos in order of time where a longer time than that passes."""
    # Python's integers: the difference of two times may not fit in 64 bits.
    times = photos.taken_at.tolist()
    start = 0
    for i in range(1, len(times) + 1):
        if i == len(times) or times[i] - times[i - 1] > gap_seconds:
            yield photos.take(slice(start, i))
            start = i


def short_album(photo_id: str, group: Group, left: int) -> Reject:
    """Why a photo of a short album is left out."""
    return Reject(
        photo_id,
        "write",
        Reason.SHORT_ALBUM,
        f"{group.key} has {left} photos, fewer than --min_photos",
    )
