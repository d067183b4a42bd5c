"""Names under which tables have what is known of photos, by our names for it.

Tables of photos (beam_pipelines), of ground truths and of predictions are read
by the same names, in any case. Tables of answers have more of them: ranks, as
in `lat_1` or `top2_lng`, and words that say whose coordinates they are, as in
`gt_lat` beside `pred_lat`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# The first one that a table has counts.
COLUMNS = {
    "photo_id": ("photo_id", "id", "image_id", "img_id"),
    "path": ("path", "image", "file", "filename", "file_name", "uri"),
    "lat": ("lat", "latitude"),
    "lng": ("lng", "lon", "long", "longitude"),
    "owner_id": ("owner_id", "owner", "user_id", "user", "author"),
    "album_id": ("album_id", "album"),
    "taken_at": ("taken_at", "time", "datetime", "date_taken", "timestamp"),
}

ANSWER, TRUTH = "answer", "truth"  # whose coordinates a name says they are

_WHOSE = {
    **dict.fromkeys(
        ("pred", "predicted", "prediction", "est", "estimated", "guess"),
        ANSWER,
    ),
    **dict.fromkeys(
        ("gt", "true", "truth", "ground", "actual", "real", "target"), TRUTH
    ),
}
_RANK_WORDS = ("top", "rank", "candidate")  # nothing but a number's company
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Name(NamedTuple):
    """A column's name in its parts.

    Attributes:
      base: the name without the others, in lower case.
      whose: ANSWER, TRUTH, or "" if it does not say.
      rank: of an answer; None if it does not say.
    """

    base: str
    whose: str
    rank: int | None


def parts(name: str) -> Name:
    """`top2_predicted_LON` is base lon, whose ANSWER, rank 2."""
    words = [word.lower() for word in _WORD.findall(name)]
    whose = next((_WHOSE[word] for word in words if word in _WHOSE), "")
    words = [word for word in words if word not in _WHOSE]
    numbers = [word for word in words if word.isdigit()]
    if len(numbers) != 1:
        return Name("_".join(words), whose, None)
    words = [w for w in words if not w.isdigit() and w not in _RANK_WORDS]
    return Name("_".join(words), whose, int(numbers[0]))


def find(names: Sequence[str], wanted: Iterable[str]) -> int | None:
    """The position of the first of the wanted names that there is."""
    places = {
        name.strip().lower(): i for i, name in reversed(list(enumerate(names)))
    }
    for name in wanted:
        if name.strip().lower() in places:
            return places[name.strip().lower()]
    return None
