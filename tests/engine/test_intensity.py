"""Motion editing of section 4.3 with the bundled weights, whose animator is geometric."""

import numpy as np
import numpy.typing as npt
import pytest

from engine import Avatar, Engine, Frame
from engine.errors import CommandInvalid
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

Wave = npt.NDArray[np.float32]


def _play(engine: Engine, avatar: Avatar, wave: Wave, intensity: float, seed: int = 3) -> list[Frame]:
    session = engine.open_session(avatar, seed=seed, intensity=intensity)
    return session.push_pcm(wave, SAMPLE_RATE_HZ) + session.flush()


def _speech(voice: Wave) -> Wave:
    return voice[20 * SAMPLES_PER_FRAME : 40 * SAMPLES_PER_FRAME]


def test_intensity_0_is_one_face_whatever_the_motion(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    frames = [
        *_play(engine, avatar, _speech(voice), 0.0),
        *_play(engine, avatar, _speech(voice), 0.0, seed=8),
    ]
    assert not np.array_equal(frames[5].descriptor, frames[25].descriptor)
    assert all(np.array_equal(frame.rgb, frames[0].rgb) for frame in frames)


def test_intensity_grows_to_the_whole_motion(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    neutral, half, whole = (_play(engine, avatar, _speech(voice), value) for value in (0.0, 0.5, 1.0))
    plain = engine.open_session(avatar, seed=3)
    default = plain.push_pcm(_speech(voice), SAMPLE_RATE_HZ) + plain.flush()
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(whole, default, strict=True))

    def distance(one: list[Frame], other: list[Frame]) -> float:
        differences = [np.abs(a.rgb.astype(np.float32) - b.rgb).mean() for a, b in zip(one, other, strict=True)]
        return float(np.mean(differences))

    assert 0 < distance(half, neutral) < distance(whole, neutral)
    assert 0 < distance(half, whole) < distance(neutral, whole)


@pytest.mark.parametrize("intensity", [-0.1, 1.1, float("nan")])
def test_intensity_out_of_range_is_refused(engine: Engine, avatar: Avatar, intensity: float) -> None:
    with pytest.raises(CommandInvalid, match="intensity"):
        engine.open_session(avatar, intensity=intensity)
    with pytest.raises(CommandInvalid, match="intensity"):
        engine.animator.render(avatar.prepared, np.zeros((1, 72), np.float32), intensity=intensity)


def test_intensity_can_change_while_speaking(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    session = engine.open_session(avatar, seed=3)
    speech = _speech(voice)
    first = session.push_pcm(speech[: 10 * SAMPLES_PER_FRAME], SAMPLE_RATE_HZ)
    session.set_intensity(0.0)
    rest = session.push_pcm(speech[10 * SAMPLES_PER_FRAME :], SAMPLE_RATE_HZ)
    still = _play(engine, avatar, speech, 0.0)[0].rgb
    assert not np.array_equal(first[-1].rgb, still)
    assert all(np.array_equal(frame.rgb, still) for frame in rest)
    with pytest.raises(CommandInvalid, match="intensity"):
        session.set_intensity(1.5)


def test_the_head_can_be_held_still_while_lips_go_on(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    def poses_and_mouths(moving: bool) -> tuple[Wave, Wave]:
        session = engine.open_session(avatar, seed=3)
        session.set_pose(moving)
        descriptors = np.stack([f.descriptor for f in session.push_pcm(_speech(voice), SAMPLE_RATE_HZ)])
        return descriptors[:, 64:70], descriptors[:, :64]

    (moving, mouths), (held, held_mouths) = poses_and_mouths(True), poses_and_mouths(False)
    assert np.ptp(moving, axis=0).max() > 1e-3
    assert np.array_equal(held, np.tile(avatar.coefficients.pose, (len(held), 1)))
    assert np.array_equal(mouths, held_mouths)
