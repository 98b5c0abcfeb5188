"""Losses of stage 2, eye motion generation (App. B.2, Eq. 25-27; least squares GAN of Mao et al. 2017).

Shape suffixes: B rows, T frames, F eye feature (21).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "EyeLossWeights",
    "gaussian_kl",
    "l1_loss",
    "lsgan_discriminator_loss",
    "lsgan_generator_loss",
    "sliced_wasserstein",
    "ssim_loss",
]

_C1, _C2 = 1e-4, 9e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeLossWeights:
    """Lambdas of Eq. 25 (App. C); those of the posterior's KL and of the distribution match are ours."""

    ssim: float = 2.0
    l1: float = 2.0
    temporal_eye: float = 1.0
    temporal_expression: float = 1.0
    kl: float = 0.0
    distribution: float = 0.0


def ssim_loss(predicted_BTF: Tensor, target_BTF: Tensor) -> Tensor:
    """Eq. 26: one minus the structural similarity over time, averaged over features and rows."""
    mean_p, mean_t = predicted_BTF.mean(1), target_BTF.mean(1)
    centred_p, centred_t = predicted_BTF - mean_p[:, None], target_BTF - mean_t[:, None]
    variance_p, variance_t = centred_p.square().mean(1), centred_t.square().mean(1)
    covariance = (centred_p * centred_t).mean(1)
    similarity = ((2 * mean_p * mean_t + _C1) * (2 * covariance + _C2)) / (
        (mean_p.square() + mean_t.square() + _C1) * (variance_p + variance_t + _C2)
    )
    return 1 - similarity.mean()


def l1_loss(predicted_BTF: Tensor, target_BTF: Tensor) -> Tensor:
    """Eq. 27, as the mean over features, frames and rows."""
    return (predicted_BTF - target_BTF).abs().mean()


def lsgan_generator_loss(score_of_generated: Tensor) -> Tensor:
    """The generator wants the score 1."""
    return (score_of_generated - 1).square().mean()


def lsgan_discriminator_loss(score_of_real: Tensor, score_of_generated: Tensor) -> Tensor:
    """The discriminator wants 1 for real and 0 for generated sequences."""
    return 0.5 * ((score_of_real - 1).square().mean() + score_of_generated.square().mean())


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(0, 1), averaged over numbers."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def sliced_wasserstein(
    generated_BTF: Tensor, real_BTF: Tensor, generator: torch.Generator, window: int = 12, slices: int = 48
) -> Tensor:
    """Distance of the distributions of short windows (Rabin et al. 2011): mean over random directions.

    Windows of ``window`` frames, flattened, are projected on random unit directions; sorted projections are compared.
    Rare, large events such as blinks are the tails, which the sorted match sees and a mean does not. Half of the
    directions see the blink ratio alone.
    """
    features = generated_BTF.shape[-1]
    direction = torch.randn(slices, window, features, generator=generator)
    direction[: slices // 2, :, 1:] = 0
    direction = direction / direction.flatten(1).norm(dim=1)[:, None, None]
    distances = []
    for sequence in (generated_BTF, real_BTF):
        windows = sequence.unfold(1, window, 2).transpose(-1, -2)
        distances.append(torch.einsum("bnwf,swf->sbn", windows, direction).flatten(1).sort(dim=1).values)
    return (distances[0] - distances[1]).abs().mean()
