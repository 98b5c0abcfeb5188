"""Frames of a size that the user chooses and the portrait has."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import load_engine
from engine.engine import Engine
from engine.errors import CommandInvalid


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine(backend="geometric", size=512)


def test_frames_are_as_large_as_asked(engine: Engine, portrait_path: Path) -> None:
    voice = np.zeros(16000, np.float32)
    for size, frame in ((512, "crop"), (384, "crop"), (384, "full")):
        avatar = engine.enroll(portrait_path, size=size)
        assert avatar.size == size
        session = engine.open_session(avatar, frame=frame)
        frames = session.push_pcm(voice, 16000)
        assert frames[0].rgb.shape[:2] == session.frame_size
        if frame == "crop":
            assert session.frame_size == (size, size)
        assert frames[0].rgb.std() > 20


def test_the_engines_size_is_the_default(engine: Engine, portrait_path: Path) -> None:
    assert engine.enroll(portrait_path).size == 512


def test_motion_does_not_depend_on_the_size(engine: Engine, portrait_path: Path) -> None:
    """The crop is the same place of the portrait, so what is measured on it is the same person in the same pose."""
    large, small = (engine.enroll(portrait_path, size=size).coefficients.descriptor for size in (512, 256))
    np.testing.assert_allclose(large, small, atol=2e-3)


def test_a_head_of_few_pixels_gets_the_frames_that_it_fills(
    engine: Engine, portrait_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Image.open(portrait_path) as image:
        halved = np.asarray(image.convert("RGB").resize((image.width // 2, image.height // 2)))
    with caplog.at_level(logging.WARNING):
        assert engine.enroll(halved).size == 256
    assert "256 px, not 512" in caplog.text


def test_a_size_that_is_not_drawn_is_refused(engine: Engine, portrait_path: Path) -> None:
    with pytest.raises(CommandInvalid, match="256, 384, 512, 768, 1024"):
        engine.enroll(portrait_path, size=500)
    with pytest.raises(CommandInvalid, match="one of"):
        load_engine(backend="geometric", size=0)


def test_a_shrunk_avatar_is_as_one_enrolled_smaller(engine: Engine, portrait_path: Path) -> None:
    large = engine.enroll(portrait_path, size=512)
    shrunk, small = engine.shrink(large, 256), engine.enroll(portrait_path, size=256)
    assert shrunk.size == 256
    assert engine.shrink(small, 512) is small
    assert np.abs(shrunk.crop.landmarks_px - small.crop.landmarks_px).max() < 0.01
    window = small.coefficients.descriptor[None].copy()
    window[0, :6] += 0.8
    frames = [engine.animator.render(avatar.prepared, window) for avatar in (shrunk, small)]
    assert np.abs(frames[0].astype(int) - frames[1]).mean() < 2
    wholes = [avatar.paste_back.apply(avatar.crop.rgb).astype(float) for avatar in (large, shrunk)]
    assert wholes[0].shape == wholes[1].shape
    assert np.abs(wholes[0] - wholes[1]).mean() < 2
    with pytest.raises(CommandInvalid, match="256"):
        engine.shrink(large, 300)
