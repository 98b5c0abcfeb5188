"""Many small images in one tensor file: JPEG files end to end, and where each begins."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 92


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = JPEG_QUALITY, *, full_colour: bool = True) -> bytes:
    """An image uint8 (H,W,3) as a JPEG file; colours at full or at half resolution."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    assert done
    return bytes(data)


def decode_jpeg(data: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The image uint8 (size,size,3) in a JPEG file.

    Raises:
        ValueError: it is damaged, or of another size.
    """
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None or bgr.shape != (size, size, 3):
        raise ValueError("an image is damaged")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def packed(images: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """Tensors ``jpeg`` uint8 (bytes,) and ``jpeg_start`` int64 (n+1,) of JPEG files."""
    return {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "jpeg_start": np.cumsum([0, *map(len, images)], dtype=np.int64),
    }
