"""`Postprocess` in tensors: label and watermark on the device that makes the image, as a part of its graph.

It is the arithmetic of `label.py`, `watermark.py` and `spread_spectrum.py` for heads of a fixed size and any number of
rows, written with operations that every backend knows. Two of them differ: the median comes from counting instead of
sorting, and the level of the informed embedding from trying every slot at once.

Shape suffixes: B rows, H, W pixels, K cosines a direction, P = K^2 places of the spectrum, S slots, T thresholds.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.postprocess.label import VisibleLabel
from engine.postprocess.postprocess import WatermarkConfig
from engine.postprocess.spread_spectrum import (
    BAND,
    CONTRAST_FLOOR,
    FREQUENCY,
    HIGHEST,
    LIMIT,
    SMALLEST_SIDE_PX,
    WORKING_SIDE_PX,
    SpreadSpectrum,
    cosines,
    windows,
)
from engine.postprocess.watermark import power, wanted_bits

_THRESHOLDS, _ROUNDS = 32, 3
"""Of the counting median: it is exact to 1/32768 of the largest value."""


def watermark_pattern(watermark: WatermarkConfig) -> Tensor:
    """What the mark says and where, as `PostprocessGraph` takes it: float32 (S, P) of -1, 0 and 1."""
    spread = SpreadSpectrum(watermark.key)
    pattern_SP = np.zeros((len(spread.slot_sizes_S), HIGHEST * HIGHEST), np.float32)
    pattern_SP[:, BAND] = spread.pattern_SN(wanted_bits(spread, watermark.tag))
    return torch.from_numpy(pattern_SP)


class PostprocessGraph(nn.Module):
    """Labels and marks images of ``size`` x ``size`` pixels; float32 throughout.

    Raises:
        ValueError: such images are too small for a mark, or so large that they are marked at a smaller size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if not SMALLEST_SIDE_PX <= size <= WORKING_SIDE_PX:
            raise ValueError(f"a graph marks images of {SMALLEST_SIDE_PX} to {WORKING_SIDE_PX} pixels, not of {size}")
        label = VisibleLabel(size, size)
        keep_HW1, add_HW3 = np.ones((size, size, 1), np.float32), np.full((size, size, 3), 0.5, np.float32)
        keep_HW1[label.area], add_HW3[label.area] = label.keep, label.add
        weight_P = np.zeros(HIGHEST * HIGHEST, np.float32)
        weight_P[BAND] = FREQUENCY
        constants = {
            "keep_HW1": torch.from_numpy(keep_HW1),
            "add_HW3": torch.from_numpy(add_HW3),
            "luma_3": torch.tensor([9798.0, 19235.0, 3735.0]) / 2**15,
            "rows_KH": cosines(size) / size,
            "weight_P": torch.from_numpy(weight_P),
            "root_P": torch.from_numpy(np.sqrt(weight_P)),
            "thresholds_T": torch.arange(1, _THRESHOLDS + 1) / _THRESHOLDS,
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)
        self._size, self._power = size, power(size)
        (self._mean, _), (self._fine, _), (self._contrast, _) = windows(size, size)

    keep_HW1: Tensor
    add_HW3: Tensor
    luma_3: Tensor
    rows_KH: Tensor
    weight_P: Tensor
    root_P: Tensor
    thresholds_T: Tensor

    def forward(self, rgb_BHW3: Tensor, finished_B: Tensor, pattern_SP: Tensor) -> Tensor:
        """Finished images (B, H, W, 3) float32 of whole levels, 0 to 255.

        Args:
            rgb_BHW3: whole levels, in any dtype.
            finished_B: 1 to label and mark the row, 0 to leave it as it is.
            pattern_SP: see `watermark_pattern`.
        """
        rgb_BHW3 = rgb_BHW3.float()
        labelled_BHW3 = torch.floor(rgb_BHW3 * self.keep_HW1 + self.add_HW3)
        marked_BHW3 = labelled_BHW3 + self._mark(labelled_BHW3, pattern_SP)[..., None]
        marked_BHW3 = marked_BHW3.round().clamp(0, 255)
        return torch.where(finished_B[:, None, None, None] > 0.5, marked_BHW3, rgb_BHW3)

    def _mark(self, rgb_BHW3: Tensor, pattern_SP: Tensor) -> Tensor:
        """The pattern (B, H, W) that is added to each colour, as `Watermark.apply` works it out."""
        luma_BHW = torch.floor((rgb_BHW3 * self.luma_3).sum(-1) + 0.5)
        contrast_BHW = self._local_contrast(luma_BHW)
        even_BHW = (luma_BHW - _blur(luma_BHW, self._mean)) / contrast_BHW
        band_BP = (self.rows_KH @ even_BHW @ self.rows_KH.T).flatten(1) * self._size
        energy_B1 = self._power / contrast_BHW.square().mean((1, 2))[:, None]
        change_BKK = self._change(band_BP, energy_B1, pattern_SP).reshape(-1, HIGHEST, HIGHEST)
        added_BHW: Tensor = contrast_BHW * (self.rows_KH.T @ change_BKK @ self.rows_KH)
        return added_BHW * torch.sqrt(self._power / added_BHW.square().mean((1, 2), keepdim=True))

    def _local_contrast(self, luma_BHW: Tensor) -> Tensor:
        """As `Surface.analyse` has it: the least of the typical deviations around, blurred."""
        fine_BHW = (luma_BHW - _blur(luma_BHW, self._fine)).abs() + CONTRAST_FLOOR
        typical_BHW = _blur(fine_BHW.log(), self._contrast).exp()
        least_B1HW = -F.max_pool2d(-typical_BHW[:, None], self._contrast, 1, self._contrast // 2)
        return _blur(least_B1HW[:, 0], self._contrast)

    def _change(self, band_BP: Tensor, energy_B1: Tensor, pattern_SP: Tensor) -> Tensor:
        """As `SpreadSpectrum.change`."""
        weighted_BP = band_BP * self.weight_P
        limit_B1 = (LIMIT * self._median(weighted_BP.abs())).clamp(min=1e-12)
        bounded_BP = torch.tanh(weighted_BP / limit_B1)
        slope_BP = 1 - bounded_BP.square()
        slots_PS = pattern_SP.abs().T
        gain_BS = (self.weight_P * self.root_P * slope_BP.square()) @ slots_PS
        margin_BS = (bounded_BP * limit_B1) @ pattern_SP.T / gain_BS
        cost_BS = (self.weight_P * slope_BP.square()) @ slots_PS
        steps_BS = (_water_level(margin_BS, cost_BS, energy_B1) - margin_BS).clamp(min=0)
        return steps_BS @ pattern_SP * self.root_P * slope_BP

    def _median(self, values_BP: Tensor) -> Tensor:
        """Of the places in the band, (B, 1); those outside hold 0, which is counted away."""
        wanted = HIGHEST * HIGHEST - len(BAND) / 2
        low_B1 = torch.zeros_like(values_BP[:, :1])
        width_B1 = values_BP.amax(1, keepdim=True)
        for _ in range(_ROUNDS):
            threshold_BT = low_B1 + width_B1 * self.thresholds_T
            below_BT = (values_BP[:, None] <= threshold_BT[..., None]).float().sum(2)
            width_B1 = width_B1 / _THRESHOLDS
            low_B1 = low_B1 + width_B1 * (below_BT < wanted).float().sum(1, keepdim=True)
        return low_B1 + width_B1 / 2


def _water_level(margin_BS: Tensor, cost_BS: Tensor, energy_B1: Tensor) -> Tensor:
    """Level (B, 1) at which sum cost max(0, level - margin)^2 is the energy.

    With d how far the slots below slot n are below it, filling them spends the energy at n's margin + x, where
    A x^2 + 2 B x + C = energy and A, B, C are the sums of cost, cost d, cost d^2. The level is the least of those
    with x >= 0.
    """
    difference_BSS = margin_BS[:, :, None] - margin_BS[:, None]
    below_BSS = cost_BS[:, None] * (difference_BSS >= 0).float()
    a_BS = below_BSS.sum(2)
    b_BS = (below_BSS * difference_BSS).sum(2)
    left_BS = energy_B1 - (below_BSS * difference_BSS.square()).sum(2)
    x_BS = (torch.sqrt((b_BS.square() + a_BS * left_BS).clamp(min=0)) - b_BS) / a_BS
    level_BS = torch.where(left_BS >= 0, margin_BS + x_BS, torch.full_like(margin_BS, 3e38))
    return level_BS.amin(1, keepdim=True)


def _blur(image_BHW: Tensor, window: int) -> Tensor:
    """Mean over ``window`` x ``window`` pixels; the border is mirrored about the outermost pixels."""
    margin = window // 2
    padded_B1HW = F.pad(image_BHW[:, None], (margin,) * 4, mode="reflect")
    rows_B1HW = F.avg_pool2d(padded_B1HW, (window, 1), stride=1)
    return F.avg_pool2d(rows_B1HW, (1, window), stride=1)[:, 0]
