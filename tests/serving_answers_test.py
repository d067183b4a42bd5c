"""What the server answers, over HTTP, where it depends on more than a photo."""

import base64
import pathlib

import pytest
from starlette.testclient import TestClient

from benchmarks import serve, serve_cases
from planet_tf.geo import geometry
from planet_tf.options.asking_config import ServeConfig
from planet_tf.photos import images
from planet_tf.serving import asgi, loaded_model

HEIC = pathlib.Path(__file__).parent / "data" / "two_colours.heic"


def make_client(directory, min_cell_km):
    config = ServeConfig(model_dir="", min_cell_km=min_cell_km)
    model = loaded_model.Model(str(directory), min_cell_km)
    return TestClient(asgi.make(model, config), base_url="http://localhost")


def locate_album(client, make_jpeg):
    """What /api/model says, and the answer to an album of four photos."""
    files = [("photo", (f"{i}.jpg", make_jpeg(seed=i))) for i in range(4)]
    params = {"distribution": True, "top": 100}
    found = client.post("/api/locate", files=files, params=params)
    assert found.status_code == 200
    return client.get("/api/model").json(), found.json()


def width_km(token):
    return geometry.cell_area_km2(token) ** 0.5


def check_no_cell_is_narrower(about, found, least_km):
    assert all(width_km(token) >= least_km for token in about["cells"])
    allowed = {
        token: tuple(point)
        for token, point in zip(about["cells"], about["points"], strict=True)
    }
    everywhere = found["photos"] + found["album"]["photos"]
    assert len(everywhere) == 8
    for photo in everywhere:
        cells = photo["answer"]["cells"]
        assert cells
        for cell in cells:
            assert cell["width_km"] >= least_km - 0.1  # it is rounded
            point = pytest.approx((cell["lat"], cell["lng"]), abs=2e-5)
            assert allowed[cell["token"]] == point
        shares = dict(photo["distribution"])
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
        for cell in cells:
            share = shares.get(about["cells"].index(cell["token"]), 0)
            assert share == pytest.approx(cell["probability"], abs=2e-5)
        radii = photo["answer"]["radius_km"]
        assert radii["50%"] <= radii["90%"]


def check_album(directory, make_jpeg, least_km, how):
    with make_client(directory, 0.0) as client:
        about, found = locate_album(client, make_jpeg)
    assert found["album"]["how"] == how
    cells = found["album"]["photos"][0]["answer"]["cells"]
    assert any(width_km(cell["token"]) < least_km for cell in cells)
    fine = len(about["cells"])
    with make_client(directory, least_km) as client:
        about, found = locate_album(client, make_jpeg)
    assert found["album"]["how"] == how
    assert 1 < len(about["cells"]) < fine
    check_no_cell_is_narrower(about, found, least_km)


@pytest.mark.slow
def test_no_part_of_an_albums_answer_has_a_narrower_cell(tmp_path, make_jpeg):
    config = serve.Config(image_size=75, width=0.1, cells=300)
    model_dir = tmp_path / "model"
    serve_cases.make_model(config, str(model_dir))
    check_album(model_dir, make_jpeg, 1000.0, "average")


@pytest.mark.slow
def test_nor_has_that_of_an_album_model(album_models, make_jpeg):
    check_album(album_models[0], make_jpeg, 6000.0, "lstm")


@pytest.fixture(scope="module")
def client(small_model):
    with make_client(small_model, 0.0) as made:
        yield made


def test_a_heic_photo_is_answered_with_what_its_exif_says(client):
    pytest.importorskip("pi_heif")
    for files in ([], [("photo", ("a.heic", HEIC.read_bytes()))]):
        body = {"files": files} if files else {"content": HEIC.read_bytes()}
        found = client.post("/api/locate", **body)
        assert found.status_code == 200
        [photo] = found.json()["photos"]
        assert photo["taken"]["lat"] == pytest.approx(-33.51)
        assert photo["taken"]["lng"] == -70
        assert photo["answer"]["cells"]


def test_without_its_package_a_heic_photo_is_refused_with_the_cure(
    client, monkeypatch, make_jpeg
):
    formats = [name for name in images._FORMATS if name != "HEIF"]
    monkeypatch.setattr(images, "_FORMATS", formats)
    data = HEIC.read_bytes()
    found = client.post("/api/locate", content=data)
    assert found.status_code == 415
    error = found.json()["error"]
    assert error["code"] == "unsupported_format"
    assert "planet-tf[heic]" in error["message"]
    files = [("photo", ("a", data)), ("photo", ("b", make_jpeg()))]
    heic, jpeg = client.post("/api/locate", files=files).json()["photos"]
    assert heic["error"] == error and jpeg["answer"]
    body = {"instances": [{"b64": base64.b64encode(data).decode()}]}
    rows = client.post("/v1/models/planet:predict", json=body).json()
    assert rows["predictions"][0]["valid"] is False
