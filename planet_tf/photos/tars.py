"""Members of tar files, and what is wrong with such a file.

A tar that is cut off, or damaged in the middle, gives what is before that.
"""

import itertools
import operator
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from planet_tf.photos.rejects import Reason, Reject


def samples(
    file: BinaryIO, name: str
) -> Iterator[
    tuple[tarfile.TarFile | None, str, list[tarfile.TarInfo | Reject]]
]:
    """Members of a tar with one path up to the first dot, as in WebDataset.

    Args:
      file: the tar, unpacked, to be read in any order.
      name: what it is called in rejects.

    Yields:
      The tar, that path and the members. A sample that is cut off ends with a
      reject, and so does the tar if it is. Of what is no tar at all there is
      only a reject.
    """
    try:
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="replace"
        ) as tar:
            found = _members(tar, file, name)
            for key, group in itertools.groupby(found, operator.itemgetter(0)):
                yield tar, key, [member for _, member in group]
    except tarfile.TarError as error:
        fault = Reject(name, "read", Reason.MALFORMED_ARCHIVE, str(error))
        yield None, "", [fault]


def _members(
    tar: tarfile.TarFile, file: BinaryIO, name: str
) -> Iterator[tuple[str | None, tarfile.TarInfo | Reject]]:
    """Files of a tar with the keys of their samples; what is wrong at its end.

    A file that is cut off is not among them, and the sample it is of ends with
    a reject.
    """
    key, last = None, None
    try:
        while member := tar.next():
            # Else all of them are kept. typeshed does not know the attribute.
            tar.members.clear()  # type: ignore[attr-defined]
            if last:
                yield key, last
            last = member if member.isfile() else None
            key = _sample_key(member)
    except tarfile.TarError as error:
        if last and not is_there(file, last.offset_data + last.size - 1):
            detail = f"it ends within {last.name}"
            yield key, Reject(name, "read", Reason.TRUNCATED_ARCHIVE, detail)
            return
        what = str(error)
    else:
        file.seek(tar.offset)
        block = file.read(tarfile.BLOCKSIZE)
        what = "no header" if block.strip(b"\0") else ""
        if len(block) < tarfile.BLOCKSIZE:
            what = "it ends without an end mark"
    if last:
        yield key, last
    if what:
        short = what.startswith("it ends")
        reason = Reason.TRUNCATED_ARCHIVE if short else Reason.MALFORMED_ARCHIVE
        detail = f"{what} at byte {tar.offset}, the rest is not read"
        yield None, Reject(name, "read", reason, detail)


def is_there(file: BinaryIO, offset: int) -> bool:
    """Whether a file has a byte at an offset."""
    file.seek(offset)
    return bool(file.read(1))


def _sample_key(member: tarfile.TarInfo) -> str:
    directory, slash, base = member.name.rpartition("/")
    return directory + slash + base.partition(".")[0]
