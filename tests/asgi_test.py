import concurrent.futures
import threading
import time

import pytest
from asgi_client import PREDICT, as_instances, locate, make_client

from planet_tf.serving import loaded_model


@pytest.fixture(scope="module")
def model(small_model):
    return loaded_model.Model(str(small_model), 0.0)


@pytest.fixture(scope="module")
def client(model):
    with make_client(model) as made:
        yield made


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
            time.sleep(0.02)
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
