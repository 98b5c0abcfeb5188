"""Training losses, one file a task, each named after its equation."""

from train.losses.expression_stage1 import (
    Stage1Losses,
    Stage1LossWeights,
    expression_loss,
    eye_feature_loss,
    landmark_fidelity_loss,
    reading_loss,
    shut_loss,
    stage1_losses,
)
from train.losses.expression_stage2 import (
    Stage2LossWeights,
    gaussian_kl,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    sliced_wasserstein,
    ssim_loss,
)
from train.losses.pose import noise_prediction_loss

__all__ = [
    "Stage1LossWeights",
    "Stage1Losses",
    "Stage2LossWeights",
    "expression_loss",
    "eye_feature_loss",
    "gaussian_kl",
    "landmark_fidelity_loss",
    "lsgan_discriminator_loss",
    "lsgan_generator_loss",
    "noise_prediction_loss",
    "reading_loss",
    "shut_loss",
    "sliced_wasserstein",
    "ssim_loss",
    "stage1_losses",
]
