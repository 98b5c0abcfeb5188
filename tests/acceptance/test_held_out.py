"""The product on people that no training saw: three portraits, a speaker's voice, the video measured again.

Needs the data folder (see train/README.md, "held out"); skips without it.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine import Engine, load_engine
from engine.media import read_audio, read_video
from engine.portrait import FaceLandmarker

_PORTRAITS = ("composite-m_african.jpg", "london-002-neutral.jpg", "canada-008f.jpg")
# The audio of this clip runs one frame late against its image (train/data estimates it).
_VOICE, _AUDIO_LATE_FRAMES = "address-daines.mp4", 1
_GAZES = (-0.3 * np.pi, -0.5, -0.2, 0.0, 0.2, 0.5, 0.3 * np.pi)

Landmarks = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine()


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


def _opening(points: Landmarks) -> npt.NDArray[np.float64]:
    """Inner-lip distance over the distance of the outer eye corners, (T,)."""
    lips = np.linalg.norm(points[:, 13] - points[:, 14], axis=-1)
    return lips / np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)


def _iris_shift(points: Landmarks) -> float:
    """Place of the irises between the eye corners, mean of both eyes: grows to the image right."""
    shifts = []
    for iris, left, right in ((468, 33, 133), (473, 362, 263)):
        along = points[right, :2] - points[left, :2]
        shifts.append(float((points[iris, :2] - points[left, :2]) @ along / (along @ along)))
    return float(np.mean(shifts))


@pytest.fixture(scope="module")
def real_opening(data_dir: Path, landmarker: FaceLandmarker) -> npt.NDArray[np.float64]:
    return _opening(np.stack([landmarker.detect(rgb) for rgb in read_video(data_dir / "clips" / _VOICE)]))


@pytest.mark.slow
@pytest.mark.parametrize("portrait", _PORTRAITS)
def test_lips_follow_a_strangers_voice(
    engine: Engine,
    landmarker: FaceLandmarker,
    data_dir: Path,
    real_opening: npt.NDArray[np.float64],
    portrait: str,
) -> None:
    session = engine.open_session(engine.enroll(data_dir / "portraits" / portrait), seed=0)
    frames = []
    for chunk, rate_hz in read_audio(data_dir / "clips" / _VOICE):
        frames += session.push_pcm(chunk, rate_hz)
    frames += session.flush()
    points, missed = [], 0
    for frame in frames:
        try:
            points.append(landmarker.detect(frame.rgb))
        except ValueError:
            missed += 1
            points.append(points[-1])
    assert missed <= 0.02 * len(frames)
    shown = _opening(np.stack(points))
    correlations = []
    for lag in (-1, 0, 1):
        shift = _AUDIO_LATE_FRAMES + lag
        moved = shown[max(shift, 0) :]
        real = real_opening[max(-shift, 0) :]
        length = min(len(moved), len(real))
        correlations.append(float(np.corrcoef(moved[:length], real[:length])[0, 1]))
    print(
        f"{portrait}: face found in {len(frames) - missed} of {len(frames)} frames; mouth opening correlates at "
        f"{max(correlations):.2f} with the real speaker's"
    )
    assert max(correlations) >= 0.35


@pytest.mark.parametrize("portrait", _PORTRAITS)
def test_commanded_gaze_moves_the_irises_monotonically(
    engine: Engine, landmarker: FaceLandmarker, data_dir: Path, portrait: str
) -> None:
    avatar = engine.enroll(data_dir / "portraits" / portrait)
    shifts = []
    for yaw in _GAZES:
        descriptor = avatar.coefficients.descriptor
        descriptor[70:] = 0.0, yaw
        shifts.append(_iris_shift(landmarker.detect(engine.animator.render(avatar.prepared, descriptor[None]))))
    print(f"{portrait}: iris shift {[round(shift, 3) for shift in shifts]}")
    assert all(np.diff(shifts) > 0)
