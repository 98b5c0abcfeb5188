"""The speaker that agent frameworks share: one timeline, pacing, interrupts, order."""

import asyncio
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.agents import Speaker
from clients.agents.speech_queue import STEP_SAMPLES, SpeechQueue
from engine.errors import AudioInvalid, SessionClosed
from tests.clients.agents_helper import chunks, fake_speaker, loud, open_mouth, settled, tone
from tests.fake_engine import FakeSession
from tests.steerable_clock import SteerableClock


async def test_images_and_audio_share_one_timeline() -> None:
    speaker, _, _ = fake_speaker()
    await chunks(speaker, 5)
    speaker.push(tone(0.4), 48_000)
    speaker.mark("end")
    heard = await chunks(speaker, 20)
    assert [chunk.step for chunk in heard] == list(range(5, 25))
    assert sum(map(loud, heard)) == 10
    assert [open_mouth(chunk) for chunk in heard] == [loud(chunk) for chunk in heard]
    last = max(index for index, chunk in enumerate(heard) if loud(chunk))
    assert [chunk.marks for chunk in heard] == [("end",) if index == last else () for index in range(20)]
    assert speaker.frames_missing == 1, "only the very first chunk has none"
    await speaker.close()


async def test_audio_that_comes_at_once_is_said_in_real_time() -> None:
    speaker, session, clock = fake_speaker()
    speaker.push(tone(2.0), 48_000)
    speaker.mark("end")
    began_s = clock.now_s()
    heard = [chunk async for chunk in _until_mark(speaker)]
    spoken_s = clock.now_s() - began_s
    assert spoken_s == pytest.approx(2.0 - 0.04 + speaker.delay_ms / 1e3, abs=1e-6)
    assert session.loud_samples <= 16_000 * 2.0
    assert np.concatenate([chunk.audio for chunk in heard if chunk.audio is not None]).tolist() == tone(2.0).tolist()
    await speaker.close()


async def test_after_an_interrupt_nothing_old_leaves() -> None:
    speaker, session, clock = fake_speaker()
    speaker.push(tone(5.0), 48_000)
    speaker.mark("end")
    before = await chunks(speaker, 20)
    assert loud(before[-1])
    began_s = clock.now_s()
    assert speaker.interrupt() == ["end"]
    after = await chunks(speaker, 20)
    assert not any(map(loud, after))
    assert all(chunk.audio is None and not chunk.marks for chunk in after)
    assert not any(open_mouth(chunk) for chunk in after)
    rest = next(chunk for chunk in after if chunk.rgb is not None)
    assert rest.step == before[-1].step + 1
    assert clock.now_s() - began_s == pytest.approx(0.8)
    assert session.interrupts == 1
    assert {chunk.generation for chunk in after} == {1}
    speaker.push(tone(0.2), 48_000)
    speaker.mark("again")
    heard = await chunks(speaker, 12)
    assert sum(map(loud, heard)) == 5
    assert [open_mouth(chunk) for chunk in heard] == [loud(chunk) for chunk in heard]
    await speaker.close()


async def test_who_takes_chunks_slowly_loses_no_audio() -> None:
    speaker, _, clock = fake_speaker()
    speaker.push(tone(1.0), 48_000)
    speaker.mark("end")
    heard = await chunks(speaker, 10)
    clock.advance(3.0)
    heard += [chunk async for chunk in _until_mark(speaker)]
    assert sum(len(chunk.audio) for chunk in heard if chunk.audio is not None) == 48_000
    began_s = clock.now_s()
    await chunks(speaker, 5)
    assert clock.now_s() - began_s == pytest.approx(5 * 0.04)
    await speaker.close()


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100])
async def test_any_rate_and_stereo_keep_their_length(rate_hz: int) -> None:
    speaker, _, _ = fake_speaker()
    wave = tone(1.0, rate_hz)
    for piece in np.array_split(np.stack([wave, wave], axis=1), 7):
        speaker.push(piece, rate_hz)
    speaker.mark("end")
    assert speaker.pushed_ms == pytest.approx(1000, abs=2)
    await speaker.close()


async def test_the_engine_never_runs_on_the_event_loop() -> None:
    speaker, session, _ = fake_speaker()
    await chunks(speaker, 10)
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads
    await speaker.close()
    assert session.closed


async def test_a_slow_engine_costs_images_and_no_audio() -> None:
    session = FakeSession(object(), render_s=0.004)
    clock = SteerableClock()
    speaker = Speaker(session, clock)
    speaker.push(tone(4.0), 48_000)
    speaker.mark("end")
    heard = [chunk async for chunk in _until_mark(speaker)]
    assert sum(len(chunk.audio) for chunk in heard if chunk.audio is not None) == 4 * 48_000
    assert speaker.frames_missing > 0
    assert speaker.worker.skipped_ms > 0
    delay_ms = speaker.delay_ms
    await chunks(speaker, 10)
    assert delay_ms < speaker.delay_ms <= 320, "the way grows in the pause, and not before"
    await speaker.close()


async def test_gaze_is_set_on_the_engines_thread() -> None:
    speaker, session, _ = fake_speaker()
    speaker.command(lambda each: each.set_gaze(0.1, -0.2))
    speaker.interrupt()
    await settled(speaker)
    assert session.gaze == (0.1, -0.2)
    await speaker.close()


async def test_a_fault_of_the_engine_ends_the_speaker() -> None:
    speaker, session, _ = fake_speaker()
    await chunks(speaker, 2)
    session.fail = True
    with pytest.raises(RuntimeError, match="told to fail"):
        await chunks(speaker, 20)
    await speaker.close()
    assert session.closed


async def test_a_closed_speaker_says_so() -> None:
    speaker, _, _ = fake_speaker()
    await speaker.close()
    await speaker.close()
    assert [chunk async for chunk in speaker] == []
    with pytest.raises(SessionClosed):
        speaker.push(tone(0.1), 48_000)


async def test_audio_that_cannot_be_used_is_refused() -> None:
    speaker, _, _ = fake_speaker()
    for samples, rate_hz in (
        (tone(0.1).astype(np.float32), 48_000),
        (tone(0.1), 100),
        (tone(0.1)[None, None], 8_000),
    ):
        with pytest.raises(AudioInvalid):
            speaker.push(samples, rate_hz)
    await speaker.close()


@given(
    pieces=st.lists(st.integers(0, 5_000) | st.just("end") | st.just("note"), max_size=30),
    takes_between=st.integers(0, 2),
)
def test_whatever_the_pieces_audio_and_marks_keep_their_order(pieces: list[int | str], takes_between: int) -> None:
    line = SpeechQueue()
    sent: list[int] = []
    said: list[int] = []
    marks: list[tuple[int, int]] = []
    wanted: list[tuple[int, bool]] = []

    def take() -> None:
        step = line.take()
        if step.samples is not None:
            assert 0 < len(step.samples) <= STEP_SAMPLES
            said.extend(step.samples.tolist())
        marks.extend((int(str(mark)), len(said)) for mark in step.marks)

    for number, piece in enumerate(pieces):
        if isinstance(piece, int):
            wave = np.arange(len(sent), len(sent) + piece) % 30_000
            line.push(wave.astype(np.int16))
            sent.extend(wave.tolist())
        else:
            line.mark(len(wanted), ends=piece == "end")
            wanted.append((len(sent), piece == "end"))
        for _ in range(takes_between):
            take()
        assert number < 30
    for _ in range(len(sent) // STEP_SAMPLES + 2 * len(pieces) + 20):
        take()
    assert said == sent
    assert line.empty
    assert [number for number, _ in marks] == list(range(len(wanted)))
    for (_, after), (place, ends) in zip(marks, wanted, strict=True):
        assert place <= after <= place + STEP_SAMPLES
        assert not ends or after == place


def test_what_waits_is_bounded_and_the_newest_goes() -> None:
    line = SpeechQueue(max_waiting_s=1.0)
    line.push(np.arange(30_000, dtype=np.int16))
    line.push(np.zeros(30_000, np.int16))
    assert line.pushed == 48_000
    assert line.dropped == 12_000
    first = line.take().samples
    assert first is not None
    assert first.tolist() == list(range(STEP_SAMPLES))


def test_a_pause_of_the_sender_is_waited_out_and_a_rest_is_said() -> None:
    line = SpeechQueue()
    line.push(np.ones(100, np.int16))
    steps = [line.take().samples for _ in range(8)]
    assert [step is None for step in steps] == [True] * 5 + [False] + [True] * 2


async def _until_mark(speaker: Speaker):  # type: ignore[no-untyped-def]
    async for chunk in speaker:
        yield chunk
        if chunk.marks:
            return


async def test_the_real_engine_speaks_and_rests(portrait_path: Path, voice_path: Path) -> None:
    from engine import load_engine
    from engine.media import read_audio

    engine = await asyncio.to_thread(load_engine)
    avatar = await asyncio.to_thread(engine.enroll, portrait_path)
    speaker, _, _ = fake_speaker(engine.open_session(avatar, seed=1))
    _, rate_hz = next(read_audio(voice_path))
    wave = np.concatenate([np.atleast_2d(piece.T)[0] for piece, _ in itertools.islice(read_audio(voice_path), 40)])
    speaker.push((wave[:rate_hz] * 32_767).astype(np.int16), rate_hz)
    heard = (await chunks(speaker, 21))[1:]
    assert all(chunk.rgb is not None and chunk.rgb.shape == (*speaker.frame_size, 3) for chunk in heard)
    speaker.interrupt()
    rest = await chunks(speaker, 6)
    assert all(chunk.rgb is not None and chunk.audio is None for chunk in rest)
    changes = [
        float(np.abs(b.rgb.astype(int) - a.rgb.astype(int)).mean())
        for a, b in itertools.pairwise(heard)
        if a.rgb is not None and b.rgb is not None
    ]
    assert max(changes) > 0.1
    await speaker.close()
