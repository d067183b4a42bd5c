"""Answers for albums as text, as a table, and as maps of tracks."""

import csv
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from planet_tf.data import data_dirs
from planet_tf.drawing import maps, track_maps, tracks
from planet_tf.model import model_dir
from planet_tf.options.asking_config import PredictAlbumConfig
from planet_tf.photos import photo_files
from planet_tf.prediction import album_photos, album_prediction
from planet_tf.prediction.album_photos import Album
from planet_tf.prediction.album_prediction import AlbumLocator, Answers
from planet_tf.reports import report_text

_CSV = "answers.csv"
_COLUMNS = (
    *("album", "number", "photo", "taken_at"),
    *("single_lat", "single_lng", "single_probability", "single_cell"),
    *("album_lat", "album_lng", "album_probability", "album_cell"),
    *("km_apart", "outlier", "lat", "lng"),
    *("single_error_km", "album_error_km"),
)


def predict(config: PredictAlbumConfig, paths: Sequence[str]) -> int:
    """Answers for all albums; 1 if a photo of them could not be read."""
    locator = AlbumLocator(config.model_dir, config.min_cell_km)
    outliers = album_prediction.Outliers(
        config.outlier_km, config.outlier_probability
    )
    rejects: list[tuple[str, str]] = []
    os.makedirs(config.out, exist_ok=True)
    taken: set[str] = set()
    path = os.path.join(config.out, _CSV)
    with open(path + ".incomplete", "w", newline="") as file:
        csv.writer(file).writerow(_COLUMNS)
        for album in _albums(config, paths, locator, rejects):
            found = locator.ask(album, outliers)
            rejects += [
                (n, "TensorFlow cannot decode it") for n in found.unread
            ]
            if found.photos:
                _tell(config, locator, found, file, taken)
    os.replace(path + ".incomplete", path)
    print(f"\nanswers: {path}")
    for name, why in rejects:
        print(f"error: {name}: {why}", file=sys.stderr)
    return int(bool(rejects))


def _albums(
    config: PredictAlbumConfig,
    paths: Sequence[str],
    locator: AlbumLocator,
    rejects: list[tuple[str, str]],
) -> Iterator[Album]:
    """The albums to ask about; adds to the rejects."""
    if config.albums:
        albums = data_dirs.open_albums(config.albums)
        wanted = locator.config["model_fingerprint"]
        if albums.model_fingerprint != wanted:
            raise model_dir.ModelDirError(
                f"{config.albums} has embeddings of the photo model"
                f" {albums.model_fingerprint}, {config.model_dir} was trained"
                f" on those of {wanted}: use what belongs together"
            )
        found = album_photos.of_records(albums, config.split)
        yield from itertools.islice(found, config.limit or None)
        return
    files = photo_files.find(paths)
    if not files:
        raise data_dirs.DataError(f"no photos in {', '.join(paths)}")
    place = os.path.commonpath([os.path.abspath(path) for path in paths])
    if not os.path.isdir(place):
        place = os.path.dirname(place)
    album, unread = album_photos.read(
        files, os.path.basename(place), locator.photos.photo_size
    )
    rejects += unread
    if album.names:
        yield album


def _tell(
    config: PredictAlbumConfig,
    locator: AlbumLocator,
    found: Answers,
    file: TextIO,
    taken: set[str],
) -> None:
    """Prints and writes all that is known of an album."""
    album = found.album
    print(f"\n{album.name}: {len(found.photos):,} photos")
    print("\n".join(lines(found.photos)), flush=True)
    csv.writer(file).writerows(rows(found))
    if not album.timed and len(album.names) > 1:
        print(
            f"warning: not all times of {album.name} are known: its photos are"
            " in the order of their names",
            file=sys.stderr,
        )
    if config.maps:
        for path in write_maps(config.out, locator, found, taken):
            print(f"  map: {path}")


def lines(photos: Sequence[tracks.Photo]) -> list[str]:
    """A table of an album's photos, and its outliers in words."""
    head = ["", "photo", "taken", "alone", "", "in the album", "", "apart"]
    known = any(photo.truth for photo in photos)
    table = [head + ["error alone", "error"] * known]
    for number, photo in enumerate(photos, 1):
        row = [str(number), photo.name, photo.time]
        for answer in (photo.single, photo.album):
            row += [maps.place_text(answer.latlng), f"{answer.probability:.0%}"]
        row.append(maps.km_text(photo.km_apart))
        if known:
            errors = photo.errors_km or ()
            row += [maps.km_text(e) for e in errors] or ["", ""]
        table.append(row)
    found = [report_text.aligned(table)]
    for number, photo in enumerate(photos, 1):
        if photo.outlier:
            found.append(
                f"  {number} {photo.name} seems not to belong here: alone it is"
                f" sure of {maps.place_text(photo.single.latlng)},"
                f" {maps.km_text(photo.km_apart)} away"
            )
    return found


def rows(found: Answers) -> Iterator[list]:
    """Rows of answers.csv."""
    for i, photo in enumerate(found.photos):
        answers = [
            value
            for a in (photo.single, photo.album)
            for value in (*a.latlng, f"{a.probability:.6f}", a.token)
        ]
        errors = photo.errors_km or ()
        yield [
            *(found.album.name, i + 1, photo.name, photo.time),
            *answers,
            f"{photo.km_apart:.3f}",
            int(photo.outlier),
            *(photo.truth or ("", "")),
            *([f"{e:.3f}" for e in errors] or ["", ""]),
        ]


def write_maps(
    directory: str, locator: AlbumLocator, found: Answers, taken: set[str]
) -> list[str]:
    """Draws an album's track; returns where."""
    base = re.sub(r"[^\w.-]+", "-", found.album.name).strip("-") or "album"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    path = os.path.join(directory, f"{name}-track")
    title = found.album.name
    figure = track_maps.figure(found.photos, title)
    with open(path + ".png", "wb") as file:
        file.write(maps.encode(figure, "png"))
    page = track_maps.page(
        found.photos, locator.partition, found.probabilities.mean(0), title
    )
    with open(path + ".html", "w", encoding="utf-8") as file:
        file.write(page)
    return [path + ".png", path + ".html"]
