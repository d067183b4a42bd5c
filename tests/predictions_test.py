import numpy as np
import pytest

from planet_tf.tables.predictions import (
    Columns,
    PredictionsError,
    read_all,
    read_predictions,
)

NAN = float("nan")


@pytest.fixture
def read(tmp_path):
    """Reads predictions of a CSV file with a content."""

    def read(data):
        (tmp_path / "p.csv").write_text(data)
        return read_predictions(str(tmp_path / "p.csv"), Columns())

    return read


def ranked(rows, first=1):
    lines = [
        f"{name},{rank + first},{lat},{lng},{share}"
        for name, rank, lat, lng, share in rows
    ]
    return "id,rank,lat,lng,probability\n" + "\n".join(lines)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_photo_are_put_in_the_order_of_their_ranks(read, first, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, 20)
    expected = {
        f"p{i}": rng.uniform(-80, 80, (count, 2)).round(3).tolist()
        for i, count in enumerate(counts)
    }
    rows = [
        (name, rank, *point, 0.25)
        for name, points in expected.items()
        for rank, point in enumerate(points)
    ]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    found = read(ranked(rows, first))
    assert found.ids.tolist() == list(dict.fromkeys(row[0] for row in rows))
    assert found.points.shape == (20, counts.max(), 2)
    for name, points in zip(found.ids, found.points, strict=True):
        count = len(expected[name])
        assert points[:count].tolist() == expected[name]
        assert np.isnan(points[count:]).all()
    assert (
        np.isnan(found.probabilities) == np.isnan(found.points[..., 0])
    ).all()


A, B = ("a", 0, 1, 2, 0.5), ("a", 1, 3, 4, 0.25)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([A, B, B], ["line 4: rank 2 of photo 'a'"]),
        ([B, A, A], ["rank 1 of photo 'a'", "each of them once"]),
        ([B], ["line 2: rank 2 of photo 'a'"]),
        ([A, ("b", 0, 1, 1, 1), ("a", 2, 1, 1, 0)], ["line 4: rank 3"]),
        ([A, ("b", 10**12, 1, 1, 0)], ["line 3: rank 1e+12 of photo 'b'"]),
        ([A, ("b", 0.5, 1, 1, 0)], ["line 3: rank is 1.5"]),
        ([A, ("b", -2, 1, 1, 0)], ["line 3: rank is -1"]),
        ([A, ("a", 1, 3, 4, 0.75)], ["line 3: photo 'a', answer 2: 0.75"]),
        ([("a", 0, "", "", ""), B], ["line 3: photo 'a' has answer 2 and no"]),
        ([A, ("a", 1, 95, 4, 0.5)], ["line 3: lat is 95"]),
    ],
)
def test_ranks_that_are_not_each_met_once_are_refused(read, rows, parts):
    with pytest.raises(PredictionsError) as error:
        read(ranked(rows))
    for part in parts:
        assert part in str(error.value)


def test_answers_are_refused_where_order_and_probabilities_disagree(read):
    head = "id,lat_1,lng_1,prob_1,lat_2,lng_2,prob_2\n"
    with pytest.raises(PredictionsError, match="line 3: photo 'b', answer 2"):
        read(head + "a,1,2,.5,3,4,.5\nb,1,2,.3,3,4,.4\n")
    found = read(head + "a,1,2,.5,3,4,.5000001\n")  # no more than rounding
    assert found.points[0].tolist() == [[1, 2], [3, 4]]


def test_a_missing_answer_before_others_is_refused(read):
    head = "id,lat_1,lng_1,lat_2,lng_2,lat_3,lng_3\n"
    with pytest.raises(PredictionsError, match="'b' has answer 3 and no 2"):
        read(head + "a,1,2,3,4,,\nb,1,2,,,5,6\n")


def test_probabilities_without_a_single_value_are_none(read):
    found = read("id,lat,lng,probability,token\na,1,2,,\nb,,,,\n")
    assert found.probabilities is None and found.tokens is None
    found = read("id,lat,lng,probability\na,,,0.7\nb,1,2,0.1\n")
    np.testing.assert_array_equal(found.probabilities, [[NAN], [0.1]])


@pytest.mark.parametrize(
    ("token", "part"),
    [
        ("4.7E+64", "exponent"),
        ("47e63", None),
        ("S2:47E63", None),
        ("xyz", "no hexadecimal number"),
        ("", "without a cell"),
    ],
)
def test_tokens_that_are_none_are_refused(read, token, part):
    data = f"id,lat,lng,token\na,1,2,14\nb,1,2,{token}\nc,,,\n"
    if part is None:
        assert read(data).tokens.tolist() == [["14"], ["47e63"], [""]]
        return
    with pytest.raises(PredictionsError, match="line 3") as error:
        read(data)
    assert part in str(error.value)


def test_photos_can_be_taken_by_mask(read):
    found = read("id,lat,lng,prob,token\na,1,2,1,14\nb,3,4,1,1c\n")
    some = found.take(np.array([False, True]))
    assert (some.ids, some.tokens) == (["b"], [["1c"]])
    assert some.points.tolist() == [[[3, 4]]] and len(some) == 1


@pytest.fixture
def read_both(tmp_path):
    """Reads CSV files with two contents by one glob."""

    def read(first, second):
        (tmp_path / "1.csv").write_text(
            "id,lat,lng,probability,token\n" + first
        )
        (tmp_path / "2.csv").write_text(
            "id,lat,lng,probability,token\n" + second
        )
        return read_all(str(tmp_path / "*.csv"))

    return read


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_without_an_answer_is_read_beside_others(read_both, swapped):
    lines = "a,1,2,0.5,101\n", "b,,,,\n"
    found = read_both(*lines[:: -1 if swapped else 1])
    order = np.argsort(found.ids)
    np.testing.assert_equal(found.points[order], [[[1, 2]], [[NAN, NAN]]])
    np.testing.assert_equal(found.probabilities[order], [[0.5], [NAN]])
    assert found.tokens[order].tolist() == [["101"], [""]]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("line", "part"),
    [("b,3,4,,101\n", "no answer has a prob"), ("b,3,4,0.5,\n", "has a cell")],
)
def test_files_of_which_not_all_say_as_much_are_refused(
    read_both, line, part, swapped
):
    lines = "a,1,2,0.5,101\n", line
    with pytest.raises(PredictionsError, match=part):
        read_both(*lines[:: -1 if swapped else 1])
