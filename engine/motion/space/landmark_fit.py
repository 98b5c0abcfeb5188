"""From measured landmarks to coefficients of the landmark motion space (numpy, float64 inside)."""

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.space.coefficients import IDENTITY_SIZE, Coefficients, SequenceCoefficients
from engine.motion.space.gaze import direction_to_gaze
from engine.motion.space.landmark_basis import LandmarkBasis
from engine.motion.space.landmark_table import EYE_CORNERS, IRIS_CENTRES, IRIS_LEFT, IRIS_RIGHT
from engine.motion.space.pose import align_similarity, pose_from_similarity

_Array = NDArray[np.float64]

_LID_PAIRS = ((160, 144), (158, 153), (159, 145), (385, 380), (387, 373), (386, 374))
_LIP_PAIRS = ((82, 87), (13, 14), (312, 317))
_MAX_SINE = 0.9
"""Largest sine of a gaze angle that is believed; an iris further out is a failure of the landmarks."""


def eye_openings(shapes: NDArray[np.floating]) -> _Array:
    """Mean height of the two lid gaps, (...,), in the unit of ``shapes`` (..., 478, 3)."""
    return np.asarray(np.mean([shapes[..., low, 1] - shapes[..., up, 1] for up, low in _LID_PAIRS], axis=0))


def mouth_openings(shapes: NDArray[np.floating]) -> _Array:
    """Mean height of the gap between the inner lips, (...,), in the unit of ``shapes`` (..., 478, 3)."""
    return np.asarray(np.mean([shapes[..., low, 1] - shapes[..., up, 1] for up, low in _LIP_PAIRS], axis=0))


def straighten_irises(shapes: NDArray[np.floating], mean: NDArray[np.floating]) -> _Array:
    """Shapes (..., 478, 3) with the irises of ``mean``, placed by each shape's own eye corners: they look ahead."""
    straight = np.array(shapes, np.float64)
    for iris, (outer, inner) in zip((IRIS_LEFT, IRIS_RIGHT), EYE_CORNERS, strict=True):
        offset = mean[list(iris)] - (mean[outer] + mean[inner]) / 2
        middle = (straight[..., outer, :] + straight[..., inner, :]) / 2
        straight[..., list(iris), :] = middle[..., None, :] + offset
    return straight


class LandmarkFitter:
    """Solves the maximum a posteriori problems of one motion space; the normal equations are factored once."""

    def __init__(self, basis: LandmarkBasis) -> None:
        self._mean = basis.mean.astype(np.float64)
        self._identity = basis.identity_basis.astype(np.float64)
        self._expression = basis.expression_basis.astype(np.float64)
        self._rigid = basis.rigid_indices
        self._eye_centre = basis.eye_centre_offset.astype(np.float64)
        self._radius = float(basis.eyeball_radius)
        weight = np.sqrt(basis.vertex_weight.astype(np.float64))[:, None]
        both = np.concatenate([self._identity, self._expression])
        self._solve_both = _map_solver(both, weight, float(basis.picture_noise))
        self._solve_identity = _map_solver(self._identity, weight, float(basis.picture_noise))
        self._solve_expression = _map_solver(self._expression, weight, float(basis.sequence_noise))

    def image(self, landmarks_px: NDArray[np.floating], crop_size: float) -> Coefficients:
        """Coefficients of one image, landmarks (478, 3) px."""
        similarity = self._align(landmarks_px[None], self._mean)
        canonical = _undo(landmarks_px[None], similarity)
        both = self._solve_both @ (canonical[0] - self._mean).ravel()
        identity, expression = both[:IDENTITY_SIZE], both[IDENTITY_SIZE:]
        linear = self._mean + np.tensordot(identity, self._identity, 1) + np.tensordot(expression, self._expression, 1)
        return Coefficients(
            identity=identity.astype(np.float32),
            expression=expression.astype(np.float32),
            pose=pose_from_similarity(*similarity, crop_size)[0],
            gaze=self._gaze(landmarks_px[None], canonical, similarity)[0].astype(np.float32),
            residual=(canonical[0] - linear).astype(np.float32),
        )

    def sequence(
        self, landmarks_px: NDArray[np.floating], identity: NDArray[np.floating] | None, crop_size: float
    ) -> SequenceCoefficients:
        """Coefficients of one person's clip, landmarks (T, 478, 3) px, all finite."""
        neutral, canonical, similarity = self.separate(landmarks_px)
        if identity is None:
            identity = self._solve_identity @ (neutral - self._mean).ravel()
        linear = self._mean + np.tensordot(np.asarray(identity, np.float64), self._identity, 1)
        moved = (canonical - neutral).reshape(len(canonical), -1)
        gaze = self._gaze(landmarks_px, np.broadcast_to(neutral, canonical.shape), similarity)
        return SequenceCoefficients(
            identity=np.asarray(identity, np.float32),
            residual=(straighten_irises(neutral, self._mean) - linear).astype(np.float32),
            expression=(moved @ self._solve_expression.T).astype(np.float32),
            pose=pose_from_similarity(*similarity, crop_size),
            gaze=_bridge_blinks(gaze, eye_openings(canonical)).astype(np.float32),
        )

    def separate(self, landmarks_px: NDArray[np.floating]) -> tuple[_Array, _Array, tuple[_Array, _Array, _Array]]:
        """A clip's neutral shape (478, 3), its frames without pose (T, 478, 3), and their similarities."""
        neutral = self._mean
        for _ in range(3):
            # The person's own rigid points carry the pose better than the mean face's do.
            canonical = _undo(landmarks_px, self._align(landmarks_px, neutral))
            middle = np.median(canonical[_neutral_frames(canonical)], axis=0)
            neutral = _undo(middle[None], self._align(middle[None], self._mean))[0]
        similarity = self._align(landmarks_px, neutral)
        return neutral, _undo(landmarks_px, similarity), similarity

    def _align(self, landmarks: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[_Array, _Array, _Array]:
        return align_similarity(target[self._rigid], landmarks[:, self._rigid])

    def _gaze(
        self,
        landmarks_px: NDArray[np.floating],
        shapes: NDArray[np.floating],
        similarity: tuple[_Array, _Array, _Array],
    ) -> _Array:
        """Camera gaze (T, 2): the way each iris is off the projected centre of its eyeball, mean of both eyes."""
        scale, rotation, translation = similarity
        offsets = []
        for side, (iris, (outer, inner)) in enumerate(zip(IRIS_CENTRES, EYE_CORNERS, strict=True)):
            centre = (shapes[:, outer] + shapes[:, inner]) / 2 + self._eye_centre[side]
            centre_px = scale[:, None] * np.einsum("tij,tj->ti", rotation, centre) + translation
            offsets.append((landmarks_px[:, iris, :2] - centre_px[:, :2]) / (scale * self._radius)[:, None])
        sine = np.mean(offsets, axis=0)
        sine *= np.minimum(1, _MAX_SINE / np.maximum(np.linalg.norm(sine, axis=1, keepdims=True), 1e-9))
        depth = -np.sqrt(1 - (sine**2).sum(1, keepdims=True))
        return np.asarray(direction_to_gaze(torch.from_numpy(np.concatenate([sine, depth], 1))).numpy())


def _undo(landmarks: NDArray[np.floating], similarity: tuple[_Array, _Array, _Array]) -> _Array:
    scale, rotation, translation = similarity
    return np.asarray((landmarks - translation[:, None]) @ rotation / scale[:, None, None])


def _map_solver(basis: _Array, root_weight: _Array, noise: float) -> _Array:
    """The matrix (k, 478 * 3) that takes a displacement to argmin |W (d - c B)|^2 / noise^2 + |c|^2."""
    weighted = (basis * root_weight).reshape(len(basis), -1) / noise
    gram = weighted @ weighted.T + np.eye(len(basis))
    plain = (basis * root_weight**2).reshape(len(basis), -1) / noise**2
    return np.asarray(np.linalg.solve(gram, plain))


def _neutral_frames(shapes: _Array) -> NDArray[np.intp]:
    """Frames with the lips together and the eyes open, a tenth of the clip at least."""
    mouth, eyes = mouth_openings(shapes), eye_openings(shapes)
    spread = max(float(np.percentile(mouth, 90) - np.percentile(mouth, 10)), 1e-6)
    closed = np.maximum(mouth - np.percentile(mouth, 10), 0) / spread
    wide = max(float(np.percentile(eyes, 70)), 1e-6)
    cost = closed + 4 * np.abs(eyes - wide) / wide
    return np.argsort(cost, kind="stable")[: max(1, len(cost) // 10)]


def _bridge_blinks(gaze: _Array, openings: _Array) -> _Array:
    """Gaze with the frames in which the lids hide the irises filled in from either side."""
    seen = openings > 0.6 * np.percentile(openings, 70)
    seen[1:-1] &= seen[:-2] & seen[2:]
    if not seen.any():
        return gaze
    frames = np.arange(len(gaze))
    return np.stack([np.interp(frames, frames[seen], gaze[seen, axis]) for axis in range(2)], axis=1)
