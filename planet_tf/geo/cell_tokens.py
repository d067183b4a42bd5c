"""Cells as other people's files name them, and what spreadsheets do to names.

A cell is named by its token (0994), by its id in 16 hexadecimal digits
(0994000000000000, as in the label map of PlaNet v2; 0x before is allowed), or
by its id as a decimal number, with or without sign. Letters may be capitals.

Tokens look like numbers. A spreadsheet, or a program that guesses types,
makes 4.7E+64 of 47e63, and 994 of 0994, which is a valid other cell. What was
lost cannot be known, so that such names are refused and never repaired.
`s2:` before a token is what keeps it whole: no program takes s2:0994 for a
number, however often it is opened and saved. (="0994" and '0994 are bare
again after the first time, and quotes do not help at all.)
"""

import bisect
import os
import re
from collections.abc import Sequence

import numpy as np

PREFIX = "s2:"
ACCEPTED = (
    "a cell is a token (0994), one with s2: before it (s2:0994), which is taken"
    " as it stands, an id of 16 hexadecimal digits (0994000000000000), or, in"
    " a column named s2_id, cell_id or the like, an id as a decimal number"
)

_DIGITS = 16  # of a cell id in hexadecimal
_FLOAT_DIGITS = 15  # that spreadsheets keep of a number
_EVEN_BITS = 0x5555555555555555  # where the bit that ends a cell id may be
# How many more of its digits a token must share with its nearest neighbour in
# the list, with zeros before it, than as it stands, to be suspected. Of 14
# lists of real places that lost zeros, 9 have such a token (of 300 cells and
# fewer, few do); of 14 whole ones without such zeros, none.
_SUSPICIOUS_DIGITS = 1
_LISTED = 5  # bad names in a message

_NUMBER = "a program took it for a number"
# What a text looks like, and how it came to look so.
_DAMAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (r"", "it is blank"),
        (
            r"[+-]?\d+([.,]\d*)?e[+-]\d+|[+-]?\d+[.,]\d*e\d+",
            f"{_NUMBER} and wrote that with an exponent, as spreadsheets do"
            " with tokens such as 47e63 and with long ids",
        ),
        (r"[+-]?\d+[.,]0*", f"{_NUMBER} and wrote that with a decimal point"),
        (r"[+-]?\d+[.,]\d+", "it is a number with decimals"),
        (
            r"\d{1,2}[- ][a-z]{3}([- ]\d+)?|[a-z]{3}[- ]\d+"
            r"|\d+[-/.]\d+[-/.]\d+( .*)?",
            "a spreadsheet took it for a date, as it does with 3dec and 4feb",
        ),
        (
            r"nan|null|none|n/?a|inf|-?infinity|#.*",
            "a program found no value, or one too large",
        ),
        (r"-\d+", "it is a number with a sign, in a column of tokens"),
    )
)


class TokenError(ValueError):
    """Names that are no cells, or not those that were meant."""


def read_ids(
    texts: Sequence[str], rows: Sequence[int], *, numbers: bool
) -> np.ndarray:
    """Ids (n,) uint64 of named cells.

    Args:
      texts: the names, as the file has them.
      rows: where each stands, for messages.
      numbers: whether names may be decimal numbers.

    Raises:
      TokenError: listing names that are none, or were changed.
    """
    texts = [text.strip() for text in texts]
    if numbers and _are_numbers(texts):
        return _read_numbers(texts, rows)
    causes = [damage(text) for text in texts]
    refuse(rows, texts, causes)
    return np.array([_value(text) for text in texts], np.uint64)


def check_zeros(
    texts: Sequence[str], rows: Sequence[int], ids: np.ndarray
) -> None:
    """Raises TokenError if names without points seem to have lost zeros.

    Names of digits only are compared with the order of the others and with
    what is near them. A name with s2: before it is above suspicion.
    """
    refuse(rows, texts, _lost_zeros(texts, ids))


def damage(text: str) -> str:
    """What is wrong with the name of a cell by itself; "" if nothing is."""
    for pattern, cause in _DAMAGES:
        if pattern.fullmatch(text):
            return cause
    digits = _hexadecimal(text)
    if not re.fullmatch(r"[0-9a-f]+", digits):
        return "it is no hexadecimal number"
    if len(digits) > _DIGITS:
        return f"it has {len(digits)} digits, and a token at most {_DIGITS}"
    if text.lower().startswith("0x") and len(digits) < _DIGITS:
        return f"after 0x it has {len(digits)} digits, and an id has {_DIGITS}"
    if digits.endswith("0") and len(digits) < _DIGITS:
        return (
            "it ends in 0, as no token does, and is shorter than an id:"
            f" {_NUMBER}, or zeros at its start were lost"
        )
    return "" if _is_cell(_value(text)) else "there is no such cell"


def with_zeros(text: str, leaf: int) -> str:
    """The token with zeros before it whose cell holds a leaf; or ""."""
    if not text.isdecimal():
        return ""
    for zeros in range(1, _DIGITS - len(text.rstrip("0")) + 1):
        longer = "0" * zeros + text.rstrip("0")
        if _is_cell(_value(longer)) and _holds(_value(longer), leaf):
            return longer
    return ""


def _hexadecimal(text: str) -> str:
    return text.lower().removeprefix(PREFIX).removeprefix("0x")


def _value(text: str) -> int:
    return int(_hexadecimal(text).ljust(_DIGITS, "0"), 16)


def _is_cell(value: int) -> bool:
    return value >> 61 < 6 and bool(value & -value & _EVEN_BITS)


def _holds(cell: int, leaf: int) -> bool:
    reach = (cell & -cell) - 1
    return cell - reach <= leaf <= cell + reach


def refuse(
    rows: Sequence[int], texts: Sequence[str], causes: Sequence[str]
) -> None:
    """Raises TokenError if there is a cause, "" being none, to refuse a name.

    Args:
      rows: where each name stands.
      texts: the names, as the file has them.
      causes: what is wrong with each.
    """
    triples = zip(rows, texts, causes, strict=True)
    bad = [(row, text, cause) for row, text, cause in triples if cause]
    if not bad:
        return
    lines = [f"  row {row}: {text!r}: {why}" for row, text, why in bad]
    if len(bad) > _LISTED:
        lines[_LISTED:] = [f"  and {len(bad) - _LISTED:,} more"]
    raise TokenError(
        f"{len(bad):,} of {len(texts):,} cells cannot be trusted:\n"
        + "\n".join(lines)
        + "\nWhat was lost is not guessed: get the file again, and do not open"
        f" it in a spreadsheet. Accepted: {ACCEPTED}"
    )


def _are_numbers(texts: Sequence[str]) -> bool:
    """Whether a column that may hold decimal numbers does."""
    if _are_hexadecimal(texts) and any(map(_number_damage, texts)):
        return False
    whole = [re.fullmatch(r"-?\d+", text) for text in texts]
    return all(whole) or any(
        found and len(found[0].lstrip("-")) > _DIGITS for found in whole
    )


def _read_numbers(texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
    """Ids of a column of whole numbers."""
    refuse(rows, texts, [_number_damage(text) for text in texts])
    if _are_hexadecimal(texts):
        why = "as a decimal and as a hexadecimal number it is a cell"
        refuse(rows, texts, [why] * len(texts))
    refuse(rows, texts, _rounded(texts))
    return np.array([int(text) % 2**64 for text in texts], np.uint64)


def _are_hexadecimal(texts: Sequence[str]) -> bool:
    """Whether all are ids of 16 hexadecimal digits."""
    return all(len(text) == _DIGITS and not damage(text) for text in texts)


def _number_damage(text: str) -> str:
    """What is wrong with a decimal id; "" if nothing is."""
    if not re.fullmatch(r"-?\d+", text):
        return damage(text) or "it is a token in a column of decimal ids"
    value = int(text)
    known = -(2**63) <= value < 2**64 and _is_cell(value % 2**64)
    return "" if known else "there is no cell of this id"


def _rounded(texts: Sequence[str]) -> list[str]:
    """What speaks for digits lost at the end of decimal numbers."""
    ends = [text.lstrip("-")[_FLOAT_DIGITS:] for text in texts]
    # Of ids that are whole, one of 600 ends in four zeros.
    zeros = sum(bool(end) and not end.strip("0") for end in ends)
    rounded = 2 * zeros > sum(map(bool, ends))
    why = f"{_NUMBER} and kept {_FLOAT_DIGITS} digits of it"
    return [why if rounded and end else "" for end in ends]


def _lost_zeros(texts: Sequence[str], ids: np.ndarray) -> list[str]:
    """What speaks for zeros that names of digits only have lost."""
    if any(text.isdecimal() and text.startswith("0") for text in texts):
        # A program that takes zeros away would not have left these.
        return [""] * len(texts)
    suspects = [
        row
        for row, text in enumerate(texts)
        if text.isdecimal() and len(text) < _DIGITS
    ]
    others = np.delete(ids, suspects)
    if len(others) > 1 and (others[1:] > others[:-1]).all():
        return _out_of_order(ids, suspects)
    return _better_with_zeros(texts, suspects)


def _out_of_order(ids: np.ndarray, suspects: Sequence[int]) -> list[str]:
    """Names of digits only that break the order all others are in."""
    causes = [""] * len(ids)
    others = np.delete(ids, suspects)
    position = np.array(suspects) - np.arange(len(suspects))
    for row, k in zip(suspects, position.tolist(), strict=True):
        after = k == 0 or ids[row] > others[k - 1]
        before = k == len(others) or ids[row] < others[k]
        if not (after and before):
            causes[row] = (
                "it breaks the order that the others are in: it may have lost"
                " zeros at its start, as spreadsheets do"
            )
    return causes


def _better_with_zeros(
    texts: Sequence[str], suspects: Sequence[int]
) -> list[str]:
    """Names of digits only that would be in better company with a zero."""
    causes = [""] * len(texts)
    bad = set(suspects)
    company = sorted(
        _hexadecimal(text).rstrip("0")
        for row, text in enumerate(texts)
        if row not in bad
    )
    for row in suspects:
        token = texts[row].rstrip("0")
        known = _shared(token, company)
        for zeros in range(1, _DIGITS - len(token) + 1):
            longer = "0" * zeros + token
            if (
                _is_cell(_value(longer))
                and _shared(longer, company)
                >= zeros + known + _SUSPICIOUS_DIGITS
            ):
                causes[row] = (
                    f"no other cell is near this one, and some are near"
                    f" {longer}: it may have lost zeros at its start, as"
                    " spreadsheets do"
                )
    return causes


def _shared(token: str, company: Sequence[str]) -> int:
    """Digits at its start that a token shares with any other, sorted ones."""
    k = bisect.bisect(company, token)
    near = company[max(k - 1, 0) : k + 1]
    return max((len(os.path.commonprefix([token, t])) for t in near), default=0)
