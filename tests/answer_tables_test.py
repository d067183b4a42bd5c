"""Tables of all writings that give the same answers, and what is refused."""

import csv
import gzip
import io
import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from planet_tf.tables.predictions import (
    Columns,
    PredictionsError,
    read_predictions,
)

NAN = float("nan")
POINTS = np.array([[[40.75, -74.0]], [[-33.5, -70.625]], [[NAN, NAN]]])
IDS = ["a,1.jpg", "007", "ü"]


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


@pytest.fixture
def read(tmp_path):
    """Reads predictions of a file with a content."""

    def read(data, name="p.csv", **columns):
        return read_predictions(
            write(tmp_path / name, data), Columns(**columns)
        )

    return read


@pytest.fixture
def refused(read):
    """The message that a content is refused with."""

    def refused(data, **columns):
        with pytest.raises(PredictionsError) as error:
            read(data, **columns)
        assert "p.csv" in str(error.value)
        return str(error.value)

    return refused


PLAIN = 'id,lat,lng\n"a,1.jpg",40.75,-74\n007,-33.5,-70.625\nü,,\n'
SEMICOLONS = "id;lat;lng\na,1.jpg;40,75;-74\n007;-33,5;-70,625\nü;;\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",,", ",NaN,nan"),
        PLAIN.replace(",,", ', "null" ,None'.replace(' "null" ', "null")),
        PLAIN + "\n\n",
        PLAIN + "\r\n   \r\n",
        PLAIN + ",,\n,,\n",
        "\n\n" + PLAIN,
        SEMICOLONS,
        SEMICOLONS.replace(",75", ".75"),
        SEMICOLONS + ";\n",
        SEMICOLONS.replace(";", "\t"),
        PLAIN.replace("id,lat,lng", '"IMG_ID","Latitude"," LON "'),
        PLAIN.replace("40.75", " +40.75 ").replace("-74", "-7.4e1"),
        'lng,x,lat,id\n-74,"q\n""z",40.75,"a,1.jpg"\n-70.625,,-33.5,007\n,,,ü',
    ],
)
def test_all_writings_give_the_same_answers(read, data):
    for content in (data, gzip.compress(data.encode())):
        found = read(content)
        assert found.ids.tolist() == IDS
        np.testing.assert_array_equal(found.points, POINTS)
        assert found.probabilities is None and found.tokens is None


@pytest.mark.parametrize("kind", [",", ";", "\t"])
def test_columns_may_be_named(read, kind):
    names = kind.join(["lat", "Breite", "laenge", "foto", "sicher"])
    row = kind.join(["1", "2", "3", "x", "0.5"])
    found = read(
        f"{names}\n{row}\n",
        id="Foto",
        lat="breite",
        lng="laenge",
        probability="sicher",
    )
    assert found.ids == ["x"]
    assert found.points.tolist() == [[[2, 3]]]
    assert found.probabilities.tolist() == [[0.5]]
    assert found.columns == {
        "id": "foto",
        "lat": "Breite",
        "lng": "laenge",
        "probability": "sicher",
    }


@pytest.mark.parametrize(
    "names",
    [
        "lat_1,lng_1,lat_2,lng_2,prob_1,prob_2",
        "lat1,lon1,lat2,lon2,probability1,probability2",
        "top1_lat,top1_lng,top2_lat,top2_lng,top1_prob,top2_prob",
        "lat_0,lng_0,lat_1,lng_1,confidence_0,confidence_1",
        "pred_lat_1,pred_lon_1,pred_lat_2,pred_lon_2,prob_1,prob_2",
        "lat,lng,lat_2,lng_2,prob,prob_2",
        "Rank 1 Latitude,Rank 1 Longitude,Rank 2 Latitude,Rank 2 Longitude,"
        "Rank 1 Probability,Rank 2 Probability",
    ],
)
def test_ranks_are_understood_in_their_usual_spellings(read, names):
    found = read(f"id,{names}\na,1,2,3,4,.6,.3\nb,5,6,,,1,\n")
    np.testing.assert_array_equal(
        found.points, [[[1, 2], [3, 4]], [[5, 6], [NAN, NAN]]]
    )
    np.testing.assert_array_equal(found.probabilities, [[0.6, 0.3], [1, NAN]])


def test_ranks_may_be_in_the_names_that_are_given(read):
    data = "id,lat,lng,b1x,l1x,b2x,l2x\na,9,9,1,2,3,4\n"
    found = read(data, lat="b*x", lng="L*X")
    assert found.points.tolist() == [[[1, 2], [3, 4]]]
    assert read(data, lat="b2x", lng="l2x").points.tolist() == [[[3, 4]]]


def test_answers_are_told_from_the_truth_beside_them(read):
    names = "img_id,gt_lat,predicted_lat,gt_long,predicted_long,km"
    found = read(f"{names}\na,1,2,3,4,5\n")
    assert found.points.tolist() == [[[2, 4]]]
    found = read("id,lat,lng,lat_true,lng_true\na,1,2,3,4\n")
    assert found.points.tolist() == [[[1, 2]]]
    found = read("id,lat,lng,pred_lat,pred_lng\na,1,2,3,4\n")
    assert found.points.tolist() == [[[3, 4]]]


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ["is empty"]),
        (b"\xef\xbb\xbf \r\n", ["is empty"]),
        (PLAIN.encode("utf-16"), ["UTF-16", "iconv"]),
        (PLAIN.encode("utf-16-le"), ["UTF-8", "zero bytes"]),
        (b"PK\x03\x04rest", ["spreadsheet", "CSV UTF-8"]),
        (b"PAR1rest", ["Parquet", "to_csv"]),
        ('[{"id": "a"}]', ["JSON list", "jq"]),
        ("id,lat,lng\n", ["no rows"]),
        ("id,lat,lng\n,,\n", ["no rows"]),
        ("a.jpg,40.7,-74\nb.jpg,1,2\n", ["no line of names", "id,lat,lng"]),
        ("name;breite\na;1", ["no column for id, lat, lng", "name, breite"]),
        ("name;breite\na;1", ["--id_column=NAME", "latitude"]),
        ("id,lat,lng\n,1,2\n", ["without an id", "line 2"]),
        ("id,lat_1,lng_1,lat_3,lng_3\na,1,2,3,4", ["ranks 1, 3"]),
        ("id,lat_2,lng_2\na,1,2", ["ranks 2;"]),
        ("id,lat_1,lng_1,lng_2\na,1,2,3", ["1 columns for lat and 2 for lng"]),
        ("id,lat,lng,prob,prob_2\na,1,2,1,0", ["1 columns", "2 for prob"]),
        ("id,lat,lng,lat_1,lng_1\na,1,2,3,4", ["'lat' and 'lat_1'"]),
        ("id,lat,lng,Lat\na,1,2,3", ["'lat' and 'Lat'", "--lat_column"]),
        ("IMG_ID,LAT,LON,latitude,longitude\na,1,2,3,4", ["'LAT' and 'lat"]),
        ("id,lat_1,lng_1,top1_lat\na,1,2,3", ["'lat_1' and 'top1_lat'"]),
        ("id,pred_lat,lng\na,1,2", ["'pred_lat'", "'lng'", "one kind"]),
        ("id,rank,lat_1,lng_1,lat_2,lng_2\na,1,1,2,3,4", ["ranks in the"]),
        (b"id,lat,lng\n\xfc,1,2\n", ["UTF8", "CSV in UTF-8"]),
        ('id,lat,lng\n"a,1,2\nb,1,2\n', ["line 2 has a quote .* does not end"]),
        (
            'id,lat,lng\na,1,2,3\n"b,1,2\n' + "c,1,2\n" * 30_000,
            ["line 3 has a quote .* does not end"],
        ),
    ],
)
def test_what_is_no_table_of_answers_is_refused_with_what_to_do(
    refused, data, parts
):
    message = refused(data)
    for part in parts:
        assert re.search(part, message), message


def test_a_name_that_is_not_there_is_refused_with_those_that_are(refused):
    message = refused(PLAIN, lat="breite")
    assert "no column breite, which --lat_column names" in message
    assert "id, lat, lng" in message
    assert "--truth_lat" in refused(PLAIN, lat="b*", option="--truth_{}")


VALUES = 'id,lat,lng,prob\na,1,2,1\n\n"b\nb",{}\nc,{}\nd,1,2,1\n'


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ("x,2,1", "1,2°,1", ["no numbers (2 in", "line 4: lat is 'x'"]),
        ("x,2,1", "1,2°,1", ["line 6: lng is '2°'", "48.8584"]),
        ("1,2,1", '"1,5",2,1', ["line 6: lat is '1,5'"]),
        ("1_0,2,1", "1,2,-", ["line 4: lat is '1_0'", "line 6: prob is '-'"]),
        ("95,2,1", "1,200,1", ["out of range (2 in", "line 4: lat is 95"]),
        ("1,2,1", "1,inf,1", ["out of range (1 in", "line 6", "lng is inf"]),
        ("1,359,1", "1,200,1", ["take 360"]),
        ("1,,1", "1,2,1", ["one coordinate", "line 4"]),
        ("1,2,1.5", "1,2,50", ["outside [0, 1] (2", "50", "percent"]),
        ("1,2,-0.5", "1,2,50", ["-0.5", "another name"]),
        ("1,2,", "1,2,1", ["without a probability", "'b\\nb', answer 1"]),
        ("1,2", "1,2,1,1", ["line 4: 3 columns; line 6: 5", "Quote"]),
    ],
)
def test_what_is_wrong_is_told_by_line_column_and_value(
    refused, first, second, parts
):
    message = refused(VALUES.format(first, second))
    for part in parts:
        assert part in message


def test_only_the_first_of_many_faults_are_listed(refused):
    rows = "".join(f"{i},x,2\n" for i in range(1000))
    message = refused(f"id,lat,lng\n{rows}")
    assert "(1,000 in all)" in message
    assert message.count("line ") == 5 and "; ..." in message


def test_columns_in_the_wrong_order_are_told(refused):
    rows = "".join(f"{i},{i % 180},{i % 90}\n" for i in range(400))
    assert "swapped" in refused(f"id,lat,lng\n{rows}")
    once = "id,lat,lng\n" + "".join(f"{i},1,2\n" for i in range(400))
    assert "swapped" not in refused(once + "x,95,2\n")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(PredictionsError, match="cannot read .*none.csv"):
        read_predictions(str(tmp_path / "none.csv"))
    with pytest.raises(PredictionsError, match="cannot read"):
        read_predictions(str(tmp_path))
    packed = gzip.compress(PLAIN.encode() * 100)[:-30]
    with pytest.raises(PredictionsError, match="cannot read .*p.csv.gz"):
        read_predictions(write(tmp_path / "p.csv.gz", packed))


def test_many_blocks_are_read_as_one(read, monkeypatch):
    from planet_tf.tables import answer_tables

    monkeypatch.setattr(answer_tables, "_BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    points = rng.uniform(-80, 80, (500, 2)).round(6)
    rows = [
        f'"p\n{i}",{a},{b},89c2{"13579bd"[i % 7]}'
        for i, (a, b) in enumerate(points)
    ]
    data = "id,lat,lng,token\n" + "\n".join(rows)
    found = read(data)
    np.testing.assert_array_equal(found.points[:, 0], points)
    assert found.ids.tolist() == [f"p\n{i}" for i in range(500)]
    assert found.tokens[:8, 0].tolist() == [f"89c2{x}" for x in "13579bd1"]
    with pytest.raises(PredictionsError, match="line 1000: lat is 'x'"):
        read(data.replace(f",{points[499, 0]},", ",x,"))


NAMES = (
    st.text(st.sampled_from("aä,;\t\"' \n|7."), min_size=1)
    .map(str.strip)
    .filter(bool)
)
DEGREES = st.none() | st.floats(-90, 90)


@st.composite
def tables(draw):
    """Rows of (id, lat, lng), a writing of them, and where each begins."""
    names = draw(st.lists(NAMES, min_size=1, unique=True))
    rows = [(name, *draw(st.tuples(DEGREES, DEGREES))) for name in names]
    rows = [row if None not in row else (row[0], None, None) for row in rows]
    delimiter = draw(st.sampled_from(",;\t"))
    point = "." if delimiter == "," else draw(st.sampled_from(".,"))
    nothing = draw(st.sampled_from(["", "NaN", "null", " None "]))
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=delimiter,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    text.write(draw(st.sampled_from(["", "\ufeff", "\n\n"])))
    writer.writerow(["lng", "note", "id", "lat"])
    starts = []
    for name, *place in rows:
        text.write(draw(st.sampled_from(["", "\n"])))
        starts.append(len(text.getvalue()))
        lat, lng = (
            nothing if degrees is None else repr(degrees).replace(".", point)
            for degrees in place
        )
        note = draw(st.sampled_from(["", 'q"', "1,2\n"]))
        writer.writerow([lng, note, name, lat])
    return rows, text.getvalue(), starts


@hypothesis.settings(deadline=None)
@hypothesis.given(tables())
def test_what_a_writer_of_csv_writes_is_read_as_it_was(tmp_path_factory, table):
    rows, text, _ = table
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(text.encode())
    found = read_predictions(str(path))
    assert found.ids.tolist() == [name for name, *_ in rows]
    places = np.array([place for _, *place in rows], float)
    np.testing.assert_array_equal(found.points[:, 0], places)


@hypothesis.settings(deadline=None)
@hypothesis.given(tables(), st.data())
def test_the_line_of_a_fault_is_the_one_that_its_row_begins_on(
    tmp_path_factory, table, data
):
    _, text, starts = table
    start = data.draw(st.sampled_from(starts))
    quote = int(text[start] == '"')
    text = text[: start + quote] + "x" + text[start + quote :]  # before lng
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(text.encode())
    line = text.count("\n", 0, start) + 1
    with pytest.raises(PredictionsError, match=f" line {line}: lng is 'x"):
        read_predictions(str(path))
