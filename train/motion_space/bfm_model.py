"""The expression part of a Basel Face Model, from the file that Deep3DFaceRecon is used with; the user brings it.

``BFM_model_front.mat`` is made by the user from the Basel Face Model 2009 (registration at the University of Basel) and
the expression basis of Guo et al. 2018, by the script that comes with Deep3DFaceRecon. Its licence does not let us
carry it.

Shape suffixes: V vertices, F triangles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.errors import CheckpointRefused, MissingDependency, WeightsNotFound
from engine.motion.space.coefficients import EXPRESSION_SIZE
from engine.motion.space.landmark_model import eye_motion_feature
from train.rendering.mesh import MouthMesh, surface_mouth_mesh

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OUTER_CORNERS_68 = (36, 45)
_MOUTH_CORNERS_68 = [48, 54]
_INNER_LIPS_68 = slice(60, 68)
_SIGNS = np.array([1.0, -1.0, -1.0])
"""Its y runs up and its z towards the camera; ours run down and away."""


class BfmModel(nn.Module):
    """Mean shape and expression basis, in face units; see `ExpressionModel`."""

    mean_68: Tensor
    expression_basis_68: Tensor

    def __init__(
        self,
        mean: FloatArray,
        basis: FloatArray,
        triangles: IntArray,
        keypoints: IntArray,
        albedo: FloatArray,
    ) -> None:
        """mean (V,3) and basis (64,V,3) in the file's axes and unit, triangles (F,3), keypoints (68,), albedo (V,)."""
        super().__init__()
        unit = float(np.linalg.norm(np.subtract(*mean[keypoints[list(_OUTER_CORNERS_68)]])))
        self.mean = (mean - mean.mean(0)) * _SIGNS / unit
        self.basis = basis * _SIGNS / unit
        self.triangles, self.keypoints, self.albedo = triangles, keypoints, albedo
        self.register_buffer("mean_68", torch.from_numpy(self.mean[keypoints]).float())
        self.register_buffer("expression_basis_68", torch.from_numpy(self.basis[:, keypoints]).float())

    @classmethod
    def load(cls, path: Path) -> BfmModel:
        """Read ``BFM_model_front.mat``.

        Raises:
            WeightsNotFound: it is not there; the message says where users get it.
            CheckpointRefused: it lacks a part or has it in another shape.
            MissingDependency: scipy is not installed.
        """
        if not path.is_file():
            raise WeightsNotFound(
                f"no face model at {path}: register for the Basel Face Model 2009 at faces.dmi.unibas.ch, then make "
                "BFM_model_front.mat with the preparation script of Deep3DFaceRecon and name it with "
                "bfm=PATH; or train in the landmark motion space, which needs no such file"
            )
        try:
            from scipy.io import loadmat
        except ImportError as error:
            raise MissingDependency("scipy is missing: pip install 'gohd-live[train]'") from error
        try:
            parts = loadmat(str(path))
            mean = _part(parts, "meanshape").reshape(-1, 3)
            basis = _part(parts, "exBase").T.reshape(EXPRESSION_SIZE, -1, 3)
            triangles = _part(parts, "tri").astype(np.int64).reshape(-1, 3) - 1
            keypoints = _part(parts, "keypoints").astype(np.int64).reshape(68) - 1
            albedo = _part(parts, "meantex").reshape(-1, 3).mean(1) / 255
            if basis.shape[1:] != mean.shape or len(albedo) != len(mean):
                raise ValueError("its arrays do not fit each other")
            if min(triangles.min(), keypoints.min()) < 0 or max(triangles.max(), keypoints.max()) >= len(mean):
                raise ValueError("it numbers vertices that it does not have")
        except (ValueError, KeyError, NotImplementedError, TypeError) as error:
            raise CheckpointRefused(f"{path} is not a BFM_model_front.mat: {error}") from error
        return cls(mean, basis, triangles, keypoints, albedo)

    def landmarks_68(self, expression: Tensor) -> Tensor:
        """The iBUG-68 points (..., 68, 3) with pose and identity zero."""
        moved = expression @ self.expression_basis_68.flatten(1)
        return self.mean_68 + moved.reshape(*expression.shape[:-1], 68, 3)

    def eye_feature(self, expression: Tensor) -> Tensor:
        """Fig. 4: (..., 64) to (..., 21)."""
        return eye_motion_feature(self.landmarks_68(expression), self.mean_68)

    def mirror_expression(self, expression: Tensor) -> Tensor:
        """Not possible: the basis has no mirror symmetry.

        Raises:
            ValueError: always; set the task's mirror_share to 0.
        """
        raise ValueError("expressions of the bfm space cannot be mirrored: set task.mirror_share=0")

    def mouth_mesh(self) -> MouthMesh:
        """The mouth region, for `train.rendering.MouthRenderer`; a surface closed between the lips stays closed."""
        corners = self.keypoints[_MOUTH_CORNERS_68]
        contours = self._lip_contours()
        return surface_mouth_mesh(self.mean, self.basis, self.triangles, self.albedo, corners, contours)

    def _lip_contours(self) -> tuple[IntArray, IntArray] | None:
        """Upper and lower contour of the mouth's opening, image left to right, sharing both ends; None without one."""
        loop = _boundary_loop(self.triangles, self.mean, self.mean[self.keypoints[_INNER_LIPS_68]])
        if loop is None:
            return None
        left, right = int(np.argmin(self.mean[loop, 0])), int(np.argmax(self.mean[loop, 0]))
        turned = np.roll(loop, -left)
        turn = (right - left) % len(loop)
        one, other = turned[: turn + 1], np.concatenate([turned[turn:], turned[:1]])[::-1]
        # The lips may touch in the mean face; the skin beside them tells which is the upper one.
        height = {}
        for name, chain in (("one", one), ("other", other)):
            beside = np.isin(self.triangles, chain[1:-1]).any(1)
            height[name] = self.mean[self.triangles[beside]][..., 1].mean()
        return (one, other) if height["one"] < height["other"] else (other, one)


def _part(parts: dict[str, Any], name: str) -> FloatArray:
    if name not in parts:
        raise KeyError(f"it has no '{name}'")
    return np.asarray(parts[name], np.float64)


def _boundary_loop(triangles: IntArray, mean: FloatArray, inner_lips: FloatArray) -> IntArray | None:
    """The hole of the surface at the inner lips, as a ring of vertices; None if there is none."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    following = {int(a): int(b) for a, b in edges[first[count == 1]]}
    loops: list[list[int]] = []
    while following:
        start, at = following.popitem()
        loop = [start]
        while at != start and at in following:
            loop.append(at)
            at = following.pop(at)
        if at == start and len(loop) > 3:
            loops.append(loop)
    middle = inner_lips.mean(0)
    reach = np.ptp(inner_lips[:, 0])
    away = {i: float(np.linalg.norm(mean[loop].mean(0) - middle)) for i, loop in enumerate(loops)}
    near = [i for i in away if away[i] < reach / 2 and np.ptp(mean[loops[i], 0]) < 2 * reach]
    return np.array(loops[min(near, key=away.__getitem__)]) if near else None
