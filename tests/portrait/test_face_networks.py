"""The networks that find faces: the numbers of Google's own runtime, squares that a face turns with."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.portrait.face_networks import FaceNetworks

_GOLDEN = Path(__file__).parent.parent / "golden" / "tflite.npz"


def test_landmarks_are_those_of_the_runtime(face: NDArray[np.uint8]) -> None:
    """A square that is the network's own cut; decoders of JPEG may differ by a level."""
    found = FaceNetworks().look(face, np.array([256.0, 224.0, 256.0, 0.0], np.float32))
    with np.load(_GOLDEN) as golden:
        expected = golden["landmarks"].reshape(478, 3) + np.array([128, 96, 0])
    np.testing.assert_allclose(found.landmarks_px, expected, atol=0.05)
    assert found.presence > 0.99


def test_a_rolled_face_is_found_where_it_is(face: NDArray[np.uint8]) -> None:
    networks = FaceNetworks()
    (upright,) = networks.find(face, 0.3, 8)
    turn = cv2.getRotationMatrix2D((256, 256), -30.0, 1.0)
    (rolled,) = networks.find(cv2.warpAffine(face, turn, (512, 512), borderValue=(128, 128, 128)), 0.3, 8)
    expected = upright.landmarks_px[:, :2] @ turn[:, :2].T + turn[:, 2]
    size = np.ptp(upright.landmarks_px[:, :2], axis=0).max()
    assert np.linalg.norm(rolled.landmarks_px[:, :2] - expected, axis=1).mean() < 0.02 * size


def test_two_faces_are_two_and_the_surest_comes_first(face: NDArray[np.uint8]) -> None:
    found = FaceNetworks().find(np.concatenate([face, face[:, ::-1]], axis=1), 0.3, 8)
    assert len(found) == 2
    apart = found[0].landmarks_px[:, 0].mean() - found[1].landmarks_px[:, 0].mean()
    assert abs(apart) > 400


def test_a_plain_wall_holds_no_face() -> None:
    assert FaceNetworks().find(np.full((300, 200, 3), 180, np.uint8), 0.3, 8) == []
