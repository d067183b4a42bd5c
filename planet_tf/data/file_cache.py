"""Copies of record files on a disk that is faster than where they are.

A thread of each worker copies the files that it will read, in that order, and
whoever opens one takes the copy if it is there by then. So the first epoch
reads originals as long as the copying is not ahead, and what does not fit is
read from where it is. A run on a TPU pod, whose machines run no Python,
leaves them without copies.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf

FREE = 0.1  # share of the disk that is left free
_CHUNK = 16 * 2**20  # bytes copied at a time
_ABANDONED = 600.0  # seconds after which an unfinished copy is taken for lost


class FileCache:
    """Copies of the record files of some shards, in a directory.

    Workers of a machine may share the directory, and so may shards: their
    fingerprint is part of the copies' names.
    """

    def __init__(self, directory: str, fingerprint: str):
        digest = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        self.directory = os.path.join(directory, f"planet_tf-{digest}")

    def copy_of(self, path: str) -> str:
        """Where the copy of a file is, or would be."""
        return os.path.join(self.directory, os.path.basename(path))

    def opener(self, paths: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function for the path to open of the n-th file, now."""
        # Taken for patterns.
        copies = [
            re.sub(r"([*?\[\]\\])", r"\\\1", self.copy_of(p)) for p in paths
        ]

        def path(number: tf.Tensor) -> tf.Tensor:
            copy = tf.io.matching_files(tf.constant(copies)[number])
            return tf.concat([copy, tf.constant(paths)[number, None]], 0)[0]

        return path

    def fill(self, paths: Iterable[str]) -> threading.Thread:
        """Starts a thread that copies files as far as they fit."""
        thread = threading.Thread(
            target=self._fill, args=(paths,), name="file_cache", daemon=True
        )
        thread.start()
        return thread

    def _fill(self, paths: Iterable[str]) -> None:
        try:
            os.makedirs(self.directory, exist_ok=True)
            for path in paths:
                if not self._copy(path):
                    _say(f"{self.directory} is as full as it may get")
                    return
        except (OSError, tf.errors.OpError) as error:
            _say(f"warning: {error}; files are read from where they are")

    def _copy(self, path: str) -> bool:
        """Copies a file, unless it is there or on its way; False if no room."""
        copy = self.copy_of(path)
        if os.path.exists(copy):
            return True
        size = tf.io.gfile.stat(path).length
        disk = shutil.disk_usage(self.directory)
        if disk.free - size < FREE * disk.total:
            return False
        partial = copy + ".incomplete"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.path.getmtime(partial) > _ABANDONED:
                os.remove(partial)
        try:
            file = open(partial, "xb")  # noqa: SIM115
        except FileExistsError:
            return True  # another worker is at it
        try:
            with file, tf.io.gfile.GFile(path, "rb") as original:
                while chunk := original.read(_CHUNK):
                    file.write(chunk)
            if os.path.getsize(partial) != size:
                raise OSError(f"{path} changed while it was copied")
            os.replace(partial, copy)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.remove(partial)
            raise
        return True


def _say(text: str) -> None:
    print(f"--cache_dir: {text}", file=sys.stderr, flush=True)
