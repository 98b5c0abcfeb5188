"""Gaze that wanders as the weights' gaze network says."""

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine import Avatar, Engine, load_engine
from engine.checkpoint import resolve_weights, write_checksums
from engine.errors import CommandInvalid
from engine.motion.space.coefficients import GAZE
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME


def test_default_weights_let_the_gaze_wander_about_the_portraits_own(
    engine: Engine, avatar: Avatar, voice: npt.NDArray[np.float32]
) -> None:
    def gazes(generate_gaze: bool) -> npt.NDArray[np.float32]:
        session = engine.open_session(avatar, seed=2, generate_gaze=generate_gaze)
        frames = session.push_pcm(voice[: 30 * SAMPLES_PER_FRAME], SAMPLE_RATE_HZ)
        return np.stack([frame.descriptor[GAZE] for frame in frames])

    still, wandering = gazes(False), gazes(True)
    assert np.ptp(still, axis=0).max() == 0
    assert 0.003 < wandering.std(0).max() < 0.2
    assert np.abs(wandering - still).max() < 0.3


def test_weights_without_a_gaze_network_say_so(tmp_path: Path, portrait_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(resolve_weights("default"), folder)
    config = json.loads((folder / "config.json").read_text())
    del config["gaze"], config["gaze_window"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "gaze.safetensors").unlink()
    write_checksums(folder)
    without = load_engine(weights=str(folder))
    with pytest.raises(CommandInvalid, match="gaze"):
        without.open_session(without.enroll(portrait_path), generate_gaze=True)
