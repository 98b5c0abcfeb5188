"""Presentation times rule: every sample and every frame comes when the file says."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media import read_audio, read_video

_RATE = 48000
_BLOCK = 960


def _film(
    path: Path, blocks: list[tuple[int, float]], *, codec: str, frames_ms: list[int] | None = None, block_ms: int = 20
) -> Path:
    """A file whose audio blocks of 20 ms begin at given times.

    Args:
        blocks: start in ms, and amplitude of the tone in it.
        frames_ms: times of grey frames of a video track, the n-th of level 6 n; None for no video.
        block_ms: length of each.
    """
    with av.open(str(path), "w") as output:
        audio = output.add_stream(codec, rate=_RATE, layout="mono")
        video = None if frames_ms is None else output.add_stream("mpeg4", rate=25, width=64, height=64)
        if video is not None:
            video.pix_fmt, video.time_base = "yuv420p", Fraction(1, 1000)
            video.codec_context.time_base = Fraction(1, 1000)
        for number, at in enumerate(frames_ms or []):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 6 * number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = at, Fraction(1, 1000)
            output.mux(video.encode(picture))
        if video is not None:
            output.mux(video.encode(None))
        tone = np.sin(2 * np.pi * 440 * np.arange(block_ms * _RATE // 1000) / _RATE)
        for at, amplitude in blocks:
            samples = (amplitude * 32767 * tone).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = _RATE, at * _RATE // 1000, Fraction(1, _RATE)
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def _wave(path: Path) -> NDArray[np.float32]:
    return np.concatenate([samples for samples, _ in read_audio(path)])


def _loud_ms(wave: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Stretches of sound, to 20 ms."""
    loud = np.abs(wave[: len(wave) // _BLOCK * _BLOCK]).reshape(-1, _BLOCK).max(1) > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int)))
    return [(20 * int(start), 20 * int(stop)) for start, stop in edges.reshape(-1, 2)]


def test_audio_that_begins_after_the_video_is_led_by_silence(tmp_path: Path) -> None:
    blocks = [(800 + 20 * k, 0.5) for k in range(25)]
    path = _film(tmp_path / "late.mkv", blocks, codec="pcm_s16le", frames_ms=list(range(0, 1300, 40)))
    assert _loud_ms(_wave(path)) == [(800, 1300)]


def test_a_gap_is_filled_with_silence(tmp_path: Path) -> None:
    blocks = [(20 * k, 0.5) for k in range(10)] + [(700 + 20 * k, 0.5) for k in range(10)]
    assert _loud_ms(_wave(_film(tmp_path / "gap.mkv", blocks, codec="pcm_s16le"))) == [(0, 200), (700, 900)]


def test_overlapping_audio_keeps_the_later_in_its_place(tmp_path: Path) -> None:
    blocks = [(0, 0.5), (100, 0.0), (300, 0.5)]
    wave = _wave(_film(tmp_path / "overlap.mkv", blocks, codec="pcm_s16le", block_ms=200))
    assert _loud_ms(wave) == [(0, 200), (300, 500)]


@pytest.mark.parametrize("wander_ms", [1, 15])
def test_stamps_that_wander_move_no_sample(tmp_path: Path, wander_ms: int) -> None:
    """Matroska rounds to milliseconds, and recorders stamp blocks when they get them."""
    rng = np.random.default_rng(0)
    blocks = [(20 * k + int(rng.integers(0, wander_ms + 1)), 0.5) for k in range(50)]
    wave = _wave(_film(tmp_path / "wander.mkv", blocks, codec="pcm_s16le"))
    assert len(wave) == 50 * _BLOCK
    assert _loud_ms(wave) == [(0, 1000)]


def test_hours_of_silence_are_no_recording(tmp_path: Path) -> None:
    path = _film(tmp_path / "hostile.mkv", [(0, 0.5), (10**9, 0.5)], codec="pcm_s16le")
    with pytest.raises(AudioUnreadable, match="jump"):
        _wave(path)


def test_video_that_begins_after_the_audio_shows_its_first_frame_until_then(tmp_path: Path) -> None:
    blocks = [(20 * k, 0.5) for k in range(50)]
    path = _film(tmp_path / "late.mkv", blocks, codec="pcm_s16le", frames_ms=[400, 600, 800])
    levels = [round(float(rgb.mean()) / 6) for rgb in read_video(path)]
    assert levels[:20] == [0] * 15 + [1] * 5
    assert len(_wave(path)) == 50 * _BLOCK
