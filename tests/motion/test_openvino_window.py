"""The bundled weights' windows as one network on the CPU: the same poses and gazes as operation by operation."""

from pathlib import Path

import pytest
import torch

from engine.checkpoint import WeightsFolder
from engine.motion.diffusion.openvino_window import bundled_window
from engine.motion.diffusion.window import PoseWindow
from engine.motion.driver import MotionNetworks


@pytest.mark.parametrize("part", ["pose", "gaze"])
def test_hops_are_those_of_the_eager_window(part: str) -> None:
    folder = WeightsFolder.open("default")
    assert bundled_window(folder, part).is_file(), "gohd weights compile --target cpu --bundle"
    window: PoseWindow = getattr(MotionNetworks.load(folder, torch.device("cpu")), part)
    eager = PoseWindow(window.denoiser, window.config)
    generator = torch.Generator().manual_seed(0)
    channels = window.denoiser.config.channels
    prosody_BTM = torch.randn(2, 120, 320, generator=generator) - 1
    initial_BC = torch.randn(2, channels, generator=generator) / 10
    ours_BTC, expected_BTC = (each.forward(prosody_BTM, initial_BC, [1, 2]) for each in (window, eager))
    torch.testing.assert_close(ours_BTC, expected_BTC, rtol=0, atol=1e-5)
    assert not torch.equal(ours_BTC, expected_BTC), "the same to the last bit would be eager twice"
    assert expected_BTC.std(1).min() > 1e-3


def test_every_exported_network_is_one_that_is_asked_for() -> None:
    """None is left over from older weights."""
    folder = WeightsFolder.open("default")
    asked = {bundled_window(folder, part).name for part in ("pose", "gaze")}
    found = {path.name for path in Path(folder.path).glob("*.onnx")}
    assert {name for name in found if not name.startswith("animator-")} == asked
