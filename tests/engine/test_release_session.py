"""Sessions with imported weights: small ones in the released architecture, and once the paper's size."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine import Avatar, Engine, Frame, Session, load_engine
from engine.errors import CommandInvalid, WeightsCorrupt, WeightsIncomplete
from engine.motion.space.coefficients import Coefficients
from engine.portrait import load_image
from engine.release import ReleaseConfig, import_release
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from tests.release_helper import reader_in_this_process, small_release, write_release

Wave = npt.NDArray[np.float32]

CONFIG = small_release(widths=(16, 16, 12, 8, 8, 8, 8))
COEFFICIENTS = Coefficients.from_descriptor(np.random.default_rng(5).normal(scale=0.2, size=72).astype(np.float32))
_SHORT = 24 * SAMPLES_PER_FRAME + 77


@dataclass(frozen=True)
class Stage:
    engine: Engine
    avatar: Avatar

    def play(self, wave: Wave, cuts: list[int] | None = None, **options: object) -> list[Frame]:
        session = self.engine.open_session(self.avatar, seed=3, **options)  # type: ignore[arg-type]
        return _play(session, wave, cuts)


def _play(session: Session, wave: Wave, cuts: list[int] | None = None) -> list[Frame]:
    frames: list[Frame] = []
    for start, stop in pairwise([0, *(cuts or []), len(wave)]):
        frames += session.push_pcm(wave[start:stop], SAMPLE_RATE_HZ)
    return frames + session.flush()


def _equal(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.descriptor, b.descriptor) and np.array_equal(a.rgb, b.rgb) and a.speaking == b.speaking
        for a, b in zip(one, other, strict=True)
    )


def _stage(folder: Path, config: ReleaseConfig, portrait: Path, *, two_stage: bool = False) -> Stage:
    import_release(write_release(folder, config, two_stage=two_stage), folder / "weights", config)
    engine = load_engine(folder / "weights", device="cpu")
    return Stage(engine, engine.enroll(portrait, coefficients=COEFFICIENTS))


@pytest.fixture(scope="module", autouse=True)
def _reader() -> Iterator[None]:
    with reader_in_this_process():
        yield


@pytest.fixture(scope="module", params=["one-stage", "two-stage"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, portrait_path: Path) -> Stage:
    folder = tmp_path_factory.mktemp("release")
    return _stage(folder, CONFIG, portrait_path, two_stage=request.param == "two-stage")


@pytest.fixture(scope="module")
def whole(stage: Stage, voice: Wave) -> list[Frame]:
    return stage.play(voice[:_SHORT], generate_gaze=True)


def test_streamed_equals_offline_and_moves(stage: Stage, voice: Wave, whole: list[Frame]) -> None:
    assert [frame.index for frame in whole] == list(range(25))
    assert all(np.isfinite(frame.descriptor).all() for frame in whole)
    assert not np.array_equal(whole[3].rgb, whole[20].rgb)
    for step in (333, 2500):
        cuts = list(range(step, _SHORT, step))
        assert _equal(stage.play(voice[:_SHORT], cuts, generate_gaze=True), whole)


def test_look_ahead_is_what_the_weights_say_and_no_more(stage: Stage, voice: Wave) -> None:
    session = stage.engine.open_session(stage.avatar)
    # Two descriptors waited for, and the prosody of a hop of three: 40 (3 - 1) + 37.5 + 25 ms; lips need 133.
    assert session.lookahead_ms == pytest.approx(2 * 40 + 142.5)
    needed = round(session.lookahead_ms * 16)
    # The voice flag that is waited for ends at most 10 ms before that.
    early = needed - SAMPLE_RATE_HZ // 100
    assert session.push_pcm(voice[:early], SAMPLE_RATE_HZ) == []
    assert [frame.index for frame in session.push_pcm(voice[early:needed], SAMPLE_RATE_HZ)] == [0]


def test_later_audio_never_changes_earlier_frames(stage: Stage, voice: Wave) -> None:
    cut = 14 * SAMPLES_PER_FRAME
    other = voice[:_SHORT].copy()
    other[cut:] = 0.1
    one = stage.engine.open_session(stage.avatar).push_pcm(voice[:_SHORT], SAMPLE_RATE_HZ)
    two = stage.engine.open_session(stage.avatar).push_pcm(other, SAMPLE_RATE_HZ)
    safe = cut // SAMPLES_PER_FRAME - 6
    assert _equal(one[:safe], two[:safe])
    assert not _equal(one, two)


def test_gaze_is_fixed_commanded_or_generated(stage: Stage, voice: Wave, whole: list[Frame]) -> None:
    fixed = stage.play(voice[:_SHORT])
    assert all(np.allclose(frame.descriptor[70:], COEFFICIENTS.gaze, atol=1e-6) for frame in fixed)
    assert np.stack([frame.descriptor[70:] for frame in whole]).std(axis=0).max() > 1e-3
    assert all(np.array_equal(a.descriptor[:70], b.descriptor[:70]) for a, b in zip(fixed, whole, strict=True))
    session = stage.engine.open_session(stage.avatar, seed=3, generate_gaze=True)
    session.set_gaze(0.1, -0.4)
    assert _play(session, voice[:_SHORT])[-1].descriptor[70:] == pytest.approx([0.1, -0.4], abs=1e-3)


def test_interrupt_drops_unshown_motion_and_rests(stage: Stage, voice: Wave) -> None:
    session = stage.engine.open_session(stage.avatar, seed=3)
    shown = session.push_pcm(voice[: 20 * SAMPLES_PER_FRAME], SAMPLE_RATE_HZ)
    assert session.interrupt() == 1
    after = session.push_pcm(np.zeros(SAMPLE_RATE_HZ, np.float32), SAMPLE_RATE_HZ)
    assert after[0].index == len(shown)
    assert all(frame.generation == 1 and not frame.speaking for frame in after[1:])
    # In this motion space the resting mouth is expression 0.
    assert all(np.abs(frame.descriptor[:64]).max() < 1e-6 for frame in after[3:])


def test_intensity_0_is_one_face_whatever_the_motion(stage: Stage, voice: Wave, whole: list[Frame]) -> None:
    still = stage.play(voice[: 10 * SAMPLES_PER_FRAME], intensity=0.0)
    other = stage.play(voice[30 * SAMPLES_PER_FRAME : 40 * SAMPLES_PER_FRAME], intensity=0.0)
    assert not np.array_equal(still[5].descriptor, other[5].descriptor)
    assert all(np.array_equal(frame.rgb, still[0].rgb) for frame in (*still, *other))
    assert _equal(stage.play(voice[:_SHORT], generate_gaze=True, intensity=1.0), whole)
    with pytest.raises(CommandInvalid):
        stage.play(voice[:10], intensity=1.5)


def test_a_portrait_without_coefficients_is_refused_with_advice(stage: Stage, portrait_path: Path) -> None:
    with pytest.raises(WeightsIncomplete, match="coefficients="):
        stage.engine.enroll(portrait_path)


def test_imported_estimators_enroll_a_portrait(tmp_path: Path, portrait_path: Path, voice: Wave) -> None:
    sources = write_release(tmp_path, CONFIG, "animator", "pose", "expression", "recon", "l2cs")
    import_release(sources, tmp_path / "weights", CONFIG)
    engine = load_engine(tmp_path / "weights")
    avatar = engine.enroll(portrait_path)
    assert np.isfinite(avatar.coefficients.descriptor).all()
    assert len(_play(engine.open_session(avatar), voice[:SAMPLES_PER_FRAME])) == 1
    with pytest.raises(WeightsIncomplete, match="video"):
        engine.read_motion([load_image(portrait_path)])


def test_partial_imports_say_what_is_missing(tmp_path: Path, portrait_path: Path) -> None:
    sources = write_release(tmp_path, CONFIG)
    import_release({"pose": sources["pose"], "expression": sources["expression"]}, tmp_path / "voice", CONFIG)
    with pytest.raises(WeightsIncomplete, match="--animator"):
        load_engine(tmp_path / "voice")
    import_release({"animator": sources["animator"]}, tmp_path / "face", CONFIG)
    with pytest.raises(WeightsIncomplete, match="--expression"):
        load_engine(tmp_path / "face")
    small = small_release()
    parts = write_release(tmp_path, small)
    import_release(parts, tmp_path / "tiny", small)
    with pytest.raises(WeightsCorrupt, match="32 pixels"):
        load_engine(tmp_path / "tiny")
    del sources["gaze"]
    import_release({**sources, **write_release(tmp_path, CONFIG, "animator")}, tmp_path / "no-gaze", CONFIG)
    engine = load_engine(tmp_path / "no-gaze")
    with pytest.raises(CommandInvalid, match="gaze"):
        engine.open_session(engine.enroll(portrait_path, coefficients=COEFFICIENTS), generate_gaze=True)


@pytest.fixture
def large_folder(tmp_path: Path) -> Iterator[Path]:
    """Removed after the test: checkpoints of the paper's size take 1.6 GB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_a_session_of_the_papers_size(large_folder: Path, portrait_path: Path, voice: Wave) -> None:
    stage = _stage(large_folder, ReleaseConfig(), portrait_path)
    wave = voice[10 * SAMPLES_PER_FRAME : 13 * SAMPLES_PER_FRAME]
    once = stage.play(wave, generate_gaze=True)
    assert len(once) == 3
    assert all(frame.rgb.shape == (256, 256, 3) and np.isfinite(frame.descriptor).all() for frame in once)
    assert _equal(stage.play(wave, [401, 1300], generate_gaze=True), once)
