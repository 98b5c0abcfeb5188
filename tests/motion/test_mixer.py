"""The mixer closes mouths, respects limits and follows gaze, on a planted linear face."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import WeightsFolder
from engine.config import MixerConfig, from_mapping
from engine.motion.mixer import MixerState, mix
from engine.motion.space.mouth_rest import MouthRest, mouth_rest

_LOWER = [65, 66, 67]
_UPPER = [61, 62, 63]


def _basis() -> np.ndarray:
    """Component 0 drops the lower lip, 1 lowers the upper lids, 2 raises the brows; the rest is small noise."""
    basis = np.random.default_rng(0).normal(scale=1e-4, size=(64, 68, 3)).astype(np.float32)
    basis[0, _LOWER, 1] += 0.05
    basis[1, [37, 38, 43, 44], 1] += 0.03
    basis[2, 17:27, 1] -= 0.04
    return basis


def _gap(basis: np.ndarray, shape: np.ndarray, change: np.ndarray) -> np.ndarray:
    moved = shape + np.tensordot(change, basis, 1)
    return moved[[67, 66, 65], 1] - moved[_UPPER, 1]


@pytest.fixture
def rest() -> tuple[np.ndarray, np.ndarray, MouthRest]:
    shape = np.zeros((68, 3), dtype=np.float32)
    shape[_LOWER, 1] = 0.1
    return _basis(), shape, mouth_rest(_basis(), shape, np.zeros(64, np.float32))


def _run(
    rest: MouthRest, expression: np.ndarray, speaking: list[bool], config: MixerConfig | None = None
) -> np.ndarray:
    config = config or MixerConfig()
    state = MixerState.start(np.zeros(2, np.float32), config)
    zero = np.zeros(6, np.float32)
    return np.stack(
        [
            mix(
                state,
                config,
                rest,
                expression=expression,
                pose_0=zero,
                pose_residual=zero,
                gaze=np.zeros(2, np.float32),
                speaking=voice,
            )
            for voice in speaking
        ]
    )


def test_rest_brings_open_lips_together(rest: tuple[np.ndarray, np.ndarray, MouthRest]) -> None:
    basis, shape, mouth = rest
    assert np.abs(_gap(basis, shape, mouth.expression)).max() < 2e-3


def test_silence_closes_the_mouth_and_leaves_the_eyes(rest: tuple[np.ndarray, np.ndarray, MouthRest]) -> None:
    basis, shape, mouth = rest
    expression = np.zeros(64, np.float32)
    expression[:3] = (2.0, -1.0, 1.5)
    q = _run(mouth, expression, [True] * 4 + [False] * 3)
    spoken = _gap(basis, shape, q[3, :64])
    assert spoken.min() > 0.15
    assert np.abs(_gap(basis, shape, q[6, :64])).max() < 0.05 * spoken.min()
    assert q[6, 1:3] == pytest.approx(expression[1:3], abs=0.1)


def test_poses_stay_within_limits_and_near_zero_pass_unchanged(
    rest: tuple[np.ndarray, np.ndarray, MouthRest],
) -> None:
    config = MixerConfig(pose_smoothing_frames=1)
    state = MixerState.start(np.zeros(2, np.float32), config)
    pose_0 = np.full(6, 0.1, np.float32)

    def pose(residual: float) -> np.ndarray:
        return mix(
            state,
            config,
            rest[2],
            expression=np.zeros(64, np.float32),
            pose_0=pose_0,
            pose_residual=np.full(6, residual, np.float32),
            gaze=np.zeros(2, np.float32),
            speaking=True,
        )[64:70]

    assert pose(1e-3) - pose_0 == pytest.approx(np.full(6, 1e-3), abs=1e-5)
    far = pose(50.0) - pose_0
    assert far[:3] == pytest.approx(config.rotation_limit_rad, abs=1e-4)
    assert far[3:] == pytest.approx(config.translation_limit, abs=1e-4)


def test_gaze_arrives_without_overshoot_and_is_limited(
    rest: tuple[np.ndarray, np.ndarray, MouthRest],
) -> None:
    config = MixerConfig()
    state = MixerState.start(np.zeros(2, np.float32), config)
    zero6 = np.zeros(6, np.float32)
    yaw = [
        float(
            mix(
                state,
                config,
                rest[2],
                expression=np.zeros(64, np.float32),
                pose_0=zero6,
                pose_residual=zero6,
                gaze=np.array([0.0, 1.5], np.float32),
                speaking=False,
            )[71]
        )
        for _ in range(20)
    ]
    assert all(later >= earlier for earlier, later in itertools.pairwise(yaw))
    assert yaw[-1] == pytest.approx(0.3 * math.pi, abs=1e-3)


def test_poses_are_the_mean_of_the_last_frames(rest: tuple[np.ndarray, np.ndarray, MouthRest]) -> None:
    config = MixerConfig(pose_smoothing_frames=4)
    state = MixerState.start(np.zeros(2, np.float32), config)
    steps = [
        mix(
            state,
            config,
            rest[2],
            expression=np.zeros(64, np.float32),
            pose_0=np.zeros(6, np.float32),
            pose_residual=np.full(6, 1e-3, np.float32),
            gaze=np.zeros(2, np.float32),
            speaking=True,
        )[64]
        for _ in range(6)
    ]
    assert steps == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3], rel=1e-3)


def _mixed(config: MixerConfig, seed: int, size: float, frames: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of motion drawn with this size, and the portrait's own pose."""
    drawn = np.random.default_rng(seed)
    mouth = mouth_rest(_basis(), np.zeros((68, 3), np.float32), np.zeros(64, np.float32))
    state = MixerState.start(np.zeros(2, np.float32), config)
    pose_0 = drawn.normal(scale=0.1, size=6).astype(np.float32)
    rows = [
        mix(
            state,
            config,
            mouth,
            expression=drawn.normal(scale=size, size=64).astype(np.float32),
            pose_0=pose_0,
            pose_residual=drawn.normal(scale=size, size=6).astype(np.float32),
            gaze=drawn.normal(scale=size, size=2).astype(np.float32),
            speaking=bool(drawn.integers(2)),
        )
        for _ in range(frames)
    ]
    return np.stack(rows), pose_0


@given(seed=st.integers(0, 1000), size=st.sampled_from([0.1, 3.0, 100.0]))
@settings(max_examples=25, deadline=None)
def test_no_motion_leaves_the_limits_of_the_weights(seed: int, size: float) -> None:
    config = MixerConfig(expression_limit=12.0, gaze_limit_rad=0.6, gaze_pitch_limit_rad=0.3)
    q, pose_0 = _mixed(config, seed, size)
    assert np.linalg.norm(q[:, :64], axis=1).max() <= config.expression_limit * 1.001
    residual = np.abs(q[:, 64:70] - pose_0)
    assert residual[:, :3].max() <= config.rotation_limit_rad + 1e-5
    assert residual[:, 3:].max() <= config.translation_limit + 1e-5
    assert np.abs(q[:, 70]).max() <= config.gaze_pitch_limit_rad + 1e-6
    assert np.abs(q[:, 71]).max() <= config.gaze_limit_rad + 1e-6


def test_an_expression_is_shortened_only_past_the_limit_and_keeps_its_kind(
    rest: tuple[np.ndarray, np.ndarray, MouthRest],
) -> None:
    expression = np.zeros(64, np.float32)
    expression[:3] = (2.0, -1.0, 1.5)
    free = _run(rest[2], expression, [True] * 4)[3, :64]
    far = _run(rest[2], expression, [True] * 4, MixerConfig(expression_limit=1.0))[3, :64]
    near = _run(rest[2], expression, [True] * 4, MixerConfig(expression_limit=5.0))[3, :64]
    np.testing.assert_array_equal(near, free)
    assert far == pytest.approx(free / np.linalg.norm(free), abs=1e-6)


@pytest.mark.parametrize("name", ["expression_limit", "gaze_pitch_limit_rad", "gaze_limit_rad"])
def test_limits_must_be_positive(name: str) -> None:
    for value in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=name):
            MixerConfig(**{name: value})


def test_the_bundled_weights_say_what_can_be_shown() -> None:
    mixer = from_mapping(MixerConfig, WeightsFolder.open().section("mixer"), "mixer")
    assert mixer.gaze_limit_rad == pytest.approx(0.3 * math.pi)
    assert 0 < mixer.gaze_pitch_limit_rad < mixer.gaze_limit_rad
    assert 15 < mixer.expression_limit < 30  # training clips reach 17.5
