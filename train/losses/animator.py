"""Losses of the face animator (App. B.1, Eq. 11-15 and 17); Eq. 16 is in `train.losses.adversarial`.

Every expectation is the plain mean over rows and over all elements of a row (pixels and channels of an image or of
a feature map, elements of a feature vector), so a row weighs the same whatever its size, and the loss of a batch is
the mean of those of its parts. Images are RGB in [-1, 1].

Shape suffixes: B rows, C channels, H and W pixels, F features, K classes.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_LIPS = (13, 14, 78, 308)
"""Inner lips: top, bottom, corners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorLossWeights:
    """Lambdas of Eq. 17 with the paper's values; a term of weight 0 is not computed.

    Attributes:
        mask: what M_lip&eye adds within the boxes of mouth and eyes; the paper gives no value. 0 leaves the mask
            out (Table 4, "w/o M_lip&eye").
        landmarks: weight of `landmark_loss`, which is ours; 0 as in the paper.
        mouth: weight of Eq. 12 on the mouth alone, enlarged (`enlarged_mouths`), likewise.
    """

    reconstruction: float = 1.0
    perceptual: float = 1.0
    expression: float = 1.0
    gaze: float = 100.0
    parsing: float = 1.0
    adversarial: float = 1.0
    mask: float = 4.0
    landmarks: float = 0.0
    mouth: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:
                raise ValueError(f"loss weight '{field.name}' must not be negative")


def reconstruction_loss(generated_B3HW: Tensor, target_B3HW: Tensor, weight_B1HW: Tensor) -> Tensor:
    """Eq. 11: mean of |I - I^| (1 + M_lip&eye); ``weight_B1HW`` is 1 + M_lip&eye."""
    return ((generated_B3HW - target_B3HW).abs() * weight_B1HW).mean()


def perceptual_loss(generated: Sequence[Tensor], target: Sequence[Tensor], weight_B1HW: Tensor) -> Tensor:
    """Eq. 12: sum over layers of the mean of |Phi^n(I) - Phi^n(I^)| (1 + M_lip&eye).

    Args:
        generated, target: feature maps (B, C, H, W) of the layers, in the same order.
        weight_B1HW: 1 + M_lip&eye at the image's size; each layer gets its mean over the pixels that a place of
            the map covers.
    """
    layers = []
    for generated_BCHW, target_BCHW in zip(generated, target, strict=True):
        resized_B1HW = F.adaptive_avg_pool2d(weight_B1HW, (generated_BCHW.shape[2], generated_BCHW.shape[3]))
        layers.append(((generated_BCHW - target_BCHW).abs() * resized_B1HW).mean())
    total: Tensor = sum(layers[1:], start=layers[0])
    return total


def feature_loss(generated_BF: Tensor, target_BF: Tensor) -> Tensor:
    """Eq. 13 and Eq. 14: mean of |Phi(I) - Phi(I^)| over rows and features."""
    return (generated_BF - target_BF).abs().mean()


def parsing_loss(generated_BKHW: Tensor, target_BKHW: Tensor) -> Tensor:
    """Eq. 15: cross-entropy at each pixel between the class of the real image and the scores of the generated one.

    Args:
        generated_BKHW, target_BKHW: scores (logits or log-probabilities) of the K classes. The target's most
            probable class is the truth; the mean is over rows and pixels.
    """
    return F.cross_entropy(generated_BKHW, target_BKHW.argmax(1))


def landmark_loss(generated_BN3: Tensor, target_BN3: Tensor) -> Tensor:
    """Ours: mean of |x, y| between the landmarks found in the generated and in the real image, px of the images."""
    return (generated_BN3 - target_BN3)[..., :2].abs().mean()


def enlarged_mouths(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> Tensor:
    """Squares around the lips, a quarter of the image's side, at twice their size: (B, 3, H / 2, W / 2).

    Args:
        landmarks_BN3: px of the images.
    """
    half = rgb_B3HW.shape[-1] / 2
    middle_B2 = landmarks_BN3[:, list(_LIPS), :2].mean(1) / half - 1
    share = torch.full_like(middle_B2[:, :1], 1 / 4)
    none = torch.zeros_like(share)
    rows = [torch.cat([share, none, middle_B2[:, :1]], 1), torch.cat([none, share, middle_B2[:, 1:]], 1)]
    size = [len(rgb_B3HW), 3, rgb_B3HW.shape[2] // 2, rgb_B3HW.shape[3] // 2]
    grid = F.affine_grid(torch.stack(rows, 1), size, align_corners=False)
    return F.grid_sample(rgb_B3HW, grid, padding_mode="border", align_corners=False)
