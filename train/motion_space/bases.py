"""Procrustes alignment and mirror-symmetric weighted PCA: the linear algebra of the motion space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.motion.space.landmark_table import MIRROR, OUTER_CORNERS, RIGID, mirror_landmarks
from engine.motion.space.pose import align_similarity

_Array = NDArray[np.float64]
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Basis:
    """Components of a displacement field, strongest first.

    vectors: (k, 478, 3), scaled so that one unit is one standard deviation (root mean square about zero).
    std: (k,), weighted RMS size of each vector per coordinate.
    mirror_sign: (k,), +1 for symmetric vectors, -1 for antisymmetric ones.
    held: (k,), share of the weighted variance held by the first 1..k components.
    """

    vectors: _Array
    std: _Array
    mirror_sign: _Array
    held: _Array


def align_to(landmarks: NDArray[np.floating], target: _Array) -> _Array:
    """Landmarks (T, 478, 3) brought onto ``target`` (478, 3) by similarities over the rigid points."""
    scale, rotation, translation = align_similarity(target[RIGID], landmarks[:, RIGID])
    return np.asarray((landmarks - translation[:, None]) @ rotation / scale[:, None, None])


def symmetrise(shape: _Array) -> _Array:
    """The mean of a shape and its mirror image."""
    return np.asarray((shape + mirror_landmarks(shape, 0)) / 2)


def generalised_procrustes(shapes: NDArray[np.floating], weights: NDArray[np.floating]) -> _Array:
    """Mean face (478, 3) of shapes (n, 478, 3) weighted by (n,).

    Mirror-symmetric, in face units, with the centroid of the rigid points as origin. Facing the camera means the
    weighted mean head pitch of ``shapes`` is zero; yaw and roll follow from the symmetry.
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)
    mean = symmetrise(shapes[0] - shapes[0, RIGID].mean(0))
    for _ in range(_ROUNDS):
        mean = symmetrise(np.tensordot(share, align_to(shapes, mean), 1))
        mean = _normalised(mean)
        _, rotation, _ = align_similarity(mean[RIGID], shapes[:, RIGID])
        pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2]) @ share
        cosine, sine = np.cos(pitch), np.sin(pitch)
        mean = mean @ np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]).T
    return mean


def symmetric_pca(
    displacements: NDArray[np.floating],
    weights: NDArray[np.floating],
    vertex_weight: NDArray[np.floating],
    components: int,
) -> Basis:
    """Components of displacements (n, 478, 3), weighted by sample (n,) and by vertex (478,).

    The mirror image of each sample counts as a sample of its own. The second moment then splits into a symmetric and an
    antisymmetric part, and each component belongs to one of them. Moments are about zero, the neutral face. Vertices of
    zero weight get the vectors that least squares gives them.
    """
    samples = np.asarray(displacements, np.float64)
    share = np.asarray(weights, np.float64) / np.sum(weights)
    root = np.sqrt(vertex_weight)[:, None]
    vectors, moments, signs = [], [], []
    total = 0.0
    for sign in (1.0, -1.0):
        mirrored = samples[:, MIRROR] * np.array([-1.0, 1.0, 1.0])
        half = (samples + sign * mirrored) / 2
        weighted = (half * root).reshape(len(half), -1) * np.sqrt(share)[:, None]
        left, singular, _ = np.linalg.svd(weighted, full_matrices=False)
        kept = min(components, int((singular > 1e-9 * max(singular[0], 1e-12)).sum()))
        total += float((singular**2).sum())
        # Coefficients of unit second moment, then least squares of the unweighted samples on them.
        scores = left[:, :kept] / np.sqrt(np.maximum(share, 1e-12))[:, None]
        fields = np.tensordot((scores * share[:, None]).T, half, 1)
        vectors.append(fields)
        moments.append(singular[:kept] ** 2)
        signs.append(np.full(kept, sign))
    moment = np.concatenate(moments)
    order = np.argsort(-moment, kind="stable")[:components]
    if len(order) < components:
        raise ValueError(f"{len(samples)} samples span {len(order)} directions, {components} components are needed")
    chosen = np.concatenate(vectors)[order]
    # The sign of a component is arbitrary: make its largest coordinate positive, so that refits agree.
    flat = chosen.reshape(len(chosen), -1)
    largest = flat[np.arange(len(flat)), np.abs(flat).argmax(1)]
    chosen = chosen * np.sign(largest)[:, None, None]
    scale = np.sqrt(moment[order] / (3 * np.sum(vertex_weight)))
    return Basis(chosen, scale, np.concatenate(signs)[order], np.cumsum(moment[order]) / total)


def _normalised(mean: _Array) -> _Array:
    centred = mean - mean[RIGID].mean(0)
    left, right = OUTER_CORNERS
    return np.asarray(centred / np.linalg.norm(centred[left] - centred[right]))
