"""The fit recovers a linear face that was planted, and keeps people apart."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.motion.space.landmark_basis import LandmarkBasis, load_landmark_basis, save_landmark_basis
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import MIRROR, RIGID
from engine.motion.space.pose import rotation_vector_to_matrix
from train.motion_space import Clip, FaceData, FitReport, MotionSpaceConfig, Still, fit_motion_space
from train.motion_space.bases import generalised_procrustes, symmetric_pca
from train.motion_space.landmarks import read_landmarks
from train.motion_space.people import split_held_out
from train.motion_space.samples import sample_weights

_PEOPLE, _FRAMES, _RANK = 90, 90, 6

_Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def mean() -> _Array:
    """The mean face of the bundled motion space, as somewhere to plant."""
    root = Path(__file__).resolve().parents[2]
    space = load_landmark_basis(root / "engine" / "weights" / "default" / "motion_space.safetensors")
    return space.mean.astype(np.float64)


def _planted_basis() -> _Array:
    """Smooth symmetric displacements that leave the rigid points where they are."""
    random = np.random.default_rng(0)
    basis = random.normal(size=(_RANK, 478, 3)) * 0.02
    basis = (basis + basis[:, MIRROR] * [-1, 1, 1]) / 2
    basis[:, RIGID] = 0
    basis[:, 468:] = 0
    return basis


def _seen(shapes: _Array, random: np.random.Generator) -> NDArray[np.float32]:
    """Shapes (T, 478, 3) as landmarks of images: turned, scaled, moved, measured with a little noise."""
    vectors = random.normal(size=(len(shapes), 3)) * 0.1
    rotation = rotation_vector_to_matrix(torch.from_numpy(vectors)).numpy()
    noisy = shapes + random.normal(size=shapes.shape) * 2e-4
    turned = 90 * noisy @ rotation.swapaxes(1, 2)
    return np.asarray(turned + random.normal(size=(len(shapes), 1, 3)) * 20 + 128, np.float32)


@pytest.fixture(scope="module")
def planted(mean: _Array) -> FaceData:
    """Stills of many neutral people, and two clips that move along the planted directions only."""
    random = np.random.default_rng(1)
    basis = _planted_basis()
    people = mean + 0.01 * random.normal(size=(_PEOPLE, 478, 3))
    stills = [
        Still(f"london-{n:03d}", f"person-{n}", "london", "neutral", landmarks)
        for n, landmarks in enumerate(_seen(people, random))
    ]
    clips = []
    for number in range(2):
        moves = random.normal(size=(_FRAMES, _RANK))
        moves[: _FRAMES // 3] = 0
        shapes = people[number] + np.tensordot(moves, basis, 1)
        clips.append(Clip(f"grid-{number}", f"person-{number}", "grid", _seen(shapes, random)))
    return FaceData(stills, clips)


@pytest.fixture(scope="module")
def fitted(planted: FaceData) -> tuple[LandmarkBasis, FitReport]:
    """The motion space of the planted people."""
    return fit_motion_space(planted)


def test_planted_directions_are_found(fitted: tuple[LandmarkBasis, FitReport]) -> None:
    space, report = fitted
    assert report.frames == 2 * _FRAMES
    found = space.expression_basis[:_RANK].reshape(_RANK, -1).astype(np.float64)
    wanted = _planted_basis().reshape(_RANK, -1)
    projector, *_ = np.linalg.lstsq(found.T, wanted.T, rcond=None)
    error = np.linalg.norm(wanted.T - found.T @ projector) / np.linalg.norm(wanted)
    assert error < 0.15
    assert (space.expression_mirror_sign[:_RANK] == 1).all()
    assert space.expression_std[_RANK] < 0.5 * space.expression_std[_RANK - 1], space.expression_std[:12]


def test_mean_face_and_gaze_are_found(planted: FaceData, fitted: tuple[LandmarkBasis, FitReport], mean: _Array) -> None:
    space, _ = fitted
    skin = np.arange(468)
    assert np.abs(space.mean[skin] - mean[skin]).max() < 0.01
    model = LandmarkModel(space)
    gazes = [model.fit(still.landmarks).gaze for still in planted.stills]
    np.testing.assert_allclose(np.mean(gazes, axis=0), 0, atol=0.02)


def test_coefficients_have_unit_size(planted: FaceData, fitted: tuple[LandmarkBasis, FitReport]) -> None:
    space, _ = fitted
    model = LandmarkModel(space)
    found = np.concatenate([model.fit_sequence(clip.landmarks).expression for clip in planted.clips])
    np.testing.assert_allclose(np.sqrt((found[:, :_RANK] ** 2).mean(0)), 1, atol=0.15)


def test_the_fit_is_deterministic_and_survives_its_file(
    planted: FaceData, fitted: tuple[LandmarkBasis, FitReport], tmp_path: Path
) -> None:
    save_landmark_basis(fit_motion_space(planted)[0], tmp_path / "again.safetensors")
    again = load_landmark_basis(tmp_path / "again.safetensors")
    for field in fields(LandmarkBasis):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(fitted[0], field.name))


def test_procrustes_mean_is_upright_symmetric_and_one_unit_wide(planted: FaceData) -> None:
    landmarks = np.stack([still.landmarks for still in planted.stills]).astype(np.float64)
    mean = generalised_procrustes(landmarks, np.ones(len(landmarks)))
    np.testing.assert_allclose(mean[MIRROR] * [-1, 1, 1], mean, atol=1e-9)
    assert np.linalg.norm(mean[33] - mean[263]) == pytest.approx(1)
    np.testing.assert_allclose(mean[RIGID].mean(0), 0, atol=1e-9)


def test_components_are_symmetric_or_antisymmetric_and_ordered() -> None:
    samples = np.random.default_rng(2).normal(size=(40, 478, 3))
    basis = symmetric_pca(samples, np.ones(40), np.ones(478), 20)
    mirrored = basis.vectors[:, MIRROR] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, basis.mirror_sign[:, None, None] * basis.vectors, atol=1e-9)
    assert (np.diff(basis.std) <= 0).all()
    assert 0 < basis.held[0] < basis.held[-1] <= 1


def test_too_few_samples_are_refused() -> None:
    samples = np.random.default_rng(3).normal(size=(4, 478, 3))
    with pytest.raises(ValueError, match="components are needed"):
        symmetric_pca(samples, np.ones(4), np.ones(478), 64)


def test_no_person_or_set_dominates() -> None:
    groups = np.array(["grid"] * 6 + ["smile"] * 2)
    people = np.array(["a"] * 5 + ["b"] + ["c", "d"])
    weights = sample_weights(groups, people, {"grid": 0.8, "smile": 0.2})
    assert weights.sum() == pytest.approx(1)
    assert weights[:5].sum() == pytest.approx(weights[5])
    assert weights[6:].sum() == pytest.approx(0.2)


def test_held_out_people_are_split_off_by_person(mean: _Array, tmp_path: Path) -> None:
    face = mean.astype(np.float32)
    names = ["london-001-neutral.jpg", "london-011-neutral.jpg", "composite-f_multi.jpg", "canada-003f.jpg"]
    np.savez(tmp_path / "portraits.npz", names=names, landmarks=np.stack([face] * 4))
    np.savez(tmp_path / "portraits-small.npz", names=["A1.jpg", "B1.jpg"], landmarks=np.stack([face, face]))
    for name in ("grid-swwp2s.mpg", "grid-s26-a.mpg", "address-daines.mp4"):
        np.savez(tmp_path / f"clip-{name}.npz", landmarks=np.stack([face, np.full_like(face, np.nan)]))
    training, held_out = split_held_out(read_landmarks(tmp_path))
    assert [still.name for still in training.stills] == ["london-011-neutral", "A1"]
    assert [clip.name for clip in training.clips] == ["grid-s26-a"]
    assert len(held_out.stills) == 4
    assert {clip.name for clip in held_out.clips} == {"grid-swwp2s", "address-daines"}
    assert len(training.clips[0].landmarks) == 1


def test_noise_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        MotionSpaceConfig(picture_noise=0)
