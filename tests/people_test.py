import json
import math
import subprocess
import sys

import numpy as np
import pytest

from planet_tf import evaluate
from planet_tf.games import game, game_results, people
from planet_tf.geo import geometry
from planet_tf.tables.answer_columns import PredictionsError

MODEL = "sha256:1"


def line(name, player="", rounds=5, seed=0, **changes):
    """A game; the machine is near where `seed` is even."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(rounds):
        truth = [rng.uniform(-60, 60), rng.uniform(-180, 180)]
        near, far = rng.normal(0, [[2], [20]], (2, 2))
        if (seed + k) % 3 == 0:
            near, far = far, near
        person, machine = (
            [float(np.clip(truth[0] + step[0], -89, 89)), truth[1] * 0.9]
            for step in (far, near)
        )
        made.append(
            {
                "photo_id": f"photo-{k}",
                "truth": truth,
                "person": person,
                "machine": machine,
                "seconds": 10.0 + k,
            }
        )
    facts = {
        "format": game.FORMAT,
        "game": name,
        "player": player,
        "time": 1_700_000_000,
        "model": MODEL,
        "min_cell_km": 0.0,
        "rounds": made,
    }
    return json.dumps(facts | changes)


@pytest.fixture
def results(tmp_path):
    """A function that writes lines as a file of results."""

    def write(*lines, name="games.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{one}\n" for one in lines))
        return str(path)

    return write


def report(results, tmp_path, *options):
    out = tmp_path / "report"
    arguments = [f"--game={results}", f"--out={out}", "--resamples=200"]
    assert evaluate.main(["evaluate", *arguments, *options]) == 0
    return json.loads((out / "report.json").read_text()), out


def test_figures_are_those_of_a_count_by_hand(results, tmp_path):
    names = ["Ada", "Ada", "Bob", "", "Eve", "Dan", "Fay"]
    lines = [line(f"game{i}", player, seed=i) for i, player in enumerate(names)]
    found, _ = report(results(*lines), tmp_path)
    errors = {"person": [], "machine": []}
    won = {"machine": 0, "people": 0}
    games = {"machine": 0, "people": 0}
    for one in map(json.loads, lines):
        points = {"person": 0, "machine": 0}
        for this in one["rounds"]:
            km = {}
            for who in errors:
                km[who] = float(
                    geometry.great_circle_km(*this[who], *this["truth"])
                )
                errors[who].append(km[who])
                points[who] += round(5000 * math.exp(-km[who] / 1492.7))
            won["machine"] += km["machine"] < km["person"]
            won["people"] += km["machine"] > km["person"]
        games["machine"] += points["machine"] > points["person"]
        games["people"] += points["machine"] < points["person"]
    assert min(won.values()) > 0
    own = found["people"]
    assert (own["rounds"], own["games"], own["players"]) == (35, 7, 5)
    assert own["unnamed_games"] == 1
    assert own["rounds_won"] == won | {"nobody": 0}
    assert own["games_won"] == games | {"nobody": 0}
    assert own["median_seconds"] == 12
    systems = found["systems"]
    for name, who in (("machine", "machine"), ("people", "person")):
        assert systems[name]["median_km"] == pytest.approx(
            np.median(errors[who])
        )
        assert systems[name]["top1_within_750km"] == pytest.approx(
            np.mean(np.array(errors[who]) <= 750)
        )
        assert systems[name]["nearer"] == pytest.approx(won[name] / 35)
    assert found["groups"] == 6  # five players, and a game without a name


def test_players_have_a_table_of_their_own(results, tmp_path):
    lines = [line(f"g{i}", p, seed=i) for i, p in enumerate(["Ada", "<b>Bob|"])]
    _, out = report(results(*lines), tmp_path)
    text = (out / "report.md").read_text()
    assert "| Ada " in text and "2,320.75 km" in text
    assert "fewer than 5 people played" in text
    assert "fewer rounds than the paper's 50" in text
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;Bob|" in page and "<b>Bob" not in page


def test_equal_guesses_are_half_a_round_each():
    machine = np.array([1.0, 2.0, 3.0, 3.0])
    near = np.array([2.0, 1.0, 3.0, 3.0005])
    won = people.won_by_machine(machine, near)
    assert won.tolist() == [1.0, 0.0, 0.5, 0.5]


def test_a_single_round_is_a_comparison_too(results, tmp_path):
    found, _ = report(results(line("a", rounds=1)), tmp_path)
    assert found["photos"] == 1


def test_the_same_game_counts_once(results, tmp_path):
    one = line("a")
    found, out = report(results(one, "", one, line("b", seed=1)), tmp_path)
    assert found["people"]["games"] == 2 and found["people"]["repeated"] == 1
    assert "1 lines were there again" in (out / "report.md").read_text()


def test_two_games_of_one_name_are_refused(results):
    path = results(line("a"), line("a", seed=1))
    with pytest.raises(PredictionsError, match="line 2 has another game"):
        game_results.read(path)


def test_names_lose_what_controls_how_text_is_shown(results):
    name = "  A\u202ed\x1b[31m\na \t b" + 50 * "x"
    [read], _ = game_results.read(results(line("a", player=name)))
    assert read.player == "Ad[31ma b" + 31 * "x"


def test_several_files_are_read_by_a_glob(results, tmp_path):
    results(line("a"), name="1.jsonl")
    results(line("b", seed=1), name="2.jsonl")
    found, _ = report(tmp_path / "?.jsonl", tmp_path)
    assert found["people"]["games"] == 2


def broken(**changes):
    one = json.loads(line("a"))
    one["rounds"][2] |= changes
    return json.dumps(one)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line("a")[:-20], "line 2 is no finished game"),
        ("[]", "line 2 is no finished game"),
        (line("a", format=2), "its format is 2, not 1"),
        (line("a", rounds=0), "it has no rounds"),
        (line("a", player=None), "player is None, not a text"),
        (broken(truth=[91.0, 0.0]), "truth is \\[91.0, 0.0\\], not latitude"),
        (broken(person=[0.0, -180.1]), "person is"),
        (broken(machine=[float("nan"), 0.0]), "machine is \\[nan, 0.0\\]"),
        (broken(machine=[1.0]), "line 2"),
        (broken(seconds=-1), "seconds is -1"),
        ('{"format": 1}', "it has no 'rounds'"),
    ],
)
def test_a_line_that_is_no_game_is_named(results, bad, says):
    path = results(line("good"), bad)
    with pytest.raises(PredictionsError, match=says):
        game_results.read(path)


def test_games_that_do_not_belong_together_are_refused(results):
    other = line("b", model="sha256:2")
    with pytest.raises(PredictionsError, match="several models.*sha256:2"):
        game_results.read(results(line("a"), other))
    coarse = line("b", min_cell_km=25.0)
    with pytest.raises(PredictionsError, match="values of --min_cell_km"):
        game_results.read(results(line("a"), coarse))


@pytest.mark.parametrize("name", ["none.jsonl", "no*.jsonl", "empty.jsonl"])
def test_no_results_are_an_error(tmp_path, capfd, name):
    (tmp_path / "empty.jsonl").write_text("\n")
    arguments = [f"--game={tmp_path / name}", f"--out={tmp_path / 'out'}"]
    assert evaluate.main(["evaluate", *arguments]) == 1
    assert "error: " in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--game=a", "--truth=b"],
        ["--game=a", "--model_dir=b"],
        ["--model_dir=a"],
        ["--model_dir=a", "--shards=b", "--truth=c"],
    ],
)
def test_one_thing_is_evaluated(options, capfd):
    with pytest.raises(SystemExit) as error:
        evaluate.main(["evaluate", "--out=x", *options])
    assert error.value.code == 2
    assert "needed is one of" in capfd.readouterr().err


def test_the_servers_lines_are_read(results):
    from planet_tf.games.game_photos import Photo

    own = game.Game(
        [Photo(f"p{i}", b"", (10.0 * i, 20.0)) for i in range(5)],
        player="Ada",
    )
    for number in range(1, 6):
        own.photo(number)
        own.guess(number, (1.0, 2.0), (3.0, 4.0))
    [read], repeated = game_results.read(results(own.line(MODEL, 0.0)))
    assert (read.name, read.player, repeated) == (own.name, "Ada", 0)
    assert [r.truth for r in read.rounds] == [
        (10.0 * i, 20.0) for i in range(5)
    ]
    assert read.rounds[0].person == (1.0, 2.0)
    assert read.rounds[0].machine == (3.0, 4.0)


@pytest.mark.slow
def test_tensorflow_is_not_needed(results, tmp_path):
    code = (
        "import sys; from planet_tf import evaluate;"
        "assert evaluate.main(sys.argv) == 0;"
        "assert 'tensorflow' not in sys.modules"
    )
    arguments = [f"--game={results(line('a'))}", f"--out={tmp_path / 'out'}"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
