"""A whole session through its public interface, with the bundled weights."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Avatar, DrivingMotion, Engine, Frame, Session
from engine.errors import AudioInvalid, BackendUnavailable, CommandInvalid, SessionClosed
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

Wave = npt.NDArray[np.float32]

_SHORT = 30 * SAMPLES_PER_FRAME + 123


def _play(session: Session, wave: Wave, cuts: list[int] | None = None, rate_hz: int = SAMPLE_RATE_HZ) -> list[Frame]:
    frames: list[Frame] = []
    edges = [0, *sorted(cuts or []), len(wave)]
    for start, stop in pairwise(edges):
        frames += session.push_pcm(wave[start:stop], rate_hz)
    return frames + session.flush()


def _equal(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(
        a.pts_samples == b.pts_samples
        and a.speaking == b.speaking
        and np.array_equal(a.descriptor, b.descriptor)
        and np.array_equal(a.rgb, b.rgb)
        for a, b in zip(one, other, strict=True)
    )


def _mouth_gap(engine: Engine, avatar: Avatar, frame: Frame) -> float:
    """Inner-lip opening of the shown motion over the distance of the outer eye corners."""

    points = engine.model.landmarks(avatar.coefficients, torch.from_numpy(frame.descriptor)).numpy()
    return float((points[14, 1] - points[13, 1]) / np.linalg.norm(points[263, :2] - points[33, :2]))


@pytest.fixture(scope="module")
def whole(engine: Engine, avatar: Avatar, voice: Wave) -> list[Frame]:
    return _play(engine.open_session(avatar, seed=3), voice[:_SHORT])


def test_frames_cover_the_audio_in_order(whole: list[Frame]) -> None:
    assert [frame.index for frame in whole] == list(range(math.ceil(_SHORT / SAMPLES_PER_FRAME)))
    assert all(frame.pts_samples == frame.index * SAMPLES_PER_FRAME for frame in whole)
    assert all(frame.rgb.shape == (256, 256, 3) and frame.rgb.dtype == np.uint8 for frame in whole)
    assert all(np.isfinite(frame.descriptor).all() for frame in whole)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, _SHORT), max_size=12))
def test_streamed_equals_offline(
    engine: Engine, avatar: Avatar, voice: Wave, whole: list[Frame], cuts: list[int]
) -> None:
    assert _equal(_play(engine.open_session(avatar, seed=3), voice[:_SHORT], cuts), whole)


def test_streamed_equals_offline_at_another_rate(engine: Engine, avatar: Avatar) -> None:
    t = np.arange(48_000) / 48_000
    wave = (0.4 * np.sin(2 * np.pi * 180 * t) * (np.sin(2 * np.pi * 3 * t) > 0)).astype(np.float32)
    once = _play(engine.open_session(avatar), wave, rate_hz=48_000)
    pieces = _play(engine.open_session(avatar), wave, list(range(0, 48_000, 960)), rate_hz=48_000)
    assert len(once) == 25
    assert _equal(once, pieces)


def test_later_audio_never_changes_earlier_frames(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    cut = 20 * SAMPLES_PER_FRAME
    other = voice[:_SHORT].copy()
    other[cut:] = np.random.default_rng(0).normal(scale=0.2, size=len(other) - cut).astype(np.float32)
    one = engine.open_session(avatar, seed=3).push_pcm(voice[:_SHORT], SAMPLE_RATE_HZ)
    two = engine.open_session(avatar, seed=3).push_pcm(other, SAMPLE_RATE_HZ)
    safe = (cut - round(engine.open_session(avatar).lookahead_ms * 16)) // SAMPLES_PER_FRAME
    assert safe >= 17
    assert _equal(one[:safe], two[:safe])
    assert not _equal(one, two)


def test_frames_come_as_soon_as_the_look_ahead_is_heard(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    session = engine.open_session(avatar)
    assert session.lookahead_ms <= 100
    needed = round(session.lookahead_ms * 16)
    assert session.push_pcm(voice[: needed - 1], SAMPLE_RATE_HZ) == []
    assert [frame.index for frame in session.push_pcm(voice[needed - 1 : needed], SAMPLE_RATE_HZ)] == [0]


def test_seed_decides_the_spontaneous_motion(engine: Engine, avatar: Avatar, voice: Wave, whole: list[Frame]) -> None:
    other = _play(engine.open_session(avatar, seed=4), voice[:_SHORT])
    assert not np.array_equal(other[-1].descriptor[64:70], whole[-1].descriptor[64:70])


def test_sessions_do_not_touch_each_other(engine: Engine, avatar: Avatar, voice: Wave, whole: list[Frame]) -> None:
    mine, theirs = engine.open_session(avatar, seed=3), engine.open_session(avatar, seed=9)
    frames: list[Frame] = []
    for start in range(0, _SHORT, 2000):
        frames += mine.push_pcm(voice[start : min(start + 2000, _SHORT)], SAMPLE_RATE_HZ)
        theirs.push_pcm(voice[start : start + 1500], SAMPLE_RATE_HZ)
    assert _equal(frames + mine.flush(), whole)


def test_silence_keeps_the_mouth_closed_and_the_head_alive(engine: Engine, avatar: Avatar) -> None:
    frames = _play(engine.open_session(avatar, seed=1), np.zeros(8 * SAMPLE_RATE_HZ, np.float32))
    assert not any(frame.speaking for frame in frames)
    assert max(_mouth_gap(engine, avatar, frame) for frame in frames) < 0.02
    motion = np.stack([frame.descriptor[64:70] for frame in frames])
    assert motion.std(axis=0).max() > 1e-3


def test_mouth_opens_with_speech_and_closes_within_150_ms(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    speech = voice[SAMPLES_PER_FRAME * 10 : SAMPLES_PER_FRAME * 60]
    frames = _play(engine.open_session(avatar, seed=1), np.concatenate([silence, speech, silence]))
    gaps = np.array([_mouth_gap(engine, avatar, frame) for frame in frames])
    assert gaps[:24].max() < 0.02
    assert np.percentile(gaps[27:73], 90) > 0.05
    closed_from = 75 + math.ceil(0.150 * 25)
    assert gaps[closed_from:].max() < 0.025


def test_gaze_command_moves_the_gaze_and_not_the_head(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    def last(yaw: float | None) -> npt.NDArray[np.float32]:
        session = engine.open_session(avatar, seed=3)
        if yaw is not None:
            session.set_gaze(0.0, yaw)
        return _play(session, voice[:_SHORT])[-1].descriptor

    left, straight, right = last(-0.6), last(None), last(0.6)
    assert left[71] == pytest.approx(-0.6, abs=0.01)
    assert right[71] == pytest.approx(0.6, abs=0.01)
    assert left[64:70] == pytest.approx(straight[64:70], abs=0)
    for bad in ((math.nan, 0.0), (0.0, 2.0)):
        with pytest.raises(CommandInvalid):
            engine.open_session(avatar).set_gaze(*bad)


def test_interrupt_drops_unshown_audio_and_closes_the_mouth(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    session = engine.open_session(avatar, seed=1)
    shown = session.push_pcm(voice[: 40 * SAMPLES_PER_FRAME], SAMPLE_RATE_HZ)
    assert session.interrupt() == 1
    assert session.next_pts_samples == len(shown) * SAMPLES_PER_FRAME
    after = session.push_pcm(np.zeros(SAMPLE_RATE_HZ, np.float32), SAMPLE_RATE_HZ)
    assert after[0].index == len(shown)
    assert all(frame.generation == 1 for frame in after)
    assert all(_mouth_gap(engine, avatar, frame) < 0.025 for frame in after[1:])


def test_drive_replaces_what_the_voice_would_say(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    expression = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    gaze = np.full((40, 2), 0.1, np.float32)
    session = engine.open_session(avatar, seed=3, drive=DrivingMotion(expression=expression, gaze=gaze))
    frames = _play(session, voice[:_SHORT])
    plain = _play(engine.open_session(avatar, seed=3), voice[:_SHORT])
    assert frames[20].descriptor[:64] == pytest.approx(expression[20], abs=1e-4)
    assert frames[30].descriptor[70:] == pytest.approx(gaze[0], abs=1e-3)
    assert np.array_equal(frames[20].descriptor[64:70], plain[20].descriptor[64:70])


@pytest.mark.parametrize(
    "chunk",
    [np.array([0.0, np.nan], np.float32), np.zeros((2, 2, 2), np.int16), np.array([1 + 2j]), np.full(9, 1e9)],
)
def test_bad_chunks_are_refused_and_nothing_is_lost(
    engine: Engine, avatar: Avatar, voice: Wave, whole: list[Frame], chunk: npt.NDArray[np.generic]
) -> None:
    session = engine.open_session(avatar, seed=3)
    frames = session.push_pcm(voice[:5000], SAMPLE_RATE_HZ)
    with pytest.raises(AudioInvalid):
        session.push_pcm(chunk, SAMPLE_RATE_HZ)
    with pytest.raises(AudioInvalid):
        session.push_pcm(voice[:10], 4000)
    frames += session.push_pcm(voice[5000:_SHORT], SAMPLE_RATE_HZ)
    assert _equal(frames + session.flush(), whole)


def test_telephone_stereo_and_changing_rates_give_frames_in_time(engine: Engine, avatar: Avatar) -> None:
    session = engine.open_session(avatar)
    tone = np.sin(np.arange(8000) / 8).astype(np.float32) * 0.3
    frames = session.push_pcm((tone * 32767).astype(np.int16), 8000)
    frames += session.push_pcm(np.stack([np.resize(tone, 44_100)] * 2, 1), 44_100)
    frames += session.flush()
    assert len(frames) == 50
    assert [frame.index for frame in frames] == list(range(50))


def test_closed_sessions_and_missing_backends_say_so(engine: Engine, avatar: Avatar) -> None:
    from engine import load_engine

    session = engine.open_session(avatar)
    session.close()
    session.close()
    for call in (lambda: session.push_pcm(np.zeros(1, np.float32), 16_000), session.flush, session.interrupt):
        with pytest.raises(SessionClosed):
            call()
    with pytest.raises(BackendUnavailable, match="eager"):
        load_engine(backend="warp-drive")
    with pytest.raises(BackendUnavailable, match="cpu"):
        load_engine(device="abacus")


def test_steadied_lips_move_less_from_frame_to_frame_and_lids_as_before(
    engine: Engine, avatar: Avatar, voice: Wave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def motion(newest_weight: float) -> tuple[Wave, Wave]:
        mixer = dataclasses.replace(engine.networks.mixer, lip_newest_weight=newest_weight)
        monkeypatch.setattr(engine, "networks", dataclasses.replace(engine.networks, mixer=mixer))
        frames = _play(engine.open_session(avatar, seed=3), voice[: 2 * _SHORT])
        gaps = np.array([_mouth_gap(engine, avatar, frame) for frame in frames])
        expressions = torch.from_numpy(np.stack([frame.descriptor[:64] for frame in frames]))
        return gaps, engine.model.eye_feature(expressions)[:, 0].numpy()

    raw_gaps, raw_lids = motion(1.0)
    gaps, lids = motion(0.5)
    assert np.abs(np.diff(gaps)).mean() < 0.8 * np.abs(np.diff(raw_gaps)).mean()
    assert np.abs(lids - raw_lids).max() < 0.05
