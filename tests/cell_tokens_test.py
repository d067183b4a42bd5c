import numpy as np
import pytest
import s2geometry as s2

from planet_tf.geo import cell_tokens, geometry, partition

WHOLE = ["0994", "3b5", "47e63", "89c25", "9ab4c"]


def read(names, numbers=False):
    rows = range(1, len(names) + 1)
    ids = cell_tokens.read_ids(names, rows, numbers=numbers)
    cell_tokens.check_zeros(names, rows, ids)
    return ids


@pytest.mark.parametrize(
    "name, token",
    [
        ("0994", "0994"),
        ("1", "1"),
        (" 47e63 ", "47e63"),
        ("47E63", "47e63"),
        ("s2:0994", "0994"),
        ("0994000000000000", "0994"),
        ("0x0994000000000000", "0994"),
        ("89c2590000000001", "89c2590000000001"),
    ],
)
def test_a_cell_is_named_by_token_or_by_an_id_of_16_digits(name, token):
    assert geometry.to_tokens(read([name])) == [token]


@pytest.mark.parametrize(
    "name, cause",
    [
        ("4.7E+064", "with an exponent"),
        ("4.70E+64", "with an exponent"),
        ("4,70E+64", "with an exponent"),
        ("47E+63", "with an exponent"),
        ("9.92659438521287E+18", "with an exponent"),
        ("994.0", "with a decimal point"),
        ("994.", "with a decimal point"),
        ("99.4", "a number with decimals"),
        ("3-Dec", "for a date"),
        ("Feb-04", "for a date"),
        ("2026-12-03", "for a date"),
        ("12/3/2026", "for a date"),
        ("", "blank"),
        ("NaN", "found no value"),
        ("#NUM!", "found no value"),
        ("####", "found no value"),
        ("-994", "a sign"),
        ('="0994"', "no hexadecimal number"),
        ("'0994", "no hexadecimal number"),
        ("47g3", "no hexadecimal number"),
        ("0x994", "after 0x it has 3 digits"),
        ("9926594385212866560", "has 19 digits"),
        ("47700", "ends in 0"),
        ("94000000000000", "ends in 0"),
        ("e", "no such cell"),
        ("0996", "no such cell"),
        ("0", "ends in 0"),
    ],
)
def test_a_destroyed_name_is_refused_with_its_row_and_the_cause(name, cause):
    with pytest.raises(cell_tokens.TokenError) as error:
        read([*WHOLE, name])
    assert f"row 6: {name!r}: " in str(error.value)
    assert cause in str(error.value)
    assert "1 of 6 cells" in str(error.value)


def test_every_name_that_is_taken_is_a_cell_of_s2geometry():
    rng = np.random.default_rng(0)
    names = [f"{n:x}" for n in rng.integers(0, 1 << 20, 5000).tolist()]
    for name in names:
        cell = s2.S2CellId.FromToken(name)
        valid = cell.is_valid() and cell.ToToken() == name
        assert (cell_tokens.damage(name) == "") == valid, name


@pytest.mark.parametrize("signed", [False, True])
def test_decimal_ids_are_read_in_a_column_for_them(signed):
    ids = [int(t.ljust(16, "0"), 16) for t in WHOLE]
    if signed:
        ids = [i - 2**64 if i >= 2**63 else i for i in ids]
        assert min(ids) < 0
    found = read([str(i) for i in ids], numbers=True)
    assert geometry.to_tokens(found) == WHOLE
    with pytest.raises(cell_tokens.TokenError, match="digits|sign"):
        read([str(i) for i in ids])


def test_tokens_are_read_in_a_column_that_may_hold_numbers():
    assert geometry.to_tokens(read(WHOLE, numbers=True)) == WHOLE


@pytest.mark.parametrize(
    "change, cause",
    [
        (lambda i: str(i + 2), "no cell of this id"),
        (lambda i: str(i + 2**64), "no cell of this id"),
        (lambda i: "0", "no cell of this id"),
        (lambda i: f"{float(i):.14E}", "with an exponent"),
        (lambda i: f"{i}.0", "decimal point"),
        (lambda i: "47e63", "a token in a column of decimal ids"),
    ],
)
def test_a_changed_decimal_id_is_refused(change, cause):
    ids = [int(t.ljust(16, "0"), 16) for t in WHOLE]
    names = [*map(str, ids[:4]), change(ids[4])]
    with pytest.raises(cell_tokens.TokenError, match=cause) as error:
        read(names, numbers=True)
    assert "row 5" in str(error.value)
    assert "row 4" not in str(error.value)


def test_decimal_ids_rounded_to_15_digits_are_refused():
    rng = np.random.default_rng(0)
    leaves = geometry.leaf_ids(*rng.uniform(-80, 80, (2, 50)))
    ids = geometry.parents(leaves, 12)
    assert len(read([str(i) for i in ids], numbers=True)) == 50
    rounded = [str(round(int(i), 15 - len(str(i)))) for i in ids]
    rounded = [r for r in rounded if not cell_tokens._number_damage(r)]
    assert len(rounded) > 5
    with pytest.raises(cell_tokens.TokenError, match="kept 15 digits"):
        read(rounded, numbers=True)


def test_digits_that_are_a_cell_either_way_are_refused():
    with pytest.raises(cell_tokens.TokenError, match="as a decimal and as a"):
        read(["1010000000000004"], numbers=True)
    for name in ("1010000000000000", "1010000000000004"):
        assert geometry.to_tokens(read([name])) == [name.rstrip("0")]
    # There is no cell of this decimal id: no doubt about what it is.
    found = read(["1010000000000000"], numbers=True)
    assert geometry.to_tokens(found) == ["101"]


def test_digits_that_break_the_order_may_have_lost_zeros():
    names = ["0992c", "994", "099b", "47e63"]
    with pytest.raises(cell_tokens.TokenError) as error:
        read(names)
    assert "row 2: '994': it breaks the order" in str(error.value)
    assert "1 of 4" in str(error.value)
    names[1] = "s2:994"  # said to be whole
    assert geometry.to_tokens(read(names))[1] == "994"
    names[1] = "0994"
    assert geometry.to_tokens(read(names))[1] == "0994"


@pytest.mark.parametrize("row, whole", [(0, False), (1, False), (2, True)])
def test_digits_are_whole_in_their_place_and_not_elsewhere(row, whole):
    names = ["0992c", "47e63", "9ab4c"]
    names.insert(row, "994")
    if whole:
        assert geometry.to_tokens(read(names)) == names
    else:
        with pytest.raises(cell_tokens.TokenError, match="breaks the order"):
            read(names)


def test_an_id_of_16_digits_is_whole_wherever_it_stands():
    names = ["9940000000000000", "0992c00000000000", "47e6300000000000"]
    assert geometry.to_tokens(read(names)) == ["994", "0992c", "47e63"]
    with pytest.raises(cell_tokens.TokenError, match="row 1"):
        read([name.rstrip("0") for name in names])


def real_tokens(seed):
    """Tokens around the mouths of the Amazon, where faces 0 and 4 meet."""
    rng = np.random.default_rng(seed)
    places = rng.uniform([-25, -52], [0, -38], (30, 2))
    points = places[rng.integers(0, 30, 8000)] + rng.normal(0, 0.4, (8000, 2))
    cells = partition.build(*points.T, max_photos=10, min_photos=1)
    return list(rng.permutation(cells.tokens))


@pytest.mark.parametrize("seed", range(3))
def test_zeros_lost_in_a_list_without_order_are_noticed(seed):
    tokens = real_tokens(seed)
    assert geometry.to_tokens(read(tokens)) == tokens
    lost = [t.lstrip("0") if t.isdecimal() else t for t in tokens]
    changed = [t for t, n in zip(tokens, lost, strict=True) if t != n]
    assert changed
    whole = [t for t in tokens if t not in changed]
    assert geometry.to_tokens(read(whole)) == whole
    with pytest.raises(cell_tokens.TokenError, match="near 0"):
        read([t for t in lost if not cell_tokens.damage(t)])


def test_a_long_list_of_bad_rows_is_cut():
    with pytest.raises(cell_tokens.TokenError) as error:
        read(["4.7E+64"] * 20)
    assert "row 5" in str(error.value)
    assert "row 6" not in str(error.value)
    assert "15 more" in str(error.value)
