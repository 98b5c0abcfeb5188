"""Rotations, alignment and the two frames of gaze."""

import numpy as np
import pytest
import torch

from engine.motion.space.gaze import (
    camera_gaze_to_eye_in_head,
    direction_to_gaze,
    gaze_to_direction,
    iris_offset,
)
from engine.motion.space.pose import (
    align_similarity,
    matrix_to_rotation_vector,
    pose_from_similarity,
    rotation_vector_to_matrix,
    similarity_from_pose,
)


def _vectors(count: int = 50) -> torch.Tensor:
    return 0.8 * torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_rotation_vectors_survive_the_matrix() -> None:
    vectors = _vectors()
    np.testing.assert_allclose(
        matrix_to_rotation_vector(rotation_vector_to_matrix(vectors).numpy()), vectors.numpy(), atol=1e-9
    )


def test_rotations_are_proper() -> None:
    rotation = rotation_vector_to_matrix(_vectors())
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))


def test_gradient_at_no_rotation_is_finite() -> None:
    vector = torch.zeros(3, requires_grad=True)
    rotation_vector_to_matrix(vector)[1, 0].backward()
    assert vector.grad is not None
    torch.testing.assert_close(vector.grad, torch.tensor([0.0, 0.0, 1.0]))


def test_alignment_recovers_a_similarity() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(30, 3))
    rotation = rotation_vector_to_matrix(_vectors(4)).numpy()
    scale, shift = np.array([1.0, 2.0, 0.5, 90.0]), random.normal(size=(4, 3)) * 50
    moved = scale[:, None, None] * points @ rotation.swapaxes(1, 2) + shift[:, None]
    found = align_similarity(points, moved)
    for got, wanted in zip(found, (scale, rotation, shift), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_alignment_never_mirrors() -> None:
    points = np.random.default_rng(1).normal(size=(30, 3))
    _, rotation, _ = align_similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(rotation[0]) == pytest.approx(1)


def test_pose_and_similarity_are_inverse() -> None:
    pose = torch.tensor([[0.1, -0.2, 0.3, 0.25, -0.5, 0.1], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    scale, rotation, translation = similarity_from_pose(pose, 256)
    assert scale[1] == pytest.approx(0.35 * 256)
    assert translation[1].tolist() == [128, 128, 0]
    back = pose_from_similarity(scale.numpy(), rotation.numpy(), translation.numpy(), 256)
    np.testing.assert_allclose(back, pose.numpy(), atol=1e-5)


def test_gaze_signs() -> None:
    up, right = gaze_to_direction(torch.tensor([[0.3, 0.0], [0.0, 0.3]]))
    assert up[1] < 0
    assert right[0] > 0
    torch.testing.assert_close(gaze_to_direction(torch.zeros(2)), torch.tensor([0.0, 0.0, -1.0]))


def test_gaze_and_direction_are_inverse() -> None:
    gaze = torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(direction_to_gaze(gaze_to_direction(gaze)), gaze, atol=1e-5, rtol=0)


def test_the_head_turns_what_the_eyes_see_in_it_into_the_camera_gaze() -> None:
    random = torch.Generator().manual_seed(2)
    gaze, pose = torch.rand(50, 2, generator=random) - 0.5, 0.6 * (torch.rand(50, 6, generator=random) - 0.5)
    inside = camera_gaze_to_eye_in_head(gaze, pose)
    turned = rotation_vector_to_matrix(pose[:, :3]) @ gaze_to_direction(inside)[..., None]
    torch.testing.assert_close(direction_to_gaze(turned.squeeze(-1)), gaze, atol=1e-5, rtol=0)


def test_eye_contact_turns_the_eyes_against_the_head() -> None:
    head_to_left = torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0, 0.0])
    pitch, yaw = camera_gaze_to_eye_in_head(torch.zeros(2), head_to_left)
    assert yaw == pytest.approx(0.3, abs=1e-5)
    assert pitch == pytest.approx(0, abs=1e-5)


def test_iris_of_a_straight_eye_stays() -> None:
    torch.testing.assert_close(iris_offset(torch.zeros(2), 0.13), torch.zeros(3))
    assert iris_offset(torch.tensor([0.0, 0.5]), 0.13)[0] == pytest.approx(0.13 * np.sin(0.5), abs=1e-6)
