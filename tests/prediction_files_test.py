import csv
import io
import json

import pytest

from planet_tf.answering.photo_answers import Answer, Cell
from planet_tf.answering.prediction_files import FORMATS

PARIS = Cell("47e66c", 0.5, 48.85, 2.35, 17.0, "Paris, France")
TOKYO = Cell("6018c4", 0.25, 35.68, 139.69, 16.0, 'To"kyo, Japan')
ANSWERS = {
    "a.jpg": Answer((PARIS, TOKYO), {0.5: 1.5, 0.9: 9.0}, (("France", 0.5),)),
    "b,c\n.jpg": Answer((TOKYO,), {0.5: 2.5, 0.9: 8.0}, ()),
}


def written(name, answers, top=2):
    form = FORMATS[name]
    texts = [form.photo(i, answer, top) for i, answer in answers.items()]
    return form.head(top) + form.between.join(texts) + form.tail


def test_lines_are_the_answers_with_their_photos():
    lines = written("jsonl", ANSWERS).splitlines()
    found = [json.loads(line) for line in lines]
    assert [row.pop("photo_id") for row in found] == list(ANSWERS)
    assert found == [answer.json() for answer in ANSWERS.values()]


def test_rows_have_columns_for_each_rank_and_nothing_where_there_is_none():
    rows = list(csv.DictReader(io.StringIO(written("csv", ANSWERS))))
    assert [row["photo_id"] for row in rows] == list(ANSWERS)
    assert rows[0]["token_1"] == "s2:47e66c"
    assert float(rows[0]["lng_2"]) == 139.69
    assert rows[0]["place_2"] == 'To"kyo, Japan'
    assert rows[1]["lat_1"] == "35.68" and rows[1]["lat_2"] == ""
    assert None not in rows[1]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_features_are_points_by_longitude_and_latitude(count):
    some = dict(list(ANSWERS.items())[:count])
    found = json.loads(written("geojson", some))
    assert found["type"] == "FeatureCollection"
    assert len(found["features"]) == count
    for feature, (name, answer) in zip(
        found["features"], some.items(), strict=True
    ):
        best = answer.cells[0]
        assert feature["geometry"]["coordinates"] == [best.lng, best.lat]
        assert feature["properties"]["photo_id"] == name
