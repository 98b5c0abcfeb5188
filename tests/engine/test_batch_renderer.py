"""Frames of several sessions made together: the same as alone, whoever else is there, comes, goes or is dropped."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.gpu.random_animator import neural_weights
from engine import Avatar, Engine, Frame, Session, load_engine
from engine.animator.network.step import FrameInputs
from engine.batch.job import FrameJob
from engine.batch.renderer import BatchRenderer
from engine.errors import CapacityExceeded, DeviceMemoryExceeded
from engine.runtime import CapturedFrameStep
from engine.runtime.cuda_graph import rerun
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from tests.animator.neural_cases import SMALL

Wave = npt.NDArray[np.float32]

_FRAMES = 7
_SMALL = dataclasses.replace(SMALL, widths=(12, 12, 12, 12, 8, 8, 8), past_frames=6, future_frames=0)


@pytest.fixture(scope="module")
def neural(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The bundled motion beside a small neural animator of drawn weights."""
    folder = neural_weights(_SMALL, tmp_path_factory.mktemp("neural") / "weights")
    return load_engine(folder, "cpu", "eager")


@pytest.fixture(scope="module")
def avatars(neural: Engine, portrait_path: Path) -> list[Avatar]:
    from engine.portrait import load_image

    rgb = load_image(portrait_path)
    return [neural.enroll(image) for image in (rgb, np.ascontiguousarray(rgb[:, ::-1]))]


class _Voices:
    """Sessions at one renderer; each hears its own part of the voice, a frame's worth at a time."""

    def __init__(self, engine: Engine, renderer: BatchRenderer | None, voice: Wave) -> None:
        self.engine, self.renderer, self.voice = engine, renderer, voice
        self.frames: dict[int, list[Frame]] = {}
        self.errors: dict[int, Exception] = {}
        self.sessions: dict[int, Session] = {}
        self._waiting: dict[int, list[FrameJob]] = {}
        self._heard: dict[int, int] = {}

    def join(self, number: int, avatar: Avatar) -> None:
        self.sessions[number] = self.engine.open_session(avatar, seed=number, renderer=self.renderer)
        self.frames[number], self._waiting[number], self._heard[number] = [], [], 4000 * number

    def leave(self, number: int) -> None:
        assert self.renderer is not None
        self.renderer.leave(self.sessions.pop(number).row)

    def ask(self, number: int) -> FrameJob:
        """The next job of a session, which hears on until there is one."""
        while not self._waiting[number]:
            start = self._heard[number]
            self._heard[number] += SAMPLES_PER_FRAME
            chunk = self.voice[start : start + SAMPLES_PER_FRAME]
            self._waiting[number] += self.sessions[number].listen(chunk, SAMPLE_RATE_HZ)
        return self._waiting[number].pop(0)

    def render(self, numbers: Sequence[int], *, shown: bool = True) -> None:
        assert self.renderer is not None
        jobs = [self.ask(number) for number in numbers]
        for job in jobs:
            job.shown = shown
        self.renderer.render(jobs)
        for number, job in zip(numbers, jobs, strict=True):
            if job.error is not None:
                self.errors[number] = job.error
            elif shown:
                self.frames[number].append(self.sessions[number].postprocess(job))
            else:
                assert job.rgb is None


def _alone(engine: Engine, avatar: Avatar, number: int, voice: Wave, count: int = _FRAMES) -> list[Frame]:
    session = engine.open_session(avatar, seed=number)
    return session.push_pcm(voice[4000 * number :][: (count + 6) * SAMPLES_PER_FRAME], SAMPLE_RATE_HZ)[:count]


def _check_alike(one: list[Frame], other: list[Frame], levels: int = 1) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert (a.index, a.speaking, a.generation) == (b.index, b.speaking, b.generation)
        np.testing.assert_allclose(a.descriptor, b.descriptor, rtol=0, atol=1e-5)
        assert np.abs(a.rgb.astype(int) - b.rgb.astype(int)).max() <= levels


def test_frames_made_together_are_those_of_sessions_alone(neural: Engine, avatars: list[Avatar], voice: Wave) -> None:
    voices = _Voices(neural, neural.open_renderer(3), voice)
    for number, avatar in enumerate((avatars[0], avatars[1], avatars[0])):
        voices.join(number, avatar)
    voices.render([1])  # so that not all need a hop of poses at once
    for _ in range(_FRAMES - 1):
        voices.render([0, 1, 2])
    voices.render([2, 0])
    for number, avatar in enumerate((avatars[0], avatars[1], avatars[0])):
        _check_alike(voices.frames[number], _alone(neural, avatar, number, voice))


def test_the_geometric_animator_is_shared_alike(engine: Engine, avatar: Avatar, voice: Wave) -> None:
    voices = _Voices(engine, engine.open_renderer(2), voice)
    voices.join(0, avatar)
    voices.join(1, avatar)
    for _ in range(4):
        voices.render([0, 1])
    for number in (0, 1):
        _check_alike(voices.frames[number], _alone(engine, avatar, number, voice, 4))


def _check_storm(engine: Engine, avatars: list[Avatar], voice: Wave, capture: Any, renew: Callable[[], None]) -> None:
    """Joins and leaves in captured steps; then the same sessions in fresh ones make the same bytes."""

    def voices() -> _Voices:
        renew()
        return _Voices(
            engine, BatchRenderer(engine.networks, engine.animator, 3, captured=True, capture=capture), voice
        )

    def play(voices: _Voices) -> dict[int, list[Frame]]:
        voices.join(5, avatars[1])
        voices.render([5])
        voices.join(6, avatars[0])
        for _ in range(3):
            voices.render([5, 6])
        voices.leave(5)
        voices.join(7, avatars[1])
        voices.render([6, 7])
        return voices.frames

    used = voices()
    for number in range(3):
        used.join(number, avatars[number % 2])
    used.render([0, 1, 2])
    used.render([0, 1])
    used.render([2])
    for number in range(3):
        used.leave(number)
    frames, fresh = play(used), play(voices())
    renew()
    for number in (5, 6, 7):
        _check_alike(frames[number], fresh[number], levels=0)
        alone = _alone(engine, avatars[number % 2], number, voice, len(frames[number]))
        _check_alike(frames[number], alone)


def test_replays_after_sessions_joined_and_left_are_fresh_frames(
    neural: Engine, avatars: list[Avatar], voice: Wave, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager: Any = neural.animator.step  # type: ignore[attr-defined]

    def flat(code: Any, window: Any, intensity: Any, *features: Any) -> tuple[torch.Tensor]:
        return (eager(FrameInputs(code, window, intensity, features)),)

    def renew() -> None:
        monkeypatch.setattr(neural.animator, "step", CapturedFrameStep(lambda rows: flat, capture=rerun))

    _check_storm(neural, avatars, voice, rerun, renew)


@pytest.mark.gpu
def test_graphs_after_sessions_joined_and_left_make_fresh_frames(
    tmp_path: Path, portrait_path: Path, voice: Wave
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    folder = neural_weights(_SMALL, tmp_path / "weights")
    engine = load_engine(folder, "cuda", "graph")
    assert engine.batches

    def renew() -> None:
        engine.animator = load_engine(folder, "cuda", "graph").animator

    _check_storm(engine, [engine.enroll(portrait_path), engine.enroll(portrait_path)], voice, None, renew)


def test_out_of_memory_drops_one_session_and_leaves_the_others_as_they_are(
    neural: Engine, avatars: list[Avatar], voice: Wave, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = neural.open_renderer(3)
    voices = _Voices(neural, renderer, voice)
    for number in range(3):
        voices.join(number, avatars[0])
        voices.render([number])
    render = neural.animator.render_batch

    def full(prepared: list[Any], *args: Any, **settings: Any) -> Any:
        if len(prepared) == 3:
            raise torch.cuda.OutOfMemoryError("injected")
        return render(prepared, *args, **settings)

    monkeypatch.setattr(neural.animator, "render_batch", full)
    voices.render([2, 0, 1])
    assert isinstance(voices.errors.pop(2), DeviceMemoryExceeded), "the one that came last"
    assert not voices.errors
    voices.render([0, 1])
    voices.join(3, avatars[1])
    voices.render([3])
    for number in (0, 1):
        _check_alike(voices.frames[number], _alone(neural, avatars[0], number, voice, 3))
    _check_alike(voices.frames[3], _alone(neural, avatars[1], 3, voice, 1))


@pytest.mark.parametrize(("phase", "fails_at"), [("encode_audio", 3), ("_sampler", 2)])
def test_out_of_memory_in_the_motion_changes_nobody_elses_frames(
    neural: Engine, avatars: list[Avatar], voice: Wave, monkeypatch: pytest.MonkeyPatch, phase: str, fails_at: int
) -> None:
    voices = _Voices(neural, neural.open_renderer(2), voice)
    voices.join(0, avatars[0])
    voices.join(1, avatars[0])
    network: Any = neural.networks.lip if phase == "encode_audio" else neural.networks.pose
    run, calls = getattr(network, phase), [0]

    def full(*args: Any, **settings: Any) -> Any:
        calls[0] += 1
        if calls[0] == fails_at:  # a frame, or a hop of poses
            raise torch.cuda.OutOfMemoryError("injected")
        return run(*args, **settings)

    monkeypatch.setattr(network, phase, full)
    for _ in range(4):
        voices.render([0] if 1 in voices.errors else [0, 1])
    monkeypatch.undo()
    assert isinstance(voices.errors[1], DeviceMemoryExceeded)
    _check_alike(voices.frames[0], _alone(neural, avatars[0], 0, voice, 4))


def test_a_session_that_fails_ends_alone(
    neural: Engine, avatars: list[Avatar], voice: Wave, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = _Voices(neural, neural.open_renderer(3), voice)
    for number in range(3):
        voices.join(number, avatars[0])
    voices.render([0, 1, 2])
    bad = voices.sessions[1].row.driver
    monkeypatch.setattr(bad, "mixed", lambda given, expression: np.full(72, np.nan, np.float32))
    voices.render([0, 1, 2])
    assert "not finite" in str(voices.errors.pop(1))
    assert not voices.errors
    voices.render([0, 2])
    for number in (0, 2):
        _check_alike(voices.frames[number], _alone(neural, avatars[0], number, voice, 3))


def test_frames_that_nobody_sees_move_on(neural: Engine, avatars: list[Avatar], voice: Wave) -> None:
    voices = _Voices(neural, neural.open_renderer(1), voice)
    voices.join(0, avatars[0])
    for shown in (True, False, False, True):
        voices.render([0], shown=shown)
    expected = _alone(neural, avatars[0], 0, voice, 4)
    _check_alike(voices.frames[0], [expected[0], expected[3]], levels=0)


def test_an_interrupt_withdraws_requests_and_eases_the_mouth(
    neural: Engine, avatars: list[Avatar], voice: Wave
) -> None:
    voices = _Voices(neural, neural.open_renderer(1), voice)
    voices.join(0, avatars[0])
    voices.render([0])
    stale = voices.ask(0)
    session = voices.sessions[0]
    assert session.interrupt() == 1
    assert session.next_pts_samples == stale.pts_samples + SAMPLES_PER_FRAME
    job = voices.ask(0)
    assert (job.generation, job.index) == (1, stale.index + 1)
    assert voices.renderer is not None
    voices.renderer.render([job])
    assert session.postprocess(job).generation == 1
    assert session.interrupt(7) == session.generation == 7
    with pytest.raises(ValueError, match="not after"):
        session.interrupt(7)


def test_portraits_that_stay_are_not_put_together_again(
    neural: Engine, avatars: list[Avatar], voice: Wave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a captured step, which copies cached inputs when others come, copies nothing while the same sessions go on."""
    seen: list[int] = []
    step = neural.animator.step  # type: ignore[attr-defined]

    def noted(inputs: FrameInputs) -> torch.Tensor:
        seen.append(id(inputs.identity_code_BS))
        made: torch.Tensor = step(inputs)
        return made

    monkeypatch.setattr(neural.animator, "step", noted)
    voices = _Voices(neural, neural.open_renderer(3), voice)
    for number in range(3):
        voices.join(number, avatars[number % 2])
    for order in ([0, 1], [1, 0], [1, 2], [0, 2], [0, 1]):
        voices.render(order)
    assert seen[0] == seen[1] == seen[2] != seen[3]
    _check_alike(voices.frames[1], _alone(neural, avatars[1], 1, voice, 4))


def test_rows_are_given_out_once(neural: Engine, avatars: list[Avatar], voice: Wave) -> None:
    renderer = neural.open_renderer(1)
    voices = _Voices(neural, renderer, voice)
    voices.join(0, avatars[0])
    voices.join(1, avatars[0])
    voices.render([0, 1])
    assert isinstance(voices.errors[1], CapacityExceeded)
    assert not isinstance(voices.errors[1], DeviceMemoryExceeded)
    voices.leave(0)
    voices.join(2, avatars[0])
    voices.render([2])
    assert len(voices.frames[2]) == 1
