import numpy as np
import pytest
from numpy.typing import NDArray

from engine.audio import to_mono_float
from engine.errors import AudioInvalid


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (np.array([0, 16384, -32768], np.int16), [0.0, 0.5, -1.0]),
        (np.array([0, 2**30, -(2**31)], np.int32), [0.0, 0.5, -1.0]),
        (np.array([0.0, 0.5, -1.0], np.float32), [0.0, 0.5, -1.0]),
        (np.array([0.0, 0.5, -1.0], np.float64), [0.0, 0.5, -1.0]),
        (np.array([[16384, 0], [-32768, -32768]], np.int16), [0.25, -1.0]),
        (np.array([[0.5], [1.25]], np.float32), [0.5, 1.0]),
        (np.zeros(0, np.int16), []),
        (np.zeros((0, 2), np.float32), []),
    ],
)
def test_becomes_mono_float(chunk: NDArray[np.generic], expected: list[float]) -> None:
    mono = to_mono_float(chunk)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, np.array(expected, np.float32), atol=1e-7)


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (np.array([0.0, np.nan], np.float32), "NaN"),
        (np.array([np.inf, 0.0], np.float32), "infinity"),
        (np.array([12000.0, -3.0], np.float32), "divide"),
        (np.zeros(4, np.uint8), "int16"),
        (np.zeros(4, np.int64), "int16"),
        (np.zeros(4, np.complex64), "int16"),
        (np.array(["a"]), "int16"),
        (np.zeros((2, 480), np.float32), "transpose"),
        (np.zeros((4, 0), np.float32), "channels"),
        (np.zeros((1, 2, 3), np.float32), "shape"),
        (np.float32(0.5), "shape"),
    ],
)
def test_what_is_not_audio_is_refused(chunk: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(AudioInvalid, match=reason):
        to_mono_float(chunk)


def test_the_callers_samples_stay_untouched() -> None:
    chunk = np.array([2.0, -2.0], np.float32)
    to_mono_float(chunk)[:] = 0.0
    np.testing.assert_array_equal(chunk, [2.0, -2.0])
