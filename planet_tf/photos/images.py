"""Image files by Pillow: what they are, and JPEGs to train on made of them."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from PIL import (
    ExifTags,
    Image,
    ImageFile,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from planet_tf.photos import exif
from planet_tf.photos.rejects import PhotoError, Reason

# How files are named that may hold what is read here.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif")
QUALITY = 90  # of images that have to be encoded again
# Half of the samples of colour each way: what cameras and the web use, and
# what decodes fastest.
CHROMA = "4:2:0"
# Whatever the file's name is. Importing the plugin registers it.
_FORMATS = ["JPEG", "PNG", WebPImagePlugin.WebPImageFile.format]
with contextlib.suppress(ImportError):
    import pi_heif

    pi_heif.register_heif_opener()
    _FORMATS.append("HEIF")
# How files start that people take for photos, but that are not read.
_OTHERS = {
    re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|mif1|msf1)", re.S): (
        "HEIC; to read it, pip install 'planet-tf[heic]'"
    ),
    re.compile(rb"....ftypavi[fs]", re.S): "AVIF",
    re.compile(rb"....ftyp|\x1aE\xdf\xa3", re.S): "a video",
    re.compile(rb"GIF8"): "GIF",
    re.compile(rb"BM.{12}", re.S): "BMP",
    re.compile(rb"II\*\0|MM\0\*"): "TIFF",
    re.compile(rb"%PDF"): "PDF",
    re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", re.S): "SVG",
}
_TO_UPRIGHT: dict[int | None, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# JPEG segments with what is known of a photo and not seen on it: EXIF and
# XMP, IPTC, comments.
_METADATA = (0xE1, 0xED, 0xFE)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# What begins a segment; within pixels, a zero or a restart follows the 0xFF.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.S)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Which images are taken.

    Attributes:
      min_side: pixels of the short side; smaller images show nothing.
      max_pixels: Pillow's own limit for a warning; a decoded pixel takes
        three bytes.
    """

    min_side: int = 16
    max_pixels: int = 89_478_485

    def check(self, width: int, height: int) -> None:
        """Raises PhotoError if an image is too small or too large."""
        if width * height > self.max_pixels:
            raise PhotoError(
                Reason.TOO_MANY_PIXELS,
                f"{width} x {height}; the limit is {self.max_pixels} pixels",
            )
        if min(width, height) < self.min_side:
            raise PhotoError(
                Reason.TOO_SMALL,
                f"{width} x {height}; a side has at least {self.min_side}"
                " pixels",
            )


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the head of an image file says.

    Attributes:
      format: JPEG, PNG, WEBP, HEIF, or MPO (a JPEG with others behind it).
      mode: of the pixels, as Pillow names it; "RGB;16B" for 16-bit colours.
      width: in pixels, before it is turned upright.
      height: as the width.
      frames: 1, or more if it is animated or holds several images.
      orientation: of the EXIF, 1 to 8; None if there is none.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    orientation: int | None


def facts(data: bytes) -> Facts:
    """What an image file says it is, without decoding it.

    Raises:
      PhotoError: if it is no image.
    """
    with _photo_errors():
        image = _open(io.BytesIO(data))
        # Pillow shows 16-bit colours as what it makes of them.
        raw = image.tile[0][3] if image.format == "PNG" and image.tile else ""
        deep = image.mode != "I;16" and ";16" in str(raw)
        return Facts(
            format=image.format or "",
            mode=str(raw) if deep else image.mode,
            width=image.width,
            height=image.height,
            frames=getattr(image, "n_frames", 1),
            orientation=_orientation(image)
            if image.format != "PNG" or "exif" in image.info
            else None,
        )


def fit(
    data: bytes,
    image_size: int,
    *,
    quality: int = QUALITY,
    limits: Limits | None = None,
) -> bytes:
    """The image as an upright JPEG, its short side at most `image_size`.

    What is one already is not encoded again, but loses its metadata, such as
    the position in its EXIF. With an `image_size` of 0 images keep their size,
    and those that are upright JPEGs their bytes. Every image is decoded, which
    shows whether it is whole; of an animation it is the first frame.

    Raises:
      PhotoError: if it is not, or breaks the limits.
    """
    with _photo_errors():
        image = _open_to_read(data, limits or Limits())
        return _fit(image, data, image_size, quality)


def fit_with_exif(
    data: bytes, image_size: int, *, limits: Limits | None = None
) -> tuple[bytes, Mapping[int, Any], Mapping[int, Any]]:
    """What `fit` makes of the image, its EXIF tags, and those of its position.

    The file is opened and decoded once for all. The tags are none if there are
    none, or if they are broken.

    Raises:
      PhotoError: as `fit` does.
    """
    with _photo_errors():
        image = _open_to_read(data, limits or Limits())
        try:
            tags, gps = _tags(image)
        except Exception:  # a broken EXIF does not make a photo unusable
            tags, gps = {}, {}
        return _fit(image, data, image_size, QUALITY), tags, gps


def _open_to_read(data: bytes, limits: Limits) -> ImageFile.ImageFile:
    """An image within limits, whose EXIF is at hand."""
    image = _open(io.BytesIO(data))
    limits.check(*image.size)
    if image.format == "PNG":
        # Else it happens later, on the way to an EXIF behind the pixels, where
        # an error would not be noticed.
        image.load()
    return image


def _fit(
    image: Image.Image, data: bytes, image_size: int, quality: int
) -> bytes:
    transpose = _TO_UPRIGHT.get(_orientation(image))
    is_jpeg = image.format == "JPEG" and image.mode in ("RGB", "L")
    scale = image_size / min(image.size) if image_size else 1
    if scale >= 1:
        image.load()
        if is_jpeg and transpose is None:
            plain = without_metadata(data) if image_size else data
            if plain:
                return plain
        image = _in_color(image)
    else:
        size = round(image.width * scale), round(image.height * scale)
        image.draft(None, size)  # decodes at 1/2, 1/4 or 1/8
        # Of a photo of 1024 x 768, decoding takes 3.7 ms, this 1.9 and
        # encoding 0.3. BOX would take 0.9 and err twice as much against
        # LANCZOS on all pixels; optimized Huffman tables 0.9 more for
        # files 3 % smaller.
        image = _in_color(image).resize(size, Image.Resampling.BICUBIC)
    if transpose is not None:
        image = image.transpose(transpose)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=CHROMA)
    return out.getvalue()


def without_metadata(jpeg: bytes) -> bytes | None:
    """The JPEG file without EXIF, XMP, IPTC and comments, pixels untouched.

    Nor is there what follows the image, such as the video of a phone's "motion
    photo", which has a position too. None if its segments are not in order.
    """
    kept, at = [jpeg[:2]], 2
    while _MARKER.match(jpeg, at):
        marker = jpeg[at + 1]
        if marker == _END_OF_IMAGE:
            return b"".join([*kept, jpeg[at : at + 2]])
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            pixels = _MARKER.search(jpeg, end)
            end = pixels.start() if pixels else len(jpeg)
        if marker not in _METADATA:
            kept.append(jpeg[at:end])
        at = end
    return None


def read_exif(file: IO[bytes]) -> tuple[float, float, int]:
    """(lat, lng, Unix seconds) by a photo's EXIF.

    Raises:
      PhotoError: if there is no position, or no image.
    """
    with _photo_errors():
        tags, gps = _exif(file)
        return *exif.position(gps), exif.taken_at(tags)


def read_time(file: IO[bytes]) -> int:
    """Unix seconds by a photo's EXIF; PhotoError if it is no image."""
    with _photo_errors():
        return exif.taken_at(_exif(file)[0])


def _exif(file: IO[bytes]) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
    """EXIF and GPS tags."""
    image = _open(file)
    Limits().check(*image.size)
    if image.format == "PNG":
        image.load()
    # Of other formats, Pillow reads the head of the file and no pixels.
    return _tags(image)


def _tags(image: Image.Image) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
    tags = image.getexif()
    return tags.get_ifd(ExifTags.IFD.Exif), tags.get_ifd(ExifTags.IFD.GPSInfo)


def _open(file: IO[bytes]) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(256)
        for start, kind in _OTHERS.items():
            if start.match(head):
                raise _other_format(kind) from error
        # Pillow's own message holds an address, another one in each run.
        raise PhotoError(
            Reason.NOT_AN_IMAGE,
            f"neither JPEG nor PNG nor WebP; it starts with {head[:16]!r}",
        ) from error


def _other_format(kind: str) -> PhotoError:
    if kind.startswith("HEIC") and "HEIF" in _FORMATS:
        return PhotoError(Reason.CORRUPT_IMAGE, "HEIC that cannot be read")
    return PhotoError(Reason.UNSUPPORTED_FORMAT, f"this is {kind}")


@contextlib.contextmanager
def _photo_errors() -> Iterator[None]:
    """Turns whatever Pillow raises on odd files into PhotoError."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        text = re.sub(r" at 0x[0-9a-f]+", "", str(error))
        truncated = "truncated" in text.lower()
        raise PhotoError(
            Reason.TRUNCATED_IMAGE if truncated else Reason.CORRUPT_IMAGE, text
        ) from error


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF does not make a photo unusable
        return None


def _in_color(image: Image.Image) -> Image.Image:
    """The image as RGB or gray; what is transparent becomes white."""
    if image.mode in ("RGB", "L"):
        return image
    if image.mode.startswith("I"):  # Pillow would cut 16 bits off at 255
        image = image.convert("I").point(lambda value: value * (1 / 257))
        return image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
