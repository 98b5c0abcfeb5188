"""LSE-C, LSE-D and the cepstra below them, against the published package and a loop by hand."""

from pathlib import Path

import numpy as np
import pytest

from train.metrics import lip_sync, mfcc, voice_windows
from train.metrics.lip_sync import window_count

_GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "mfcc.npz"


def test_cepstra_are_those_of_python_speech_features() -> None:
    golden = np.load(_GOLDEN)
    computed = mfcc(golden["signal"] / 32768.0)
    assert computed.shape == golden["cepstra"].shape
    assert np.abs(computed - golden["cepstra"]).max() < 1e-4


@pytest.mark.parametrize(("samples", "columns"), [(1, 1), (400, 1), (401, 2), (16000, 99)])
def test_a_column_every_ten_milliseconds(samples: int, columns: int) -> None:
    assert mfcc(np.zeros(samples)).shape == (13, columns)


def test_an_empty_wave_is_refused() -> None:
    with pytest.raises(ValueError, match="wave"):
        mfcc(np.zeros(0))


def _by_hand(lips: np.ndarray, voice: np.ndarray, reach: int) -> tuple[float, float, int]:  # type: ignore[type-arg]
    means = []
    for lag in range(-reach, reach + 1):
        total = 0.0
        for frame in range(len(lips)):
            other = voice[frame + lag] if 0 <= frame + lag < len(voice) else np.zeros(lips.shape[1])
            total += float(np.sqrt(((lips[frame] - other) ** 2).sum()))
        means.append(total / len(lips))
    best = int(np.argmin(means))
    return float(np.median(means)) - means[best], means[best], reach - best


def test_scores_equal_a_loop_over_lags_and_frames() -> None:
    rng = np.random.default_rng(0)
    lips, voice = rng.standard_normal((24, 6)), rng.standard_normal((24, 6))
    scores = lip_sync(lips, voice, reach_frames=4)
    confidence, distance, offset = _by_hand(lips, voice, 4)
    assert scores.confidence == pytest.approx(confidence, abs=1e-4)
    assert scores.distance == pytest.approx(distance, abs=1e-4)
    assert scores.offset_frames == offset


@pytest.mark.parametrize("late", [-3, 0, 5])
def test_a_shifted_voice_is_found_at_its_lag_with_little_distance(late: int) -> None:
    rng = np.random.default_rng(1)
    both = 3 + rng.standard_normal((140, 16))
    scores = lip_sync(both[20:120], both[20 - late : 120 - late])
    # v_t = both[20 + t] is a_(t + late): the voice comes `late` frames after the lips.
    assert scores.offset_frames == -late
    assert scores.confidence > 2
    assert scores.distance < 1.5
    assert lip_sync(both[20:120], rng.standard_normal((100, 16))).confidence < scores.confidence


def test_voice_windows_are_cut_at_four_columns_a_frame() -> None:
    cepstra = np.arange(13 * 60, dtype=np.float32).reshape(13, 60)
    windows = voice_windows(cepstra, 3)
    assert windows.shape == (3, 13, 20)
    assert np.array_equal(windows[2], cepstra[:, 8:28])
    assert window_count(frames=100, columns=60) == 11
    assert window_count(frames=5, columns=60) == 1
    assert window_count(frames=4, columns=600) == 0
    with pytest.raises(ValueError, match="do not hold"):
        voice_windows(cepstra, 12)


def test_embeddings_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        lip_sync(np.zeros((4, 3)), np.zeros((5, 3)))
