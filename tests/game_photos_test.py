import io
import random

import pytest
from PIL import ExifTags, Image

from planet_tf.data import data_dirs
from planet_tf.games import game_photos
from planet_tf.geo import geometry
from planet_tf.photos import images


def photo(name, place, jpeg=b""):
    return game_photos.Photo(name, jpeg, place)


def distances(photos):
    places = [one.place for one in photos]
    return [
        geometry.great_circle_km(*a, *b)
        for i, a in enumerate(places)
        for b in places[:i]
    ]


def test_photos_are_of_the_split_and_each_drawn_once(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    for seed in range(3):
        found = game_photos.load(shards, "test", 12, random.Random(seed))
        names = {one.photo_id for one in found}
        assert len(found) == len(names) == 12
        # As write_small_shards sorts them: every tenth group of four.
        assert all(int(n[-4:]) // 4 % 10 == 9 for n in names)
    everything = game_photos.load(shards, "test", 1000, random.Random(0))
    assert len(everything) == shards.count("test") == 40
    assert images.facts(everything[0].jpeg).format == "JPEG"


def test_different_games_are_played_with_different_photos(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    drawn = {
        tuple(
            one.photo_id
            for one in game_photos.load(shards, "test", 5, random.Random(seed))
        )
        for seed in range(5)
    }
    assert len(drawn) > 1


def test_a_split_that_is_not_there_is_an_error(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    with pytest.raises(data_dirs.DataError, match="no photos in split 'x'"):
        game_photos.load(shards, "x", 12, random.Random(0))


def test_too_few_photos_for_a_game_are_an_error(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    with pytest.raises(data_dirs.DataError, match="a game needs 5"):
        game_photos.load(shards, "test", 4, random.Random(0))


def test_photos_of_a_game_are_apart_if_that_can_be():
    near = [photo(f"n{i}", (10 + i / 100, 179.99)) for i in range(50)]
    far = [photo(f"f{i}", (10.0 * i, -179.99)) for i in range(2, 6)]
    for seed in range(10):
        chosen = game_photos.of_a_game(near + far, random.Random(seed))
        assert len({one.photo_id for one in chosen}) == 5
        assert min(distances(chosen)) >= 100
    alike = game_photos.of_a_game(near, random.Random(0))
    assert len({one.photo_id for one in alike}) == 5


def test_what_is_shown_does_not_say_where_it_was_taken():
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (48.0, 51.0, 30.0),
        ExifTags.GPS.GPSLongitudeRef: "E",
        ExifTags.GPS.GPSLongitude: (2.0, 17.0, 40.0),
    }
    exif[ExifTags.Base.ImageDescription] = "Paris"
    file = io.BytesIO()
    image = Image.linear_gradient("L").convert("RGB")
    image.save(file, "JPEG", exif=exif, comment=b"Paris")
    assert images.read_exif(io.BytesIO(file.getvalue()))[0] == pytest.approx(
        48.858, abs=1e-3
    )
    shown = photo("", (0.0, 0.0), file.getvalue()).shown()
    assert b"Paris" not in shown
    with Image.open(io.BytesIO(shown)) as found:
        assert not found.getexif()
        assert list(found.getdata()) == list(
            Image.open(io.BytesIO(file.getvalue())).getdata()
        )
