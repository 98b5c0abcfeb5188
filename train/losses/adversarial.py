"""Non-saturating adversarial losses of the face animator (Eq. 16) and the regularisation of its discriminator.

D of Eq. 16 is a probability: D(I) = sigmoid(score(I)). All means are over rows.
Shape suffixes: B rows, C channels, H and W pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def adversarial_loss(generated_score_B: Tensor) -> Tensor:
    """Eq. 16: mean of -log D(I^) = softplus(-score)."""
    return F.softplus(-generated_score_B).mean()


def discriminator_loss(real_score_B: Tensor, generated_score_B: Tensor) -> Tensor:
    """What the discriminator minimises against Eq. 16: mean of -log D(I) - log(1 - D(I^))."""
    return F.softplus(-real_score_B).mean() + F.softplus(generated_score_B).mean()


def r1_penalty(real_score_B: Tensor, real_BCHW: Tensor) -> Tensor:
    """R1 of Mescheder et al. 2018: mean over rows of the squared norm of d score / d image.

    ``real_BCHW`` requires gradients and led to ``real_score_B``. The penalty can be differentiated itself. With a
    minibatch statistic in the discriminator, the gradient of a row holds its share in the scores of its group.
    """
    (gradient_BCHW,) = torch.autograd.grad(real_score_B.sum(), real_BCHW, create_graph=True)
    return gradient_BCHW.square().sum((1, 2, 3)).mean()
