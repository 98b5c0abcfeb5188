"""The invisible watermark: put into every frame, found again in videos that were encoded and resized.

A mark is 16 bits of the operator's choice (the tag) with their checksum. It needs no network, about two milliseconds
a frame, and is found again by adding frames up: the image moves under the mark, so the mark is what stays.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from engine.postprocess.spread_spectrum import PUBLIC_KEY, SYNC_SLOTS, WORKING_SIDE_PX, SpreadSpectrum, Surface, crc8

_PSNR_DB, _MORE_DB = 42.0, 2.0
"""Of frames of up to 256 px, and what is added to it up to 512. Small frames have fewer places to hide bits in: of six
portraits at 200 kbit/s and 45 dB the worst lost 5 of 24 bits at 256 px and 2 at 512; now each loses one.
"""

FOUND_SCORE = 5.5
"""By chance reached in less than exp(-5.5^2 / 2), three in ten million videos (`SpreadSpectrum.correlate`)."""
_TAG_BITS = 16
_PAYLOAD_BYTES = 3

Rgb = npt.NDArray[np.uint8]


def power(side_px: int) -> float:
    """Mean square of what is added to frames with a shorter side of ``side_px``, in levels^2."""
    octaves = min(max(math.log2(side_px / WORKING_SIDE_PX), 0.0), 1.0)
    return float(255.0**2 / 10 ** ((_PSNR_DB + _MORE_DB * octaves) / 10))


class Watermark:
    """Marks frames of one size. Every frame is changed by the same energy: 42 dB of PSNR at 256 px, 44 from 512 px on.

    Args:
        tag: content, 0 .. 2**16 - 1.
        key: needed to find the watermark; the default is public.

    Raises:
        ValueError: the tag does not fit, or the frame is smaller than 112 pixels.

    Attributes:
        payload: the 24 bits in the mark: tag, then its CRC-8.
    """

    def __init__(self, height_px: int, width_px: int, tag: int = 0, key: bytes = PUBLIC_KEY) -> None:
        self._surface = Surface(height_px, width_px)
        self._spread = SpreadSpectrum(key)
        self._wanted_S = wanted_bits(self._spread, tag)
        self.payload = _payload(tag)
        self._size = (height_px, width_px, 3)
        self._power = power(min(height_px, width_px))

    def apply(self, rgb: Rgb) -> Rgb:
        """Return ``rgb`` (uint8, height x width x 3) with the mark; the input is not changed."""
        if rgb.shape != self._size or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._size}, got {rgb.dtype} {rgb.shape}")
        band_N, contrast_HW = self._surface.analyse(rgb)
        energy = self._power / float(np.mean(contrast_HW * contrast_HW))
        pattern = contrast_HW * self._surface.synthesise(self._spread.change(band_N, self._wanted_S, energy))
        pattern = self._surface.enlarged(pattern)
        pattern *= np.sqrt(self._power / float(np.mean(pattern * pattern)))
        marked: Rgb = cv2.add(rgb, cv2.merge([pattern] * 3), dtype=cv2.CV_8U)
        return marked


@dataclass(frozen=True, slots=True)
class WatermarkReading:
    """The watermark as read from the frames seen so far.

    Attributes:
        found: the mark is there; by chance less often than once in a million videos.
        score: how surely, in units of the spread that unmarked images show; ``found`` from 5.5 on.
        payload: the 24 bits as they were read, right or wrong.
        tag: what the mark says; None where it is not found or its checksum does not fit.
        frames: how many were added up.
    """

    found: bool
    score: float
    payload: int
    tag: int | None
    frames: int


class WatermarkDetector:
    """Adds up frames, which may come in any size of at least 112 pixels, and reads the mark."""

    def __init__(self, key: bytes = PUBLIC_KEY) -> None:
        self._spread = SpreadSpectrum(key)
        self._surfaces: dict[tuple[int, int], Surface] = {}
        self._sum_N: npt.NDArray[np.float32] | None = None
        self._frames = 0

    def push(self, rgb: Rgb) -> None:
        """Add a frame, uint8 (height, width, 3)."""
        size = (rgb.shape[0], rgb.shape[1])
        if size not in self._surfaces:
            self._surfaces[size] = Surface(*size)
        band_N, _ = self._surfaces[size].analyse(rgb)
        self._sum_N = band_N if self._sum_N is None else self._sum_N + band_N
        self._frames += 1

    def read(self) -> WatermarkReading:
        """The reading of the frames so far."""
        if self._sum_N is None:
            return WatermarkReading(False, 0.0, 0, None, 0)
        soft_S, score = self._spread.correlate(self._sum_N / np.float32(self._frames))
        payload = int.from_bytes(np.packbits(soft_S[SYNC_SLOTS:] > 0).tobytes(), "big")
        found = score >= FOUND_SCORE
        tag = payload >> 8 if found and _payload(payload >> 8) == payload else None
        return WatermarkReading(found, score, payload, tag, self._frames)


def wanted_bits(spread: SpreadSpectrum, tag: int) -> npt.NDArray[np.float32]:
    """-1 or 1 for every slot: those that are known, then tag and checksum.

    Raises:
        ValueError: the tag does not fit.
    """
    if not 0 <= tag < 1 << _TAG_BITS:
        raise ValueError(f"a watermark tag is a number of {_TAG_BITS} bits: 0 to {(1 << _TAG_BITS) - 1}")
    bits = np.unpackbits(np.frombuffer(_payload(tag).to_bytes(_PAYLOAD_BYTES, "big"), np.uint8))
    return np.concatenate([spread.sync_S, np.where(bits, 1, -1).astype(np.float32)])


def _payload(tag: int) -> int:
    """Tag and checksum in one number."""
    return tag << 8 | crc8(tag.to_bytes(_TAG_BITS // 8, "big"))
