"""Noise prediction loss of the pose diffusion (Eq. 2), over the frames that are not given."""

from torch import Tensor


def noise_prediction_loss(eps_BTC: Tensor, predicted_BTC: Tensor, unknown_BT: Tensor | None = None) -> Tensor:
    """Mean squared error of the predicted noise; ``unknown_BT`` (bool) leaves known frames out."""
    error_BT = (eps_BTC - predicted_BTC).square().mean(-1)
    if unknown_BT is None:
        return error_BT.mean()
    return (error_BT * unknown_BT).sum() / unknown_BT.sum().clamp(min=1)
