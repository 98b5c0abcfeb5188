import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.audio import VAD_FRAME_SAMPLES, VoiceActivity

Float32 = NDArray[np.float32]


def _buzz(seconds: float) -> Float32:
    """Sounds enough like a vowel for the detector: harmonics of 120 Hz under two formants, in syllables."""
    time = np.arange(int(seconds * 16000)) / 16000
    harmonics = np.arange(1, 40)
    weights = 1 / (1 + ((harmonics * 120 - 600) / 200) ** 2) + 0.5 / (1 + ((harmonics * 120 - 1700) / 200) ** 2)
    wave = (weights[:, None] * np.sin(2 * np.pi * 120 * harmonics[:, None] * time)).sum(axis=0)
    return (0.1 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2500), max_size=10))
def test_any_chunking_gives_the_same(sizes: list[int]) -> None:
    wave = np.concatenate([_buzz(0.5), np.zeros(3000, np.float32), _buzz(2.0)])[: sum(sizes)]
    stream, answers, at = VoiceActivity(), [], 0
    for size in sizes:
        answers += stream.push(wave[at : at + size])
        at += size
    assert answers == VoiceActivity().push(wave)
    assert len(answers) == len(wave) // VAD_FRAME_SAMPLES


def test_digital_silence_is_never_speech() -> None:
    assert not any(VoiceActivity(aggressiveness=0).push(np.zeros(16000, np.float32)))


def test_speech_opens_soon_and_closes_soon(voice: Float32) -> None:
    level = np.sqrt(np.mean(voice[: len(voice) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
    loud = np.flatnonzero(level > 0.3 * level.max())
    speech = voice[loud[0] * 160 : (loud[len(loud) // 2] + 1) * 160]
    silence = np.zeros(16000, np.float32)
    answers = np.array(VoiceActivity().push(np.concatenate([silence, speech, silence])))
    on, off = np.flatnonzero(answers)[[0, -1]]
    assert 0 <= (on - 100) * 10 <= 50
    assert (off + 1 - 100) * 10 - len(speech) / 16 <= 150


def test_covers_the_voice_without_flicker(voice: Float32) -> None:
    answers = np.array(VoiceActivity().push(voice))
    level = np.sqrt(np.mean(voice[: len(answers) * 160].reshape(-1, 160) ** 2, axis=1))
    assert answers[level > 0.1 * level.max()].mean() > 0.9
    assert np.count_nonzero(np.diff(answers.astype(int)) == 1) < 3 * len(voice) / 16000


def test_click_does_not_open_the_mouth() -> None:
    wave = np.zeros(16000, np.float32)
    wave[8000:8100] = 0.9
    assert not any(VoiceActivity().push(wave))


def test_a_reset_stream_starts_anew() -> None:
    stream, wave = VoiceActivity(), _buzz(0.7)
    first = stream.push(wave)
    stream.reset()
    assert stream.push(wave) == first


@pytest.mark.parametrize("setting", [{"aggressiveness": 4}, {"onset_frames": 0}, {"release_frames": 0}])
def test_settings_out_of_range_raise(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="aggressiveness"):
        VoiceActivity(**setting)  # type: ignore[arg-type]
