r"""The mouth region of a face mesh, linear in the expression, with its opening closed by a dark sheet.

    upper lip   o--o--o--o--o
                |\ |\ |\ | /|      the sheet's middle line darkens with the gap over it,
    middle      o  d  d  d  o      so that no edge of an opening jumps in the image
                |/ | /| /| \|
    lower lip   o--o--o--o--o      both lips share their ends, the mouth's corners

Shape suffixes: V vertices, F triangles, K points of the middle line, 64 expression numbers.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.animator.mesh.topology import FACE_POINTS, FACE_TRIANGLES, MOUTH_LOWER, MOUTH_UPPER
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import INNER_LIPS, OUTER_LIPS

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOUTH_EXTENT = 1.12 * 88 / 96
"""Face units (distance of the outer eye corners) a side of a lip reading crop of 88 px.

A crop of 96 px is twice a mouth at rest: our estimate, for the mean face that Ma et al. align to is not at hand.
"""

_MOUTH_CORNERS = (61, 291)
_MARGIN = 0.25
_SKIN, _LIPS = 0.85, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthMesh:
    """What a mouth image is made of; face units, x right, y down, z away, pose and identity zero.

    Attributes:
        mean: float64 (V,3); basis: float64 (64,V,3): vertices = mean + e basis. The last K are the middle line.
        skin_triangles, sheet_triangles: int64 (F,3), any winding; the sheet has no part in the normals.
        albedo: float64 (V,), 0 to 1.
        gap_mean: float64 (K,); gap_basis: float64 (64,K): how far the lips part over the middle line.
        centre: float64 (2,), x and y of the middle of the mean face's mouth.
    """

    mean: FloatArray
    basis: FloatArray
    skin_triangles: IntArray
    sheet_triangles: IntArray
    albedo: FloatArray
    gap_mean: FloatArray
    gap_basis: FloatArray
    centre: FloatArray


def landmark_mouth_mesh(model: LandmarkModel) -> MouthMesh:
    """The mouth region of the 478-landmark mesh."""
    inner = set(MOUTH_UPPER.tolist()) | set(MOUTH_LOWER.tolist())
    whole = np.array([t for t in FACE_TRIANGLES.tolist() if max(t) < FACE_POINTS and not set(t) <= inner])
    albedo = np.full(len(model.mean), _SKIN)
    albedo[[*OUTER_LIPS, *INNER_LIPS]] = _LIPS
    return surface_mouth_mesh(
        model.mean.double().numpy(),
        model.expression_basis.double().numpy(),
        whole,
        albedo,
        np.array(_MOUTH_CORNERS),
        (MOUTH_UPPER, MOUTH_LOWER),
    )


def surface_mouth_mesh(
    mean: FloatArray,
    basis: FloatArray,
    triangles: IntArray,
    albedo: FloatArray,
    corners: IntArray,
    contours: tuple[IntArray, IntArray] | None,
) -> MouthMesh:
    """The mouth region of any face surface.

    Args:
        mean (V,3), basis (64,V,3), triangles (F,3), albedo (V,): of the whole surface.
        corners: (2,), the corners of the mouth; the middle of the image lies between them.
        contours: vertices of the upper and the lower inner lip, image left to right, sharing both ends; None for a
            surface that is closed there.
    """
    centre = mean[corners, :2].mean(0)
    reach = MOUTH_EXTENT / 2 + _MARGIN
    near = (np.abs(mean[:, :2] - centre) <= reach).all(1)
    kept = triangles[near[triangles].all(1)]
    used = np.unique(np.concatenate([kept.ravel(), *(contours or ())]))
    number = np.full(len(mean), -1)
    number[used] = np.arange(len(used))
    skin = MouthMesh(
        mean=mean[used],
        basis=basis[:, used],
        skin_triangles=number[kept],
        sheet_triangles=np.zeros((0, 3), np.int64),
        albedo=albedo[used],
        gap_mean=np.zeros(0),
        gap_basis=np.zeros((len(basis), 0)),
        centre=centre,
    )
    return skin if contours is None else _with_sheet(skin, number[contours[0]], number[contours[1]])


def _with_sheet(skin: MouthMesh, upper: IntArray, lower: IntArray) -> MouthMesh:
    """The mesh with its opening closed."""
    # Over each inner point of the upper lip: the two points of the lower lip around it, and the share of the second.
    x = skin.mean[upper[1:-1], 0]
    after = np.clip(np.searchsorted(skin.mean[lower, 0], x), 1, len(lower) - 1)
    left, right = skin.mean[lower[after - 1], 0], skin.mean[lower[after], 0]
    part = np.clip((x - left) / np.maximum(right - left, 1e-9), 0, 1)[:, None]

    def across(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values (...,V,3) on the upper lip and, at the same x, on the lower."""
        below = values[..., lower[after - 1], :] * (1 - part) + values[..., lower[after], :] * part
        return values[..., upper[1:-1], :], below

    above_mean, below_mean = across(skin.mean)
    above_basis, below_basis = across(skin.basis)
    middle = np.concatenate([upper[:1], len(skin.mean) + np.arange(len(x)), upper[-1:]])
    mean = np.concatenate([skin.mean, (above_mean + below_mean) / 2])
    sheet = [*_strip(upper, middle, mean[:, 0]), *_strip(middle, lower, mean[:, 0])]
    return dataclasses.replace(
        skin,
        mean=mean,
        basis=np.concatenate([skin.basis, (above_basis + below_basis) / 2], 1),
        sheet_triangles=np.array(sheet),
        albedo=np.concatenate([skin.albedo, np.full(len(x), skin.albedo[upper].mean())]),
        gap_mean=(below_mean - above_mean)[..., 1],
        gap_basis=(below_basis - above_basis)[..., 1],
    )


def _strip(one: IntArray, other: IntArray, x: FloatArray) -> Sequence[tuple[int, int, int]]:
    """Triangles between two chains that share both ends, each step on the chain that lags behind in x."""
    i = j = 0
    found = []
    while i < len(one) - 1 or j < len(other) - 1:
        on_one = j == len(other) - 1 or (i < len(one) - 1 and x[one[i + 1]] <= x[other[j + 1]])
        corner = (one[i], one[i + 1], other[j]) if on_one else (one[i], other[j + 1], other[j])
        i, j = (i + 1, j) if on_one else (i, j + 1)
        if len(set(corner)) == 3:
            found.append((int(corner[0]), int(corner[1]), int(corner[2])))
    return found
