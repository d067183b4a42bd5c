"""Answers for many photos as a file: JSON Lines, CSV or GeoJSON.

The first two have the forms of docs/predictions.md, which planet_tf.evaluate
reads. Points are (lng, lat) in GeoJSON, as RFC 7946 has it.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Callable

from planet_tf.answering.photo_answers import Answer
from planet_tf.geo import cell_tokens

_RANKED = ("lat", "lng", "probability", "token", "place")


@dataclasses.dataclass(frozen=True)
class Format:
    """How a file is put together of photos' texts.

    Attributes:
      head: of the number of answers for each photo, what comes first.
      photo: of a photo's id, its answer and their number, its text.
      between: texts of photos.
      tail: what comes last.
    """

    head: Callable[[int], str]
    photo: Callable[[str, Answer, int], str]
    between: str = "\n"
    tail: str = "\n"


def _json_line(photo_id: str, answer: Answer, top: int) -> str:
    return json.dumps({"photo_id": photo_id} | answer.json())


def _csv_head(top: int) -> str:
    ranks = range(1, top + 1)
    names = [f"{name}_{rank}" for rank in ranks for name in _RANKED]
    return _csv_line(["photo_id", *names]) + "\n"


def _csv_photo(photo_id: str, answer: Answer, top: int) -> str:
    row: list[object] = [photo_id]
    for cell in answer.cells:
        token = cell_tokens.PREFIX + cell.token  # or it would be a number
        row += [cell.lat, cell.lng, cell.probability, token, cell.place]
    missing = top - len(answer.cells)
    return _csv_line([*row, *[""] * (missing * len(_RANKED))])


def _csv_line(row: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def _feature(photo_id: str, answer: Answer, top: int) -> str:
    best = answer.cells[0]
    point = {"type": "Point", "coordinates": [best.lng, best.lat]}
    properties = {"photo_id": photo_id} | answer.json()
    return json.dumps(
        {"type": "Feature", "geometry": point, "properties": properties}
    )


FORMATS = {
    "jsonl": Format(lambda top: "", _json_line),
    "csv": Format(_csv_head, _csv_photo),
    "geojson": Format(
        lambda top: '{"type": "FeatureCollection", "features": [\n',
        _feature,
        between=",\n",
        tail="\n]}\n",
    ),
}
