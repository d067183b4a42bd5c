"""Photos that are left out: each with a reason, for counting and for people."""

import dataclasses
import enum
import json


class Reason(enum.StrEnum):
    """Why a photo is left out."""

    MALFORMED_ROW = "malformed_row"
    MISSING_PATH = "missing_path"
    MISSING_COORDINATES = "missing_coordinates"
    NOT_A_NUMBER = "coordinates_not_a_number"
    LAT_OUT_OF_RANGE = "lat_out_of_range"
    LNG_OUT_OF_RANGE = "lng_out_of_range"
    NULL_ISLAND = "null_island"
    NO_GPS = "no_gps"
    BAD_GPS = "bad_gps"
    OUTSIDE_PARTITION = "outside_partition"
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_CONTENT = "duplicate_content"
    NO_PHOTO_OF_ROW = "no_photo_of_row"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    MALFORMED_ARCHIVE = "malformed_archive"
    TRUNCATED_ARCHIVE = "truncated_archive"
    UNSUPPORTED_FORMAT = "unsupported_format"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED_IMAGE = "truncated_image"
    CORRUPT_IMAGE = "corrupt_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    SEEN_IN_TRAINING = "seen_in_training"
    SHORT_ALBUM = "short_album"


# What is left out for these does not speak against the data.
NO_FAULTS = (
    Reason.OUTSIDE_PARTITION,
    Reason.DUPLICATE_CONTENT,
    Reason.NO_PHOTO_OF_ROW,
    Reason.SEEN_IN_TRAINING,
    Reason.SHORT_ALBUM,
)


@dataclasses.dataclass(frozen=True)
class Reject:
    """A photo that is left out, and why.

    Attributes:
      id: of the photo, or where it stands, as in "photos.csv:row 17".
      stage: the step that left it out: read, assign or write.
      reason: for counting.
      detail: for people; the same in every run.
    """

    id: str
    stage: str
    reason: Reason
    detail: str

    def line(self) -> str:
        """Its line in rejects-*.jsonl."""
        return json.dumps(dataclasses.asdict(self))


class PhotoError(Exception):
    """What is wrong with one photo."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
