"""Ground truths in the layouts of the test sets; the rows are made up."""

import json
import pathlib
import re
import textwrap

import numpy as np
import pytest

from planet_tf.tables import answer_columns, answer_lines, matching
from planet_tf.tables.predictions import (
    Columns,
    PredictionsError,
    read_predictions,
)
from planet_tf.tables.truths import read_truth

LATLNG = np.array([[40.5, -74.25], [-33.5, -70.0], [0.25, 180.0]])


def table(header, rows, mark=","):
    lines = [mark.join(map(str, row)) for row in rows]
    return "\n".join([header, *lines] if header else lines) + "\n"


PLACES365 = "AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor"
OSV5M = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,"
    "lon_bin,lat_bin,cell,region,sub-region,city,quadtree_10_5000,"
    "unique_region,unique_country,creator_username,creator_id"
)


def places365(ids):
    return table(
        f"IMG_ID,{PLACES365}",
        [
            (name, owner, *place, 2, 9, 205, 0.5)
            for name, owner, place in zip(
                ids, ("1@N00", "2@N01", "1@N00"), LATLNG, strict=True
            )
        ],
    )


def yfcc(width):
    """Lines of the YFCC100M, of which the later edition has two more fields."""
    lines = []
    for i, (lat, lng) in enumerate(LATLNG):
        line = [f"700{i}", f"{i % 2}@N00", 'a"nick', "2012-02-16", "1331840483"]
        line += ["Canon", "a%20title", '"some words', "tag,tag", ""]
        line += [lng, lat, 16, "http://x", "http://y", "CC", "http://z"]
        line += [1, 2, "abc", "def", "jpg", 0]
        lines.append(line if width == 23 else [i, line[0], "5af7"] + line[1:])
    assert {len(line) for line in lines} == {width}
    return table("", lines, "\t")


LAYOUTS = {
    "Im2GPS, Im2GPS3k": (
        places365(["1_a_2_3@N00.jpg", "Paris_4_b_5@N01.jpg", "c.jpg"]),
        ["1_a_2_3@N00.jpg", "Paris_4_b_5@N01.jpg", "c.jpg"],
        ["1@N00", "2@N01", "1@N00"],
    ),
    "MP-16, YFCC25600": (
        places365(["3f/9a/1.jpg", "00/1b/2.jpg", "00/2c/3.jpg"]),
        ["3f/9a/1.jpg", "00/1b/2.jpg", "00/2c/3.jpg"],
        ["1@N00", "2@N01", "1@N00"],
    ),
    "YFCC4k, as published": (
        yfcc(25),
        ["7000", "7001", "7002"],
        ["0@N00", "1@N00", "0@N00"],
    ),
    "YFCC100M, first edition": (
        yfcc(23),
        ["7000", "7001", "7002"],
        ["0@N00", "1@N00", "0@N00"],
    ),
    "YFCC4k, as a table": (
        table(
            "IMG_ID,OwnerNSID,LAT,LON",
            [(f"{i}.jpg", "5@N0", *place) for i, place in enumerate(LATLNG)],
        ),
        ["0.jpg", "1.jpg", "2.jpg"],
        ["5@N0"] * 3,
    ),
    "OSV-5M": (
        table(
            OSV5M,
            [
                (38591498874655010 + i, *place, "", "NZ", f"s{i}", 1.6e12)
                + (8, 9, '"(0, 8)"', "R", "", "C", 0, "R_NZ", "NZ", "u")
                + ("111336221091714.0",)
                for i, place in enumerate(LATLNG)
            ],
        ),
        ["38591498874655010", "38591498874655011", "38591498874655012"],
        ["111336221091714.0"] * 3,
    ),
    "GWS15k, by images": (
        table(
            "image_id,city,country,headings,lat,lon",
            [
                (f"image_{i}", "X", "Y", '"[4.6, 138.6]"', *place)
                for i, place in enumerate(LATLNG)
            ],
        ),
        ["image_0", "image_1", "image_2"],
        None,
    ),
    "GWS15k, by paths": (
        table("path,lat,lon", [(f"{i}.png", *p) for i, p in enumerate(LATLNG)]),
        ["0.png", "1.png", "2.png"],
        None,
    ),
    "answers beside the truth": (
        table(
            "img_id,gt_lat,predicted_lat,gt_long,predicted_long,km",
            [(f"{i}", a, 0, b, 0, 9) for i, (a, b) in enumerate(LATLNG)],
        ),
        ["0", "1", "2"],
        None,
    ),
    "JSON Lines": (
        "".join(
            json.dumps({"id": i, "lat": a, "lng": b, "album": f"t{i % 2}"})
            + "\n"
            for i, (a, b) in enumerate(LATLNG.tolist())
        ),
        ["0", "1", "2"],
        ["t0", "t1", "t0"],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_the_test_sets_are_read(tmp_path, name):
    data, ids, groups = LAYOUTS[name]
    (tmp_path / "truth").write_text(data)
    truth = read_truth(str(tmp_path / "truth"))
    assert truth.ids.tolist() == ids
    np.testing.assert_array_equal(truth.latlng, LATLNG)
    assert (truth.group is None) == (groups is None)
    if groups:
        assert truth.group.tolist() == groups


def test_lines_of_the_yfcc_say_where_they_are_wrong(tmp_path):
    (tmp_path / "t.txt").write_text(yfcc(25).replace("-33.5", "-93.5"))
    with pytest.raises(PredictionsError, match="line 2: lat .column 14. is"):
        read_truth(str(tmp_path / "t.txt"))


def test_other_tables_without_a_line_of_names_are_refused(tmp_path):
    data = yfcc(25).replace("0@N00", "someone")
    (tmp_path / "t.txt").write_text(data)
    with pytest.raises(PredictionsError, match="no line of names"):
        read_truth(str(tmp_path / "t.txt"))


def test_a_photo_without_a_group_is_one_by_itself(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,lat,lng,owner,album\na,1,2,,x\nb,1,2,u,x\nc,1,2,,x\n")
    group = read_truth(str(path)).group
    assert len(set(group)) == 3 and group[1] == "u"
    group = read_truth(str(path), Columns(group="ALBUM")).group
    assert group.tolist() == ["x"] * 3
    path.write_text("id,lat,lng,owner\na,1,2,\nb,1,2,\n")
    assert read_truth(str(path)).group is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("id,lat,lng\na,1,2\nb,,\n", "without a place.*line 3: photo 'b'"),
        ("id,lat,lng\na,1,2\nb,1,\n", "one coordinate of two.*line 3"),
        ("id,lat_1,lng_1,lat_2,lng_2\na,1,2,3,4\n", "a truth has one"),
        ("id,pred_lat,pred_lng\na,1,2\n", "no column for lat, lng"),
    ],
)
def test_a_truth_that_is_none_is_refused(tmp_path, data, message):
    (tmp_path / "t.csv").write_text(data)
    with pytest.raises(PredictionsError, match=message):
        read_truth(str(tmp_path / "t.csv"))


DOCS = pathlib.Path(__file__).parent.parent / "docs" / "predictions.md"
EXAMPLES = re.findall(
    r"^\*\*`(\S+)`\*\*[^#]*?\n\n((?:    .*\n)+)", DOCS.read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_the_examples_of_the_documentation_are_read(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    found = read_predictions(str(path))
    assert found.ids.tolist() == ["a.jpg", "b,c.jpg"]
    assert found.points[0, 0].tolist() == [48.8584, 2.2945]
    if name == "beside.csv":
        assert read_truth(str(path)).latlng[0].tolist() == [48.8606, 2.3376]


def test_the_documentation_has_all_examples_names_and_options():
    assert len(EXAMPLES) == 6
    text = DOCS.read_text()
    named = set(re.findall(r"`([^`\n]+)`", text))
    for names in answer_columns.ALIASES.values():
        assert set(names) <= named
    assert set(answer_lines.LISTS) <= named
    for option in ("missing", "extra", "duplicates", "match"):
        choices = getattr(matching, option.upper())
        assert {f"--{option}", *choices} <= named
    for field in answer_columns.ALIASES:
        assert answer_columns.Columns().flag(field) in named | {
            "--group_column"
        }
