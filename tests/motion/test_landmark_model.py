"""Pictures to coefficients and back; what turning, scaling, blinking and smiling change, and what they must not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.errors import WeightsCorrupt, WeightsNotFound
from engine.motion.space.coefficients import GAZE, POSE
from engine.motion.space.landmark_basis import load_landmark_basis
from engine.motion.space.landmark_fit import eye_openings, mouth_openings
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import IBUG_68, LID_LEFT, LID_RIGHT, MIRROR, mirror_landmarks

_FRONTAL = torch.tensor([0.05, -0.1, 0.02, 0.05, 0.1, 0.03])


def _person(model: LandmarkModel, seed: int, pose: torch.Tensor = _FRONTAL) -> NDArray[np.float32]:
    """Landmarks of somebody whom the bases do not hold exactly."""
    random = torch.Generator().manual_seed(seed)
    identity, expression = torch.randn(80, generator=random), 0.5 * torch.randn(64, generator=random)
    noise = 0.003 * torch.randn(478, 3, generator=random)
    return model.project(model.shape(identity, expression, noise), pose).numpy()


def _neutral(model: LandmarkModel, expression: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    return model.project(model.shape(torch.zeros(80), expression), pose)


def _nearest_expression(model: LandmarkModel, displacement: torch.Tensor) -> torch.Tensor:
    basis = model.expression_basis.flatten(1)
    return torch.linalg.solve(basis @ basis.T + 1e-3 * torch.eye(64), basis @ displacement.flatten())


def _smile(model: LandmarkModel) -> torch.Tensor:
    """An expression that draws the mouth corners, and softly what is near them, out and up."""
    displacement = torch.zeros(478, 3)
    for corner, side in ((61, -1.0), (291, 1.0)):
        near = torch.exp(-((model.mean - model.mean[corner]) ** 2).sum(1) / 0.15**2)
        displacement += near[:, None] * torch.tensor([0.08 * side, -0.06, 0.03])
    return _nearest_expression(model, displacement)


def _blink(model: LandmarkModel) -> torch.Tensor:
    """An expression that closes the eyes: upper lids well down, the rest of the face still."""
    displacement = torch.zeros(478, 3)
    for ring in (LID_LEFT, LID_RIGHT):
        for upper, lower in zip(ring[1:8], ring[:8:-1], strict=True):
            displacement[upper, 1] = 1.3 * (model.mean[lower, 1] - model.mean[upper, 1])
    return _nearest_expression(model, displacement)


def test_a_fitted_image_gives_its_landmarks_back(landmark_model: LandmarkModel) -> None:
    landmarks = _person(landmark_model, 1)
    found = landmark_model.fit(landmarks)
    shape = landmark_model.shape(*map(torch.from_numpy, (found.identity, found.expression, found.residual)))
    seen = landmark_model.project(shape, torch.from_numpy(found.pose)).numpy()
    np.testing.assert_allclose(seen[:, :2], landmarks[:, :2], atol=0.01)
    depth = seen[:, 2] - landmarks[:, 2]
    np.testing.assert_allclose(depth, depth.mean(), atol=0.01)


def test_own_descriptor_gives_the_image(landmark_model: LandmarkModel) -> None:
    landmarks = _person(landmark_model, 2)
    found = landmark_model.fit(landmarks)
    seen = landmark_model.landmarks(found, torch.from_numpy(found.descriptor)).numpy()
    np.testing.assert_allclose(seen[:, :2], landmarks[:, :2], atol=0.01)


def test_coefficients_have_the_promised_shapes(landmark_model: LandmarkModel) -> None:
    found = landmark_model.fit(_person(landmark_model, 3))
    sizes = {name: getattr(found, name).shape for name in ("identity", "expression", "pose", "gaze", "residual")}
    assert sizes == {
        "identity": (80,), "expression": (64,), "pose": (6,), "gaze": (2,), "residual": (478, 3),
    }  # fmt: skip
    assert all(getattr(found, name).dtype == np.float32 for name in sizes)
    assert found.descriptor.shape == (72,)


@pytest.mark.parametrize("turn", [(0.0, 0.5, 0.0), (0.3, 0.0, 0.0), (0.0, 0.0, 0.6), (-0.2, -0.4, 0.2)])
def test_turning_moving_and_scaling_leave_expression_and_identity(
    landmark_model: LandmarkModel, turn: tuple[float, float, float]
) -> None:
    still = landmark_model.fit(_person(landmark_model, 4))
    turned = landmark_model.fit(_person(landmark_model, 4, torch.tensor([*turn, 0.2, -0.1, 0.4])))
    np.testing.assert_allclose(turned.expression, still.expression, atol=1e-3)
    np.testing.assert_allclose(turned.identity, still.identity, atol=1e-3)


def test_pose_comes_back(landmark_model: LandmarkModel) -> None:
    pose = torch.tensor([0.2, -0.3, 0.1, 0.15, -0.05, 0.2])
    found = landmark_model.fit(_neutral(landmark_model, torch.zeros(64), pose).numpy())
    np.testing.assert_allclose(found.pose, pose.numpy(), atol=1e-4)


def test_pose_signs(landmark_model: LandmarkModel) -> None:
    nose, forehead = 4, 10
    rest = _neutral(landmark_model, torch.zeros(64), torch.zeros(6))
    down, left, clockwise = (_neutral(landmark_model, torch.zeros(64), torch.eye(6)[axis] * 0.3) for axis in range(3))
    assert down[nose, 1] > rest[nose, 1]
    assert left[nose, 0] < rest[nose, 0]
    assert clockwise[forehead, 0] > rest[forehead, 0]


def test_crop_size_changes_no_coefficient_but_those_of_place(landmark_model: LandmarkModel) -> None:
    landmarks = _person(landmark_model, 5)
    small, large = landmark_model.fit(landmarks, 256), landmark_model.fit(landmarks * 2, 512)
    np.testing.assert_allclose(small.descriptor, large.descriptor, atol=1e-4)


def test_a_smile_widens_the_mouth_and_leaves_the_eyes(landmark_model: LandmarkModel) -> None:
    smile = _smile(landmark_model)
    rest, smiling = landmark_model.landmarks_68(torch.zeros(64)), landmark_model.landmarks_68(smile)
    assert smiling[54, 0] - smiling[48, 0] > rest[54, 0] - rest[48, 0] + 0.05
    assert landmark_model.eye_feature(smile)[0] == pytest.approx(1, abs=0.15)


def test_a_smile_is_found_in_an_image(landmark_model: LandmarkModel) -> None:
    smile = _smile(landmark_model)
    found = landmark_model.fit(_neutral(landmark_model, smile, _FRONTAL).numpy()).expression
    width = landmark_model.landmarks_68(torch.from_numpy(found))[[48, 54], 0]
    rest = landmark_model.landmarks_68(torch.zeros(64))[[48, 54], 0]
    assert (width[1] - width[0]) - (rest[1] - rest[0]) > 0.03


def test_a_blink_lowers_the_ratio_and_leaves_the_mouth(landmark_model: LandmarkModel) -> None:
    blink = _blink(landmark_model)
    assert landmark_model.eye_feature(blink)[0] < 0.4
    shapes = landmark_model.shape(torch.zeros(80), torch.stack([torch.zeros(64), blink])).numpy()
    assert eye_openings(shapes[1]) < 0.5 * eye_openings(shapes[0])
    assert abs(mouth_openings(shapes[1]) - mouth_openings(shapes[0])) < 0.02


def test_eye_feature_of_the_mean_face(landmark_model: LandmarkModel) -> None:
    feature = landmark_model.eye_feature(torch.zeros(2, 3, 64))
    assert feature.shape == (2, 3, 21)
    assert torch.equal(feature[..., 0], torch.ones(2, 3))
    assert torch.equal(feature[..., 1:], torch.zeros(2, 3, 20))


def test_eye_feature_order_is_x_y_by_point(landmark_model: LandmarkModel) -> None:
    expression = torch.randn(64, generator=torch.Generator().manual_seed(0))
    moved = landmark_model.landmarks_68(expression) - landmark_model.landmarks_68(torch.zeros(64))
    feature = landmark_model.eye_feature(expression)
    torch.testing.assert_close(feature[1:3], moved[17, :2])
    torch.testing.assert_close(feature[19:21], moved[26, :2])


def test_the_68_are_the_shape_at_zero_identity(landmark_model: LandmarkModel) -> None:
    expression = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    whole = landmark_model.shape(torch.zeros(5, 80), expression)
    torch.testing.assert_close(landmark_model.landmarks_68(expression), whole[:, IBUG_68])


def test_mirrored_expression_is_the_mirrored_shape(landmark_model: LandmarkModel) -> None:
    expression = torch.randn(64, generator=torch.Generator().manual_seed(2))
    shape = landmark_model.shape(torch.zeros(80), expression)
    mirrored = landmark_model.shape(torch.zeros(80), landmark_model.mirror_expression(expression))
    np.testing.assert_allclose(mirrored.numpy(), mirror_landmarks(shape.numpy(), 0), atol=2e-6)
    np.testing.assert_allclose(landmark_model.mean.numpy()[MIRROR] * [-1, 1, 1], landmark_model.mean.numpy(), atol=1e-6)


def test_mean_face_is_one_unit_wide_and_centred(landmark_model: LandmarkModel) -> None:
    mean = landmark_model.mean.numpy()
    assert np.linalg.norm(mean[33] - mean[263]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(mean[landmark_model.rigid_indices.numpy()].mean(0), 0, atol=1e-5)


def test_a_clip_gives_its_motion_back(landmark_model: LandmarkModel) -> None:
    time = torch.linspace(0, 6.28, 60)
    blink, smile = _blink(landmark_model), _smile(landmark_model)
    closing = (torch.arange(60) % 20 == 10).float()
    # Most of the clip is at rest, as the search for the neutral face assumes.
    smiling = (torch.sin(time) - 0.5).clamp_min(0)
    expression = closing[:, None] * blink + smiling[:, None] * smile
    pose = torch.zeros(60, 6)
    pose[:, 1], pose[:, 3] = 0.2 * torch.sin(time), 0.1 * torch.cos(time)
    identity = 0.5 * torch.randn(80, generator=torch.Generator().manual_seed(3))
    landmarks = landmark_model.project(landmark_model.shape(identity.expand(60, 80), expression), pose).numpy()
    found = landmark_model.fit_sequence(landmarks)
    assert found.descriptors.shape == (60, 72)
    np.testing.assert_allclose(found.pose[:, :3], pose[:, :3], atol=0.02)
    ratio = landmark_model.eye_feature(torch.from_numpy(found.expression))[:, 0]
    assert (ratio[closing == 1] < 0.5).all()
    assert (ratio[closing == 0] > 0.8).all()
    seen = landmark_model.landmarks(found, torch.from_numpy(found.descriptors)).numpy()
    assert np.abs(seen[..., :2] - landmarks[..., :2]).max() < 1.5


def test_missing_frames_are_bridged(landmark_model: LandmarkModel) -> None:
    landmarks = np.stack([_person(landmark_model, 6)] * 10)
    landmarks[[0, 4, 5, 9]] = np.nan
    found = landmark_model.fit_sequence(landmarks)
    assert np.isfinite(found.descriptors).all()
    np.testing.assert_allclose(found.pose, found.pose[:1].repeat(10, 0), atol=1e-4)
    with pytest.raises(ValueError, match="no frame"):
        landmark_model.fit_sequence(np.full((3, 478, 3), np.nan))


def test_a_known_identity_is_kept(landmark_model: LandmarkModel) -> None:
    identity = np.linspace(-1, 1, 80, dtype=np.float32)
    found = landmark_model.fit_sequence(np.stack([_person(landmark_model, 7)] * 4), identity)
    np.testing.assert_array_equal(found.identity, identity)


def test_commanded_gaze_moves_only_the_irises(landmark_model: LandmarkModel) -> None:
    found = landmark_model.fit(_person(landmark_model, 8))
    descriptor = torch.from_numpy(found.descriptor).clone()
    before = landmark_model.landmarks(found, descriptor)
    descriptor[GAZE] += torch.tensor([0.2, 0.3])
    moved = landmark_model.landmarks(found, descriptor) - before
    assert moved[:468].abs().max() == 0
    assert (moved[468:, 0] > 1).all()  # to the image right
    assert (moved[468:, 1] < -1).all()  # up


def test_gaze_is_measured_back_in_a_turned_head(landmark_model: LandmarkModel) -> None:
    found = landmark_model.fit(_neutral(landmark_model, torch.zeros(64), torch.zeros(6)).numpy())
    descriptor = torch.from_numpy(found.descriptor).clone()
    descriptor[POSE] = torch.tensor([0.1, 0.35, 0.05, 0.0, 0.0, 0.0])
    descriptor[GAZE] = torch.tensor([-0.1, 0.2])
    seen = landmark_model.landmarks(found, descriptor).numpy()
    np.testing.assert_allclose(landmark_model.fit(seen).gaze, [-0.1, 0.2], atol=0.02)


def test_wrong_shapes_are_refused(landmark_model: LandmarkModel) -> None:
    with pytest.raises(ValueError, match="478"):
        landmark_model.fit(np.zeros((468, 3)))
    with pytest.raises(ValueError, match="T, 478"):
        landmark_model.fit_sequence(np.zeros((478, 3)))


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound):
        load_landmark_basis(tmp_path / "nothing.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"not a tensor file at all")
    with pytest.raises(WeightsCorrupt):
        load_landmark_basis(tmp_path / "noise.safetensors")
