r"""Makes a collection of photo-like JPEG files of any size, in little time.

python -m benchmarks.collection --out=DIR --megabytes=3000

DIR gets photos.csv, and the photos below photos/ or, with --tar, in files
photos-*.tar as WebDataset has them. A few pictures are drawn and encoded for
each size; their finest details are stored a little differently in each file,
so that no two are the same.
"""

import csv
import dataclasses
import io
import itertools
import json
import pathlib
import sys
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from planet_tf import config_flags
from planet_tf.config_flags import UsageError, option

_PICTURES = 4  # drawn for each size
_PHOTOS_PER_TAR = 200  # in memory while the file is written
# Grain that gives files of the sizes of photos: 0.1, 0.4 and 5 MB.
_GRAIN = 6
_CITIES = ((48.8, 2.3), (40.7, -74.0), (-33.4, -70.6), (35.7, 139.7))


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of benchmarks.collection."""

    out: str = option(help="the directory to make")
    megabytes: float = option(help="about what all photos take", low=0)
    sizes: tuple[str, ...] = option(
        ("500x375=6", "1024x768=3", "4000x3000=1"),
        help="widths and heights in pixels, and how often there is each",
    )
    tar: bool = option(False, help="put the photos into tar files")
    seed: int = option(0, help="of pictures and places", low=0)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    try:
        photos = make(config)
    except UsageError as error:
        config_flags.fail(error)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{photos} photos")
    return 0


def make(config: Config) -> int:
    """Makes a collection; returns how many photos it has."""
    out = pathlib.Path(config.out)
    out.mkdir(parents=True)
    write = _write_tars if config.tar else _write_files
    rows = write(out, photos(config))
    with (out / "photos.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def photos(config: Config) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the manifest says of each photo, and its JPEG file."""
    rng = np.random.default_rng(config.seed)
    size = 0
    for number, jpeg in enumerate(jpegs(config.sizes, rng)):
        lat, lng = _CITIES[number % len(_CITIES)] + rng.normal(0, 1, 2)
        name = f"{number:07d}"
        facts = {
            "photo_id": name,
            "path": f"photos/{name}.jpg",
            "lat": round(lat, 6),
            "lng": round(lng, 6),
            "owner_id": f"owner {number % 997}",
            "album_id": f"album {number % 4999}",
            "taken_at": 1_400_000_000 + number,
        }
        yield facts, jpeg
        size += len(jpeg)
        if size >= config.megabytes * 1e6:
            return


def jpegs(sizes: Sequence[str], rng: np.random.Generator) -> Iterator[bytes]:
    """JPEG files without end, no two alike."""
    mix: list[list[bytes]] = []
    for size in sizes:
        try:
            pixels, _, share = size.partition("=")
            width, height = map(int, pixels.split("x"))
            times = int(share or 1)
        except ValueError as error:
            raise UsageError(
                f"--sizes: {size!r} is not like 500x375=6"
            ) from error
        drawn = [draw(width, height, rng) for _ in range(_PICTURES)]
        mix += [drawn] * times
    for number in itertools.count():
        pictures = mix[number % len(mix)]
        yield variant(pictures[number % _PICTURES], number)


def draw(width: int, height: int, rng: np.random.Generator) -> bytes:
    """A JPEG with the spectrum of photos (1/f), edges and grain."""
    frequency = np.hypot(
        np.fft.fftfreq(height)[:, None] * height,
        np.fft.rfftfreq(width)[None] * width,
    )
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    light = np.fft.irfft2(
        phases / np.maximum(1, frequency) ** 1.2, (height, width)
    )
    light = 120 + 45 * light / light.std()
    for _ in range(30):
        top, left = rng.integers(0, [height, width])
        down, right = rng.integers(1, [height // 4 + 2, width // 4 + 2])
        light[top : top + down, left : left + right] += rng.normal(0, 25)
    tint = rng.normal(0, 12, 3)
    grain = rng.standard_normal((height, width, 1), np.float32) * _GRAIN
    pixels = light[..., None].astype(np.float32) + grain + np.float32(tint)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=92
    )
    return file.getvalue()


def variant(jpeg: bytes, number: int) -> bytes:
    """Nearly the same picture in other bytes, for numbers below 2**24.

    The steps in which its finest details are stored grow a little, each by
    another digit of the number.
    """
    table = jpeg.index(b"\xff\xdb") + 5  # 64 steps, the finest last
    changed = bytearray(jpeg)
    for place in range(8):
        at = table + 63 - place
        changed[at] = min(255, changed[at] + (number >> 3 * place) % 8)
    return bytes(changed)


def _write_files(
    out: pathlib.Path, photos: Iterator[tuple[dict[str, Any], bytes]]
) -> list[dict[str, Any]]:
    (out / "photos").mkdir()
    rows = []
    for facts, jpeg in photos:
        (out / facts["path"]).write_bytes(jpeg)
        rows.append(facts)
    return rows


def _write_tars(
    out: pathlib.Path, photos: Iterator[tuple[dict[str, Any], bytes]]
) -> list[dict[str, Any]]:
    """Each photo has its facts beside it, as JSON."""
    rows = []
    while some := list(itertools.islice(photos, _PHOTOS_PER_TAR)):
        name = f"photos-{len(rows) // _PHOTOS_PER_TAR:04d}.tar"
        with tarfile.open(out / name, "w") as tar:
            for facts, jpeg in some:
                text = json.dumps(facts).encode()
                for kind, data in (("jpg", jpeg), ("json", text)):
                    entry = tarfile.TarInfo(f"{facts['photo_id']}.{kind}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        rows += [facts for facts, _ in some]
    return rows


if __name__ == "__main__":
    sys.exit(main())
