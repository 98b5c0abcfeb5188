"""Place and statistic of the invisible watermark: keyed chips on the middle frequencies of the evened-out brightness.

    brightness -> minus its local mean -> divided by its local contrast -> cosine transform, a band of it -> slots

Dividing by the contrast does two things: in it every region counts alike, so that a busy background does not drown the
mark, and a pattern added to it comes out strong where the image is busy and faint where the eye would see it.
Contrast is a typical value of its surroundings, not their mean, and the least of them, or an edge would carry the
pattern into the smooth wall behind it. The cosines are laid over width and height, not over pixels, so that a resized
video keeps its mark. The pattern is spread-spectrum (Cox et al. 1997): each frequency of the band belongs to one slot,
a slot is one bit, and a key says which, and with which sign.

Shape suffixes: H, W pixels of the working size; K cosines a direction; N frequencies of the band; S slots.
"""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt
import torch

PUBLIC_KEY = b"gohd-live"
"""The key unless an operator sets one: anybody can find its mark, which is the point of it."""

SMALLEST_SIDE_PX = 112

SYNC_SLOTS = 32
PAYLOAD_SLOTS = 24
WORKING_SIDE_PX = 256
_LOWEST, HIGHEST = 16, 100
"""Half-waves over the frame. Half size leaves 128, and codecs at low rates drop the highest first."""

LIMIT = 1.2
_MEAN_SHARE, _FINE_SHARE, _CONTRAST_SHARE = 12, 40, 24
CONTRAST_FLOOR = 0.7

FloatArray = npt.NDArray[np.float32]


class Surface:
    """The evened-out brightness of frames of one size, and its cosine band.

    Larger frames are made smaller first, to (H, W): the band is far below what that loses.

    Args:
        height_px, width_px: at least SMALLEST_SIDE_PX each.
    """

    def __init__(self, height_px: int, width_px: int) -> None:
        if min(height_px, width_px) < SMALLEST_SIDE_PX:
            raise ValueError(f"frames of {width_px} x {height_px} pixels are too small for a mark")
        self._full_size = (width_px, height_px)
        scale = min(1.0, WORKING_SIDE_PX / min(height_px, width_px))
        height_px, width_px = round(scale * height_px), round(scale * width_px)
        self._size = (width_px, height_px)
        self._rows_KH, self._columns_KW = cosines(height_px), cosines(width_px)
        self._unit = np.float32(np.sqrt(height_px * width_px))
        self._mean_window, self._fine_window, self._contrast_window = windows(height_px, width_px)
        self._kernel = np.ones(self._contrast_window[::-1], np.uint8)

    def analyse(self, rgb: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Band (N,) of a frame uint8 (height, width, 3), and the local contrast (H, W) that it was divided by."""
        luma_HW = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self._size != self._full_size:
            luma_HW = cv2.resize(luma_HW, self._size, interpolation=cv2.INTER_AREA)
        luma_HW = luma_HW.astype(np.float32)
        detail_HW = luma_HW - cv2.blur(luma_HW, self._mean_window)
        fine_HW = np.abs(luma_HW - cv2.blur(luma_HW, self._fine_window)) + CONTRAST_FLOOR
        typical_HW = cv2.exp(cv2.blur(cv2.log(fine_HW), self._contrast_window))
        contrast_HW = cv2.blur(cv2.erode(typical_HW, self._kernel), self._contrast_window)
        even_HW = torch.from_numpy(detail_HW / contrast_HW)
        spectrum_KK: FloatArray = (self._rows_KH @ even_HW @ self._columns_KW.T).numpy()
        return spectrum_KK.ravel()[BAND] / self._unit, contrast_HW

    def enlarged(self, pattern_HW: FloatArray) -> FloatArray:
        """A pattern at the frame's own size."""
        if self._size == self._full_size:
            return pattern_HW
        full: FloatArray = cv2.resize(pattern_HW, self._full_size, interpolation=cv2.INTER_LINEAR)
        return full

    def synthesise(self, band_N: FloatArray) -> FloatArray:
        """Pattern (H, W) whose band is ``band_N``."""
        spectrum_KK = np.zeros(HIGHEST * HIGHEST, np.float32)
        spectrum_KK[BAND] = band_N * self._unit
        grid_KK = torch.from_numpy(spectrum_KK.reshape(HIGHEST, HIGHEST))
        pattern: FloatArray = (self._rows_KH.T @ grid_KK @ self._columns_KW).numpy()
        return pattern


class SpreadSpectrum:
    """Signs and slots that a key gives, and the statistic that embedding raises and detection reads.

    The keystream is SHAKE-256 of the key, so that every machine and library version makes the same pattern.
    """

    def __init__(self, key: bytes) -> None:
        count = len(BAND)
        stream = hashlib.shake_256(b"gohd watermark 1" + key).digest(9 * count + SYNC_SLOTS)
        order = np.argsort(np.frombuffer(stream, "<u8", count), kind="stable")
        slots = SYNC_SLOTS + PAYLOAD_SLOTS
        starts = np.round(np.linspace(0, count, slots + 1)).astype(np.int64)
        self._order_N, self._starts_S = order, starts[:-1]
        self.slot_sizes_S = np.diff(starts)
        coins = np.frombuffer(stream, np.uint8, count, 8 * count) & 1
        self._sign_N = np.where(coins, 1, -1).astype(np.float32)
        sync = np.frombuffer(stream, np.uint8, SYNC_SLOTS, 9 * count) & 1
        self.sync_S = np.where(sync, 1, -1).astype(np.float32)

    def _sums(self, values_N: FloatArray) -> FloatArray:
        sums: FloatArray = np.add.reduceat(values_N[self._order_N], self._starts_S)
        return sums

    def pattern_SN(self, wanted_S: FloatArray) -> FloatArray:
        """What `change` raises, as one matrix: a slot's row has its wanted sign times those of its frequencies."""
        pattern_SN = np.zeros((len(self.slot_sizes_S), len(BAND)), np.float32)
        slot_N = np.repeat(np.arange(len(self.slot_sizes_S)), self.slot_sizes_S)
        pattern_SN[slot_N, self._order_N] = self._sign_N[self._order_N] * wanted_S[slot_N]
        return pattern_SN

    def correlate(self, band_N: FloatArray) -> tuple[FloatArray, float]:
        """Soft bits (S,) of a band, and how surely the mark is there.

        The second is the sum of the known slots over the root of their energy. For an image made without the key
        the signs are coin tosses, so by Hoeffding's inequality it exceeds t with a chance below exp(-t^2 / 2).
        Loud frequencies are limited first, or a few of them would decide.
        """
        limited_N, _ = self._limited(band_N)
        soft_S = self._sums(self._sign_N * limited_N)
        energy = float(self._sums(limited_N * limited_N)[:SYNC_SLOTS].sum())
        return soft_S, float((self.sync_S * soft_S[:SYNC_SLOTS]).sum() / np.sqrt(max(energy, 1e-20)))

    def change(self, band_N: FloatArray, wanted_S: FloatArray, energy: float) -> FloatArray:
        """The change of a band that spends ``energy`` and leaves the weakest slot as strong as it can be.

        What the image itself says in a slot is known here, so it is counted in (informed embedding): slots that
        already lean the wanted way get less. With margins m_s and the energy e_s that a unit step of slot s costs,
        the steps are max(0, level - m_s), the level that of sum e_s step_s^2 = energy.

        Args:
            wanted_S: -1 or 1 a slot.
        """
        limited_N, slope_N = self._limited(band_N)
        direction_N = self._sign_N * np.sqrt(FREQUENCY) * slope_N
        gain_S = self._sums(self._sign_N * FREQUENCY * slope_N * direction_N)
        margin_S = wanted_S * self._sums(self._sign_N * limited_N) / gain_S
        steps_S = _water_level(margin_S, self._sums(direction_N * direction_N), energy)
        change_N = np.empty_like(band_N)
        change_N[self._order_N] = np.repeat(wanted_S * steps_S, self.slot_sizes_S)
        change_N *= direction_N
        return change_N

    def _limited(self, band_N: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weighted band through a smooth limiter at 1.2 times its median size, and the limiter's slope."""
        weighted_N = band_N * FREQUENCY
        limit = max(LIMIT * float(np.median(np.abs(weighted_N))), 1e-12)
        bounded_N = np.tanh(weighted_N / limit)
        return limit * bounded_N, 1 - bounded_N * bounded_N


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial x^8 + x^2 + x + 1, starting from 0xFF."""
    value = 0xFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1) ^ (0x107 if value & 0x80 else 0)
    return value


def _water_level(margin_S: FloatArray, cost_S: FloatArray, energy: float) -> FloatArray:
    """Steps max(0, level - margin) whose cost sum cost step^2 is ``energy``, exactly.

    With the slots in order of margin, the first n filled and A, B, C the sums of cost, cost margin, cost margin^2 over
    them, the level solves A l^2 - 2 B l + C = energy; n is the largest whose own margin lies below that level.
    """
    order = np.argsort(margin_S)
    margin, cost = margin_S[order].astype(np.float64), cost_S[order].astype(np.float64)
    a, b, c = np.cumsum(cost), np.cumsum(cost * margin), np.cumsum(cost * margin * margin)
    level_n = (b + np.sqrt(np.maximum(b * b - a * (c - energy), 0))) / a
    level = level_n[np.flatnonzero(level_n >= margin)[-1]]
    steps: FloatArray = np.maximum(level - margin_S, 0).astype(np.float32)
    return steps


def cosines(size: int) -> torch.Tensor:
    """Orthonormal cosines (K, size) of the type-II transform."""
    wave_K, place = np.arange(HIGHEST), (np.arange(size) + 0.5) / size
    rows = np.cos(np.pi * np.outer(wave_K, place)) * np.sqrt(np.where(wave_K == 0, 1, 2) / size)[:, None]
    return torch.from_numpy(rows.astype(np.float32))


def windows(height_px: int, width_px: int) -> tuple[tuple[int, int], ...]:
    """Widths and heights of what the mean, the fine detail and the typical contrast are taken over; odd numbers."""
    mean, fine, contrast = (
        (max(3, width_px // share) | 1, max(3, height_px // share) | 1)
        for share in (_MEAN_SHARE, _FINE_SHARE, _CONTRAST_SHARE)
    )
    return mean, fine, contrast


_RADIUS = np.hypot(*np.meshgrid(np.arange(HIGHEST), np.arange(HIGHEST), indexing="ij")).ravel()
BAND = np.flatnonzero((_RADIUS >= _LOWEST) & (_RADIUS < HIGHEST))
FREQUENCY = (_RADIUS[BAND] / _RADIUS[BAND].mean()).astype(np.float32)
