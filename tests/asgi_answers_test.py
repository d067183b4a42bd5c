import concurrent.futures
import io
import struct

import bad_inputs
import numpy as np
import pytest
from asgi_client import PREDICT, as_instances, by_label, locate, make_client
from PIL import Image

from planet_tf.data import data_dirs
from planet_tf.evaluation import asking
from planet_tf.geo import geometry
from planet_tf.model import export
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.serving import loaded_model


@pytest.fixture(scope="module")
def model(small_model):
    return loaded_model.Model(str(small_model), 0.0)


@pytest.fixture(scope="module")
def client(model):
    with make_client(model) as made:
        yield made


@pytest.fixture(scope="module")
def locator(small_model):
    return export.Geolocator(str(small_model))


def test_server_model_and_evaluation_agree_on_a_hundred_photos(
    client, locator, small_shards, small_model, tmp_path
):
    config = EvaluateConfig(
        model_dir=str(small_model),
        shards=str(small_shards),
        split="train",
        out=str(tmp_path),
        batch_size=50,
        rules=(),
        coarse_cells=(),
    )
    shards = data_dirs.open_shards(config.shards)
    questions = asking.Questions(config, locator, temperature=1.0)
    batches = asking._batches(config, shards, config.split)
    photos = [next(batches) for _ in range(2)]
    jpegs = np.concatenate([found["image"] for found in photos]).tolist()
    assert len(jpegs) == 100
    evaluated = np.concatenate(
        [
            questions.ask(found)[0].answers[asking.OURS].probabilities
            for found in photos
        ]
    )
    exported = locator.probabilities(jpegs)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        served = list(threads.map(lambda j: locate(client, j).json(), jpegs))
    own = [answer["photos"][0] for answer in served]
    probabilities = np.array([by_label(client, x["distribution"]) for x in own])
    np.testing.assert_allclose(probabilities, exported, atol=1e-5)
    tops = [[c["probability"] for c in x["answer"]["cells"]] for x in own]
    np.testing.assert_allclose(tops, evaluated, atol=1e-5)
    body = as_instances(*jpegs[:50], signature_name="distribution")
    rows = client.post(PREDICT, json=body).json()["predictions"]
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], exported[:50], atol=1e-5
    )


def test_an_album_is_answered_alone_and_by_its_average(client, make_jpeg):
    photos = [make_jpeg(seed=i) for i in range(3)]
    files = [("photo", (f"{i}.jpg", p)) for i, p in enumerate(photos)]
    files.insert(1, ("photo", ("x.txt", b"no photo")))
    params = {"distribution": True, "top": 2}
    found = client.post("/api/locate", files=files, params=params).json()
    names = [photo["name"] for photo in found["photos"]]
    assert names == ["0.jpg", "x.txt", "1.jpg", "2.jpg"]
    assert found["photos"][1]["error"]["code"] == "not_an_image"
    assert found["photos"][1]["answer"] is None
    assert found["album"]["how"] == "average"
    assert found["album"]["photos"][1] is None
    good = [found["photos"][i] for i in (0, 2, 3)]
    alone = np.array([by_label(client, x["distribution"]) for x in good])
    for photo, row in zip(photos, alone, strict=True):
        single = locate(client, photo).json()["photos"][0]
        np.testing.assert_allclose(
            by_label(client, single["distribution"]), row, atol=1e-5
        )
    for i in (0, 2, 3):
        among = found["album"]["photos"][i]
        np.testing.assert_allclose(
            by_label(client, among["distribution"]), alone.mean(0), atol=1e-5
        )
        assert len(among["answer"]["cells"]) == 2


def test_no_readable_photo_among_several_is_an_error(client):
    files = [("photo", ("a", b"x")), ("photo", ("b", b"y"))]
    found = client.post("/api/locate", files=files)
    assert found.status_code == 422
    assert found.json()["error"]["code"] == "no_photo"


def hostile_files(make_jpeg):
    """Two hundred files that are no photos, or odd ones."""
    rng = np.random.default_rng(0)
    files = [data for data, _ in bad_inputs.images().values()]
    jpeg, png = make_jpeg(200, 150), make_jpeg(200, 150, format="PNG")
    for whole in (jpeg, png):
        files += [whole[:n] for n in np.linspace(1, len(whole), 40, dtype=int)]
        for _ in range(30):  # bytes changed anywhere
            data = np.frombuffer(whole, np.uint8).copy()
            at = rng.integers(2, len(data), 12)
            data[at] = rng.integers(0, 256, 12)
            files.append(data.tobytes())
    files += [
        bad_inputs.resized_header(jpeg, width, height)
        for width, height in [(65500, 65500), (1, 65500), (0, 10), (16, 16)]
    ]
    files += [bad_inputs.png_bomb(side) for side in (9459, 30_000, 65_000)]
    files += [
        bad_inputs.encode(bad_inputs.picture(1), exif=b"Exif\0\0" + junk)
        for junk in (b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", rng.bytes(500))
    ]
    files += [rng.bytes(n) for n in range(1, 300, 20)]
    animated = io.BytesIO()
    frames = [bad_inputs.picture(i) for i in range(3)]
    frames[0].save(
        animated, "PNG", save_all=True, append_images=frames[1:], duration=100
    )
    files.append(animated.getvalue())
    files.append(b"\xff\xd8\xff\xe1" + struct.pack(">H", 2) + b"\xff\xd9")
    return files


def test_hostile_files_are_refused_with_a_reason_and_do_no_harm(
    client, make_jpeg
):
    good = make_jpeg(seed=5)
    before = locate(client, good).json()
    files = hostile_files(make_jpeg)
    assert len(files) >= 200
    codes = []
    for data in files:
        found = locate(client, data)
        codes.append(found.status_code)
        if found.status_code == 200:
            assert found.json()["photos"][0]["answer"]["cells"]
            Image.open(io.BytesIO(data)).load()  # it can be read
        else:
            assert found.status_code in (415, 422)
            error = found.json()["error"]
            assert error["code"] and error["message"]
    assert codes.count(415) > 20 and codes.count(422) > 50
    assert codes.count(200) > 15
    assert locate(client, good).json() == before
    assert client.get("/healthz").status_code == 200


def test_a_limit_on_cells_holds_in_every_answer(small_model, make_jpeg):
    coarse = loaded_model.Model(str(small_model), 6000.0)
    jpegs = [make_jpeg(seed=i) for i in range(4)]
    with make_client(coarse, min_cell_km=6000.0) as client:
        about = client.get("/api/model").json()
        assert about["min_cell_km"] == 6000
        files = [("photo", (f"{i}.jpg", p)) for i, p in enumerate(jpegs)]
        params = {"distribution": True, "top": 100}
        found = client.post("/api/locate", files=files, params=params).json()
        answers = [x["answer"] for x in found["photos"]]
        answers += [x["answer"] for x in found["album"]["photos"]]
        cells = [cell for answer in answers for cell in answer["cells"]]
        tokens = [cell["token"] for cell in cells] + about["cells"]
        points = [[cell["lat"], cell["lng"]] for cell in cells]
        for signature in ("serving_default", "distribution"):
            body = as_instances(*jpegs, signature_name=signature)
            for row in client.post(PREDICT, json=body).json()["predictions"]:
                tokens += row.get("token", [])
                points += row.get("latlng", [])
                assert len(row.get("probabilities", [0])) <= len(about["cells"])
    assert len(about["cells"]) < 4
    assert all(geometry.cell_area_km2(t) ** 0.5 >= 6000 for t in tokens)
    allowed = {tuple(point) for point in coarse.partition.latlng.tolist()}
    assert {tuple(point) for point in points} <= allowed


@pytest.mark.parametrize("rows", [True, False])
def test_predict_marks_what_is_no_photo(client, make_jpeg, rows):
    jpeg = make_jpeg()
    body = as_instances(jpeg, b"no photo")
    if not rows:
        values = [row["image_bytes"] for row in body["instances"]]
        body = {"inputs": {"image_bytes": values}}
    found = client.post(PREDICT, json=body).json()
    if rows:
        found = {
            name: [row[name] for row in found["predictions"]]
            for name in ("token", "probability", "latlng", "valid")
        }
    else:
        found = found["outputs"]
    assert found["valid"] == [True, False]
    answer = locate(client, jpeg).json()["photos"][0]["answer"]["cells"]
    assert found["token"][0] == [cell["token"] for cell in answer]
    assert found["probability"][0] == pytest.approx(
        [cell["probability"] for cell in answer], abs=1e-5
    )
    assert found["latlng"][0] == [[c["lat"], c["lng"]] for c in answer]


@pytest.mark.slow
def test_an_album_model_answers_albums_in_any_order(album_models, make_jpeg):
    model = loaded_model.Model(str(album_models[0]), 0.0)
    jpegs = [make_jpeg(seed=i) for i in range(4)]
    asked = model.ask(jpegs)
    times = [30, 10, 40, 20]
    found = model.ask_album(asked, ["a", "b", "c", "d"], times)
    order = [1, 3, 0, 2]
    in_order = model.ask_album(
        [asked[i] for i in order],
        list("bdac"),
        [times[i] for i in order],
    )
    np.testing.assert_allclose(found[order], in_order, atol=1e-6)
    assert model.how != "average"
    assert np.abs(found - [a.probabilities for a in asked]).max() > 1e-3
