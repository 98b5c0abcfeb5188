"""Discriminator of images for Eq. 16: residual blocks as in StyleGAN2, from which the animator descends.

    256 --1x1--> 256 --block--> 128 --block--> ... --block--> 4 --deviation, 3x3--> 4 --linear--> score

The deviation is one more channel: how much the rows of a group differ (minibatch standard deviation).
Shape suffixes: B rows, G groups, N rows a group, C channels, H and W pixels.
"""

import itertools
import math

import torch
from torch import Tensor, nn

from engine.animator.network.encoder import ActivatedConv, HalvingBlock
from engine.animator.network.equalised import EqualisedLinear, fused_leaky_relu

_GROUP_ROWS = 4
_EPSILON = 1e-8


class ImageDiscriminator(nn.Module):
    """Scores images; high is real."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        """``widths``: channels at 4, 8, 16, ... pixels; their number sets the size of the image."""
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths needs two numbers or more, all positive, not {widths}")
        falling = widths[::-1]
        self.stem = ActivatedConv(3, falling[0], 1)
        self.blocks = nn.Sequential(*(HalvingBlock(a, b) for a, b in itertools.pairwise(falling)))
        self.last = ActivatedConv(widths[0] + 1, widths[0], 3, padding=1)
        self.hidden = EqualisedLinear(widths[0] * 16, widths[0])
        self.score = EqualisedLinear(widths[0], 1)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Scores (B,) of images (B, 3, size, size) in [-1, 1]; rows of one group depend on each other."""
        x_BCHW = minibatch_std(self.blocks(self.stem(rgb_B3HW)))
        x_BC: Tensor = self.hidden(self.last(x_BCHW).flatten(1))
        activated_BC11 = fused_leaky_relu(x_BC[:, :, None, None], x_BC.new_zeros(x_BC.shape[1]))
        score_B1: Tensor = self.score(activated_BC11.flatten(1))
        return score_B1.squeeze(1)


def minibatch_std(x_BCHW: Tensor) -> Tensor:
    """``x_BCHW`` with one more channel: the standard deviation over its group, mean of all places and channels.

    A group is as many rows as divide both the batch and 4, every (B / N)-th row. Rows of one group thus depend on
    each other: shares of a batch (processes, accumulation) give what one batch gives only while groups stay whole.
    """
    rows, _, height, width = x_BCHW.shape
    group_rows = math.gcd(rows, _GROUP_ROWS)
    grouped_NGCHW = x_BCHW.reshape(group_rows, rows // group_rows, *x_BCHW.shape[1:])
    std_GCHW = torch.sqrt(grouped_NGCHW.var(0, unbiased=False) + _EPSILON)
    std_B = std_GCHW.mean((1, 2, 3)).repeat(group_rows)
    return torch.cat([x_BCHW, std_B[:, None, None, None].expand(-1, 1, height, width)], dim=1)
