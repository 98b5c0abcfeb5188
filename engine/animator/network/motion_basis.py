"""Orthogonal motion directions of the latent space: the codebook M of Eq. 9."""

import torch
from torch import Tensor, nn

from engine.animator.network.equalised import Freezable

_EPSILON = 1e-8


class MotionBasis(Freezable):
    """Directions kept orthonormal by a QR decomposition of free weights.

    The signs of Q are LAPACK's, as the released weights were trained with; frozen, Q is computed once, on the
    CPU, so that no other solver's signs come in.
    """

    def __init__(self, style_size: int, directions: int) -> None:
        super().__init__()
        self.weight_SM = nn.Parameter(torch.randn(style_size, directions))
        self.basis_SM: Tensor | None
        self.register_buffer("basis_SM", None, persistent=False)

    def forward(self, magnitudes_BM: Tensor) -> Tensor:
        """Navigation eta = Q xi, (B, S), of magnitudes (B, M)."""
        basis_SM = self._orthonormal(self.weight_SM) if self.basis_SM is None else self.basis_SM
        return magnitudes_BM @ basis_SM.T

    def _freeze(self) -> None:
        basis_SM = self._orthonormal(self.weight_SM.cpu() if self.weight_SM.is_cuda else self.weight_SM)
        self.basis_SM = basis_SM.to(self.weight_SM.device)

    @staticmethod
    def _orthonormal(weight_SM: Tensor) -> Tensor:
        # No device decomposes half precision.
        wide_SM = weight_SM.float() if weight_SM.dtype in (torch.float16, torch.bfloat16) else weight_SM
        basis_SM: Tensor = torch.linalg.qr(wide_SM + _EPSILON).Q
        return basis_SM.to(weight_SM.dtype)
