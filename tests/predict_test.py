import io
import re

import numpy as np
import pytest
from PIL import Image

from planet_tf import predict
from planet_tf.geo import geometry
from planet_tf.model import export


def run(small_model, tmp_path, *photos, options=()):
    return predict.main(
        [
            "predict",
            f"--model_dir={small_model}",
            f"--out={tmp_path / 'maps'}",
            *options,
            *map(str, photos),
        ]
    )


def rows(text):
    """(probability in %, lat, lng, token) of each answer in the output."""
    pattern = r"^ +\d+ +([\d.]+)% +([-\d.]+) +([-\d.]+)  ([0-9a-f]+)(?:  .*)?$"
    return re.findall(pattern, text, re.MULTILINE)


def test_answers_are_ranked_cells_with_their_points(
    small_model, tmp_path, make_jpeg, capfd
):
    photo = tmp_path / "holiday.jpg"
    photo.write_bytes(make_jpeg())
    assert run(small_model, tmp_path, photo, options=["--top=3"]) == 0
    out = capfd.readouterr().out
    found = rows(out)
    assert len(found) == 3
    assert re.search(r"around the first: 50% within [\d,]+ km", out)
    assert "  countries: " in out
    locator = export.Geolocator(str(small_model))
    shares = locator.probabilities([photo.read_bytes()])[0]
    for (share, lat, lng, token), cell in zip(
        found, np.argsort(-shares)[:3], strict=True
    ):
        assert float(share) == pytest.approx(100 * shares[cell], abs=0.01)
        assert token == locator.partition.tokens[cell]
        point = locator.partition.points[cell]
        assert (float(lat), float(lng)) == pytest.approx(point, abs=1e-4)


@pytest.mark.slow
def test_a_turned_photo_is_answered_as_the_upright_one(
    small_model, tmp_path, make_jpeg, capfd
):
    upright = Image.open(io.BytesIO(make_jpeg(300, 200)))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees for viewing
    upright.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "turned.png", exif=exif
    )
    names = [tmp_path / "upright.png", tmp_path / "turned.png"]
    assert run(small_model, tmp_path, *names, options=["--nomaps"]) == 0
    found = rows(capfd.readouterr().out)
    first, second = found[: len(found) // 2], found[len(found) // 2 :]
    assert [row[3] for row in first] == [row[3] for row in second]
    # Scaling before turning rounds a little otherwise than after it.
    shares = [[float(row[0]) for row in rows] for rows in (first, second)]
    assert shares[0] == pytest.approx(shares[1], abs=1)
    assert not (tmp_path / "maps" / "upright-map.png").exists()


def test_a_bad_photo_is_named_and_the_others_are_answered(
    small_model, tmp_path, make_jpeg, capfd
):
    good, text, cut = (tmp_path / n for n in ("good.jpg", "text.jpg", "c.jpg"))
    good.write_bytes(make_jpeg())
    text.write_text("not a photo")
    cut.write_bytes(make_jpeg(300, 300)[:2000])
    photos = [text, tmp_path / "none.jpg", cut, good]
    assert run(small_model, tmp_path, *photos, options=["--nomaps"]) == 1
    said = capfd.readouterr()
    assert f"{text}: not_an_image" in said.err
    assert "none.jpg" in said.err
    assert f"{cut}: truncated_image" in said.err
    assert "Traceback" not in said.err
    assert len(rows(said.out)) > 0


@pytest.mark.slow
def test_each_photo_gets_a_map_even_with_the_name_of_another(
    small_model, tmp_path, make_jpeg
):
    photos = [tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.png"]
    for photo, kind in zip(photos, ("JPEG", "PNG"), strict=True):
        photo.parent.mkdir()
        photo.write_bytes(make_jpeg(format=kind))
    assert run(small_model, tmp_path, *photos) == 0
    maps = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in maps] == ["a-2-map.png", "a-map.png"]
    for path in maps:
        assert Image.open(io.BytesIO(path.read_bytes())).width > 1000


def test_no_answer_is_finer_than_asked_for(
    small_model, tmp_path, make_jpeg, capfd
):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(make_jpeg())
    options = ["--min_cell_km=6000", "--top=100", "--nomaps"]
    assert run(small_model, tmp_path, photo, options=options) == 0
    coarse = export.Geolocator(str(small_model), 6000).partition
    found = rows(capfd.readouterr().out)
    assert 0 < len(found) == len(coarse.tokens) < 4
    points = dict(zip(coarse.tokens, coarse.points, strict=True))
    for _, lat, lng, token in found:
        assert geometry.cell_area_km2(token) ** 0.5 >= 6000
        assert (float(lat), float(lng)) == pytest.approx(
            points[token], abs=1e-4
        )


def test_no_photo_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        predict.main(["predict", "--model_dir=m"])
    assert stopped.value.code == 2
    assert "no photo given" in capsys.readouterr().err


def test_a_directory_that_is_no_model_says_so(tmp_path, make_jpeg, capfd):
    (tmp_path / "a.jpg").write_bytes(make_jpeg())
    assert run(tmp_path / "nowhere", tmp_path, tmp_path / "a.jpg") == 1
    assert "is not a model directory" in capfd.readouterr().err
