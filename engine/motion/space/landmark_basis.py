"""The file that defines the landmark motion space: mean face, two bases, and what it takes to measure gaze."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine.errors import WeightsCorrupt, WeightsNotFound
from engine.motion.space.coefficients import EXPRESSION_SIZE, IDENTITY_SIZE
from engine.motion.space.landmark_table import LANDMARK_COUNT

BUNDLED_MOTION_SPACE: Final = Path(__file__).resolve().parents[2] / "weights" / "default" / "motion_space.safetensors"

FORMAT: Final = "gohd-landmark-motion-space"
FORMAT_VERSION: Final = 1

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LandmarkBasis:
    """S = mean + i B_id + e B_exp (the form of Eq. 10), in face units.

    A face unit is the distance between the outer eye corners of the mean face, some 90 mm. All float32 unless said.

    Attributes:
        mean: (478, 3), mirror-symmetric, origin at the centroid of the rigid points, facing the camera.
        identity_basis, expression_basis: (80, 478, 3) and (64, 478, 3); one unit of a coefficient is one standard
            deviation (root mean square about the neutral face) in the training data.
        identity_std, expression_std: (80,) and (64,), face units, weighted RMS over the whole face.
        identity_mirror_sign, expression_mirror_sign: (80,) and (64,), each +1 or -1: the sign that a coefficient takes
            when the face is mirrored.
        vertex_weight: (478,), weight of each landmark in every fit; zero at the irises.
        rigid_indices: (n,) int64, the landmarks that carry the pose.
        eye_centre_offset: (2, 3), from the middle of the two corners of an eye to the centre of its eyeball.
        eyeball_radius: (), face units, from that centre to the centre of the iris.
        picture_noise, sequence_noise: (), face units, the standard deviation assumed when fitting one image, or a clip.
    """

    mean: _Array
    identity_basis: _Array
    expression_basis: _Array
    identity_std: _Array
    expression_std: _Array
    identity_mirror_sign: _Array
    expression_mirror_sign: _Array
    vertex_weight: _Array
    rigid_indices: NDArray[np.int64]
    eye_centre_offset: _Array
    eyeball_radius: _Array
    picture_noise: _Array
    sequence_noise: _Array


_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "mean": (LANDMARK_COUNT, 3),
    "identity_basis": (IDENTITY_SIZE, LANDMARK_COUNT, 3),
    "expression_basis": (EXPRESSION_SIZE, LANDMARK_COUNT, 3),
    "identity_std": (IDENTITY_SIZE,),
    "expression_std": (EXPRESSION_SIZE,),
    "identity_mirror_sign": (IDENTITY_SIZE,),
    "expression_mirror_sign": (EXPRESSION_SIZE,),
    "vertex_weight": (LANDMARK_COUNT,),
    "eye_centre_offset": (2, 3),
    "eyeball_radius": (),
    "picture_noise": (),
    "sequence_noise": (),
}


def save_landmark_basis(basis: LandmarkBasis, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write ``basis`` as safetensors; ``notes`` join the format's name and version in the header."""
    tensors = {field.name: np.array(getattr(basis, field.name), order="C") for field in fields(basis)}
    header = {"format": FORMAT, "format_version": str(FORMAT_VERSION), **(notes or {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=header)


def load_landmark_basis(path: Path) -> LandmarkBasis:
    """Read a motion space.

    Raises:
        WeightsNotFound: the file is not there. WeightsCorrupt: it is not what it should be.
    """
    if not path.is_file():
        raise WeightsNotFound(
            f"no motion space at {path}; name the file of a weights folder, or fit one (train/README.md)"
        )
    try:
        with safe_open(path, framework="numpy") as handle:
            header = handle.metadata() or {}
            if header.get("format") != FORMAT:
                raise WeightsCorrupt(f"{path} is not a landmark motion space")
            if header.get("format_version") != str(FORMAT_VERSION):
                found = header.get("format_version")
                raise WeightsCorrupt(f"{path} has format version {found}, this code reads {FORMAT_VERSION}")
            names = [field.name for field in fields(LandmarkBasis)]
            tensors = {name: handle.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} cannot be read: {error}") from error
    for name, shape in _SHAPES.items():
        if tensors[name].shape != shape:
            raise WeightsCorrupt(f"{path}: {name} has shape {tensors[name].shape}, expected {shape}")
        tensors[name] = tensors[name].astype(np.float32)
        if not np.isfinite(tensors[name]).all():
            raise WeightsCorrupt(f"{path}: {name} holds values that are not finite")
    rigid = tensors["rigid_indices"].astype(np.int64)
    if rigid.ndim != 1 or rigid.size < 3 or rigid.min() < 0 or rigid.max() >= LANDMARK_COUNT:
        raise WeightsCorrupt(f"{path}: rigid_indices must name at least three of the 478 landmarks")
    return LandmarkBasis(**{**tensors, "rigid_indices": rigid})
