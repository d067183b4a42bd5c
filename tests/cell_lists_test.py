import re

import numpy as np
import pytest

from planet_tf.geo import cell_lists, cell_tokens, geometry

# As published by others: before the header, two lines; labels in any order.
WITH_MEANS = """num_images: 4723695
min_concept_probability: ---
class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean
0,47e63,320,49.12167643124997,2.5902593749999996
1,89c2f61,961,40.80032189490115,-73.95065060770033
2,00997fc,918,-22.94579722222224,-43.1918929760348
3,67,709,13.897449370944996,145.0139619746122
"""
LABEL_MAP = """id,S2CellId
0,other
1,0094000000000000
2,0098400000000000
3,12a4a2f690000000
4,1c10000000000000
"""
TOKENS = "0ec4\t-23.5\t-46.6\n47e63\t49.1\t2.59\n89c2f61\t40.80032\t-73.95065\n"


def convert(text, **options):
    cells = cell_lists.read(text)
    return cell_lists.to_partition(cells, **options)


def test_a_list_with_counts_and_means_is_read():
    cells, labels, outside = convert(WITH_MEANS)
    assert cells.tokens == ("00997fc", "47e63", "67", "89c2f61")
    assert cells.photos == (918, 320, 709, 961)
    assert cells.points[1] == (49.12167643124997, 2.5902593749999996)
    assert labels.tolist() == [1, 3, 0, 2]
    assert outside == 0
    assert not cells.other_class
    assert cells.max_photos is None and cells.min_photos is None


def test_the_label_map_of_planet_v2_is_read():
    cells, labels, _ = convert(LABEL_MAP)
    assert cells.tokens == ("0094", "00984", "12a4a2f69", "1c1")
    assert cells.other_class
    assert cells.token(0) == "other" and cells.token(1) == "0094"
    assert labels.tolist() == [1, 2, 3, 4]
    assert cell_lists.read(LABEL_MAP).other_label == 0
    assert cells.labels(*cells.latlng.T).tolist() == [1, 2, 3, 4]


def test_a_list_of_tokens_with_places_is_read():
    token = geometry.to_tokens(
        geometry.parents(geometry.leaf_ids([-23.5], [-46.6]), 6)
    )[0]
    cells, labels, _ = convert(TOKENS.replace("0ec4", token))
    assert sorted(cells.tokens) == list(cells.tokens)
    assert (-23.5, -46.6) in cells.points
    assert set(cells.photos) == {0}
    assert sorted(labels) == [0, 1, 2]


def test_a_list_of_bare_tokens_is_read():
    cells, labels, _ = convert("89c25\n47e63\n")
    assert cells.tokens == ("47e63", "89c25")
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "\ufeff" + t,
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.replace(",", ";"),
        lambda t: t.replace(",", "\t"),
        lambda t: t.replace("\n", "\n\n"),
        lambda t: t.replace(",", " , "),
        lambda t: t.replace("47e63", '"47e63"'),
        lambda t: t.replace("47e63", "s2:47e63"),
        lambda t: t.replace("hex_id", "S2 Token"),
        lambda t: t.replace("latitude_mean", "LAT").replace("longitude", "lon"),
        lambda t: t.rstrip("\n"),
        lambda t: "".join(line + ",more\n" for line in t.splitlines()),
    ],
)
def test_how_a_table_is_written_does_not_matter(change):
    assert convert(change(WITH_MEANS))[0] == convert(WITH_MEANS)[0]


def test_labels_are_rows_if_there_is_no_column_of_them():
    text = "\n".join(
        line.partition(",")[2] for line in WITH_MEANS.splitlines()[2:]
    )
    assert cell_lists.read(text).labels == [0, 1, 2, 3]
    assert convert(text)[1].tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("column", ["s2_id", "S2CellId", "cell_id"])
@pytest.mark.parametrize("signed", [False, True])
def test_decimal_ids_are_read_in_columns_for_them(column, signed):
    ids = [int(t.ljust(16, "0"), 16) for t in ("47e63", "89c2f61")]
    ids = [i - 2**64 if signed and i >= 2**63 else i for i in ids]
    text = f"{column}\n" + "".join(f"{i}\n" for i in ids)
    assert convert(text)[0].tokens == ("47e63", "89c2f61")
    with pytest.raises(cell_tokens.TokenError, match="row 2"):
        convert(text.replace(column, "token"))


@pytest.mark.parametrize(
    "token, destroyed, cause",
    [
        ("47e63", "4.7E+64", "with an exponent"),
        ("47e63", "4.70E+064", "with an exponent"),
        ("47e63", "47e63.0", "no hexadecimal"),
        ("67", "67.0", "decimal point"),
        ("67", "", "blank"),
        ("67", "670", "ends in 0"),
    ],
)
def test_a_destroyed_token_is_refused_with_its_row(token, destroyed, cause):
    lines = WITH_MEANS.splitlines()
    row = next(n for n, t in enumerate(lines, 1) if f",{token}," in t)
    text = WITH_MEANS.replace(f",{token},", f",{destroyed},")
    with pytest.raises(cell_tokens.TokenError) as error:
        convert(text)
    assert f"row {row}: '{destroyed}': " in str(error.value)
    assert cause in str(error.value)


@pytest.mark.parametrize("centres", [False, True])
def test_a_point_shows_that_zeros_were_lost(centres):
    point = geometry.from_vectors(
        geometry.cell_vectors(geometry.from_tokens(["0994"]))
    )[0]
    text = "cell,lat,lng\ns2:47e63,49.1,2.59\n0994,{},{}\n".format(*point)
    assert convert(text)[0].tokens == ("0994", "47e63")
    with pytest.raises(cell_tokens.TokenError) as error:
        convert(text.replace("0994", "994"), centres=centres)
    assert "row 3: '994': its point is not in this cell but in 0994" in str(
        error.value
    )


def test_a_label_map_that_lost_zeros_is_refused():
    lines = [line.split(",") for line in LABEL_MAP.splitlines()]
    text = "\n".join(
        ",".join([n, c.lstrip("0") if c.isdecimal() else c]) for n, c in lines
    )
    with pytest.raises(cell_tokens.TokenError) as error:
        convert(text)
    assert "2 of 4" in str(error.value)
    assert "row 3: '94000000000000'" in str(error.value)


def test_a_point_outside_of_its_cell_is_refused_or_replaced():
    text = WITH_MEANS.replace("49.12167643124997", "51.5")
    with pytest.raises(cell_lists.FormatError) as error:
        convert(text)
    assert "1 points are not in their cells; --points=centre" in str(
        error.value
    )
    assert "row 4: 47e63, lat 51.5" in str(error.value)
    cells, _, outside = convert(text, centres=True)
    assert outside == 1
    centres = geometry.from_vectors(geometry.cell_vectors(cells.ids))
    assert np.array_equal(cells.latlng, centres)
    assert cells.photos == (918, 320, 709, 961)


@pytest.mark.parametrize(
    "names, found",
    [
        ("9b 89c25 9b", ["9b (row 4) is the same cell as 9b (row 2)"]),
        ("47e63 89c25 47e64", ["47e63 (row 2) is inside 47e64 (row 4)"]),
        ("47e64 89c25 47e63", ["47e63 (row 4) is inside 47e64 (row 2)"]),
        ("89c25 8b 0d1 89c24", ["89c25 (row 2) is inside 89c24 (row 5)"]),
        (
            "47e64 47e7 b5 47e61",
            [
                "47e64 (row 2) is inside 47e7 (row 3)",
                "47e61 (row 5) is inside 47e7 (row 3)",
            ],
        ),
        ("b 3b5 3", ["3b5 (row 3) is inside 3 (row 4); one of digits only"]),
    ],
)  # fmt: skip
def test_cells_that_overlap_are_named_with_their_rows(names, found):
    with pytest.raises(cell_lists.FormatError) as error:
        convert("token\n" + names.replace(" ", "\n"))
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == len(found)
    assert all(text in str(error.value) for text in found)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_found_as_by_comparing_all_pairs(seed):
    rng = np.random.default_rng(seed)
    leaves = geometry.leaf_ids(*rng.uniform(-80, 80, (2, 40)))
    levels = rng.integers(1, 9, 40).tolist()
    pairs = zip(leaves, levels, strict=True)
    ids = [geometry.parents([leaf], level)[0] for leaf, level in pairs]
    ids = rng.permutation(np.unique(ids))
    tokens = geometry.to_tokens(ids)
    first, last = geometry.range_bounds(ids)
    inside = {
        b
        for a in range(len(ids))
        for b in range(len(ids))
        if first[a] <= first[b] and last[b] <= last[a] and a != b
    }
    assert inside
    with pytest.raises(cell_lists.FormatError) as error:
        convert("cell\n" + "".join(f"s2:{token}\n" for token in tokens))
    rows = re.findall(r"\(row (\d+)\) is inside", str(error.value))
    assert len(rows) == min(5, len(inside))
    assert {int(row) - 2 for row in rows} <= inside
    kept = [f"s2:{t}\n" for k, t in enumerate(tokens) if k not in inside]
    assert len(convert("cell\n" + "".join(kept))[0].tokens) == len(kept)


@pytest.mark.parametrize(
    "text, cause",
    [
        ("", "no column of cells"),
        ("a,b\n1,2\n", "no column of cells.*'a,b'.*Accepted: a partition.json"),
        ("token\n", "lists no cells"),
        ("id,S2CellId\n0,other\n", "lists no cells"),
        ("id,S2CellId\n0,other\n1,Other\n2,89c25\n", 'rows 2 and 3 .*"other"'),
        ("id,cell\n1,89c25\n1,47e63\n", "rows 2 and 3 both have label 1"),
        ("id,cell\nx,89c25\n", "row 2, label: 'x' is no number"),
        ("cell,count\n89c25,many\n", "row 2, photos: 'many' is no number"),
        ("cell,count\n89c25,-1\n", "row 2, photos"),
        ("cell,lat,lng\n89c25,,\n", "row 2, lat: '' is no number"),
        ("cell,lat,lng\n89c25,nan,0\n", "row 2: lat nan, lng 0.0 is no place"),
        ("cell,lat,lng\n89c25,95,0\n", "row 2: lat 95.0, lng 0.0 is no place"),
        ("cell,lat,lng\n89c25,40\n", "row 2 has 2 of 3 columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(text, cause):
    with pytest.raises(cell_lists.FormatError, match=cause):
        convert(text)


def test_east_and_west_of_the_antimeridian_are_one_place():
    leaf = geometry.leaf_ids([-17.0], [-180.0])
    token = geometry.to_tokens(geometry.parents(leaf, 9))[0]
    cells, _, _ = convert(f"cell,lat,lng\ns2:{token},-17,180\n")
    assert cells.points == ((-17.0, -180.0),)
