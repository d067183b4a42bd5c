import concurrent.futures
import io
import json
import random
import threading

import pytest
from PIL import Image
from starlette.testclient import TestClient

from planet_tf.data import data_dirs
from planet_tf.games import game_photos
from planet_tf.geo import geometry
from planet_tf.model import model_dir
from planet_tf.options.asking_config import ServeConfig
from planet_tf.reports import scores
from planet_tf.serving import asgi, loaded_model


@pytest.fixture(scope="module")
def model(small_model):
    return loaded_model.Model(str(small_model), 0.0)


def make_client(model, shards, **options):
    config = ServeConfig(model_dir="", game_shards=str(shards), **options)
    return TestClient(asgi.make(model, config), base_url="http://localhost")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "games.jsonl"


@pytest.fixture(scope="module")
def client(model, small_shards, results):
    with make_client(model, small_shards, game_results=str(results)) as made:
        yield made


@pytest.fixture(scope="module")
def photos(small_shards):
    """The photos that can be played with, by their bytes as they are shown."""
    shards = data_dirs.open_shards(str(small_shards))
    found = game_photos.load(shards, "test", 1000, random.Random(0))
    return {photo.shown(): photo for photo in found}


def begin(client, **wish):
    found = client.post("/api/game", content=json.dumps(wish))
    assert found.status_code == 200
    return found.json()["game"]


def show(client, name, number):
    return client.get(f"/api/game/{name}/photo/{number}")


def guess(client, name, number, lat=10.0, lng=20.0):
    return client.post(
        f"/api/game/{name}/guess",
        content=json.dumps({"round": number, "lat": lat, "lng": lng}),
    )


def test_a_whole_game_is_counted_as_by_hand(client, photos, model, results):
    name = begin(client, player="Ada", keep=True)
    totals = {"person": 0, "machine": 0}
    for number in range(1, 6):
        shown = show(client, name, number)
        assert shown.headers["content-type"] == "image/jpeg"
        assert "no-store" in shown.headers["cache-control"]
        photo = photos[shown.content]
        assert not results.exists()
        found = guess(client, name, number, lng=20.0 + number).json()

        truth = found["truth"]["lat"], found["truth"]["lng"]
        assert truth == photo.place
        [probabilities] = model.photos.probabilities([photo.jpeg])
        best = probabilities.argmax()
        point = model.partition.points[best]
        machine = found["machine"]
        assert (machine["lat"], machine["lng"]) == pytest.approx(point)
        assert (
            machine["answer"]["cells"][0]["token"]
            == (model.partition.tokens[best])
        )
        assert sum(p for _, p in machine["distribution"]) == pytest.approx(
            1, abs=1e-3
        )
        for who, place in (
            ("person", (10.0, 20.0 + number)),
            ("machine", (machine["lat"], machine["lng"])),
        ):
            km = geometry.great_circle_km(*place, *photo.place)
            assert found[who]["km"] == pytest.approx(km)
            points = round(float(scores.geoscore(km)))
            assert found[who]["points"] == points
            totals[who] += points
        assert found["points"] == totals
        assert found["over"] == found["kept"] == (number == 5)
    [line] = results.read_text().splitlines()
    kept = json.loads(line)
    assert (kept["game"], kept["player"]) == (name, "Ada")
    assert kept["model"] == model.photos.weights
    assert [one["person"] for one in kept["rounds"]] == [
        [10.0, 20.0 + number] for number in range(1, 6)
    ]
    # The last guess again, of a client that had no answer: kept once only.
    again = guess(client, name, 5, lng=25.0)
    assert again.json() == found
    assert len(results.read_text().splitlines()) == 1


def test_the_same_guess_from_two_places_counts_once(client, results):
    before = results.read_text().splitlines() if results.exists() else []
    name = begin(client, keep=True)
    for number in range(1, 6):
        barrier = threading.Barrier(4)

        def send(number=number, barrier=barrier):
            barrier.wait()
            return guess(client, name, number).json()

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            found = [threads.submit(send) for _ in range(4)]
        answers = [one.result() for one in found]
        assert all(one == answers[0] for one in answers)
        assert "points" in answers[0]
    assert len(results.read_text().splitlines()) == len(before) + 1


def test_nothing_of_a_game_tells_the_truth_before_the_guess(client, photos):
    begun = client.post("/api/game", content="{}").json()
    assert set(begun) == {"game", "rounds"} and begun["rounds"] == 5
    name = begun["game"]
    first = show(client, name, 1)
    place = photos[first.content].place
    texts = [first.text, str(first.headers), str(begun)]
    assert not any(f"{place[0]:.3f}" in text for text in texts)
    with Image.open(io.BytesIO(first.content)) as image:
        assert not image.getexif() and "comment" not in image.info
    assert show(client, name, 2).status_code == 409


def test_results_are_kept_only_if_the_player_wants_it(client, results):
    before = results.read_text() if results.exists() else ""
    name = begin(client, player="Bob")
    for number in range(1, 6):
        found = guess(client, name, number).json()
    assert found["over"] and not found["kept"]
    assert (results.read_text() if results.exists() else "") == before


def test_results_that_cannot_be_written_do_not_end_the_game(
    model, small_shards, tmp_path
):
    path = str(tmp_path / "missing" / "games.jsonl")
    with make_client(model, small_shards, game_results=path) as client:
        name = begin(client, keep=True)
        for number in range(1, 6):
            found = guess(client, name, number).json()
    assert found["over"] and not found["kept"]


def test_a_machine_that_must_be_coarse_is_so_in_the_game(
    small_model, small_shards
):
    coarse = loaded_model.Model(str(small_model), 6000.0)
    with make_client(coarse, small_shards, min_cell_km=6000.0) as client:
        name = begin(client)
        for number in range(1, 6):
            machine = guess(client, name, number).json()["machine"]
            widths = [c["width_km"] for c in machine["answer"]["cells"]]
            assert min(widths) >= 6000
            place = machine["lat"], machine["lng"]
            points = [(c["lat"], c["lng"]) for c in machine["answer"]["cells"]]
            assert place == points[0]
            assert len(machine["distribution"]) <= len(coarse.partition.tokens)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "has to be JSON"),
        (b"\xff", "has to be JSON"),
        (b"[1]", "has to be a JSON object"),
        (b'{"lat": 1, "lng": 2}', "round has to be a whole number"),
        (b'{"round": "1", "lat": 1, "lng": 2}', "round has to be"),
        (b'{"round": true, "lat": 1, "lng": 2}', "round has to be"),
        (b'{"round": 1, "lat": 1}', "lat and lng have to be degrees"),
        (b'{"round": 1, "lat": "1", "lng": 2}', "they are '1' and 2"),
        (b'{"round": 1, "lat": 90.1, "lng": 2}', "from -90 to 90"),
        (b'{"round": 1, "lat": 1, "lng": -181}', "from -180 to 180"),
        (b'{"round": 1, "lat": NaN, "lng": 2}', "they are nan and 2"),
        (b'{"round": 1, "lat": Infinity, "lng": 2}', "they are inf and 2"),
        (b'{"round": 1, "lat": true, "lng": 2}', "they are True and 2"),
        (b'{"round": 1, "lat": 1%s, "lng": 2}' % (b"0" * 400), "they are 10"),
        (b"[" * 4000, "has to be JSON"),
    ],
)
def test_a_move_that_cannot_be_played_is_told(client, body, says):
    name = begin(client)
    found = client.post(f"/api/game/{name}/guess", content=body)
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "bad_move"
    assert says in found.json()["error"]["message"]
    assert guess(client, name, 1).status_code == 200


@pytest.mark.parametrize(
    "wish", [{"player": 1}, {"player": "x" * 41}, {"keep": "yes"}]
)
def test_a_wish_that_cannot_be_met_is_told(client, wish):
    found = client.post("/api/game", content=json.dumps(wish))
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "bad_move"


def test_large_moves_and_moves_out_of_turn_are_refused(client):
    name = begin(client)
    path = f"/api/game/{name}/guess"
    assert client.post(path, content=b" " * 5000).status_code == 413
    assert guess(client, name, 2).status_code == 409
    assert guess(client, name, 1).status_code == 200
    other = guess(client, name, 1, lat=-10.0)
    assert other.status_code == 409
    assert "its guess stands" in other.json()["error"]["message"]
    unknown = guess(client, "other", 1)
    assert unknown.status_code == 404
    assert "begin another" in unknown.json()["error"]["message"]
    assert show(client, "other", 1).status_code == 404


def test_a_guess_stands_only_once_the_model_has_answered(
    model, small_shards, monkeypatch
):
    def fails(jpegs):
        raise RuntimeError("secret")

    monkeypatch.setattr(model, "ask", fails)
    with make_client(model, small_shards) as client:
        name = begin(client)
        failed = guess(client, name, 1)
        assert failed.status_code == 500
        assert failed.json()["error"]["code"] == "failed"
        assert guess(client, name, 2).status_code == 409  # round 1 goes on


def test_without_photos_there_is_no_game(model):
    config = ServeConfig(model_dir="")
    made = asgi.make(model, config)
    with TestClient(made, base_url="http://localhost") as client:
        assert not client.get("/api/model").json()["game"]["playable"]
        assert client.post("/api/game", content="{}").status_code == 404


def test_without_a_file_of_results_none_can_be_kept(model, small_shards):
    with make_client(model, small_shards) as client:
        about = client.get("/api/model").json()["game"]
        assert about == {"playable": True, "keeps_results": False}
        found = client.post("/api/game", content='{"keep": true}')
        assert found.status_code == 400
        assert "--game_results" in found.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"partition": True}, model_dir.ModelDirError, "has the partition"),
        ({"split_rule": {"seed": 1}}, data_dirs.DataError, "may know these"),
    ],
)
def test_photos_of_another_model_are_refused(
    model, small_shards, tmp_path, monkeypatch, change, error, says
):
    facts = dict(model.photos.config)
    if "partition" in change:
        facts["partition_fingerprint"] = "sha256:other"
    facts |= {"split_rule": change.get("split_rule")}
    monkeypatch.setattr(model.photos, "config", facts)
    with pytest.raises(error, match=says):
        make_client(model, small_shards)
