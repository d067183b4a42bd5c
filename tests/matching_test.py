import collections
import itertools

import numpy as np
import pytest

from planet_tf.tables import matching
from planet_tf.tables.predictions import (
    Columns,
    Predictions,
    PredictionsError,
    read_predictions,
)
from planet_tf.tables.truths import Truth, read_truth

NAN = float("nan")


def truth_of(ids, group=False):
    n = len(ids)
    return Truth(
        ids=np.array(ids, object),
        latlng=np.stack([np.arange(n), np.arange(n)], 1).astype(float),
        group=np.array([f"g{i}" for i in range(n)], object) if group else None,
    )


def predictions_of(ids, answered=None):
    """Answers whose lat tells the row, two of each photo."""
    n = len(ids)
    points = np.zeros((n, 2, 2))
    points[..., 0] = np.arange(n)[:, None] / 100
    points[:, 1, 1] = 1
    shares = np.full((n, 2), 0.25)
    tokens = np.full((n, 2), "14", object)
    for i in range(n):
        if answered is not None and not answered[i]:
            points[i], shares[i], tokens[i] = NAN, NAN, ""
    return Predictions(np.array(ids, object), points, shares, tokens)


def naive(truth, predictions, missing, duplicates, key):
    """Rows of the truth and of the predictions, -1 for none, by dicts."""

    def chosen(ids):
        rows = collections.OrderedDict()
        for i, name in enumerate(map(key, ids)):
            if name not in rows or duplicates == "last":
                rows[name] = i
        return rows

    places, answers = chosen(truth.ids), chosen(predictions.ids)
    pairs = [(row, answers.get(name, -1)) for name, row in places.items()]
    if missing == "skip":
        pairs = [pair for pair in pairs if pair[1] >= 0]
    return sorted(pairs), {
        "missing": sum(name not in answers for name in places),
        "extra": sum(name not in places for name in answers),
        "duplicates": len(predictions) - len(answers),
        "truth_duplicates": len(truth) - len(places),
    }


KEYS = {
    "exact": lambda name: name,
    "name": lambda name: name.replace("\\", "/").rsplit("/")[-1],
    "stem": lambda name: name.replace("\\", "/").rsplit("/")[-1].split(".j")[0],
}


@pytest.mark.parametrize("match", matching.MATCH)
@pytest.mark.parametrize("duplicates", ["first", "last"])
@pytest.mark.parametrize("missing", ["wrong", "skip"])
def test_photos_meet_their_answers_as_by_dicts(match, duplicates, missing):
    forms = ["{}", "{}.jpg", "a/{}.jpg", "b\\{}.jpeg"]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ids = [
            [
                rng.choice(forms).format(rng.integers(0, 9))
                for _ in range(rng.integers(5, 15))
            ]
            for _ in range(2)
        ]
        truth = truth_of(ids[0], group=True)
        answered = rng.random(len(ids[1])) < 0.7
        predictions = predictions_of(ids[1], answered)
        rows, expected = naive(
            truth, predictions, missing, duplicates, KEYS[match]
        )
        places, found, counts = matching.align(
            truth,
            predictions,
            missing=missing,
            extra="ignore",
            duplicates=duplicates,
            match=match,
        )
        own = [row for row, _ in rows]
        assert places.ids.tolist() == truth.ids[own].tolist()
        assert places.group.tolist() == truth.group[own].tolist()
        assert places.latlng[:, 0].tolist() == own
        assert found.ids.tolist() == places.ids.tolist()
        shown = [row if row >= 0 and answered[row] else NAN for _, row in rows]
        np.testing.assert_array_equal(
            found.points[:, 0, 0], np.array(shown, float) / 100
        )
        empty = np.isnan(found.points[:, 0, 0])
        assert (np.isnan(found.probabilities[:, 1]) == empty).all()
        assert ((found.tokens[:, 1] == "") == empty).all()
        without = sum(row >= 0 and not answered[row] for _, row in rows)
        same = sum(own == row == 0 and answered[0] for own, row in rows)
        assert counts == {
            "photos": len(rows),
            **expected,
            "without_answer": without,
            "same_as_truth": same,
        }


def test_files_that_agree_are_taken_in_the_order_of_the_truth():
    truth, found, counts = matching.align(
        truth_of(["a", "b", "c"]), predictions_of(["c", "a", "b"])
    )
    assert truth.ids.tolist() == found.ids.tolist() == ["a", "b", "c"]
    assert found.points[:, 0, 0].tolist() == [0.01, 0.02, 0]
    assert counts.pop("photos") == 3
    assert set(counts.values()) == {0}


def test_each_fault_is_told_with_its_ids_and_its_option():
    truth = truth_of(["a", "b", "gone", "b"])
    predictions = predictions_of(["a", "b", "a", "more"])
    options = {"missing": "wrong", "extra": "ignore", "duplicates": "first"}
    parts = {
        "missing": "1 photos of the truth have no prediction: 'gone';"
        " --missing=wrong",
        "extra": "1 predictions are for photos that the truth has not: 'more';"
        " --extra=ignore",
        "duplicates": "1 rows of the predictions have an id that another row"
        " has: 'a'; --duplicates=first or last",
    }
    names = list(options)
    for given in itertools.product([False, True], repeat=3):
        chosen = {n: options[n] for n, g in zip(names, given, strict=True) if g}
        if all(given):
            counts = matching.align(truth, predictions, **chosen)[2]
            assert list(counts.values()) == [3, 1, 1, 1, 1, 0, 1]
            continue
        with pytest.raises(PredictionsError) as error:
            matching.align(truth, predictions, **chosen)
        for name, part in parts.items():
            assert (part in str(error.value)) == (name not in chosen)
        told = "rows of the truth have an id" in str(error.value)
        assert told == ("duplicates" not in chosen)


def test_what_is_missing_can_be_wrong_or_skipped():
    truth, predictions = truth_of(["a", "b"]), predictions_of(["b"])
    places, found, counts = matching.align(truth, predictions, missing="wrong")
    assert places.ids.tolist() == ["a", "b"]
    assert np.isnan(found.points[0]).all() and found.points[1, 0, 0] == 0
    assert counts["missing"] == 1 and counts["without_answer"] == 0
    places, _, counts = matching.align(truth, predictions, missing="skip")
    assert places.ids.tolist() == ["b"]
    assert counts["missing"] == 1 and counts["photos"] == 1


@pytest.mark.parametrize(
    ("theirs", "option"),
    [
        (["x/1.jpg", "y\\2.jpg"], "--match=name"),
        (["1", "2"], "--match=stem"),
        (["x/1.PNG", "2"], "--match=stem"),
        (["1", "3"], None),
        (["x/1.jpg", "3.jpg"], None),
    ],
)
def test_the_match_that_would_find_all_is_named(theirs, option):
    truth = truth_of(["1.jpg", "2.jpg"])
    with pytest.raises(PredictionsError) as error:
        matching.align(truth, predictions_of(theirs))
    assert (option or "--missing") in str(error.value)
    assert ("--match" in str(error.value)) == (option is not None)
    if option:
        match = option.partition("=")[2]
        counts = matching.align(truth, predictions_of(theirs), match=match)[2]
        assert counts["photos"] == 2 and counts["missing"] == 0


def test_a_match_that_makes_ids_the_same_is_refused():
    truth = truth_of(["x/1.jpg", "y/1.jpg"])
    with pytest.raises(PredictionsError, match="truth .*by --match=name"):
        matching.align(truth, predictions_of(truth.ids), match="name")


@pytest.mark.parametrize("theirs", ["1.02013E+10", "10201275523.0"])
def test_ids_that_a_spreadsheet_took_for_numbers_are_told(theirs):
    with pytest.raises(PredictionsError, match="took these ids for numbers"):
        matching.align(truth_of(["10201275523"]), predictions_of([theirs]))


def test_files_that_share_no_id_are_told_with_the_columns_read():
    with pytest.raises(PredictionsError) as error:
        matching.align(truth_of(["a"]), predictions_of(["b"]))
    assert "no id of the truth is one of the predictions" in str(error.value)
    counts = matching.align(
        truth_of(["a"]), predictions_of(["b"]), missing="wrong", extra="ignore"
    )[2]
    assert counts["missing"] == counts["extra"] == counts["photos"] == 1


def test_answers_that_are_the_truth_itself_are_counted():
    predictions = predictions_of(["a", "b"])
    predictions.points[1, 0] = 1
    counts = matching.align(truth_of(["a", "b"]), predictions)[2]
    assert counts["same_as_truth"] == 2


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="missing is 'no'; it must be one of"):
        matching.align(truth_of(["a"]), predictions_of(["a"]), missing="no")


def test_a_foreign_file_is_evaluated_once_all_it_lacks_is_settled(tmp_path):
    truth = tmp_path / "truth.csv"
    truth.write_text("IMG_ID,LAT,LON\n1.jpg,1,2\n2.jpg,3,4\n3.jpg,5,6\n")
    rows = ["Foto;Breite;Länge", "1.jpg;1,0;2,5", "3.jpg;5;6", "3.jpg;7;8", ""]
    path = tmp_path / "predictions.csv"
    path.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    with pytest.raises(PredictionsError, match="--id_column=NAME"):
        read_predictions(str(path))
    names = Columns(id="foto", lat="breite", lng="länge")
    predictions = read_predictions(str(path), names)
    places = read_truth(str(truth))
    with pytest.raises(PredictionsError) as error:
        matching.align(places, predictions)
    for part in ("'2.jpg'; --missing=wrong", "'3.jpg'; --duplicates=first"):
        assert part in str(error.value)
    _, found, counts = matching.align(
        places, predictions, missing="wrong", duplicates="last"
    )
    np.testing.assert_array_equal(
        found.points[:, 0], [[1, 2.5], [NAN, NAN], [7, 8]]
    )
    assert counts == {
        "photos": 3,
        "missing": 1,
        "extra": 0,
        "duplicates": 1,
        "truth_duplicates": 0,
        "without_answer": 0,
        "same_as_truth": 0,
    }
