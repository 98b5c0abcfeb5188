"""Losses of stage 2, eye motion generation (App. B.2, Eq. 25-27; least squares GAN of Mao et al. 2017).

Eq. 25 is put together in `train.tasks.expression_stage2`; its L1' (Eq. 27) is `eye_feature_loss` of stage 1.

Shape suffixes: B rows, T frames, F eye feature (21).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_C1, _C2 = 1e-4, 9e-4
_WINDOW_FRAMES, _SLICES = 12, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage2LossWeights:
    """Lambdas of Eq. 25; defaults are those of App. C. ``kl`` and ``distribution`` are ours and 0 in the paper.

    ``eye`` is lambda_ad of D_eye, ``temporal_eye`` lambda_te of D_te, ``temporal_expression`` lambda_tf of D_tf; a
    discriminator without weight is not trained either.
    """

    ssim: float = 2.0
    l1: float = 2.0
    eye: float = 1.0
    temporal_eye: float = 1.0
    temporal_expression: float = 1.0
    stage1: float = 1.0
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


def lsgan_generator_loss(score_of_generated: Tensor) -> Tensor:
    """The generator wants the score 1."""
    return (score_of_generated - 1).square().mean()


def lsgan_discriminator_loss(score_of_real: Tensor, score_of_generated: Tensor) -> Tensor:
    """The discriminator wants 1 for real and 0 for generated sequences."""
    return 0.5 * ((score_of_real - 1).square().mean() + score_of_generated.square().mean())


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(0, 1), averaged over numbers."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def sliced_wasserstein(generated_BTF: Tensor, real_BTF: Tensor, generator: torch.Generator) -> Tensor:
    """Distance of the distributions of short windows (Rabin et al. 2011): mean over random directions.

    Windows of 12 frames (half a second, about a blink), flattened, are projected on random unit directions; sorted
    projections are compared. Rare, large events such as blinks are the tails, which the sorted match sees and a mean
    does not. Half of the directions see the blink ratio alone.
    """
    features = generated_BTF.shape[-1]
    direction = torch.randn(_SLICES, _WINDOW_FRAMES, features, generator=generator)
    direction[: _SLICES // 2, :, 1:] = 0
    direction = (direction / direction.flatten(1).norm(dim=1)[:, None, None]).to(generated_BTF)
    distances = []
    for sequence in (generated_BTF, real_BTF):
        windows = sequence.unfold(1, _WINDOW_FRAMES, 2).transpose(-1, -2)
        distances.append(torch.einsum("bnwf,swf->sbn", windows, direction).flatten(1).sort(dim=1).values)
    return (distances[0] - distances[1]).abs().mean()
