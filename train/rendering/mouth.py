"""Grey images of the mouth from expressions, for a lip reading network (Eq. 23: r_t).

The face looks straight ahead, orthographic, lit by one lamp above the camera; lips are darker than skin and the
opening darkens with the gap between the lips.

Shape suffixes: B images, V vertices, F triangles, K points of the middle line, E expression (64).
"""

import torch
from torch import Tensor, nn

from train.rendering.mesh import MOUTH_EXTENT, MouthMesh
from train.rendering.rasteriser import interpolate, visible_triangles

_AMBIENT = 0.35
_LAMP = (-0.25, -0.45, -0.86)
_DARK_GAP = 0.03
"""Gap in face units over which the opening is half dark."""


class MouthRenderer(nn.Module):
    """Expressions to mouth images; no weights to train.

    Args:
        mesh: from `landmark_mouth_mesh` or `surface_mouth_mesh`.
        size: pixels a side; lip reading networks take 88.
    """

    mean: Tensor
    basis: Tensor
    skin_triangles: Tensor
    triangles: Tensor
    albedo: Tensor
    gap_mean: Tensor
    gap_basis: Tensor
    centre: Tensor
    lamp: Tensor
    outward: Tensor

    def __init__(self, mesh: MouthMesh, size: int = 88) -> None:
        super().__init__()
        self.size = size
        for name in ("mean", "basis", "albedo", "gap_mean", "gap_basis", "centre"):
            self.register_buffer(name, torch.from_numpy(getattr(mesh, name)).float())
        skin, sheet = torch.from_numpy(mesh.skin_triangles), torch.from_numpy(mesh.sheet_triangles)
        self.register_buffer("skin_triangles", skin)
        self.register_buffer("triangles", torch.cat([skin, sheet]))
        lamp = torch.tensor(_LAMP)
        self.register_buffer("lamp", lamp / lamp.norm())
        self.register_buffer("outward", torch.ones(()))
        self.outward.copy_(-self._normals(self.mean[None])[..., 2].sum().sign())

    def forward(self, expression_BE: Tensor) -> Tensor:
        """Expressions (..., 64) to images (..., 1, size, size) within 0..1, black outside the face."""
        flat_BE = expression_BE.reshape(-1, expression_BE.shape[-1])
        vertex_BV3 = self.mean + (flat_BE @ self.basis.flatten(1)).reshape(-1, *self.mean.shape)
        grey_BV = self._shade(vertex_BV3, self.gap_mean + flat_BE @ self.gap_basis)
        scale = self.size / MOUTH_EXTENT
        pixel_BV2 = (vertex_BV3[..., :2] - self.centre) * scale + self.size / 2
        position_BV3 = torch.cat([pixel_BV2, vertex_BV3[..., 2:] * scale], -1)
        visible_BHW = visible_triangles(position_BV3.detach(), self.triangles, self.size)
        image_B1HW = interpolate(position_BV3, grey_BV[..., None], self.triangles, visible_BHW)
        return image_B1HW.reshape(*expression_BE.shape[:-1], 1, self.size, self.size)

    def _shade(self, vertex_BV3: Tensor, gap_BK: Tensor) -> Tensor:
        normal_BV3 = nn.functional.normalize(self._normals(vertex_BV3), dim=-1) * self.outward
        lit_BV = _AMBIENT + (1 - _AMBIENT) * (normal_BV3 @ self.lamp).clamp(min=0)
        skin = vertex_BV3.shape[1] - gap_BK.shape[1]
        open_BK = gap_BK.clamp(min=0).square()
        light_BK = _DARK_GAP**2 / (open_BK + _DARK_GAP**2) * lit_BV[:, :skin].mean(1, keepdim=True)
        return torch.cat([lit_BV[:, :skin], light_BK], 1) * self.albedo

    def _normals(self, vertex_BV3: Tensor) -> Tensor:
        """Area-weighted normals of the skin, not normalised, zero on the middle line."""
        a_BF3, b_BF3, c_BF3 = (vertex_BV3[:, corner] for corner in self.skin_triangles.T)
        face_BF3 = torch.linalg.cross(b_BF3 - a_BF3, c_BF3 - a_BF3)
        normal_BV3 = torch.zeros_like(vertex_BV3)
        for corner in self.skin_triangles.T:
            normal_BV3 = normal_BV3.index_add(1, corner, face_BF3)
        return normal_BV3
