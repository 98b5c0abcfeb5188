"""Label and mark in tensors against those of `Postprocess`, and I420 of a step against the colour kernel."""

import dataclasses

import numpy as np
import pytest
import torch

from engine.postprocess import Postprocess, WatermarkConfig, WatermarkDetector
from engine.postprocess.graph import PostprocessGraph, watermark_pattern
from engine.runtime import FinishedFrame
from kernels.yuv420 import yuv420
from tests.postprocess.test_watermark import moving_portrait
from tests.runtime.frame_cases import HEAD, drawn, frames

KEY = b"an operator's own"
DIFFERING = 1e-3
"""Share of values that may land on the other side of a half, one level off."""


def _images(size: int) -> np.ndarray:
    """A portrait, noise, and flat images at the ends of the range."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    flat = [np.full((size, size, 3), level, np.uint8) for level in (0, 128, 255)]
    return np.stack([*moving_portrait(2, size=size), noise, *flat])


def _finished(images: np.ndarray, flags: list[int], watermark: WatermarkConfig) -> np.ndarray:
    graph = PostprocessGraph(images.shape[1])
    with torch.inference_mode():
        return graph(torch.from_numpy(images), torch.tensor(flags), watermark_pattern(watermark)).numpy()


@pytest.mark.parametrize("size", [256, 128])
@pytest.mark.parametrize(
    "watermark", [WatermarkConfig(), WatermarkConfig(tag=0xBEEF, key=KEY)], ids=["public", "own key"]
)
def test_images_are_those_of_finish(size: int, watermark: WatermarkConfig) -> None:
    images, finish = _images(size), Postprocess(size, size, watermark)
    expected = np.stack([finish.apply(rgb) for rgb in images])
    found = _finished(images, [1] * len(images), watermark)
    error = np.abs(found - expected)
    assert error.max() <= 1
    assert (error > 0).mean() <= DIFFERING


def test_rows_that_are_not_to_be_finished_are_left_alone_and_do_not_change_the_others() -> None:
    images = _images(128)
    flags = [1, 0, 1, 0, 0, 1]
    some, all_of_them = (_finished(images, rows, WatermarkConfig()) for rows in (flags, [1] * 6))
    for row, flag in enumerate(flags):
        assert np.array_equal(some[row], all_of_them[row] if flag else images[row])


def test_the_mark_is_found_again_by_its_key() -> None:
    detectors = WatermarkDetector(KEY), WatermarkDetector()
    for rgb in _finished(_images(256)[:2], [1, 1], WatermarkConfig(tag=0xBEEF, key=KEY)).astype(np.uint8):
        for detector in detectors:
            detector.push(rgb)
    own, public = (detector.read() for detector in detectors)
    assert own.tag == 0xBEEF
    assert not public.found


@pytest.mark.parametrize("size", [64, 512])
def test_sizes_that_cannot_be_marked_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="112 to 256 pixels"):
        PostprocessGraph(size)


def test_i420_is_the_rgb_of_the_same_step_in_the_colours_of_encoders() -> None:
    inputs = dataclasses.replace(frames("head", rows=2).given, finished_B=torch.ones(2))
    pattern_SP = watermark_pattern(WatermarkConfig())
    rgb, i420 = (FinishedFrame(drawn(HEAD).freeze(), layout) for layout in ("rgb", "i420"))
    with torch.inference_mode():
        given = inputs.flat(pattern_SP)
        images, planes = rgb(*given).numpy(), i420(*given).numpy()
    assert planes.shape == (2, 128 * 3 // 2, 128)
    assert np.array_equal(planes, yuv420(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy())
