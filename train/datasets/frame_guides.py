"""Guides of a batch: the mesh's image and flow of each source in the motion of its target."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.animator import GeometricAnimator
from engine.animator.mesh.guide import frame_guide, outside_face
from engine.motion.space.coefficients import EXPRESSION, GAZE, IDENTITY_SIZE, POSE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import similarity_from_pose
from engine.portrait import FaceCrop
from train.data.faces.face_clips import FACE_SIZE
from train.images import to_bytes

_NO_MATRIX = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


class FrameGuides:
    """Guides (`engine.animator.mesh.guide`), made on the CPU; some 40 ms a row, mostly to cut the source into layers.

    The one place where a training step waits for the device: the sources come back from it.
    """

    def __init__(self, model: LandmarkModel) -> None:
        self._model = model
        self._animator = GeometricAnimator(model)

    def batch(self, source_B3HW: Tensor, landmarks_BN3: Tensor, descriptor_BD: Tensor, shown_BD: Tensor) -> Tensor:
        """Guides (B, 6, S, S), float32 on the device of the sources.

        Args:
            source_B3HW: in [-1, 1], of 256 px, as the landmarks' crop.
            landmarks_BN3, descriptor_BD: of the sources. shown_BD: descriptors of the targets.
        """
        rgb = to_bytes(source_B3HW).cpu().numpy()
        neutral = _neutral_shapes(landmarks_BN3.cpu(), descriptor_BD.cpu(), self._model) - self._model.mean
        rows = zip(
            rgb,
            landmarks_BN3.cpu().numpy(),
            neutral.numpy(),
            descriptor_BD.cpu().numpy(),
            shown_BD.cpu().numpy(),
            strict=True,
        )
        guides = np.stack([self._guide(*row) for row in rows])
        return torch.from_numpy(guides).to(source_B3HW.device)

    def _guide(
        self,
        rgb: NDArray[np.uint8],
        landmarks_px: NDArray[np.float32],
        residual: NDArray[np.float32],
        rest: NDArray[np.float32],
        shown: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        coefficients = Coefficients(
            identity=np.zeros(IDENTITY_SIZE, np.float32),
            expression=rest[EXPRESSION],
            pose=rest[POSE],
            gaze=rest[GAZE],
            residual=residual,
        )
        prepared = self._animator.prepare(FaceCrop(rgb, landmarks_px, _NO_MATRIX), coefficients)
        outside = outside_face(landmarks_px, rgb.shape[0], rgb.shape[0])
        return frame_guide(*self._animator.render_with_map(prepared, shown[None]), outside)


def _neutral_shapes(landmarks_BN3: Tensor, descriptor_BD: Tensor, model: LandmarkModel) -> Tensor:
    """Canonical shapes at expression 0, (B, 478, 3) face units, of landmarks in px of the 256 crop.

    Their depth counts from the middle of the rigid points, as `LandmarkModel.fit` leaves it.
    """
    descriptor_BD = descriptor_BD.to(torch.float64)
    scale_B, rotation_B33, shift_B3 = similarity_from_pose(descriptor_BD[:, POSE], FACE_SIZE)
    shape_BN3 = (landmarks_BN3 - shift_B3[:, None]) @ rotation_B33 / scale_B[:, None, None]
    shape_BN3 = shape_BN3 - torch.tensordot(descriptor_BD[:, EXPRESSION], model.expression_basis.double(), 1)
    drift_B3 = (shape_BN3 - model.mean)[:, model.rigid_indices].mean(1)
    depth_B3 = rotation_B33[:, 2]
    away_B3 = depth_B3 * (drift_B3 * depth_B3).sum(1, keepdim=True)
    neutral_BN3: Tensor = (shape_BN3 - away_B3[:, None]).float()
    return neutral_BN3
