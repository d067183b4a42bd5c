import hashlib
import io
import json

import numpy as np
import pytest
import s2geometry as s2
from partitions import NEW_YORK, POINT_SETS, build, dumped

from planet_tf.geo import partition


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("name", POINT_SETS)
def test_a_dumped_partition_loads_as_the_same_partition(name, other_class):
    built = build(POINT_SETS[name], 30, 3, other_class=other_class)
    text = dumped(built)
    again = partition.load(io.StringIO(text))
    assert again == built
    assert again.fingerprint == built.fingerprint
    assert dumped(again) == text


def small(**fields):
    """A cell of New York and one of Bogota."""
    known = {
        "tokens": ("89c3", "8e3f9"),
        "photos": (7, 2),
        "points": ((40.75, -74.0), (4.625, -74.125)),
        "max_photos": 10,
        "min_photos": 2,
        "max_level": 8,
        "dropped": 1,
    }
    return partition.Partition(**known | fields)


def fingerprint(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_the_bytes_of_the_file_and_its_fingerprint_never_change():
    built = small(made_by={partition.TRAIN_SPLIT: {"seed": 0}})
    assert built.fingerprint == fingerprint("other=0\n89c3\n8e3f9\n")
    assert (
        dumped(built)
        == f"""{{
 "dropped_photos": 1,
 "fingerprint": "{built.fingerprint}",
 "format": "planet_tf.partition",
 "kept_photos": 9,
 "made_by": {{
  "train_split": {{
   "seed": 0
  }}
 }},
 "max_level": 8,
 "max_photos": 10,
 "min_photos": 2,
 "other_class": false,
 "version": 1,
 "cells": [
  {{"token": "89c3", "photos": 7, "lat": 40.75, "lng": -74.0}},
  {{"token": "8e3f9", "photos": 2, "lat": 4.625, "lng": -74.125}}
 ]
}}
"""
    )
    assert partition.load(io.StringIO(dumped(built))).made_by == built.made_by
    other = small(other_class=True)
    assert other.fingerprint == fingerprint("other=1\n89c3\n8e3f9\n")


def test_photos_that_are_not_known_are_0():
    built = small(photos=(0, 2))
    assert partition.load(io.StringIO(dumped(built))).photos == (0, 2)


def test_no_cell_is_over_a_threshold_that_is_not_known():
    assert small(max_photos=6).over_max_photos == ["89c3"]
    assert small(max_photos=None).over_max_photos == []


def test_the_file_has_a_cell_a_line_with_token_and_photos():
    built = build(POINT_SETS["cities"], 30, 3)
    text = dumped(built)
    data = json.loads(text)
    assert [c["token"] for c in data["cells"]] == list(built.tokens)
    assert [c["photos"] for c in data["cells"]] == list(built.photos)
    assert data["kept_photos"] + data["dropped_photos"] == 600
    assert sum('"token"' in line for line in text.splitlines()) == len(
        built.tokens
    )


def test_the_fingerprint_is_of_the_classes_and_their_order():
    points = POINT_SETS["cities"]
    built = build(points, 30, 3)
    moved = np.round(points, 6)  # other points and the same cells
    assert build(moved, 30, 3).tokens == built.tokens
    assert build(moved, 30, 3).fingerprint == built.fingerprint
    assert build(points, 30, 4).fingerprint != built.fingerprint
    other = build(points, 30, 3, other_class=True)
    assert other.fingerprint != built.fingerprint
    assert built.fingerprint.startswith("sha256:")


def set_head(**values):
    return lambda data: data.update(values)


def set_cell(row, **values):
    return lambda data: data["cells"][row].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_head(format="planet_tf.shards"), "this is planet_tf.shards"),
        (set_head(version=2), "version 2; needed is planet_tf.partition"),
        (set_head(fingerprint="sha256:0"), "the file says sha256:0"),
        (set_head(other_class=True), "changed by hand"),
        (lambda data: data["cells"].pop(), "changed by hand"),
        (lambda data: data["cells"].reverse(), "out of order"),
        (lambda data: data["cells"].clear(), "without cells"),
        (lambda data: data.pop("cells"), "KeyError: 'cells'"),
        (lambda data: data.pop("max_level"), "KeyError: 'max_level'"),
        (lambda data: data["cells"].insert(1, data["cells"][0]), "overlap"),
        (set_cell(0, token="47e6F"), "'47e6F', which is not an S2 cell"),
        (set_cell(0, token=994), "no partition as build_partition writes it"),
        (set_cell(2, lat=-80.0), "is not in it"),
        (set_cell(2, lat=float("nan")), "no valid lat, lng"),
        (set_cell(2, lat=95.0), "no valid lat, lng"),
        (set_cell(2, lat=90.25), "no valid lat, lng"),
        (set_cell(2, lng=-180.25), "no valid lat, lng"),
        (set_cell(2, lat="north"), "no partition as build_partition writes it"),
        (set_cell(2, lat=None), "no valid lat, lng"),
        (set_cell(2, photos="many"), "photos are counted by 'many'"),
        (set_cell(2, photos=-1), "photos are counted by -1"),
        (set_cell(2, photos=2.5), "photos are counted by 2.5"),
    ],
)
def test_a_changed_file_is_refused_with_what_is_wrong(change, message):
    data = json.loads(dumped(build(POINT_SETS["cities"], 30, 3)))
    change(data)
    with pytest.raises(partition.PartitionError, match=message):
        partition.load(io.StringIO(json.dumps(data)))


def test_a_leaf_cell_given_twice_is_refused():
    leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(*NEW_YORK))
    point = leaf.ToLatLng()
    point = point.lat().degrees(), point.lng().degrees()
    with pytest.raises(partition.PartitionError, match="overlap"):
        partition.Partition(
            tokens=(leaf.ToToken(),) * 2,
            photos=(1, 1),
            points=(point, point),
            max_photos=1,
            min_photos=1,
            max_level=30,
            dropped=0,
        )


def test_cells_inside_others_are_refused_by_the_first_one():
    data = json.loads(dumped(build(POINT_SETS["cities"], 30, 3)))
    names = []
    for row in (1, 5):
        token = data["cells"][row]["token"]
        child = s2.S2CellId.FromToken(token).child(3)
        point = child.ToLatLng()
        lat, lng = point.lat().degrees(), point.lng().degrees()
        data["cells"].insert(
            row + 1,
            {"token": child.ToToken(), "photos": 5, "lat": lat, "lng": lng},
        )
        names.append(f"cells {token} and {child.ToToken()} overlap")
    with pytest.raises(partition.PartitionError, match=names[0]):
        partition.load(io.StringIO(json.dumps(data)))


def test_of_points_outside_their_cells_the_first_one_is_named():
    data = json.loads(dumped(build(POINT_SETS["cities"], 30, 3)))
    for row in (2, 7):
        data["cells"][row]["lat"] = -80.0
    token = data["cells"][2]["token"]
    with pytest.raises(partition.PartitionError, match=f"of cell {token} is"):
        partition.load(io.StringIO(json.dumps(data)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", "7", '{"format": 3}', "\x00\x01"]
)
def test_something_else_is_refused_as_no_partition(text):
    with pytest.raises(partition.PartitionError, match="no partition|this is"):
        partition.load(io.StringIO(text))


def test_bytes_that_are_no_text_are_refused_as_no_partition():
    file = io.TextIOWrapper(io.BytesIO(b"\x89PNG\xff\xfe"), encoding="utf-8")
    with pytest.raises(partition.PartitionError, match="no partition"):
        partition.load(file)
