"""What clients send: photos within limits, kept in memory and nowhere else."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import python_multipart
from python_multipart.exceptions import FormParserError

from planet_tf.options.asking_config import ServeConfig
from planet_tf.photos import exif, images, records
from planet_tf.photos.rejects import PhotoError, Reason
from planet_tf.serving.budget import Share

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "photo"  # what the parts of a form are called
_PIECE = 1_000_000  # bytes that have to arrive within --upload_seconds
_MORE_PARTS = 100  # of a form, beside its photos; each costs some 30 us
# What is wrong with a photo: the code of the answer, and a line for people.
_FAULTS = {
    Reason.NOT_AN_IMAGE: (415, "This is no photo: send a JPEG, PNG or WebP."),
    Reason.UNSUPPORTED_FORMAT: (
        415,
        "Photos of this kind are not read ({detail}): send a JPEG, PNG or"
        " WebP.",
    ),
    Reason.TRUNCATED_IMAGE: (422, "The photo is cut off: send all of it."),
    Reason.CORRUPT_IMAGE: (422, "The photo is damaged and cannot be read."),
    Reason.TOO_MANY_PIXELS: (
        422,
        "The photo has too many pixels: send a smaller copy, of at most"
        " {pixels:,} pixels.",
    ),
    Reason.TOO_SMALL: (
        422,
        "The photo is too small to show anything ({detail}).",
    ),
}


class Refused(Exception):
    """A request, or a photo, that is not answered.

    Attributes:
      status: of HTTP.
      code: for programs.
      message: for people: what is wrong and what to do.
    """

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def json(self) -> dict[str, str]:
        """As answers have it."""
        return {"code": self.code, "message": self.message}


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that a client sent; `name` is "" if it has none."""

    name: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a photo's EXIF says of where and when it was taken.

    Attributes:
      place: (lat, lng) in degrees, None if it does not say.
      time: Unix seconds, or records.UNKNOWN_TIME.
    """

    place: tuple[float, float] | None
    time: int

    def json(self) -> dict[str, Any] | None:
        """As answers have it; None if nothing is known."""
        if self.place is None and self.time == records.UNKNOWN_TIME:
            return None
        lat, lng = self.place or (None, None)
        return {"lat": lat, "lng": lng, "time": exif.time_text(self.time)}


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo that the model can be asked about."""

    name: str
    jpeg: bytes
    taken: Taken


def too_large(limit: int, what: str) -> Refused:
    """The refusal of what has more than `limit` bytes."""
    return Refused(
        413,
        "too_many_bytes",
        f"{what} is larger than {limit / 1e6:g} MB, which is the limit here:"
        " send a smaller copy.",
    )


def unreadable() -> Refused:
    """The refusal of what Pillow reads and TensorFlow does not."""
    status, line = _FAULTS[Reason.CORRUPT_IMAGE]
    return Refused(status, str(Reason.CORRUPT_IMAGE), line)


async def read_body(
    stream: AsyncIterator[bytes],
    limit: int,
    config: ServeConfig,
    share: Share,
) -> bytes:
    """A request's body of at most `limit` bytes, which `share` holds.

    Raises:
      Refused, batching.Overloaded: as soon as it breaks a limit.
    """
    body = bytearray()
    async for chunk in _arriving(stream, limit, config, share):
        body += chunk
    return bytes(body)


async def read_uploads(
    content_type: str,
    stream: AsyncIterator[bytes],
    config: ServeConfig,
    share: Share,
) -> list[Upload]:
    """The files of a request: its body, or the parts of a form.

    Args:
      content_type: of the request.
      stream: its body.
      config: the limits of a request.
      share: holds the files' bytes, within the limit of all requests.

    Raises:
      Refused, batching.Overloaded: if it is no form, or breaks a limit:
        as soon as it does.
    """
    kind, options = python_multipart.multipart.parse_options_header(
        content_type
    )
    if kind != b"multipart/form-data":
        limit = min(config.max_bytes, config.max_request_bytes)
        return [Upload("", await read_body(stream, limit, config, share))]
    if not options.get(b"boundary"):
        raise _bad_form("it names no boundary")
    form = _Form(config)
    try:
        parser = python_multipart.MultipartParser(
            options[b"boundary"], form.callbacks()
        )
        limit = config.max_request_bytes
        async for chunk in _arriving(stream, limit, config, share):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise _bad_form(str(error)) from error
    if not form.ended:
        raise _bad_form("it is cut off")
    if not form.uploads:
        raise _bad_form(f"no part of it is a file named {FIELD!r}")
    return form.uploads


async def _arriving(
    stream: AsyncIterator[bytes],
    limit: int,
    config: ServeConfig,
    share: Share,
) -> AsyncIterator[bytes]:
    """The chunks of a request; `share` holds each before it is handed on."""
    now = asyncio.get_running_loop().time
    size, due, until = 0, _PIECE, now() + config.upload_seconds
    while (chunk := await _next(stream, until)) is not None:
        size += len(chunk)
        if size > limit:
            raise too_large(limit, "The request")
        if size >= due:
            due, until = size + _PIECE, now() + config.upload_seconds
        share.add(len(chunk))
        yield chunk


async def _next(stream: AsyncIterator[bytes], until: float) -> bytes | None:
    """The next chunk; None at the end."""
    try:
        async with asyncio.timeout_at(until):
            return await anext(stream, None)
    except TimeoutError as error:
        raise Refused(
            408,
            "slow_upload",
            "The photos arrive too slowly: send fewer, or smaller copies.",
        ) from error


def _bad_form(why: str) -> Refused:
    return Refused(
        400,
        "bad_form",
        f"The form cannot be read: {why}. Send photos as files named"
        f" {FIELD!r} in multipart/form-data, or one photo as the body.",
    )


class _Form:
    """Collects the files of a form as its parser comes upon them."""

    def __init__(self, config: ServeConfig):
        self.config = config
        self.uploads: list[Upload] = []
        self.ended = False
        self._parts = 0
        self._header, self._value = b"", b""
        self._disposition = b""
        self._data: bytearray | None = None

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add_data,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self.config.max_photos + _MORE_PARTS:
            raise _bad_form(f"it has more than {self._parts - 1} parts")
        self._header = self._value = self._disposition = b""
        self._data = None

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _open(self) -> None:
        _, options = python_multipart.multipart.parse_options_header(
            self._disposition
        )
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            return
        if len(self.uploads) == self.config.max_photos:
            raise Refused(
                413,
                "too_many_photos",
                f"More than {self.config.max_photos} photos, which is the"
                " limit here: send some of them.",
            )
        self._name = options[b"filename"].decode("utf-8", "replace")
        self._data = bytearray()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._data is None:
            return
        # One byte more than the limit is enough to refuse it, with its name.
        room = self.config.max_bytes + 1 - len(self._data)
        self._data += data[start : min(end, start + room)]

    def _close(self) -> None:
        if self._data is not None:
            self.uploads.append(Upload(self._name, bytes(self._data)))
            self._data = None

    def _end(self) -> None:
        self.ended = True


def prepare(upload: Upload, photo_size: int, config: ServeConfig) -> Photo:
    """A photo as the model takes it, and what its EXIF says.

    Args:
      upload: the file.
      photo_size: pixels of the short side that the model is asked with.
      config: the limits.

    Raises:
      Refused: if it is no photo, or breaks a limit.
    """
    if len(upload.data) > config.max_bytes:
        raise too_large(config.max_bytes, "The photo")
    limits = images.Limits(max_pixels=config.max_pixels)
    try:
        jpeg, tags, gps = images.fit_with_exif(
            upload.data, photo_size, limits=limits
        )
    except PhotoError as error:
        raise _refusal(error, config) from error
    return Photo(upload.name, jpeg, _taken(tags, gps))


def _refusal(error: PhotoError, config: ServeConfig) -> Refused:
    """In words for people: what decoders say of a file is not for them."""
    status, line = _FAULTS[error.reason]
    message = line.format(detail=error.detail, pixels=config.max_pixels)
    return Refused(status, str(error.reason), message)


def _taken(tags: Mapping[int, Any], gps: Mapping[int, Any]) -> Taken:
    """What EXIF says; a wrong place is no reason to refuse a photo."""
    place = None
    with contextlib.suppress(PhotoError):
        lat, lng = exif.position(gps)
        if abs(lat) <= 90 and abs(lng) <= 180 and (lat or lng):
            place = lat, lng
    return Taken(place, exif.taken_at(tags))
