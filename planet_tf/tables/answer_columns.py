"""Which columns of a table are ids, places, ranks and probabilities.

A table of answers has one column for each (`lat`), or one for each rank
(`lat_1`, `top2_lat`). Where it has the truth beside the answers, names say
which is which (`gt_lat`, `pred_lat`). What could be read in two ways is
refused: the wrong one of them would be a perfect system.
"""

import dataclasses
import re
from collections.abc import Sequence

from planet_tf.photos import column_names
from planet_tf.photos.column_names import COLUMNS


class PredictionsError(ValueError):
    """Predictions or truths that cannot be evaluated, and what to do."""


class LayoutError(PredictionsError):
    """A table without the columns that are needed, not yet named."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of columns (of keys in JSON), where they are not the usual ones.

    `*` stands for the rank of an answer: `guess*_breite`.

    Attributes:
      id: of the photo.
      lat: latitude of the answer, or of the truth.
      lng: its longitude.
      probability: of the answer.
      token: of the answer's S2 cell.
      rank: of the answer, in tables with a row for each; from 0 or 1.
      group: photos of one are resampled together.
      option: what the names' options are called, for messages.
    """

    id: str | None = None
    lat: str | None = None
    lng: str | None = None
    probability: str | None = None
    token: str | None = None
    rank: str | None = None
    group: str | None = None
    option: str = "--{}_column"

    def given(self, field: str) -> str | None:
        """What was named for a field."""
        return getattr(self, field)

    def flag(self, field: str) -> str:
        """The option that names a field's column."""
        return self.option.format(field)


ALIASES = {
    "id": (
        *COLUMNS["photo_id"],
        *("image_name", "img_name", "photo"),
        *COLUMNS["path"],
    ),
    "lat": COLUMNS["lat"],
    "lng": COLUMNS["lng"],
    "probability": ("probability", "prob", "confidence"),
    "token": ("token", "s2_token", "cell_token"),
    "rank": ("rank", "ranking"),
    # Whoever took photos took them alike, in one album or in several.
    "group": (
        *COLUMNS["owner_id"],
        *("ownernsid", "user_nsid", "creator_id"),
        *COLUMNS["album_id"],
        "sequence",
    ),
}
_OF_ANSWERS = ("lat", "lng", "probability", "token")  # may be once a rank


@dataclasses.dataclass(frozen=True)
class Layout:
    """Positions of columns by field; of `_OF_ANSWERS` best answer first.

    Attributes:
      names: of all columns.
      fields: positions by field, none for those that there are not.
      header: whether the table has a line of names.
    """

    names: tuple[str, ...]
    fields: dict[str, tuple[int, ...]]
    header: bool = True

    def name(self, field: str, answer: int = 0) -> str:
        """What a field of an answer is called, from 0."""
        positions = self.fields[field]
        if answer < len(positions):
            return self.names[positions[answer]]
        return f"{self.names[positions[0]]} of answer {answer + 1}"


def find_layout(names: Sequence[str], columns: Columns, whose: str) -> Layout:
    """The columns of answers or of truths, by their names.

    Args:
      names: of all columns.
      columns: those that were named.
      whose: column_names.ANSWER or TRUTH.

    Raises:
      LayoutError: if one is missing, or could be one of two.
    """
    singles = ("id", "rank" if whose == column_names.ANSWER else "group")
    fields = {field: _single(names, field, columns) for field in singles}
    for field in _OF_ANSWERS:
        fields[field] = _of_answers(names, field, columns, whose)
    missing = [field for field in ("id", "lat", "lng") if not fields[field]]
    if missing:
        raise LayoutError(_lacking(names, missing, columns))
    layout = Layout(tuple(names), fields)
    _check_ranks(layout, columns, whose)
    return layout


def _single(
    names: Sequence[str], field: str, columns: Columns
) -> tuple[int, ...]:
    given = columns.given(field)
    position = column_names.find(names, [given] if given else ALIASES[field])
    if position is None and given:
        raise LayoutError(_unknown(names, field, columns))
    return () if position is None else (position,)


def _of_answers(
    names: Sequence[str], field: str, columns: Columns, whose: str
) -> tuple[int, ...]:
    """Positions of a field's columns by rank."""
    given = columns.given(field)
    if given and "*" not in given:
        return _single(names, field, columns)
    if given:
        ranks = _matching(names, given)
        if not ranks:
            raise LayoutError(_unknown(names, field, columns))
    else:
        ranks = _usual(names, field, columns, whose)
    if None in ranks and len(ranks) > 1:
        if 1 in ranks:
            first, second = (repr(names[ranks[rank]]) for rank in (None, 1))
            raise LayoutError(_ambiguous(field, first, second, columns))
        ranks[1] = ranks.pop(None)  # lat, lng, lat_2, lng_2
    numbers = sorted(ranks, key=lambda rank: rank or 0)
    least = numbers[0] if numbers else None
    if least is not None and (
        least > 1 or numbers != list(range(least, least + len(numbers)))
    ):
        raise LayoutError(
            f"its columns for {field} have the ranks"
            f" {', '.join(map(str, numbers))}; needed are 1, 2, 3, ..."
        )
    return tuple(ranks[number] for number in numbers)


def _matching(names: Sequence[str], pattern: str) -> dict[int | None, int]:
    """Positions by rank of the names that are like `guess*_breite`."""
    before, _, after = pattern.strip().partition("*")
    wanted = re.compile(
        re.escape(before) + "([0-9]+)" + re.escape(after), re.IGNORECASE
    )
    found = [wanted.fullmatch(name.strip()) for name in names]
    return {int(m[1]): i for i, m in enumerate(found) if m}


def _usual(
    names: Sequence[str], field: str, columns: Columns, whose: str
) -> dict[int | None, int]:
    """Positions by rank of the columns with the usual names for a field.

    Those that say whose they are come before those that do not.
    """
    kinds: dict[bool, dict[int | None, list[int]]] = {}
    for position, name in enumerate(names):
        base, said, rank = column_names.parts(name)
        if base in ALIASES[field] and said in (whose, ""):
            ranks = kinds.setdefault(said == "", {})
            ranks.setdefault(rank, []).append(position)
    found = kinds[min(kinds)] if kinds else {}
    for positions in found.values():
        if len(positions) > 1:
            first, second, *_ = (repr(names[i]) for i in positions)
            raise LayoutError(_ambiguous(field, first, second, columns))
    return {rank: position for rank, [position] in found.items()}


def _check_ranks(layout: Layout, columns: Columns, whose: str) -> None:
    lat = layout.fields["lat"]
    for field in ("lng", "probability", "token"):
        count = len(layout.fields[field])
        if count and count != len(lat):
            raise LayoutError(
                f"it has {len(lat)} columns for lat and {count} for {field};"
                f" name them by {columns.flag('lat')} and"
                f" {columns.flag(field)}"
            )
    said = {
        column_names.parts(layout.name(field)).whose
        for field in ("lat", "lng")
        if not columns.given(field)
    }
    if len(said) > 1:
        raise LayoutError(
            f"lat would be {layout.name('lat')!r} and lng"
            f" {layout.name('lng')!r}, which are not of one kind; name them by"
            f" {columns.flag('lat')} and {columns.flag('lng')}"
        )
    if whose == column_names.TRUTH and len(lat) > 1:
        raise LayoutError(
            f"it has {len(lat)} places for each photo, and a truth has one;"
            f" say by {columns.flag('lat')} and {columns.flag('lng')} which"
        )
    if layout.fields.get("rank") and len(lat) > 1:
        raise LayoutError(
            f"it has ranks in the column {layout.name('rank')!r} and in the"
            f" names of {len(lat)} columns for lat; leave one of them out"
        )


def _ambiguous(field: str, first: str, second: str, columns: Columns) -> str:
    return (
        f"it has {first} and {second}, and either could be {field}; say by"
        f" {columns.flag(field)} which it is"
    )


def _lacking(
    names: Sequence[str], missing: Sequence[str], columns: Columns
) -> str:
    accepted = "; ".join(f"{f}: {', '.join(ALIASES[f])}" for f in missing)
    flags = ", ".join(f"{columns.flag(field)}=NAME" for field in missing)
    return (
        f"it has no column for {', '.join(missing)}. It has:"
        f" {', '.join(names)}. Accepted, in any case, are {accepted}; others"
        f" are named by {flags}"
    )


def _unknown(names: Sequence[str], field: str, columns: Columns) -> str:
    return (
        f"it has no column {columns.given(field)}, which"
        f" {columns.flag(field)} names. It has: {', '.join(names)}"
    )
