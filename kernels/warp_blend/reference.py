"""Flow warp and mask blend in plain PyTorch: the definition the other implementations are held to."""

import torch
from torch import Tensor
from torch.nn import functional


def flow_warp_reference(feature_BCHW: Tensor, raw_flow_B2HW: Tensor, exact_grid: bool) -> Tensor:
    """Features from the identity grid plus tanh(raw flow), zeros outside; see the package.

    In float32 at least: half precision would place samples up to 1/16 px off.
    """
    height, width = raw_flow_B2HW.shape[2:]
    exact = torch.promote_types(raw_flow_B2HW.dtype, torch.float32)
    across, down = (1 - 1 / size if exact_grid else 1.0 for size in (width, height))
    x_W = torch.linspace(-across, across, width, dtype=exact, device=raw_flow_B2HW.device)
    y_H = torch.linspace(-down, down, height, dtype=exact, device=raw_flow_B2HW.device)
    identity_HW2 = torch.stack(torch.meshgrid(x_W, y_H, indexing="xy"), dim=-1)
    grid_BHW2 = torch.tanh(raw_flow_B2HW.to(exact)).permute(0, 2, 3, 1) + identity_HW2
    warped_BCHW = functional.grid_sample(feature_BCHW.to(exact), grid_BHW2, align_corners=False)
    return warped_BCHW.to(feature_BCHW.dtype)


def warp_blend_reference(
    feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor, rest: str, exact_grid: bool
) -> tuple[Tensor, Tensor]:
    """Warped and masked features, and what ``rest`` asks for."""
    mask_B1HW = torch.sigmoid(raw_B3HW[:, 2:])
    warped_BCHW = flow_warp_reference(feature_BCHW, raw_B3HW[:, :2], exact_grid) * mask_B1HW
    blended_BCHW = warped_BCHW + x_BCHW * (1 - mask_B1HW)
    return warped_BCHW, blended_BCHW if rest == "blended" else x_BCHW * (1 - blended_BCHW)
