"""Sessions that show the whole portrait."""

from pathlib import Path

import numpy as np
import pytest

from engine import load_engine
from engine.errors import CommandInvalid
from engine.portrait import load_image
from engine.postprocess import WatermarkConfig, WatermarkDetector


def test_whole_portrait_is_shown_and_only_the_head_moves(portrait_path: Path) -> None:
    engine = load_engine(watermark=WatermarkConfig(tag=99))
    portrait = load_image(portrait_path)
    wide = np.full((portrait.shape[0], 2 * portrait.shape[1], 3), 90, np.uint8)
    wide[:, : portrait.shape[1]] = portrait
    avatar = engine.enroll(wide)
    session = engine.open_session(avatar, frame="full")
    assert session.frame_size == avatar.paste_back.size
    noise = 0.2 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    frames = [frame.rgb for frame in [*session.push_pcm(noise, 16000), *session.flush()]]
    height, width = session.frame_size
    assert all(rgb.shape == (height, width, 3) for rgb in frames)
    assert abs(width - 2 * height) <= 2  # both are rounded to even numbers
    apart = np.abs(frames[30].astype(int) - frames[5])
    assert apart[:, : width // 2].max() > 40
    # Beyond the head only the watermark differs.
    assert apart[:, 3 * width // 4 :].max() <= 8
    detector = WatermarkDetector()
    for rgb in frames[:10]:
        detector.push(rgb)
    assert detector.read().tag == 99
    with pytest.raises(CommandInvalid, match="crop"):
        engine.open_session(avatar, frame="round")
