"""Training losses, one file a task, each named after its equation."""

from train.losses.discriminators import PatchDiscriminator
from train.losses.eye import (
    EyeLossWeights,
    gaussian_kl,
    l1_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    sliced_wasserstein,
    ssim_loss,
)
from train.losses.lip import LipLosses, LipLossWeights, lip_losses
from train.losses.pose import noise_prediction_loss

__all__ = [
    "EyeLossWeights",
    "LipLossWeights",
    "LipLosses",
    "PatchDiscriminator",
    "gaussian_kl",
    "l1_loss",
    "lip_losses",
    "lsgan_discriminator_loss",
    "lsgan_generator_loss",
    "noise_prediction_loss",
    "sliced_wasserstein",
    "ssim_loss",
]
