"""From whatever a phone or a browser calls an image to uint8 RGB."""

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from engine.errors import ImageTooLarge, ImageUnreadable, MissingDependency

_log = logging.getLogger(__name__)

MAX_BYTES: Final = 40_000_000
MAX_PIXELS: Final = 60_000_000
"""Pixels of an image that must be decoded whole. JPEG can be decoded at an eighth of its size and may have more."""
MAX_PIXELS_JPEG: Final = 170_000_000
MAX_SIDE: Final = 2560
"""Larger images are reduced to this side, which still leaves many times the pixels of a crop."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
"""Formats with a decoder of their own; Pillow has others that run programs (EPS) or that no camera writes."""

_NEUTRAL = (128, 128, 128)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION_TAG = 0x0112
# What Pillow's decoders raise on broken files, found by feeding them truncated and flipped bytes.
_DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError,
    AttributeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


def load_image(source: Path | str | bytes | NDArray[Any]) -> NDArray[np.uint8]:
    """An image as uint8 (H, W, 3) RGB, upright, at most 2560 px a side.

    Animations give their first frame, transparency is laid on grey, colours come to sRGB.

    Args:
        source: a path, the bytes of a file, or an array (H, W), (H, W, 3) or (H, W, 4) uint8.

    Raises:
        ImageUnreadable, ImageTooLarge: see the message. MissingDependency: HEIC without its extra.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        data = read_image_file(Path(source))
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(f"the image has {len(data)} bytes; at most {MAX_BYTES} are decoded")
    if not data:
        raise ImageUnreadable("the image is empty")
    return _decode(data)


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file or pipe, as `load_image` takes them.

    Raises:
        ImageUnreadable, ImageTooLarge: see the message.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ImageUnreadable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(f"{path} has more than {MAX_BYTES} bytes; no more are decoded")
    return data


def _from_array(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ImageUnreadable(f"an array must be uint8 (H, W, 3) RGB, not {pixels.dtype} {pixels.shape}")
    if pixels.size == 0:
        raise ImageUnreadable("the image is empty")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise ImageTooLarge(f"the image has {pixels.shape[1]} x {pixels.shape[0]} px; at most {MAX_PIXELS} in all")
    return _finish(Image.fromarray(np.ascontiguousarray(pixels)))


def _decode(data: bytes) -> NDArray[np.uint8]:
    Image.init()
    formats = [name for name in (*_FORMATS, *_heif_format(data)) if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            # Pillow warns of large and of odd images; the bounds below decide.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_size(image)
                if image.format in ("JPEG", "MPO"):
                    image.draft(None, (MAX_SIDE, MAX_SIDE))
                image.load()
                return _finish(image)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image has too many pixels; at most {MAX_PIXELS} are decoded") from error
    except UnidentifiedImageError as error:
        raise ImageUnreadable("this is no image of a known format (JPEG, PNG, WebP, GIF, AVIF, HEIC)") from error
    except (ImageTooLarge, ImageUnreadable):
        raise
    except MemoryError as error:
        raise ImageTooLarge("the image needs more memory than there is") from error
    except _DECODER_ERRORS as error:
        raise ImageUnreadable(f"the image is damaged: {error}") from error


def _heif_format(data: bytes) -> tuple[str, ...]:
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS or b"avif" in data[8:40]:
        return ()
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependency("HEIC images need an extra: pip install 'gohd-live[heic]'") from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _check_size(image: Image.Image) -> None:
    most = MAX_PIXELS_JPEG if image.format in ("JPEG", "MPO") else MAX_PIXELS
    if image.width * image.height > most:
        raise ImageTooLarge(f"the image has {image.width} x {image.height} px; at most {most} in all")


def _finish(image: Image.Image) -> NDArray[np.uint8]:
    orientation, profile = _orientation(image), image.info.get("icc_profile")
    image = _to_eight_bits(image)
    # Reducing comes first: all that follows is cheaper on fewer pixels.
    if max(image.size) > MAX_SIDE:
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if orientation is not None:
        image = image.transpose(orientation)
    image = _on_neutral(image)
    image = _to_srgb(image, profile)
    return np.array(image.convert("RGB"), np.uint8)


def _orientation(image: Image.Image) -> Image.Transpose | None:
    try:
        tag = image.getexif().get(_ORIENTATION_TAG)
    except _DECODER_ERRORS:
        _log.info("the image's EXIF block is damaged and was not used")
        return None
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return turns.get(tag) if isinstance(tag, int) else None


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint16)
        return Image.fromarray((wide >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        top = 65535.0 if image.mode == "I" else max(1.0, 255.0 if values.max(initial=0.0) > 1 else 1.0)
        return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))
    return image


def _on_neutral(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*_NEUTRAL, 255)), image).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *_DECODER_ERRORS):
        _log.info("the image's colour profile cannot be used; its colours are taken as they are")
        return image
    return image if converted is None else converted
