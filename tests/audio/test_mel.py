import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.audio import MEL_SILENCE, StreamingMel, mel_spectrogram
from engine.errors import AudioInvalid

GOLDEN = Path(__file__).parent.parent / "golden" / "mel.npz"
Float32 = NDArray[np.float32]


def _noise(samples: int) -> Float32:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def _read_wav(path: Path) -> Float32:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def test_equals_the_reference(reference_dir: Path) -> None:
    speech = _read_wav(reference_dir / "release" / "speech.wav")
    expected = np.load(reference_dir / "release" / "mel.npz")["mel"]
    np.testing.assert_allclose(mel_spectrogram(speech), expected, atol=1e-5, rtol=0)


def test_equals_the_golden_made_by_other_means() -> None:
    golden = np.load(GOLDEN)
    np.testing.assert_allclose(mel_spectrogram(golden["wave"]), golden["mel"], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2000), max_size=10))
def test_any_chunking_is_bit_equal(sizes: list[int]) -> None:
    wave_in = _noise(sum(sizes))
    stream, parts, at = StreamingMel(), [], 0
    for size in sizes:
        parts.append(stream.push(wave_in[at : at + size]))
        at += size
        # column j is final once sample 200 j + 399 is here, and not held back any longer
        assert stream.columns == max(0, (at - 400) // 200 + 1)
    parts.append(stream.flush())
    joined = np.concatenate(parts, axis=1)
    assert joined.shape == (80, 1 + at // 200)
    np.testing.assert_array_equal(joined, mel_spectrogram(wave_in))


def test_flush_makes_it_new() -> None:
    stream = StreamingMel()
    first = np.concatenate([stream.push(_noise(999)), stream.flush()], axis=1)
    again = np.concatenate([stream.push(_noise(999)), stream.flush()], axis=1)
    np.testing.assert_array_equal(first, again)


def test_silence_and_nothing() -> None:
    assert (mel_spectrogram(np.zeros(1000, np.float32)) == MEL_SILENCE).all()
    assert mel_spectrogram(np.zeros(0, np.float32)).shape == (80, 1)


@pytest.mark.parametrize(("hz", "band"), [(200.0, 3), (1000.0, 25), (4000.0, 63)])
def test_tone_peaks_in_its_band(hz: float, band: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(8000) / 16000).astype(np.float32)
    assert abs(int(mel_spectrogram(tone)[:, 20].argmax()) - band) <= 1


def test_stereo_is_refused() -> None:
    with pytest.raises(AudioInvalid, match="mono"):
        mel_spectrogram(np.zeros((100, 2), np.float32))
