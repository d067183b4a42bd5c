"""JSON Lines of all forms that give the same answers, and what is refused."""

import gzip
import json

import numpy as np
import pytest

from planet_tf.tables import answer_lines
from planet_tf.tables.predictions import (
    Columns,
    PredictionsError,
    read_predictions,
)

NAN = float("nan")
IDS = ["a", "b", "7", "d"]
POINTS = [
    [[40.75, -74.0], [41.0, -75.5]],
    [[-33.5, -70.625], [NAN, NAN]],
    [[NAN, NAN], [NAN, NAN]],
    [[1, 2], [3, 4]],
]
PROBABILITIES = [[0.5, 0.25], [1, NAN], [NAN, NAN], [0.5, 0.5]]


def answers():
    """(id, [(lat, lng, probability), ...]) of each photo."""
    for name, points, shares in zip(IDS, POINTS, PROBABILITIES, strict=True):
        found = [
            (*point, share)
            for point, share in zip(points, shares, strict=True)
            if share == share
        ]
        yield int(name) if name == "7" else name, found


def objects(key):
    names = ("lat", "lng", "probability")
    for name, found in answers():
        yield {
            "photo_id": name,
            "model": "x",
            key: [dict(zip(names, answer, strict=True)) for answer in found],
        }


def lists():
    for name, found in answers():
        columns = list(zip(*found, strict=True)) or [(), (), ()]
        names = ("Latitude", "lon", "prob")
        yield {"id": name, **dict(zip(names, columns, strict=True))}


def numbered(nothing):
    for name, found in answers():
        found = [*found, *[(nothing,) * 3] * 2]
        yield {"image": name} | {
            f"{field}_{j + 1}": found[j][i]
            for i, field in enumerate(("lat", "lng", "prob"))
            for j in range(2)
        }


def ranked():
    for name, found in answers():
        for rank, (lat, lng, share) in enumerate(found or [(None,) * 3], 1):
            yield {
                "id": name,
                "rank": rank,
                "pred_lat": lat,
                "pred_lng": lng,
                "confidence": share,
            }


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.fixture
def read(tmp_path):
    """Reads predictions of a file with a content."""

    def read(data, **columns):
        data = data if isinstance(data, bytes) else data.encode()
        (tmp_path / "p.jsonl").write_bytes(data)
        return read_predictions(str(tmp_path / "p.jsonl"), Columns(**columns))

    return read


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize(
    "data",
    [
        lines(objects("cells")),
        lines(objects("Predictions")),
        lines(lists()),
        lines(numbered(None)),
        lines(numbered(NAN)),
        lines(numbered("null")),
        lines(ranked()),
        "\ufeff" + lines(objects("cells")),
        lines(objects("cells")).replace("\n", "\r\n\r\n"),
        lines(objects("cells")).replace("[]", "null"),
        lines(objects("cells")).replace("40.75", '" 40.75 "'),
        lines(reversed(list(objects("cells")))),
    ],
)
def test_all_forms_give_the_same_answers(read, monkeypatch, data, chunk):
    monkeypatch.setattr(answer_lines, "_CHUNK", chunk)
    for content in (data, gzip.compress(data.encode())):
        found = read(content)
        order = [found.ids.tolist().index(name) for name in IDS]
        assert len(found.ids) == len(IDS)
        np.testing.assert_array_equal(found.points[order], POINTS)
        np.testing.assert_array_equal(found.probabilities[order], PROBABILITIES)


def test_the_evaluators_own_predictions_are_read_with_their_cells(read):
    found = read(
        '{"photo_id": "a", "cells": [{"token": "89c25", "probability": 0.3,'
        ' "lat": 40.7, "lng": -74.0}, {"token": "s2:0994", "probability": 0.2,'
        ' "lat": 9, "lng": 8}]}\n'
        '{"photo_id": "b", "cells": [{"token": "14", "probability": 1.0,'
        ' "lat": -5, "lng": -180}]}\n'
    )
    assert found.ids.tolist() == ["a", "b"]
    assert found.tokens.tolist() == [["89c25", "0994"], ["14", ""]]
    assert found.points[1, 0].tolist() == [-5, -180]
    np.testing.assert_array_equal(found.probabilities, [[0.3, 0.2], [1, NAN]])


def test_the_truth_beside_a_list_is_not_taken_for_an_answer(read):
    found = read(
        '{"id": "a", "lat": 1, "lng": 2, "results": [{"id": 5, "lat": 3,'
        ' "lng": 4}]}'
    )
    assert found.ids.tolist() == ["a"]
    assert found.points.tolist() == [[[3, 4]]]


def test_ranks_in_a_list_have_to_be_its_order(read):
    def line(*ranks):
        answers = [{"rank": r, "lat": r, "lng": 1} for r in ranks]
        return json.dumps({"id": "a", "answers": answers}) + "\n"

    for ranks in ([0, 1, 2], [1, 2, 3]):
        found = read(line(*ranks))
        assert found.points[0, :, 0].tolist() == ranks
    for ranks in ([2, 1], [1, 3], [2, 3], [1, 1], [1, None]):
        with pytest.raises(PredictionsError, match="not where their ranks"):
            read(line(*ranks).replace('"lat": null', '"lat": 5'))


def test_keys_may_be_named(read):
    found = read(
        '{"foto": "a", "id": 1, "cells": [{"b": 3, "l": 4, "lat": 0}]}',
        id="foto",
        lat="b",
        lng="l",
    )
    assert found.ids.tolist() == ["a"]
    assert found.points.tolist() == [[[3, 4]]]


GOOD = '{"id": "a", "lat": 1, "lng": 2}\n'


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (GOOD + "\n{\n", ["line 3 is no JSON"]),
        (GOOD + '{"id": "b"},{"id": "c"}\n', ["line 2 is no JSON"]),
        (GOOD + "[1, 2]\n", ["line 2 is '[1, 2]", "one object a line"]),
        (GOOD + '{"id": "b", "lat": 1}', ["line 2 has no 'lng'", "null"]),
        (GOOD + '{"id": "b", "lat": "x", "lng": 2}', ["line 2: lat is 'x'"]),
        (GOOD + '{"id": "b", "lat": true, "lng": 2}', ["lat is True"]),
        (GOOD + '{"id": "b", "lat": [1, 2], "lng": 2}', ["line 2", "as many"]),
        (GOOD + '{"id": "b", "lat": [[1]], "lng": [2]}', ["lat is [1]"]),
        (
            GOOD + '{"id": null, "lat": 1, "lng": 2}',
            ["without an id", "line 2"],
        ),
        (GOOD + '{"lat": 1, "lng": 2}', ["without an id", "line 2"]),
        (GOOD.encode() + b'{"id": "\xfc"}', ["line 2 is no JSON"]),
        ('{"id": "a", "breite": 1}', ["no column for lat, lng", "id, breite"]),
        ('{"lat": 1, "cells": [{"lat": 1}]}', ["no column for id"]),
        ('{"id": "a", "cells": []}', ["no line has an answer"]),
        ('{"id": "a", "cells": [[1, 2]]}', ["no column for lat", "id, cells"]),
        (
            '{"id": "a", "cells": [{"lat": 1, "lng": 2}]}\n'
            '{"id": "b", "cells": [{"lat": 1}]}',
            ["line 2 has no 'lng'"],
        ),
        (
            '{"id": "a", "cells": [{"lat": 1, "lng": 2}]}\n'
            '{"id": "b", "cells": ["x"]}',
            ["line 2", "form"],
        ),
        (
            '{"id": "a", "cells": [{"lat": 1, "lng": 2}, {"lat": 1, "lng":'
            ' 2}]}\n\n{"id": "b", "cells": [{"lat": "x", "lng": 2}]}',
            ["line 3: lat is 'x'"],
        ),
        (
            '{"id": "a", "cells": [{"lat": 1, "lng": 2}]}\n\n'
            '{"id": "b", "cells": [{"lat": 1, "lng": 2}, {"lat": 91,'
            ' "lng": 2}]}',
            ["line 3: lat of answer 2 is 91"],
        ),
    ],
)
def test_what_is_wrong_is_told_by_line_key_and_value(read, data, parts):
    with pytest.raises(PredictionsError) as error:
        read(data)
    for part in [*parts, "p.jsonl"]:
        assert part in str(error.value)
