"""I420 planes against FFmpeg's, and what must hold of any such planes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace

from engine.postprocess.yuv420 import rgb_to_i420


def test_planes_are_within_a_level_of_what_ffmpeg_makes(portrait_path: Path) -> None:
    rgb = cv2.cvtColor(cv2.resize(cv2.imread(str(portrait_path)), (256, 192)), cv2.COLOR_BGR2RGB)
    expected = (
        av.VideoFrame.from_ndarray(rgb, format="rgb24")
        .reformat(
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=Colorspace.ITU601,
        )
        .to_ndarray()
    )
    found = rgb_to_i420(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].numpy()
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_greys_have_no_colour_and_the_ends_are_sixteen_and_235() -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat_interleave(2).expand(1, 3, 2, 512)
    planes = rgb_to_i420(levels)
    assert (planes[:, 2:] == 128).all()
    assert planes[0, 0, 0] == 16
    assert planes[0, 0, -1] == 235
