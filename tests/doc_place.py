"""The files that the commands of the documents name, made small.

photos.csv    a manifest of 360 photos in 8 regions
other.csv     one of 40 others
photos/       JPEG files with positions and times
photo.jpg, a.jpg, b.jpg, photos-0.tar
quickstart/   what the quickstart leaves: partition, shards, model, albums,
              album_models/bidirectional
"""

import csv
import io
import pathlib
import shutil
import tarfile

import numpy as np
import short_network
from PIL import ExifTags, Image

from beam_pipelines import build_partition, write_albums, write_shards
from planet_tf.options import train_config
from planet_tf.training import album_task, loop, photo_task

_REGIONS = (
    *((48.8, 2.3), (40.7, -74.0), (-33.4, -70.6), (-18.1, 178.4)),
    *((35.7, 139.7), (19.4, -99.1), (-1.3, 36.8), (64.1, -21.9)),
)
_HEADER = ("photo_id", "path", "lat", "lng", "owner_id", "taken_at")
_SHOTS = 3  # of an owner, on one day
_SHARES = ("--validation_fraction=0.1", "--test_fraction=0.15")
_SPLITS = (*_SHARES, "--albums_fraction=0.3")
_TRAINING = {"batch_size": 8, "steps": 4, "log_every": 2}


def make(place: pathlib.Path) -> None:
    """Makes all of it in a new directory."""
    place.mkdir()
    rng = np.random.default_rng(0)
    _write_manifest(place, "photos", 360, rng)
    _write_manifest(place, "other", 40, rng)
    files = sorted((place / "files").glob("photos-*.jpg"))
    (place / "photos").mkdir()
    for path in files[:8]:
        shutil.copy(path, place / "photos")
    for name, path in zip(("photo", "a", "b"), files, strict=False):
        shutil.copy(path, place / f"{name}.jpg")
    with tarfile.open(place / "photos-0.tar", "w") as tar:
        for path in files[8:16]:
            tar.add(path, path.name)
    _make_quickstart(place / "quickstart", str(place / "photos.csv"))


def _write_manifest(
    place: pathlib.Path, name: str, count: int, rng: np.random.Generator
) -> None:
    """A manifest, and its photos in the directory `files`."""
    (place / "files").mkdir(exist_ok=True)
    rows = []
    for i in range(count):
        owner, shot = i // _SHOTS, i % _SHOTS
        region = owner % len(_REGIONS)
        lat, lng = np.array(_REGIONS[region]) + rng.normal(0, 0.5, 2)
        taken = 1_455_667_200 + 86_400 * owner + 600 * shot
        path = f"files/{name}-{i:03}.jpg"
        (place / path).write_bytes(_jpeg(lat, lng, taken, region, rng))
        rows.append((f"{name}-{i}", path, lat, lng, f"owner-{owner}", taken))
    with (place / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        writer.writerows(rows)


def _jpeg(
    lat: float, lng: float, taken: int, region: int, rng: np.random.Generator
) -> bytes:
    """A picture in its region's colour that says where and when it is of."""
    colour = 60 + 40 * np.array([region & 1, region >> 1 & 1, region >> 2])
    pixels = colour + rng.normal(0, 20, (90, 120, 3))
    exif = Image.Exif()
    gps = ExifTags.GPS
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            gps.GPSLatitudeRef: "N" if lat >= 0 else "S",
            gps.GPSLatitude: (abs(lat), 0.0, 0.0),
            gps.GPSLongitudeRef: "E" if lng >= 0 else "W",
            gps.GPSLongitude: (abs(lng), 0.0, 0.0),
        }
    )
    seconds = np.datetime64(taken, "s").astype(str)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = (
        seconds.replace("-", ":").replace("T", " ")
    )
    file = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def _make_quickstart(out: pathlib.Path, photos: str) -> None:
    """What the quickstart leaves, by the same programs, of fewer photos."""
    cells, shards = out / "partition.json", out / "shards"
    out.mkdir()
    _run(
        *(build_partition, f"--photos={photos}", f"--out={cells}", *_SPLITS),
        *("--max_photos=8", "--min_photos=2", "--train_only"),
    )
    _run(
        *(write_shards, f"--photos={photos}", f"--partition={cells}"),
        *(f"--out={shards}", "--shards=2", *_SPLITS),
    )
    options = train_config.TrainConfig(
        shards=str(shards),
        model_dir=str(out / "model"),
        image_size=75,
        example_photos=1,
        **_TRAINING,
    )
    with short_network.instead_of_inception():
        loop.train(options, photo_task.PhotoTask)
    _run(
        *(write_albums, f"--photos={photos}", f"--out={out / 'albums'}"),
        *(f"--model_dir={out / 'model'}", "--shards=2"),
    )
    album_options = train_config.TrainAlbumsConfig(
        albums=str(out / "albums"),
        model_dir=str(out / "album_models" / "bidirectional"),
        variant="bidirectional",
        units=8,
        **_TRAINING,
    )
    loop.train(album_options, album_task.AlbumTask)


def _run(program, *options: str) -> None:
    assert program.main([program.__name__, *options]) == 0
