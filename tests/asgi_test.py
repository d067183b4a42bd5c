import base64
import concurrent.futures
import io
import struct
import threading

import bad_inputs
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from planet_tf.data import data_dirs
from planet_tf.evaluation import asking
from planet_tf.geo import geometry
from planet_tf.model import export
from planet_tf.options.asking_config import EvaluateConfig, ServeConfig
from planet_tf.serving import asgi, loaded_model

PREDICT = "/v1/models/planet:predict"


def make_client(model, **options):
    config = ServeConfig(model_dir="", **options)
    return TestClient(asgi.make(model, config), base_url="http://localhost")


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


def by_label(client, distribution):
    """Probabilities (cells,) of the pairs in an answer."""
    cells = client.get("/api/model").json()["cells"]
    found = np.zeros(len(cells))
    for cell, share in distribution:
        found[cell] = share
    return found


def locate(client, photo, **options):
    options = {"distribution": True} | options
    return client.post("/api/locate", content=photo, params=options)


def as_instances(*photos, **more):
    encoded = [{"b64": base64.b64encode(p).decode()} for p in photos]
    return {"instances": [{"image_bytes": b} for b in encoded]} | more


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


def test_too_much_is_told_to_come_again_and_is_answered_then(model, make_jpeg):
    asked, go_on = threading.Event(), threading.Event()

    def slow(jpegs):
        asked.set()
        assert go_on.wait(30)
        return model.ask(jpegs)

    class Slow:
        photos, partition, answerer = (
            model.photos,
            model.partition,
            model.answerer,
        )
        ask = staticmethod(slow)

    jpeg = make_jpeg()
    with (
        make_client(Slow(), queue=2, max_photos=2) as client,
        concurrent.futures.ThreadPoolExecutor(2) as threads,
    ):
        waiting = [threads.submit(locate, client, jpeg) for _ in range(2)]
        assert asked.wait(30)
        while "planet_accepted_photos 2.0" not in client.get("/metrics").text:
            pass
        for path, body in (("/api/locate", jpeg), (PREDICT, b"{}")):
            if path == PREDICT:
                found = client.post(path, json=as_instances(jpeg))
                assert "come again" in found.json()["error"]
            else:
                found = client.post(path, content=body)
                assert found.json()["error"]["code"] == "busy"
            assert found.status_code == 429
            assert int(found.headers["retry-after"]) >= 1
        go_on.set()
        assert [f.result(30).status_code for f in waiting] == [200, 200]
        assert locate(client, jpeg).status_code == 200


def test_what_takes_too_long_is_given_up(model, make_jpeg):
    with make_client(model, request_seconds=0.001) as client:
        found = locate(client, make_jpeg(2000, 2000))
    assert found.status_code == 504
    assert found.json()["error"]["code"] == "too_slow"


def test_a_failing_model_is_an_error_of_its_requests(model, make_jpeg):
    class Failing:
        photos, partition, answerer = (
            model.photos,
            model.partition,
            model.answerer,
        )

        def ask(self, jpegs):
            raise RuntimeError("secret")

    with make_client(Failing()) as client:
        found = locate(client, make_jpeg())
        assert found.status_code == 500
        assert "secret" not in found.text
        assert client.get("/healthz").status_code == 200


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


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("not json", "JSON Parse error"),
        ("[]", "is not object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"instances": []}', "needed is a list"),
        ('{"instances": [3]}', "instance 0 is not"),
        ('{"instances": [{"image_bytes": {"b64": "?"}}]}', "instance 0"),
        ('{"instances": [1], "signature_name": "x"}', "'x' not found"),
        ("[" * 100_000, "JSON Parse error"),
    ],
)
def test_bad_predict_requests_are_errors_as_tensorflow_serving_has_them(
    client, body, says
):
    found = client.post(PREDICT, content=body)
    assert found.status_code == 400
    assert says in found.json()["error"]


def test_status_and_metadata_are_those_of_tensorflow_serving(client):
    base = "/v1/models/planet"
    status = client.get(base).json()["model_version_status"]
    assert status[0]["state"] == "AVAILABLE"
    assert client.get(f"{base}/versions/1").json() == client.get(base).json()
    signatures = client.get(f"{base}/metadata").json()["metadata"]
    names = signatures["signature_def"]["signature_def"]
    assert sorted(names) == ["distribution", "serving_default"]
    for path in ("/v1/models/other", f"{base}/versions/7"):
        found = client.get(path)
        assert found.status_code == 404
        assert "Servable not found" in found.json()["error"]
    assert client.get(PREDICT).status_code == 404


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/api/locate?top=0", {}, 400),
        ("/api/locate?top=x", {}, 400),
        ("/api/nothing", {}, 404),
        ("/api/locate", {"headers": {"host": "evil.example"}}, 421),
        ("/api/locate", {"headers": {"origin": "http://evil.example"}}, 403),
    ],
)
def test_refusals_say_why(client, make_jpeg, path, options, status):
    found = client.post(path, content=make_jpeg(), **options)
    assert found.status_code == status
    assert found.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/api/locate", "POST"),
        ("DELETE", "/api/locate", "POST"),
        ("POST", "/api/model", "GET"),
        ("PUT", "/healthz", "GET"),
        ("POST", "/", "GET"),
        ("POST", "/v1/models/planet/metadata", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(client, method, path, right):
    found = client.request(method, path)
    assert found.status_code == 405
    assert found.headers["allow"] == right
    error = found.json()["error"]
    if path.startswith("/api"):
        assert error["code"] == "wrong_method"
        error = error["message"]
    assert f"use {right}" in str(error)


def test_what_there_is_not_has_its_own_code(client):
    for method in ("GET", "POST"):
        found = client.request(method, "/api/nothing")
        assert found.status_code == 404
        assert found.json()["error"]["code"] == "no_such_thing"


def test_answers_carry_headers_that_keep_browsers_strict(client):
    headers = client.get("/healthz").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "asked", "answered"),
    [
        ("127.0.0.1", "localhost:80", True),
        ("127.0.0.1", "[::1]:80", True),
        ("127.0.0.1", "photos.example", False),
        ("0.0.0.0", "photos.example", True),
        ("10.0.0.7", "10.0.0.7:8765", True),
        ("10.0.0.7", "localhost", False),
    ],
)
def test_names_that_are_answered_for_depend_on_the_address(
    model, host, asked, answered
):
    with make_client(model, host=host) as client:
        found = client.get("/healthz", headers={"host": asked})
        assert found.status_code == (200 if answered else 421)


def test_figures_count_requests_and_photos(model, make_jpeg):
    with make_client(model) as client:
        locate(client, make_jpeg())
        locate(client, b"no photo")
        text = client.get("/metrics").text
    for line in (
        'planet_requests_total{code="200",route="/api/locate"} 1.0',
        'planet_requests_total{code="415",route="/api/locate"} 1.0',
        'planet_photos_total{result="answered"} 1.0',
        'planet_photos_total{result="not_an_image"} 1.0',
        "planet_batch_size_sum 1.0",
        "planet_accepted_photos 0.0",
    ):
        assert line in text


def test_the_description_has_all_routes_and_errors(client):
    paths = client.get("/openapi.json").json()["paths"]
    locate = paths["/api/locate"]["post"]
    assert {"200", "413", "415", "422", "429"} <= set(locate["responses"])
    assert "min_cell_km" in locate["description"]
    assert "/v1/models/{name}:predict" in paths


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
