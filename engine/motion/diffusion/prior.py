"""Exact denoiser of Gaussian motion: what a pose denoiser can say before it has learned anything.

Heads move smoothly. Residual poses taken for a stationary Gaussian process with covariance S over the window have the
best noise prediction in closed form, whatever the noise level of each frame (k = its alpha_bar):

    eps(x) = sqrt(1 - k) (sqrt(k) S sqrt(k) + diag(1 - k))^-1 x

A network that adds to this need not learn to copy the last frame: it starts from continuous motion with the data's
own range and speed. It is the preconditioning of Karras et al. 2022 with a covariance in place of a variance.

Shape suffixes: B rows, T frames, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.motion.diffusion.schedule import DiffusionSchedule


class MotionPrior(nn.Module):
    """Noise prediction of a Gaussian process with the autocovariance ``lags_T``, the same for every channel."""

    lags_T: Tensor
    log_alpha_bars: Tensor

    def __init__(self, window: int, schedule: DiffusionSchedule) -> None:
        super().__init__()
        white = torch.zeros(window)
        white[0] = 1.0
        self.register_buffer("lags_T", white)
        log_alpha_bars = torch.tensor(schedule.alpha_bars, dtype=torch.float64).log()
        self.register_buffer("log_alpha_bars", log_alpha_bars, persistent=False)

    def forward(self, x_BTC: Tensor, step: Tensor) -> Tensor:
        """Predict the noise of ``x_BTC`` (B, T, C), T at most the window, at steps (B,) or (B, T).

        Solved in float64: clean frames beside noisy ones make the system stiff.
        """
        kept_BT, noisy_BTT = self._system(step, x_BTC.shape[1])
        whitened_BTC = torch.linalg.solve(noisy_BTT, x_BTC.double())
        eps_BTC: Tensor = (1 - kept_BT).sqrt()[:, :, None] * whitened_BTC
        return eps_BTC.to(x_BTC.dtype)

    def operator(self, step: Tensor, frames: int) -> Tensor:
        """The matrix (B, T, T), float64, whose product with ``x`` is `forward`'s answer, for steps that come again."""
        kept_BT, noisy_BTT = self._system(step, frames)
        inverse_BTT: Tensor = torch.linalg.inv(noisy_BTT)
        return (1 - kept_BT).sqrt()[:, :, None] * inverse_BTT

    def _system(self, step: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """What is kept of each frame, (B, T), and the covariance of the noisy ones, (B, T, T)."""
        if frames > len(self.lags_T):
            raise ValueError(f"the motion prior spans {len(self.lags_T)} frames, not {frames}")
        kept_BT = self._alpha_bar(step if step.ndim == 2 else step[:, None].expand(-1, frames))
        place_T = torch.arange(frames, device=self.lags_T.device)
        covariance_TT = self.lags_T.double()[(place_T[:, None] - place_T).abs()]
        root_BT = kept_BT.sqrt()
        return kept_BT, root_BT[:, :, None] * covariance_TT * root_BT[:, None, :] + torch.diag_embed(1 - kept_BT)

    def _alpha_bar(self, step: Tensor) -> Tensor:
        step = step.double()
        low, high = self.log_alpha_bars[step.floor().long()], self.log_alpha_bars[step.ceil().long()]
        return torch.lerp(low, high, step - step.floor()).exp()


def fit_lags(residuals: Sequence[Tensor], window: int, weights: Sequence[float] | None = None) -> Tensor:
    """Autocovariance of sequences over lags 0 .. window - 1, averaged over their channels.

    Args:
        residuals: float32 (T, C) each, in the denoiser's normalised units, around zero.
        window: lags wanted; a sequence counts for those that it is long enough for.
        weights: of each sequence, besides its length.

    Returns:
        float32 (window,), a positive semi-definite sequence (the biased estimator).
    """
    total = torch.zeros(window, dtype=torch.float64)
    frames = 0.0
    for index, residual in enumerate(residuals):
        weight = 1.0 if weights is None else float(weights[index])
        x_TC = residual.double()
        for lag in range(min(window, len(x_TC))):
            total[lag] += weight * (x_TC[lag:] * x_TC[: len(x_TC) - lag]).mean(1).sum()
        frames += weight * len(x_TC)
    return (total / frames).float()
